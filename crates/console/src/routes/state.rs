//! What all routes share.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::access::Access;
use crate::hub::streams::Streams;

/// Pages that may be open at once; each holds a connection.
const PAGES: usize = 64;

/// What all routes share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) streams: Streams,
    pub(crate) access: Access,
    pub(super) pages: Arc<Semaphore>,
    /// Whether the console ends: connections that would stay open are closed.
    pub(super) ending: watch::Receiver<bool>,
}

impl Shared {
    pub(crate) fn new(streams: Streams, access: Access, ending: watch::Receiver<bool>) -> Self {
        Self {
            streams,
            access,
            pages: Arc::new(Semaphore::new(PAGES)),
            ending,
        }
    }
}
