//! The console itself: a listener, the search for streams, and how both end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::access::Access;
use crate::error::Error;
use crate::hub::search::search;
use crate::hub::streams::Streams;
use crate::options::ConsoleOptions;
use crate::routes::{Shared, routes};

/// How long answers under way may take once the console ends.
const DRAIN: Duration = Duration::from_secs(3);

/// A running console. To drop it ends it at once.
#[derive(Debug)]
pub struct Console {
    address: SocketAddr,
    ending: watch::Sender<bool>,
    serving: JoinHandle<()>,
    searching: JoinHandle<()>,
}

impl Console {
    /// Listens, and looks for streams from now on, within the tokio runtime of the caller.
    ///
    /// # Errors
    /// `CONSOLE_UNBOUND` if the address cannot be listened at.
    pub async fn start(options: ConsoleOptions) -> Result<Self, Error> {
        let unbound = |source| Error::Unbound {
            address: options.listen,
            source,
        };
        let listener = TcpListener::bind(options.listen).await.map_err(unbound)?;
        let address = listener.local_addr().map_err(unbound)?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "whoever reaches this address sees what the streams of this machine do");
            if options.control.is_some() {
                tracing::warn!(
                    "the token goes unencrypted to this console: put a proxy with TLS before it"
                );
            }
        }
        let streams = Streams::default();
        let (ending, ended) = watch::channel(false);
        let access = Access::new(&options, address);
        let shared = Arc::new(Shared::new(streams.clone(), access, ended.clone()));
        let service = routes(shared).into_make_service_with_connect_info::<SocketAddr>();
        let serving = tokio::spawn(async move {
            let mut ended = ended;
            let until = async move {
                // The sender is gone with the console.
                let _ = ended.wait_for(|is_ending| *is_ending).await;
            };
            let served = axum::serve(listener, service).with_graceful_shutdown(until);
            if let Err(error) = served.await {
                tracing::warn!(%error, "the console serves no longer");
            }
        });
        let searching = tokio::spawn(search(options.runs_roots, options.sockets, streams));
        Ok(Self {
            address,
            ending,
            serving,
            searching,
        })
    }

    /// The address that it listens at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The page's URL on this machine.
    pub fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("http://{address}/")
    }

    /// Ends the console: pages are told, answers under way have three seconds.
    pub async fn stop(mut self) {
        self.ending.send_replace(true);
        // What is not done by then is given up.
        let _ = timeout(DRAIN, &mut self.serving).await;
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.ending.send_replace(true);
        self.serving.abort();
        self.searching.abort();
    }
}
