//! The sort cache: parts that are not in time order, each sorted once into a local file.
//!
//! ```text
//! rows of a part ──► runs sorted in memory ──► one file in time order ──► merged with all parts
//!  (file order)       (as large as memory        (blocks, index,            (as any other part)
//!                      allows)                    trailer)
//! ```
//!
//! A file keeps of each row its event time, its number in the part, its id, its ordering key and its
//! payload, as they were framed: so a later run, under another platform run, adds the envelope's head
//! and nothing else, and order, bytes and ids are those of a sort in memory. A resume looks a place up
//! in the file's index and reads on from there.
//!
//! A shard sorts its own rows only, into a file of its own.
//!
//! # What a file belongs to
//! Its name is a digest of the part's location and pin, its time column, what ids depend on, the
//! shard, and the version of the format and of this program. Another part, or the same one after a change, has
//! another file; one that nobody uses any more is evicted in its time.
//!
//! # Files
//! | name | what it is | who writes it |
//! |---|---|---|
//! | `<digest>.sorted` | a sorted part, whole | renamed there when it is synced |
//! | `<digest>.lock` | its lock: shared by readers, held alone by a builder or an evictor | |
//! | `<digest>.<n>.run`, `<digest>.tmp` | what a builder has so far | the holder of the lock |
//!
//! A builder that dies leaves runs that nobody reads; whoever gets the lock next removes them. The
//! least recently used file makes room where the limit needs it.

mod sorting;
mod sorted_part;
mod runs;
mod blocks;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use durable::{Disk, make_folders};
use model::{KEY_HASH_VERSION, Shard};
use oracle_store::{Hex64, Part};
use serde::{Deserialize, Serialize};

pub(crate) use blocks::{BLOCK_BYTES, BlockReader};
pub(crate) use runs::RunBuffer;
pub(crate) use sorted_part::SortedPart;
pub(crate) use sorting::{RowsToSort, SortPhase, TellSorted, ToSort, run_bytes, sort_now, sorters};

use crate::{Error, ReasonCode};

/// The version of the files; another one is another file.
const VERSION: u32 = 2;
const SORTED: &str = "sorted";
const LOCK: &str = "lock";

/// The digest and the kind in the name of a file of the cache; nothing for the name of another's
/// file, which is never removed.
fn ours(name: &str) -> Option<(&str, &str)> {
    let (digest, kind) = name.split_once('.')?;
    let is_run = kind
        .strip_suffix(".run")
        .is_some_and(|number| number.parse::<u32>().is_ok());
    let is_kind = is_run || [SORTED, LOCK, "tmp"].contains(&kind);
    (is_kind && Hex64::parse(digest).is_some()).then_some((digest, kind))
}

/// A folder of sorted parts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SortCache {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    limit: u64,
    /// Bytes that the folder's files take, and those added since they were counted.
    used: Arc<Mutex<Used>>,
}

#[derive(Debug, Default)]
struct Used {
    counted: bool,
    bytes: u64,
    since: u64,
}

/// Bytes after which the folder is counted again: others may write into it.
const COUNT_EVERY: u64 = 64 << 20;

/// Which part a file is of; what a run does not decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Description {
    format: String,
    version: u32,
    program: String,
    location: String,
    part: String,
    size: u64,
    etag: String,
    time_column: String,
    identity: String,
    /// Which of the part's rows the file has; empty for all.
    shard: String,
}

impl Description {
    /// Of a part in a world at `location`, whose ids are of `identity`.
    pub(crate) fn new(location: &str, part: &Part, identity: &Hex64) -> Self {
        Self {
            format: "wsp_sort_cache".to_owned(),
            version: VERSION,
            // Framing may differ from one version to the next.
            program: env!("CARGO_PKG_VERSION").to_owned(),
            location: location.to_owned(),
            part: part.path().to_owned(),
            size: part.pin().size,
            etag: part.pin().etag.clone(),
            time_column: part.time_column().to_owned(),
            identity: identity.as_str().to_owned(),
            shard: String::new(),
        }
    }

    /// Of the rows of a shard.
    pub(crate) fn of_shard(mut self, shard: Shard) -> Self {
        if !shard.is_whole() {
            self.shard = format!("{shard} by {} v{KEY_HASH_VERSION}", shard.by());
        }
        self
    }

    fn text(&self) -> String {
        // A struct of texts and numbers has JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    fn digest(&self) -> String {
        Hex64::sha256_of(self.text()).to_string()
    }
}

/// What is known of a part's file.
enum Look {
    Found(SortedPart),
    /// There is none that is whole.
    Absent,
    /// Another process builds or evicts it.
    Busy,
}

