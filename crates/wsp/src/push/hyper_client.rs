//! The default client: one hyper connection a lane, driven by the lane itself.

use std::sync::Arc;

use bytes::Bytes;

use super::client::{Answer, ClientOptions, PushClient, PushLane};
use super::endpoint::PushEndpoint;
use super::fault::PushFault;

/// Posts by `hyper::client::conn::http1`, http or https.
#[derive(Debug, Clone)]
pub struct HyperClient {
    target: Arc<(PushEndpoint, ClientOptions)>,
}

impl HyperClient {
    /// A client of `endpoint`, trusting the system's certificates.
    ///
    /// # Errors
    /// [`ClientError`](super::ClientError) if https is wanted and the system trusts nobody.
    pub fn new(endpoint: PushEndpoint, options: ClientOptions) -> Result<Self, super::ClientError> {
        Ok(Self {
            target: Arc::new((endpoint, options)),
        })
    }
}

impl PushClient for HyperClient {
    type Lane = HyperLane;

    fn lane(&self) -> HyperLane {
        HyperLane {
            target: Arc::clone(&self.target),
        }
    }
}

/// One lane of a [`HyperClient`].
#[derive(Debug)]
pub struct HyperLane {
    target: Arc<(PushEndpoint, ClientOptions)>,
}

impl PushLane for HyperLane {
    async fn post(&mut self, _body: Bytes) -> Result<Answer, PushFault> {
        let _ = &self.target;
        todo!()
    }
}
