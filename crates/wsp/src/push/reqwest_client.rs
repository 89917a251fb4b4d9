//! The other client: reqwest, for what needs proxies or trust of one's own.

use bytes::Bytes;

use super::client::{Answer, ClientOptions, PushClient, PushLane};
use super::endpoint::PushEndpoint;
use super::fault::PushFault;

/// Posts by `reqwest`.
#[derive(Debug, Clone)]
pub struct ReqwestClient {
    endpoint: PushEndpoint,
    client: reqwest::Client,
}

impl ReqwestClient {
    /// A client of `endpoint`, by the system's proxies and certificates.
    ///
    /// # Errors
    /// [`ClientError`](super::ClientError) if the system's TLS settings cannot be used.
    pub fn new(_: PushEndpoint, _: ClientOptions) -> Result<Self, super::ClientError> {
        todo!()
    }
}

impl PushClient for ReqwestClient {
    type Lane = ReqwestLane;

    fn lane(&self) -> ReqwestLane {
        ReqwestLane {
            client: self.clone(),
        }
    }
}

/// One lane of a [`ReqwestClient`].
#[derive(Debug)]
pub struct ReqwestLane {
    client: ReqwestClient,
}

impl PushLane for ReqwestLane {
    async fn post(&mut self, _body: Bytes) -> Result<Answer, PushFault> {
        let _ = (&self.client.client, &self.client.endpoint);
        todo!()
    }
}