impl SortCache {
    /// The cache in a folder of a disk, which may take so many bytes.
    pub fn new(disk: Arc<dyn Disk>, folder: PathBuf, limit: u64) -> Self {
        Self {
            disk,
            folder,
            limit,
            used: Arc::default(),
        }
    }

    fn path(&self, digest: &str, kind: &str) -> PathBuf {
        self.folder.join(format!("{digest}.{kind}"))
    }

    fn lock_path(&self, digest: &str) -> PathBuf {
        self.path(digest, LOCK)
    }

    /// Makes the folder, for its owner alone.
    fn make_folder(&self) -> Result<(), Error> {
        let parent = self.folder.parent().unwrap_or(Path::new("."));
        let made = make_folders(&*self.disk, parent, 1);
        let made = made.and_then(|()| self.disk.create_private_dir(&self.folder));
        made.map_err(|error| self.unwritable("cannot be made", error))
    }

    fn look(&self, digest: &str, rows: Option<u64>) -> Result<Look, Error> {
        let path = self.path(digest, SORTED);
        let lock = match self.disk.try_share(&self.lock_path(digest)) {
            Ok(Some(lock)) => lock,
            Ok(None) => return Ok(Look::Busy),
            Err(error) => return Err(self.unwritable("cannot be locked", error)),
        };
        match SortedPart::open(&*self.disk, &path, lock, rows) {
            Ok(Some(part)) => Ok(Look::Found(part)),
            Ok(None) => Ok(Look::Absent),
            Err(error) => {
                let file = path.display();
                tracing::warn!(%file, %error, "a sorted part is damaged; it is sorted again");
                Ok(Look::Absent)
            }
        }
    }

    /// Removes all that is left of a part's file; the caller holds its lock alone.
    fn sweep(&self, digest: &str) -> io::Result<()> {
        for file in self.disk.list(&self.folder)? {
            let found = ours(&file.name);
            if found.is_some_and(|(of, kind)| of == digest && kind != LOCK) {
                self.disk.remove(&self.folder.join(&file.name))?;
            }
        }
        self.recount();
        Ok(())
    }

    fn recount(&self) {
        self.used().counted = false;
    }

    fn used(&self) -> std::sync::MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts bytes that are about to be written, and makes room for them.
    ///
    /// # Errors
    /// `SORT_CACHE_TOO_SMALL` where all that is left is in use; `SORT_CACHE_UNWRITABLE`.
    fn take(&self, bytes: u64) -> Result<(), Error> {
        let mut used = self.used();
        if !used.counted || used.since > COUNT_EVERY || used.bytes + bytes > self.limit {
            let files = self.disk.list(&self.folder);
            let files = files.map_err(|error| self.unwritable("cannot be listed", error))?;
            let files = files.iter().filter(|file| ours(&file.name).is_some());
            used.bytes = files.map(|file| file.length).sum();
            used.counted = true;
            used.since = 0;
        }
        if used.bytes + bytes > self.limit {
            let freed = self.evict(used.bytes + bytes - self.limit)?;
            used.bytes = used.bytes.saturating_sub(freed);
        }
        if used.bytes + bytes > self.limit {
            return Err(self.too_small(used.bytes + bytes));
        }
        used.bytes += bytes;
        used.since += bytes;
        Ok(())
    }

    /// Removes the least recently used files that nobody uses, until so many bytes are free.
    fn evict(&self, bytes: u64) -> Result<u64, Error> {
        let entries = self.entries();
        let mut entries = entries.map_err(|error| self.unwritable("cannot be listed", error))?;
        entries.sort_by_key(|entry| entry.last_used);
        let mut freed = 0;
        for entry in entries {
            if freed >= bytes {
                break;
            }
            freed += self
                .remove(&entry)
                .map_err(|error| self.unwritable("cannot be cleared", error))?;
        }
        Ok(freed)
    }

