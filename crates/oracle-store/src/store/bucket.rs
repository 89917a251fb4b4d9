//! A world in object storage: every request under the one retry policy, every read
//! held to its pin.

use std::collections::{BTreeSet, HashSet};
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Error as StoreError, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutPayload,
};

use super::budget::{ByteBudget, READ_BUDGET_BYTES};
use super::tails::Tails;
use super::time_and_chance::TimeAndChance;
use super::{Entry, Level, MAX_WHOLE_OBJECT_BYTES, Object, RetryPolicy, changed, io};
use crate::error::{Error, ReasonCode};
use crate::location::Location;
use crate::part::Pin;
use model::Clock;

/// How much of an object one request takes when it is streamed.
const STREAM_RANGE_BYTES: u64 = 4 << 20;
/// Requests in flight for one streamed object.
const STREAM_READ_AHEAD: usize = 2;
/// Requests in flight to pin the objects of a listing that has no ETags.
const PIN_REQUESTS: usize = 16;

/// A bucket's prefix. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Bucket(Arc<Fields>);

#[derive(Debug)]
struct Fields {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    location: Location,
    retry: RetryPolicy,
    budget: Arc<ByteBudget>,
    tails: Tails,
    by: TimeAndChance,
}

impl Bucket {
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        prefix: &str,
        location: Location,
        retry: RetryPolicy,
    ) -> Self {
        Self(Arc::new(Fields {
            store,
            prefix: prefix.to_owned(),
            location,
            retry,
            budget: ByteBudget::new(READ_BUDGET_BYTES),
            tails: Tails::default(),
            by: TimeAndChance::default(),
        }))
    }

    /// The same prefix, by another clock and other randomness.
    pub(super) fn going_by(&self, by: TimeAndChance) -> Self {
        let Fields {
            store,
            prefix,
            location,
            retry,
            budget,
            ..
        } = &*self.0;
        Self(Arc::new(Fields {
            store: Arc::clone(store),
            prefix: prefix.clone(),
            location: location.clone(),
            retry: *retry,
            budget: Arc::clone(budget),
            tails: Tails::default(),
            by,
        }))
    }

    /// What all windows of this world's parts are drawn from.
    pub(crate) fn budget(&self) -> &Arc<ByteBudget> {
        &self.0.budget
    }

    pub(crate) fn tails(&self) -> &Tails {
        &self.0.tails
    }

    fn name(&self, key: &str) -> String {
        self.0.location.full_name(key)
    }

    /// The store's path of a key, letter by letter: nothing is encoded or normalised.
    fn path(&self, key: &str) -> Result<Path, Error> {
        let prefix = &self.0.prefix;
        let full = match (prefix.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (_, true) => prefix.clone(),
            _ => format!("{prefix}/{key}"),
        };
        Path::parse(full).map_err(|source| {
            Error::new(
                ReasonCode::ObjectPathRefused,
                "The object's key cannot be addressed",
            )
            .object(self.name(key))
            .because(source)
        })
    }

    /// The key of a store's path, if it lies below the prefix.
    fn key(&self, path: &Path) -> Option<String> {
        let prefix = &self.0.prefix;
        let key = path.as_ref().strip_prefix(prefix.as_str())?;
        let key = if prefix.is_empty() {
            key
        } else {
            key.strip_prefix('/')?
        };
        (!key.is_empty()).then(|| key.to_owned())
    }

    /// Runs a request on the IO runtime until it succeeds, fails for good, or the retries
    /// are used up.
    async fn request<T, F>(
        &self,
        key: &str,
        what: &'static str,
        attempt: impl Fn(Arc<dyn ObjectStore>) -> F + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let (bucket, key) = (self.clone(), key.to_owned());
        let task = io::handle()?.spawn(async move {
            let mut failed = 0;
            loop {
                let error = match attempt(bucket.0.store.clone()).await {
                    Ok(value) => return Ok(value),
                    Err(error) => error,
                };
                failed += 1;
                let wait = is_transient(&error)
                    .then(|| bucket.0.retry.delay_after(failed, bucket.0.by.unit()))
                    .flatten();
                let Some(wait) = wait else { return Err(bucket.refused(&key, what, error)) };
                tracing::debug!(object = bucket.name(&key), %error, ?wait, "the object store is tried again");
                Clock::sleep(bucket.0.by.clock(), wait).await;
            }
        });
        task.await.map_err(io::broken)?
    }

    /// Names an error for good.
    fn refused(&self, key: &str, what: &'static str, source: StoreError) -> Error {
        let retryable = is_transient(&source);
        let (code, what) = match (&source, status_of(&source)) {
            (StoreError::Precondition { .. }, _) => {
                return changed(self.name(key)).because(source);
            }
            _ if says(&source, "NoSuchBucket") => {
                (ReasonCode::EngineRootMissing, "There is no such bucket")
            }
            (StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. }, _)
            | (_, Some(401 | 403)) => (
                ReasonCode::OracleReadFailed,
                "The object store refuses the credentials",
            ),
            (StoreError::NotFound { .. }, _) => {
                (ReasonCode::OracleReadFailed, "There is no such object")
            }
            _ if says(&source, BARE_REDIRECT) => (
                ReasonCode::OracleReadFailed,
                "The object store redirects elsewhere, as it does when the region is wrong",
            ),
            _ => (ReasonCode::OracleReadFailed, what),
        };
        Error::new(code, what)
            .object(self.name(key))
            .retryable(retryable)
            .because(source)
    }

    pub(crate) async fn head(&self, key: &str) -> Result<Option<Pin>, Error> {
        let path = self.path(key)?;
        self.request(key, "The object cannot be looked up", move |store| {
            let path = path.clone();
            async move { if_exists(store.head(&path).await) }
        })
        .await
        .map(|meta| meta.map(|meta| pin_of(&meta)))
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Object>, Error> {
        let path = self.path(key)?;
        let found = self
            .request(key, "The object cannot be read", move |store| {
                let path = path.clone();
                async move {
                    let Some(result) = if_exists(store.get(&path).await)? else {
                        return Ok(None);
                    };
                    let meta = result.meta.clone();
                    if meta.size > MAX_WHOLE_OBJECT_BYTES {
                        return Ok(Some((meta, None)));
                    }
                    let bytes = result.bytes().await?;
                    whole(&bytes, meta.size)?;
                    Ok(Some((meta, Some(bytes))))
                }
            })
            .await?;
        match found {
            None => Ok(None),
            Some((meta, Some(bytes))) => Ok(Some(Object {
                bytes,
                pin: pin_of(&meta),
            })),
            Some((_, None)) => {
                let what = "The object is larger than the 64 MiB that one record may have";
                Err(Error::new(ReasonCode::OracleReadFailed, what).object(self.name(key)))
            }
        }
    }

    /// Reads a range of the pinned object, all of it or nothing.
    pub(crate) async fn range(
        &self,
        key: &str,
        pin: &Pin,
        range: Range<u64>,
    ) -> Result<Bytes, Error> {
        let path = self.path(key)?;
        let if_match = (!pin.etag.starts_with(NO_ETAG)).then(|| pin.etag.clone());
        let (meta, bytes) = self
            .request(key, "The object cannot be read", move |store| {
                let (path, range) = (path.clone(), range.clone());
                let options = GetOptions {
                    if_match: if_match.clone(),
                    range: Some(GetRange::Bounded(range.clone())),
                    ..GetOptions::default()
                };
                async move {
                    let result = store.get_opts(&path, options).await?;
                    let meta = result.meta.clone();
                    let bytes = result.bytes().await?;
                    whole(&bytes, range.end - range.start)?;
                    Ok((meta, bytes))
                }
            })
            .await?;
        // Not every server honours If-Match.
        if pin_of(&meta) == *pin {
            Ok(bytes)
        } else {
            Err(changed(self.name(key)))
        }
    }

    pub(crate) fn stream(&self, key: &str, pin: &Pin) -> BoxStream<'static, Result<Bytes, Error>> {
        let (bucket, key, pin) = (self.clone(), key.to_owned(), pin.clone());
        if pin.size == 0 {
            let check = async move {
                match bucket.head(&key).await? {
                    Some(found) if found == pin => Ok(Bytes::new()),
                    _ => Err(changed(bucket.name(&key))),
                }
            };
            return futures::stream::once(check).boxed();
        }
        let starts = (0..pin.size).step_by(STREAM_RANGE_BYTES as usize);
        futures::stream::iter(starts)
            .map(move |start| {
                let (bucket, key, pin) = (bucket.clone(), key.clone(), pin.clone());
                let end = pin.size.min(start + STREAM_RANGE_BYTES);
                async move { bucket.range(&key, &pin, start..end).await }
            })
            .buffered(STREAM_READ_AHEAD)
            .boxed()
    }

    pub(crate) async fn list_level(&self, folder: &str) -> Result<Level, Error> {
        let prefix = self.path(folder)?;
        let listed = self
            .request(folder, "The folder cannot be listed", move |store| {
                let prefix = prefix.clone();
                async move { store.list_with_delimiter(Some(&prefix)).await }
            })
            .await?;
        let names = listed.common_prefixes.iter().filter_map(Path::filename);
        Ok(Level {
            folders: names.map(str::to_owned).collect(),
            objects: self.entries(listed.objects).await?,
        })
    }

    pub(crate) async fn list_folders(&self, folder: &str) -> Result<Vec<String>, Error> {
        let prefix = self.path(folder)?;
        let listed = self
            .request(folder, "The folder cannot be listed", move |store| {
                let prefix = prefix.clone();
                async move { store.list_with_delimiter(Some(&prefix)).await }
            })
            .await?;
        let names = listed.common_prefixes.iter().filter_map(Path::filename);
        Ok(names.map(str::to_owned).collect())
    }

    pub(crate) async fn list_tree(&self, folder: &str) -> Result<Level, Error> {
        let prefix = self.path(folder)?;
        let listed = self
            .request(folder, "The folder cannot be listed", move |store| {
                let prefix = prefix.clone();
                async move { store.list(Some(&prefix)).try_collect::<Vec<_>>().await }
            })
            .await?;
        let (objects, markers) = self.entries_and_markers(listed).await?;
        let mut folders: BTreeSet<String> = markers.into_iter().collect();
        let keys = objects.iter().map(|entry| &entry.path).chain(&folders);
        let above = keys.flat_map(|key| {
            let ends = key.match_indices('/').map(|(at, _)| at);
            ends.map(|at| key[..at].to_owned())
        });
        let above: Vec<String> = above.collect();
        folders.extend(above);
        Ok(Level {
            objects,
            folders: folders.into_iter().collect(),
        })
    }

    async fn entries(&self, listed: Vec<ObjectMeta>) -> Result<Vec<Entry>, Error> {
        Ok(self.entries_and_markers(listed).await?.0)
    }

    /// The entries of a listing, and the folders that it marks. Entries that it gives no ETag
    /// are asked for one by one.
    ///
    /// So are empty ones. Consoles mark a folder by an empty object whose key ends in `/`,
    /// which a listing here shows without the `/`: where there is no object by the key that
    /// is shown, it is such a marker and no entry.
    async fn entries_and_markers(
        &self,
        listed: Vec<ObjectMeta>,
    ) -> Result<(Vec<Entry>, Vec<String>), Error> {
        let keyed = listed
            .into_iter()
            .filter_map(|meta| Some((self.key(&meta.location)?, meta)));
        let entries = futures::stream::iter(keyed)
            .map(|(path, meta)| async move {
                let pin = if meta.e_tag.is_some() && meta.size > 0 {
                    pin_of(&meta)
                } else {
                    match self.head(&path).await? {
                        Some(pin) => pin,
                        None if meta.size == 0 => return Ok(Err(path)),
                        None => return Err(changed(self.name(&path))),
                    }
                };
                Ok::<_, Error>(Ok(Entry { path, pin }))
            })
            .buffered(PIN_REQUESTS);
        let found: Vec<_> = entries.try_collect().await?;
        let (mut entries, mut markers) = (Vec::with_capacity(found.len()), Vec::new());
        for found in found {
            match found {
                Ok(entry) => entries.push(entry),
                Err(marker) => markers.push(marker),
            }
        }
        // A marker beside an empty object of its name is that object twice.
        let mut seen = HashSet::new();
        entries.retain(|entry| entry.pin.size > 0 || seen.insert(entry.path.clone()));
        Ok((entries, markers))
    }

    /// Writes an object unless there is one already; says whether it wrote.
    pub(crate) async fn create(&self, key: &str, bytes: Bytes) -> Result<bool, Error> {
        let path = self.path(key)?;
        self.request(key, "The object cannot be written", move |store| {
            let (path, payload) = (path.clone(), PutPayload::from(bytes.clone()));
            async move {
                match store.put_opts(&path, payload, PutMode::Create.into()).await {
                    Ok(_) => Ok(true),
                    Err(StoreError::AlreadyExists { .. }) => Ok(false),
                    Err(error) => Err(error),
                }
            }
        })
        .await
    }
}

