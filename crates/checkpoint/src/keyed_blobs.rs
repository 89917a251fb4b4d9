//! Cursors in any store of named blobs that can write on a condition: one blob a key.
//!
//! ```text
//! <pack_key>/<sha256 of the output id>    lease, record and the last saves, as JSON
//! ```
//!
//! Each write demands the version that was read before it, so the store of blobs itself refuses a
//! producer whose blob another has changed; it then reads the blob and decides again. Nobody can
//! tell a dead holder here: a lease is over once it was seen unchanged for its period.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::{Backoff, Clock as _, Hex64};

use crate::error::{Error, unavailable};
use crate::key::CursorKey;
use crate::lease::{LeaseRequest, SessionId};
use crate::observer::Observer;
use crate::slots::{Act, Change, Needs, Slot, Slots, StoredSlot};

/// Tries of one write that others come before.
const TRIES: u32 = 40;
/// The pauses between them, which differ between two that race.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(320));

/// A store of named blobs. [`KeyedBlobStore`] makes a
/// [`CheckpointStore`](crate::CheckpointStore) of it.
///
/// # What it promises
/// - **A write is whole, durable and seen** by every later read, whichever process reads, once
///   [`put`](Self::put) has returned `Ok(true)`.
/// - **A write on a condition is one step**: of two that demand the same version, one is refused.
/// - **A version never comes again** for a name: an ETag, a counter, a generation.
#[async_trait]
pub trait KeyedBlobs: Debug + Send + Sync + 'static {
    /// What tells one content of a blob from every other.
    type Version: Send + Sync + 'static;

    /// Where the blobs are, for people: never a secret.
    fn place(&self) -> String;

    /// A blob and its version; `None` where there is none of that name. A name is 129 characters
    /// out of `0-9`, `a-f` and `/`.
    ///
    /// # Errors
    /// `CHECKPOINT_UNAVAILABLE` ([`unavailable`]) while the store is away.
    async fn get(&self, name: &str) -> Result<Option<(Vec<u8>, Self::Version)>, Error>;

    /// Writes a blob over the version `over`, or as a new one for `None`; `false` if what is there
    /// is not that.
    ///
    /// # Errors
    /// `CHECKPOINT_UNAVAILABLE` where the write was not made, or its answer was lost.
    async fn put(
        &self,
        name: &str,
        blob: Vec<u8>,
        over: Option<&Self::Version>,
    ) -> Result<bool, Error>;
}

/// A store of cursors in named blobs, one a key.
///
/// The blobs of this example are in memory; `cargo run -p checkpoint --example own_blob_store`
/// has them in a database, and passes the conformance suite.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
///
/// use checkpoint::{CheckpointStore, Error, KeyedBlobStore, KeyedBlobs};
///
/// #[derive(Debug, Default)]
/// struct InMemory(Mutex<HashMap<String, (Vec<u8>, u64)>>);
///
/// #[async_trait::async_trait]
/// impl KeyedBlobs for InMemory {
///     type Version = u64;
///
///     fn place(&self) -> String {
///         "memory".to_owned()
///     }
///
///     async fn get(&self, name: &str) -> Result<Option<(Vec<u8>, u64)>, Error> {
///         Ok(self.0.lock().unwrap().get(name).cloned())
///     }
///
///     async fn put(&self, name: &str, blob: Vec<u8>, over: Option<&u64>) -> Result<bool, Error> {
///         let mut blobs = self.0.lock().unwrap();
///         let is_there = blobs.get(name).map(|(_, version)| version) == over;
///         if is_there {
///             let version = over.map_or(1, |version| version + 1);
///             blobs.insert(name.to_owned(), (blob, version));
///         }
///         Ok(is_there)
///     }
/// }
///
/// let store = KeyedBlobStore::new(InMemory::default());
/// assert_eq!(store.place(), "memory");
/// ```
#[derive(Debug)]
pub struct KeyedBlobStore<B> {
    blobs: Arc<B>,
    observer: Observer,
}

