//! The ingestion gate as a stream sees it: who pushes to it, by how many lanes, how it is retried.

use push::{ConcurrencyLimit, GateWatch, PushClient, RetryPolicy};

use model::Clock;

use super::{Concurrency, LaneSettings};

/// The way to the ingestion gate.
#[derive(Debug)]
pub struct Gateway<C> {
    client: C,
    endpoint: String,
    lanes: LaneSettings,
    retry: RetryPolicy,
}

impl<C: PushClient> Gateway<C> {
    /// Events are pushed by lanes of `client`, and failed pushes are retried by `retry`. `endpoint`
    /// is the gate's URL, shown in error messages only.
    pub fn new(
        client: C,
        endpoint: impl Into<String>,
        lanes: LaneSettings,
        retry: RetryPolicy,
    ) -> Self {
        Self {
            client,
            endpoint: endpoint.into(),
            lanes,
            retry,
        }
    }

    pub(crate) fn client(&self) -> &C {
        &self.client
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(crate) fn lanes(&self) -> &LaneSettings {
        &self.lanes
    }

    /// What the lanes know of the gate together.
    pub(crate) fn watch<K: Clock>(&self, clock: K) -> GateWatch<K> {
        let limit = match self.lanes.concurrency {
            Concurrency::Fixed => ConcurrencyLimit::fixed(),
            Concurrency::Adaptive => ConcurrencyLimit::adaptive(self.lanes.count.get() as u32),
        };
        GateWatch::with_clock(self.retry, limit, clock)
            .with_transient_errors(self.lanes.transient_errors.clone())
            .with_max_event_bytes(self.lanes.max_event_bytes)
    }
}
