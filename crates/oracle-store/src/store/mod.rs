//! Objects of one world by key: the same on local disk and in object storage.
//!
//! Keys are relative to the engine run root and always use `/`. A key that leaves
//! the root is refused before anything is opened.
//!
//! The platform's stream views may lie elsewhere than under the root. Their base then takes the
//! place of the folder [`STREAM_VIEW_BASE`], so that the key of a view's file does not depend on
//! where the base lies.

mod objects;
mod bucket_folder;
mod connect;
#[cfg(feature = "s3")]
mod s3;
mod address;
mod disk;
mod memory;
mod pinned_object;
mod pinned_file;
mod proofs;
mod retry;
mod windows;
mod bucket;
mod budget;
pub(crate) mod io;
mod tails;
mod time_and_chance;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;

use crate::error::{Error, ReasonCode};
use crate::location::{EngineRunRoot, Location};
use crate::part::{Pin, STREAM_VIEW_BASE};
use model::{Random, SharedClock};
use time_and_chance::TimeAndChance;

pub(crate) use disk::STAGING_PREFIX;
pub(crate) use pinned_object::PinnedObject;

use bucket::Bucket;
use disk::Disk;

pub use address::ObjectStoreConfig;
pub use bucket_folder::BucketFolder;
pub use connect::object_store_at;
pub use memory::{HeldMemory, ReadMemory};
pub use proofs::{KnownDigests, Proofs, Prover};
pub use retry::RetryPolicy;

/// The largest object that [`WorldStore::get`] takes into memory whole: 64 MiB.
pub(crate) const MAX_WHOLE_OBJECT_BYTES: u64 = 64 << 20;

/// A small object, whole, and the pin it was read under.
#[derive(Debug, Clone)]
pub struct Object {
    /// The object's bytes.
    pub bytes: Bytes,
    /// The pin that the bytes were read under.
    pub pin: Pin,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The object's key, relative to the engine run root.
    pub path: String,
    /// The bytes it had when it was listed.
    pub pin: Pin,
}

/// What stands in a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Level {
    /// The objects.
    pub objects: Vec<Entry>,
    /// The folders: by their names in a level, by their keys in a tree.
    pub folders: Vec<String>,
}

/// The objects of one engine run root. Cheap to clone.
#[derive(Clone)]
pub struct WorldStore {
    inner: Arc<Inner>,
    memory: ReadMemory,
    /// The base of the stream views, where it is not a folder of the root.
    views: Option<Arc<WorldStore>>,
}

struct Inner {
    root: EngineRunRoot,
    backend: Backend,
    proofs: Proofs,
    by: TimeAndChance,
}

enum Backend {
    Disk(Disk),
    Bucket(Bucket),
}

impl fmt::Debug for WorldStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorldStore")
            .field("root", &self.inner.root)
            .finish_non_exhaustive()
    }
}