/// Clones share the blobs and what was seen of leases.
impl<B> Clone for KeyedBlobStore<B> {
    fn clone(&self) -> Self {
        Self {
            blobs: Arc::clone(&self.blobs),
            observer: self.observer.clone(),
        }
    }
}

impl<B: KeyedBlobs> KeyedBlobStore<B> {
    /// The store over some blobs. Reads and writes nothing yet.
    pub fn new(blobs: B) -> Self {
        Self::with_observer(blobs, Observer::default())
    }

    /// The store over some blobs, by another clock and chance than the machine's.
    pub fn with_observer(blobs: B, observer: Observer) -> Self {
        Self {
            blobs: Arc::new(blobs),
            observer,
        }
    }

    /// The store of blobs that the cursors are in.
    pub fn blobs(&self) -> &B {
        &self.blobs
    }

    /// The name of the blob of a key.
    pub fn name_of(key: &CursorKey) -> String {
        let output = Hex64::sha256_of(key.output_id().as_str());
        format!("{}/{output}", key.pack_key())
    }

    /// What is stored of a key, the slot that it makes, and the version to write over.
    async fn stored(
        &self,
        key: &CursorKey,
    ) -> Result<(StoredSlot, Slot, Option<B::Version>), Error> {
        let name = Self::name_of(key);
        let place = format!("{}/{name}", self.blobs.place());
        let found = self.blobs.get(&name).await?;
        let (blob, version) = found.unzip();
        let (stored, slot) = StoredSlot::of_stored(blob.as_deref(), key, &place)?;
        Ok((stored, slot, version))
    }

    async fn edit_one<T>(
        &self,
        act: Act,
        key: &CursorKey,
        decide: &(impl Fn(&CursorKey, Slot) -> Result<(Change, T), Error> + Sync),
    ) -> Result<T, Error> {
        let name = Self::name_of(key);
        for lost in 1..=TRIES {
            let (mut next, slot, version) = self.stored(key).await?;
            let (change, told) = decide(key, slot)?;
            if !next.apply(change) {
                return Ok(told);
            }
            let blob = next.to_json().into_bytes();
            if self.blobs.put(&name, blob, version.as_ref()).await? {
                return Ok(told);
            }
            let pause = PAUSES.jittered(lost, self.observer.chance());
            self.observer.clock().sleep(pause).await;
        }
        let place = format!("{}/{name}", self.blobs.place());
        let advice = "Others write it without a pause: look for them";
        Err(unavailable(act.operation(), place, advice))
    }
}

#[async_trait]
impl<B: KeyedBlobs> Slots for KeyedBlobStore<B> {
    type Proof = ();

    fn location(&self) -> String {
        self.blobs.place()
    }

    fn observer(&self) -> &Observer {
        &self.observer
    }

    async fn read(&self, key: &CursorKey, _needs: Needs) -> Result<Slot, Error> {
        self.stored(key).await.map(|(_, slot, _)| slot)
    }

    async fn lines(&self, key: &CursorKey, _limit: usize) -> Result<Vec<String>, Error> {
        self.stored(key).await.map(|(stored, ..)| stored.lines())
    }

    async fn begin(&self, _: &SessionId, _: &LeaseRequest) -> Result<(), Error> {
        Ok(())
    }

    fn all_or_none(&self, _proof: &()) -> bool {
        false
    }

    async fn edit<T, F>(
        &self,
        act: Act,
        _proof: &Arc<()>,
        keys: Vec<CursorKey>,
        decide: F,
    ) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        F: Fn(&CursorKey, Slot) -> Result<(Change, T), Error> + Send + Sync + 'static,
    {
        // The others too behind one that refuses: each lease is looked at, each cursor saved.
        let mut outcomes = Vec::with_capacity(keys.len());
        for key in &keys {
            outcomes.push(self.edit_one(act, key, &decide).await);
        }
        outcomes.into_iter().collect()
    }
}