    /// Removes the files of a digest, unless somebody uses them; answers how many bytes they had.
    fn remove(&self, entry: &CacheEntry) -> io::Result<u64> {
        let lock_path = self.lock_path(&entry.digest);
        let Some(lock) = self.disk.try_lock(&lock_path)? else {
            return Ok(0);
        };
        for name in &entry.files {
            match self.disk.remove(&self.folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        // Last, and under the lock: who waits for it finds that the name is gone, and tries again.
        self.disk.remove(&lock_path)?;
        drop(lock);
        Ok(entry.bytes)
    }

    /// What the folder holds, part by part; nothing where there is no folder.
    ///
    /// # Errors
    /// What the file system says.
    pub fn entries(&self) -> io::Result<Vec<CacheEntry>> {
        let files = match self.disk.list(&self.folder) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut entries: Vec<CacheEntry> = Vec::new();
        for file in files {
            let Some((digest, kind)) = ours(&file.name) else {
                continue;
            };
            let known = entries.iter().position(|entry| entry.digest == digest);
            let known = known.unwrap_or_else(|| {
                entries.push(CacheEntry {
                    digest: digest.to_owned(),
                    location: None,
                    part: None,
                    rows: None,
                    bytes: 0,
                    last_used: None,
                    files: Vec::new(),
                });
                entries.len() - 1
            });
            let entry = &mut entries[known];
            if kind == LOCK {
                // Whoever locks the file touches it.
                entry.last_used = file.modified;
                continue;
            }
            entry.bytes += file.length;
            if kind == SORTED {
                self.describe(entry, &file.name);
            }
            entry.files.push(file.name);
        }
        Ok(entries)
    }

    /// Adds what a sorted file says of itself.
    fn describe(&self, entry: &mut CacheEntry, name: &str) {
        let file = self.disk.open(&self.folder.join(name));
        let described = file.and_then(|file| sorted_part::described(&*file));
        let Ok((text, trailer)) = described else {
            return;
        };
        if let Ok(description) = serde_json::from_slice::<Description>(&text) {
            entry.location = Some(description.location);
            entry.part = Some(description.part);
            entry.rows = Some(trailer.rows);
        }
    }

    /// Removes every file that no process uses; answers the bytes that are free now, and what is
    /// still there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn clear(&self) -> io::Result<(u64, Vec<CacheEntry>)> {
        let (mut freed, mut in_use) = (0, Vec::new());
        for entry in self.entries()? {
            match self.remove(&entry)? {
                0 if entry.bytes > 0 => in_use.push(entry),
                bytes => freed += bytes,
            }
        }
        self.recount();
        Ok((freed, in_use))
    }

    /// Whether there is a whole file of a part that has so many rows, in a world at `location`, whose
    /// ids are of `identity` ([`envelope::FrameSpec::identity_digest`]). Locks nothing.
    pub fn holds(&self, location: &str, part: &Part, identity: &Hex64, rows: u64) -> bool {
        let digest = Description::new(location, part, identity).digest();
        let path = self.path(&digest, SORTED);
        let sorted = SortedPart::open(&*self.disk, &path, Box::new(()), Some(rows));
        sorted.is_ok_and(|sorted| sorted.is_some())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The bytes that the folder may take.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    fn too_small(&self, needed: u64) -> Error {
        Error::new(
            ReasonCode::SortCacheTooSmall,
            format!(
                "Sorting what is not in time order takes about {} MiB in {}, above \
                 `wsp_order.sort_cache_mib` ({} MiB)",
                needed.div_ceil(1 << 20),
                self.folder.display(),
                self.limit >> 20
            ),
            "Raise it where the disk has room, stream fewer outputs, or use \
             `stream_order: as_written`.",
        )
    }

    fn unwritable(&self, what: &str, error: io::Error) -> Error {
        let fix = if error.kind() == io::ErrorKind::StorageFull {
            "The disk is full: free space, `wsp-cli cache clear`, or name a folder on another disk \
             (`wsp_order.sort_cache`)."
        } else {
            "Look at the folder's rights and its disk, or name another folder \
             (`wsp_order.sort_cache`)."
        };
        Error::caused(
            ReasonCode::SortCacheUnwritable,
            format!("The sort cache {} {what}", self.folder.display()),
            fix,
            error,
        )
    }

    /// A sorted file that turned out to be damaged while it was read: it is removed, so that the
    /// next run builds another.
    pub(crate) fn damaged(&self, description: &Description, error: io::Error) -> Error {
        let path = self.path(&description.digest(), SORTED);
        if let Err(error) = self.disk.remove(&path) {
            tracing::warn!(file = %path.display(), %error, "a damaged sorted part stays");
        }
        Error::caused(
            ReasonCode::SortCacheDamaged,
            format!(
                "The sorted form of {}, {}, is damaged",
                description.part,
                path.display()
            ),
            "A rerun sorts the part again and goes on. If it comes again, look at the disk.",
            error,
        )
    }
}

/// What a sort cache holds of one part.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CacheEntry {
    /// The digest that the files are named by.
    pub digest: String,
    /// The engine run root of the part; `None` where no file is whole.
    pub location: Option<String>,
    /// The part's path under it; `None` where no file is whole.
    pub part: Option<String>,
    /// The rows of the part; `None` where no file is whole.
    pub rows: Option<u64>,
    /// The bytes of all files of the part.
    pub bytes: u64,
    /// When a run last opened the part; `None` where nothing tells.
    #[serde(skip)]
    pub last_used: Option<SystemTime>,
    #[serde(skip)]
    files: Vec<String>,
}