/// Marks the pin of an object whose store gives no ETag; no ETag starts so.
const NO_ETAG: &str = "modified ";

fn pin_of(meta: &ObjectMeta) -> Pin {
    let etag = meta
        .e_tag
        .clone()
        .unwrap_or_else(|| format!("{NO_ETAG}{}", meta.last_modified));
    Pin {
        size: meta.size,
        etag,
    }
}

fn if_exists<T>(found: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error @ StoreError::NotFound { .. }) if says(&error, "NoSuchBucket") => Err(error),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A body that ends early without an error is a connection fault like any other.
fn whole(bytes: &Bytes, length: u64) -> Result<(), StoreError> {
    if bytes.len() as u64 == length {
        return Ok(());
    }
    let source = format!("the body has {} of {length} bytes", bytes.len()).into();
    Err(StoreError::Generic {
        store: "oracle-store",
        source,
    })
}

/// Whether the same request may succeed later.
fn is_transient(error: &StoreError) -> bool {
    match (error, status_of(error)) {
        (StoreError::Generic { .. }, None) => !says(error, BARE_REDIRECT),
        (StoreError::Generic { .. }, Some(status)) => matches!(status, 408 | 429 | 500..),
        _ => false,
    }
}

/// The HTTP status of an error that `object_store` has no kind for. Its text is the only
/// place where that shows; a text without one counts as a connection fault.
fn status_of(error: &StoreError) -> Option<u16> {
    let text = error.to_string();
    text.split_once("status code: ")?.1.get(..3)?.parse().ok()
}

const BARE_REDIRECT: &str = "redirect without LOCATION";

fn says(error: &StoreError, words: &str) -> bool {
    error.to_string().contains(words)
}
