//! Looking at the sort cache, and clearing it: `cache show|clear`.

use std::path::PathBuf;
use std::time::SystemTime;

use oracle_store::world_around;
use replay::{CacheEntry, SortCache};
use serde::Serialize;

use crate::blocking::blocking;
use crate::profile::request::StreamRequest;
use crate::run::reading::sort_cache;
use crate::{Error, EventTime, ReasonCode};

/// The sort cache of a profile.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CacheReport {
    /// `OK`.
    pub status: &'static str,
    /// The folder.
    pub folder: PathBuf,
    /// The bytes that it may take.
    pub limit_bytes: u64,
    /// The bytes that its files take.
    pub bytes: u64,
    /// The bytes that were freed; `None` unless it was cleared.
    pub freed_bytes: Option<u64>,
    /// What it holds, the most recently used first; after it was cleared, what is in use.
    pub parts: Vec<CachedPart>,
}

/// What the cache holds of one part.
#[derive(Debug, Clone, Serialize)]
pub struct CachedPart {
    /// The part, and the digest that its files are named by.
    #[serde(flatten)]
    pub entry: CacheEntry,
    /// When a run last opened it; `None` where nothing tells.
    pub last_used_utc: Option<String>,
}

impl From<CacheEntry> for CachedPart {
    fn from(entry: CacheEntry) -> Self {
        let last_used = entry.last_used.and_then(EventTime::of_wall);
        Self {
            last_used_utc: last_used.map(|time| time.to_string()),
            entry,
        }
    }
}

/// Shows what the sort cache of a profile holds.
///
/// # Errors
/// `SORT_CACHE_UNWRITABLE` if it cannot be read.
pub async fn show(request: &StreamRequest) -> Result<CacheReport, Error> {
    let cache = sort_cache(request);
    blocking(move || {
        let entries = cache.entries().map_err(|error| failed(&cache, error))?;
        Ok(report(&cache, entries, None))
    })
    .await
}

/// Removes what no run uses from the sort cache of a profile.
///
/// # Errors
/// `PROFILE_INVALID` for a cache in an engine run root; `SORT_CACHE_UNWRITABLE`.
pub async fn clear(request: &StreamRequest) -> Result<CacheReport, Error> {
    let cache = sort_cache(request);
    if let Some(world) = world_around(cache.folder()) {
        return Err(Error::new(
            ReasonCode::ProfileInvalid,
            format!(
                "The sort cache {} lies in the engine run root {}, where nothing may be removed",
                cache.folder().display(),
                world.display()
            ),
            "Name a folder outside of it (`wsp_order.sort_cache`).",
        ));
    }
    blocking(move || {
        let cleared = cache.clear();
        let (freed, in_use) = cleared.map_err(|error| failed(&cache, error))?;
        Ok(report(&cache, in_use, Some(freed)))
    })
    .await
}

fn report(
    cache: &SortCache,
    mut entries: Vec<CacheEntry>,
    freed_bytes: Option<u64>,
) -> CacheReport {
    let newest_first =
        |entry: &CacheEntry| std::cmp::Reverse(entry.last_used.unwrap_or(SystemTime::UNIX_EPOCH));
    entries.sort_by_key(newest_first);
    CacheReport {
        status: "OK",
        folder: cache.folder().to_owned(),
        limit_bytes: cache.limit(),
        bytes: entries.iter().map(|entry| entry.bytes).sum(),
        freed_bytes,
        parts: entries.into_iter().map(CachedPart::from).collect(),
    }
}

fn failed(cache: &SortCache, source: std::io::Error) -> Error {
    Error::caused(
        replay::ReasonCode::SortCacheUnwritable,
        format!("The sort cache {} cannot be read", cache.folder().display()),
        "Look at the folder's rights and its disk.",
        source,
    )
}