impl WorldStore {
    /// Opens a world. A local root must exist; a bucket is first asked at the first read.
    ///
    /// # Errors
    /// `ENGINE_ROOT_MISSING` if a local root is no readable folder;
    /// `OBJECT_STORE_INVALID` if the bucket cannot be addressed with this configuration.
    pub fn open(root: EngineRunRoot, config: &ObjectStoreConfig) -> Result<Self, Error> {
        let proofs = Proofs::default();
        let backend = match root.location() {
            Location::Local(folder) => Backend::Disk(Disk::open(folder, proofs.clone())?),
            Location::S3 { prefix, .. } => Backend::Bucket(Bucket::new(
                connect::for_reads(root.location(), config)?,
                prefix,
                root.location().clone(),
                RetryPolicy::default(),
            )),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                root,
                backend,
                proofs,
                by: TimeAndChance::default(),
            }),
            memory: ReadMemory::default(),
            views: None,
        })
    }

    /// The same world, whose stream views lie at another base: the objects of `views` are read
    /// at the keys under [`STREAM_VIEW_BASE`], and those of the root are not seen there. Its
    /// readers share the memory of this world.
    #[must_use]
    pub fn with_views_at(self, views: WorldStore) -> Self {
        let views = views.with_memory(self.memory.clone());
        Self {
            views: Some(Arc::new(views)),
            ..self
        }
    }

    /// The same world, whose readers share another memory.
    #[must_use]
    pub fn with_memory(self, memory: ReadMemory) -> Self {
        let views = self.views.as_deref().cloned();
        let views = views.map(|views| Arc::new(views.with_memory(memory.clone())));
        Self {
            inner: self.inner,
            memory,
            views,
        }
    }

    /// The store that holds a key, and the key in it.
    fn home<'k>(&self, key: &'k str) -> (&Self, &'k str) {
        let in_views = |views| {
            let rest = key.strip_prefix(STREAM_VIEW_BASE)?;
            let rest = match rest {
                "" => rest,
                rest => rest.strip_prefix('/')?,
            };
            Some((views, rest))
        };
        let views = self.views.as_deref();
        views.and_then(in_views).unwrap_or((self, key))
    }

    /// The base of the stream views where it is not a folder of the root; `None` where it is.
    pub fn views_base(&self) -> Option<&EngineRunRoot> {
        self.views.as_deref().map(Self::root)
    }

    /// The place of an object as the platform's producers spell it in their cursors: the text
    /// of the root (of the views' base, for a key under it) and the key, joined as Python's
    /// `pathlib` joins them.
    pub fn platform_location(&self, key: &str) -> String {
        let (home, key) = self.home(key);
        home.root().platform_location(key)
    }

    /// Whether an object lies on this machine's disk, and not in a bucket.
    pub fn is_on_disk(&self, key: &str) -> bool {
        matches!(self.home(key).0.root().location(), Location::Local(_))
    }

    /// Whether a digest proves an object that is read under a pin.
    pub fn has_digest(&self, key: &str, pin: &Pin) -> bool {
        let (home, key) = self.home(key);
        home.proofs().have_digest(key, pin)
    }

    /// Has objects that no digest is known of proven by their reader, which is asked by the keys
    /// of this world.
    pub fn set_prover(&self, prover: &Arc<dyn Prover>) {
        self.proofs().set_prover(Arc::clone(prover));
        if let Some(views) = &self.views {
            let prover = ViewsProver(Arc::clone(prover));
            views.proofs().set_prover(Arc::new(prover));
        }
    }

    /// The same world, of whose objects nothing is known.
    #[must_use]
    pub fn without_proofs(&self) -> Self {
        let proofs = Proofs::default();
        let backend = match &self.inner.backend {
            Backend::Disk(disk) => Backend::Disk(disk.with_proofs(proofs.clone())),
            Backend::Bucket(bucket) => Backend::Bucket(bucket.clone()),
        };
        Self {
            inner: Arc::new(Inner {
                root: self.inner.root.clone(),
                backend,
                proofs,
                by: self.inner.by.clone(),
            }),
            memory: self.memory.clone(),
            views: self
                .views
                .as_ref()
                .map(|views| Arc::new(views.without_proofs())),
        }
    }

    /// The same world, whose retries wait by another clock and jitter by other randomness. By
    /// default both are those of this machine.
    #[must_use]
    pub fn with_time_and_chance(self, clock: SharedClock, random: impl Random + 'static) -> Self {
        self.going_by(TimeAndChance::new(clock, random))
    }

    fn going_by(self, by: TimeAndChance) -> Self {
        let views = self.views.as_deref().cloned();
        let views = views.map(|views| Arc::new(views.going_by(by.clone())));
        let backend = match &self.inner.backend {
            Backend::Disk(disk) => Backend::Disk(disk.going_by(by.clone())),
            Backend::Bucket(bucket) => Backend::Bucket(bucket.going_by(by.clone())),
        };
        Self {
            inner: Arc::new(Inner {
                root: self.inner.root.clone(),
                backend,
                proofs: self.inner.proofs.clone(),
                by,
            }),
            memory: self.memory,
            views,
        }
    }

    /// The clock that this world's readers go by.
    pub fn clock(&self) -> &SharedClock {
        self.inner.by.clock()
    }

    /// Starts work that takes a processor for a while, on a thread that this crate keeps for
    /// such; the future answers with what it gave. The work goes on if the future is dropped.
    ///
    /// # Errors
    /// `ORACLE_READ_FAILED` if the machine has no thread left, or the work panicked.
    pub fn start_work<T, W>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, Error>> + Send + 'static + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        io::start_work(work)
    }

    /// The memory that all readers of this world share.
    pub fn memory(&self) -> &ReadMemory {
        &self.memory
    }

    /// Reads a world through a given object store, whose keys are those of the root's
    /// prefix (an `s3://` root) or relative to the root (a local one).
    pub fn with_object_store(
        root: EngineRunRoot,
        store: Arc<dyn ObjectStore>,
        retry: RetryPolicy,
    ) -> Self {
        let prefix = match root.location() {
            Location::Local(_) => "",
            Location::S3 { prefix, .. } => prefix,
        };
        let bucket = Bucket::new(store, prefix, root.location().clone(), retry);
        Self {
            inner: Arc::new(Inner {
                root,
                backend: Backend::Bucket(bucket),
                proofs: Proofs::default(),
                by: TimeAndChance::default(),
            }),
            memory: ReadMemory::default(),
            views: None,
        }
    }

    /// A place that holds nothing.
    pub fn empty(root: EngineRunRoot) -> Self {
        let nothing = Arc::new(object_store::memory::InMemory::new());
        Self::with_object_store(root, nothing, RetryPolicy::default())
    }

    /// What is known of this world's objects, and proves them again where a file changed in
    /// its inode or change time alone.
    pub fn proofs(&self) -> &Proofs {
        &self.inner.proofs
    }

    /// Hashes an object of a local world under its pin, and remembers the sha256 as proof of
    /// it; gives up once `goes_on` says so. An object in a bucket needs none. Blocks.
    ///
    /// # Errors
    /// `OBJECT_PATH_REFUSED`, `ORACLE_READ_FAILED`.
    pub fn hash_as_proof(
        &self,
        key: &str,
        pin: &Pin,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        self.check(key)?;
        let (home, key) = self.home(key);
        if let Backend::Disk(disk) = &home.inner.backend
            && let Some(sha256) = disk.sha256_of_exactly(key, pin, goes_on)?
        {
            home.proofs().add_hashed(key, pin, Some(sha256));
        }
        Ok(())
    }

    /// The root that this store was opened at.
    pub fn root(&self) -> &EngineRunRoot {
        &self.inner.root
    }

    /// The full name of an object, for people: a path or `s3://bucket/key`.
    pub fn full_name(&self, key: &str) -> String {
        let (home, key) = self.home(key);
        home.root().location().full_name(key)
    }

    /// Refuses a key that is not plainly below the root.
    fn check(&self, key: &str) -> Result<(), Error> {
        if is_plain_key(key) {
            return Ok(());
        }
        Err(Error::new(
            ReasonCode::ObjectPathRefused,
            format!("The path {key:?} is not plainly below the engine run root"),
        )
        .object(self.root().as_str()))
    }

    fn check_folder<'a>(&self, folder: &'a str) -> Result<&'a str, Error> {
        let folder = folder.strip_suffix('/').unwrap_or(folder);
        if !folder.is_empty() {
            self.check(folder)?;
        }
        Ok(folder)
    }

    fn missing(&self, key: &str) -> Error {
        Error::new(ReasonCode::OracleReadFailed, "There is no such object")
            .object(self.full_name(key))
    }
}

/// Proves files of stream views that lie at a base of their own, by their keys in the world.
struct ViewsProver(Arc<dyn Prover>);

impl Prover for ViewsProver {
    fn is_same(&self, path: &str, pin: &Pin, has_read: bool) -> bool {
        let path = format!("{STREAM_VIEW_BASE}/{path}");
        self.0.is_same(&path, pin, has_read)
    }
}

/// Whether a key is plainly below the root: relative, without empty or dotted folders.
pub(crate) fn is_plain_key(key: &str) -> bool {
    !key.contains(|c: char| c.is_ascii_control())
        && key.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// The object is not the one that was pinned.
pub(crate) fn changed(full_name: String) -> Error {
    Error::new(
        ReasonCode::OracleReadFailed,
        "The object changed since it was first looked at",
    )
    .object(full_name)
}
