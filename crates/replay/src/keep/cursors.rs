//! Where a stream's place is kept, under which lease, and how patiently.

use std::sync::Arc;
use std::time::Duration;

use checkpoint::{CheckpointStore, CursorKey, Lease, LeaseWatch, OrderMode, RowSource};
use model::DoneTally;
use push::Trouble;

use crate::{Error, ReasonCode};

/// One output as its cursor names it.
#[derive(Debug, Clone)]
pub struct KeptOutput {
    key: CursorKey,
    parts: Arc<[String]>,
    /// The places of the parts, as the platform's producers spell them.
    locations: Arc<[String]>,
    source: RowSource,
    plan_digest: String,
    done_before: Option<DoneTally>,
}

impl KeptOutput {
    /// An output under its cursor's key. `parts` are its parts in name order, relative to the engine
    /// run root; `plan_digest` is the digest of the plan: a resume refuses a cursor that was saved
    /// under another.
    pub fn new(
        key: CursorKey,
        parts: impl IntoIterator<Item = String>,
        plan_digest: impl Into<String>,
    ) -> Self {
        let parts: Arc<[String]> = parts.into_iter().collect();
        Self {
            key,
            locations: Arc::clone(&parts),
            parts,
            source: RowSource::Outputs,
            plan_digest: plan_digest.into(),
            done_before: Some(DoneTally::default()),
        }
    }

    /// Has cursors name the places of the parts, in the order of the parts, for the platform's
    /// producers; without it they name the parts.
    #[must_use]
    pub fn located_at(mut self, locations: impl IntoIterator<Item = String>) -> Self {
        self.locations = locations.into_iter().collect();
        self
    }

    /// Says what rows are read from; outputs by default.
    #[must_use]
    pub fn read_from(mut self, source: RowSource) -> Self {
        self.source = source;
        self
    }

    /// Counts on from what became of the events before; `None` where that is not known. Without it,
    /// nothing came before.
    #[must_use]
    pub fn counting_from(mut self, done_before: Option<DoneTally>) -> Self {
        self.done_before = done_before;
        self
    }

    /// What became of the events that were done before this run; `None` where that is not known.
    pub(crate) fn done_before(&self) -> Option<DoneTally> {
        self.done_before
    }

    /// The cursor's key.
    pub fn key(&self) -> &CursorKey {
        &self.key
    }

    /// The path of a part by its place in name order.
    pub(crate) fn part(&self, part: u32) -> &str {
        &self.parts[part as usize]
    }

    /// The place of a part as cursors name it.
    pub(crate) fn location(&self, part: u32) -> &str {
        let location = self.locations.get(part as usize);
        location.map_or_else(|| self.part(part), String::as_str)
    }

    /// What rows are read from.
    pub(crate) fn source(&self) -> RowSource {
        self.source
    }

    /// The digest of the plan that cursors are saved under.
    pub(crate) fn plan_digest(&self) -> &str {
        &self.plan_digest
    }
}

/// The cursors of one stream: where they are kept, under which lease, how often and how patiently.
///
/// Unless told otherwise a save is due every 1,000 events, a store that is away is waited for 5
/// minutes, and a stop gives saves 30 seconds.
#[derive(Debug)]
pub struct Cursors {
    pub(super) store: Arc<dyn CheckpointStore>,
    pub(super) lease: Arc<Lease>,
    pub(super) outputs: Vec<KeptOutput>,
    pub(super) order: OrderMode,
    pub(super) platform_run_id: String,
    pub(super) flush_every: u64,
    pub(super) give_up_after: Duration,
    pub(super) stop_timeout: Duration,
    pub(super) store_trouble: Trouble,
    lease_watch: Option<LeaseWatch>,
}

impl Cursors {
    /// The cursors of `outputs`, in list order, saved in `store` under `lease` and bound to a
    /// platform run.
    ///
    /// # Errors
    /// `STREAM_INTERNAL` if there is no output, or the lease does not cover the key of one: no save
    /// could succeed.
    pub fn new(
        store: Arc<dyn CheckpointStore>,
        lease: Arc<Lease>,
        outputs: Vec<KeptOutput>,
        order: OrderMode,
        platform_run_id: impl Into<String>,
    ) -> Result<Self, Error> {
        let refused = |what| {
            let fix = "Report this; nothing was sent.";
            Err(Error::new(ReasonCode::StreamInternal, what, fix))
        };
        if outputs.is_empty() {
            return refused("A stream without outputs has no cursors".to_owned());
        }
        let uncovered = outputs
            .iter()
            .find(|output| lease.fence(output.key()).is_none());
        if let Some(output) = uncovered {
            return refused(format!(
                "The lease does not cover the cursor {}",
                output.key()
            ));
        }
        Ok(Self {
            store,
            lease,
            outputs,
            order,
            platform_run_id: platform_run_id.into(),
            flush_every: 1_000,
            give_up_after: Duration::from_mins(5),
            stop_timeout: Duration::from_secs(30),
            store_trouble: Trouble::of_store(),
            lease_watch: None,
        })
    }

    /// Saves cursors every `events` events; 0 counts as 1.
    #[must_use]
    pub fn flushed_every(mut self, events: u64) -> Self {
        self.flush_every = events.max(1);
        self
    }

    /// Waits up to `give_up_after` for a store that is away, and tells `trouble` of it.
    #[must_use]
    pub fn waiting_for_store(mut self, give_up_after: Duration, trouble: Trouble) -> Self {
        self.give_up_after = give_up_after;
        self.store_trouble = trouble;
        self
    }

    /// Gives a save up once the stream has wound down for `timeout`.
    #[must_use]
    pub fn stopped_within(mut self, timeout: Duration) -> Self {
        self.stop_timeout = timeout;
        self
    }

    /// Asks `watch` before each post whether the lease is held. Without a watch lanes post
    /// without asking.
    #[must_use]
    pub fn watched_by(mut self, watch: LeaseWatch) -> Self {
        self.lease_watch = Some(watch);
        self
    }

    pub(crate) fn outputs(&self) -> &[KeptOutput] {
        &self.outputs
    }

    pub(crate) fn flush_every(&self) -> u64 {
        self.flush_every
    }

    pub(crate) fn lease_watch(&self) -> Option<&LeaseWatch> {
        self.lease_watch.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use checkpoint::{Holder, LeaseRequest, MemoryStore, PackKey};

    use super::*;

    #[tokio::test]
    async fn cursors_that_no_save_could_keep_are_refused() {
        let store: Arc<dyn CheckpointStore> = Arc::new(MemoryStore::default());
        let key = |name| CursorKey::new(PackKey::of_root("world"), name).unwrap();
        let request = LeaseRequest::new([key("leased")], Holder::this_process("test"));
        let lease = Arc::new(store.acquire(&request).await.unwrap());
        for (names, is_kept) in [
            (vec!["leased"], true),
            (vec![], false),
            (vec!["leased", "other"], false),
        ] {
            let outputs = names.iter().map(|name| {
                let parts = ["part".to_owned()];
                KeptOutput::new(key(name), parts, "digest")
            });
            let (store, lease) = (Arc::clone(&store), Arc::clone(&lease));
            let cursors =
                Cursors::new(store, lease, outputs.collect(), OrderMode::AsWritten, "run");
            assert_eq!(cursors.is_ok(), is_kept, "{names:?}");
        }
    }
}
