//! The object of one key, and the few requests made about it.

use std::sync::Arc;
use std::time::Duration;

use model::{Backoff, Cause, Clock as _, SharedClock, json_strictly};
use object_store::path::{Path, PathPart};
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, UpdateVersion,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::count::{MOST, count};
use crate::error::{Error, ReasonCode, config_invalid, corrupt, unavailable, unsupported};
use crate::key::CursorKey;
use crate::layout::folder_name;
use crate::lease::{LeaseRecord, SessionId};
use crate::record::{SLOT_VERSION, json};
use crate::slots::{Change, Life, RecordChange, Slot, StoredRecord};

/// Tries of one write before the store counts as away.
pub(super) const TRIES: u32 = 5;
/// The pauses between two tries, of a write and of the proof.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(1_600));

/// One request, from the first byte to the last of its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Tries to make the object that conditional puts are proven on.
const TEST_TRIES: u32 = 6;
const TESTING: &str = "test conditional puts";

/// Lines of history kept in the object.
const HISTORY_LINES: usize = 20;

/// What the object of a key holds, as JSON with sorted keys.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredObject {
    /// The text of an object that was not whole, kept until a reset gives it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    damaged: Option<String>,
    format_version: u32,
    pub(super) history: Vec<String>,
    pub(super) lease: Option<LeaseRecord>,
    record: Option<Box<RawValue>>,
    /// Counts the writes, from `i64::MAX` on at 0.
    #[serde(deserialize_with = "count")]
    pub(super) sequence: u64,
    /// The id of the write that made this object.
    pub(super) write: SessionId,
}

impl Default for StoredObject {
    fn default() -> Self {
        Self {
            damaged: None,
            format_version: SLOT_VERSION,
            history: Vec::new(),
            lease: None,
            record: None,
            sequence: 0,
            write: SessionId(String::new()),
        }
    }
}

impl StoredObject {
    fn parse(bytes: &[u8], place: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u64,
        }
        let not_whole = |error: serde_json::Error| {
            corrupt(place, "it is not one whole checkpoint object").because(error)
        };
        let version: Version = json_strictly(bytes).map_err(not_whole)?;
        if version.format_version != u64::from(SLOT_VERSION) {
            return Err(unsupported(place, version.format_version, SLOT_VERSION));
        }
        json_strictly(bytes).map_err(not_whole)
    }

    fn stored_record(&self, key: &CursorKey, place: &str) -> Option<StoredRecord> {
        if let Some(text) = &self.damaged {
            return Some(StoredRecord {
                text: text.clone(),
                record: Err(corrupt(place, "it was not one whole checkpoint object")),
            });
        }
        let record = self.record.as_deref();
        record.map(|record| StoredRecord::parse(record.get(), key, place))
    }

    /// Marks the object as another write, with an id that no other has.
    pub(super) fn count_on(&mut self, write: SessionId) {
        self.sequence = (self.sequence + 1) & MOST;
        self.write = write;
    }

    /// Makes the object what is to be written; false if nothing is.
    pub(super) fn apply(&mut self, change: Change) -> bool {
        let mut is_changed = change.lease.is_some();
        if change.lease.is_some() {
            self.lease = change.lease;
        }
        match change.record {
            RecordChange::Keep => {}
            RecordChange::Save(record) => {
                let record = record.to_json();
                self.remember(record.clone());
                // It was made as JSON the line before.
                self.record = RawValue::from_string(record).ok();
                is_changed = true;
            }
            RecordChange::Remove(line) => {
                (self.record, self.damaged) = (None, None);
                self.remember(line);
                is_changed = true;
            }
        }
        is_changed
    }

    fn remember(&mut self, line: String) {
        self.history.push(line);
        let surplus = self.history.len().saturating_sub(HISTORY_LINES);
        self.history.drain(..surplus);
    }
}

/// An object as it was read or written, and the version that the next write must demand.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) object: StoredObject,
    pub(super) version: UpdateVersion,
}

/// Why a write may not have been made.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The object is not what the write demanded.
    Conflict,
    /// No clear answer.
    Failed(Error),
}

/// The objects under a prefix.
#[derive(Debug)]
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Times requests, and the pauses between them.
    pace: SharedClock,
}

impl Objects {
    pub(super) fn new(store: Arc<dyn ObjectStore>, prefix: Path, pace: SharedClock) -> Self {
        Self {
            store,
            prefix,
            pace,
        }
    }

    /// The clock of requests and of the pauses between them.
    pub(super) fn pace(&self) -> &SharedClock {
        &self.pace
    }

    /// Waits a little before a write that was not made is made again; a fault that waiting does
    /// not help is given back.
    pub(super) async fn pause_after(&self, refusal: Refusal, failed: u32) -> Result<(), Error> {
        match refusal {
            Refusal::Conflict => {}
            Refusal::Failed(error) if !error.is_retryable() => return Err(error),
            Refusal::Failed(_) => self.pace.sleep(PAUSES.longest(failed)).await,
        }
        Ok(())
    }

    pub(super) fn prefix(&self) -> &Path {
        &self.prefix
    }

    pub(super) fn place(&self) -> String {
        format!("{}/{}", self.store, self.prefix)
    }

    pub(super) fn place_of(&self, key: &CursorKey) -> String {
        format!("{}/{}", self.store, self.path(key))
    }

    pub(super) fn path(&self, key: &CursorKey) -> Path {
        self.prefix
            .clone()
            .join(key.pack_key().as_str())
            .join(PathPart::from(folder_name(key)))
            .join("cursor.json")
    }

    /// The slot that an object is. Nobody can tell here whether a holder lives.
    pub(super) fn slot(&self, key: &CursorKey, found: Option<&Found>) -> Slot {
        let Some(Found { object, .. }) = found else {
            return Slot::default();
        };
        Slot {
            // Every write of the object is a sign of life.
            stamp: object.sequence,
            lease: Ok(object.lease.clone()),
            record: object.stored_record(key, &self.place_of(key)),
            life: Life::Unknown,
            may_expire: true,
        }
    }

    /// The object of a key, if there is one.
    pub(super) async fn get(&self, key: &CursorKey) -> Result<Option<Found>, Error> {
        let place = self.place_of(key);
        let Some((bytes, version)) = self.fetch(&self.path(key)).await? else {
            return Ok(None);
        };
        let object = StoredObject::parse(&bytes, &place)?;
        Ok(Some(Found { object, version }))
    }

    /// The same, where an object that is not whole becomes one that says so.
    pub(super) async fn get_even_damaged(&self, key: &CursorKey) -> Result<Option<Found>, Error> {
        let Some((bytes, version)) = self.fetch(&self.path(key)).await? else {
            return Ok(None);
        };
        let object = match StoredObject::parse(&bytes, &self.place_of(key)) {
            Err(error) if error.code() == ReasonCode::Corrupt => StoredObject {
                damaged: Some(String::from_utf8_lossy(&bytes).into_owned()),
                ..StoredObject::default()
            },
            parsed => parsed?,
        };
        Ok(Some(Found { object, version }))
    }

    /// The bytes of an object, if there is one.
    pub(super) async fn fetch(
        &self,
        path: &Path,
    ) -> Result<Option<(bytes::Bytes, UpdateVersion)>, Error> {
        let operation = "read the checkpoint object";
        let place = || format!("{}/{path}", self.store);
        let fetch = async {
            let answer = self.store.get(path).await?;
            let version = UpdateVersion {
                e_tag: answer.meta.e_tag.clone(),
                version: answer.meta.version.clone(),
            };
            Ok((answer.bytes().await?, version))
        };
        match self.pace.timeout(REQUEST_TIMEOUT, fetch).await {
            Ok(Ok(found)) => Ok(Some(found)),
            Ok(Err(StoreError::NotFound { .. })) => Ok(None),
            Ok(Err(error)) => Err(failed(operation, place(), error)),
            Err(elapsed) => Err(away(operation, place(), elapsed)),
        }
    }

    /// Writes an object over `before`, or as a new one; its version.
    pub(super) async fn put(
        &self,
        key: &CursorKey,
        object: &StoredObject,
        before: Option<&Found>,
    ) -> Result<UpdateVersion, Refusal> {
        let version = before.map(|found| &found.version);
        self.put_over(&self.path(key), json(object), version).await
    }

    /// Writes a text over the version `before`, or as a new object; its version.
    pub(super) async fn put_over(
        &self,
        path: &Path,
        text: String,
        before: Option<&UpdateVersion>,
    ) -> Result<UpdateVersion, Refusal> {
        let update = |version: &UpdateVersion| PutMode::Update(version.clone());
        let mode = before.map_or(PutMode::Create, update);
        self.put_at(path, text, mode).await
    }

    async fn put_at(
        &self,
        path: &Path,
        text: String,
        mode: PutMode,
    ) -> Result<UpdateVersion, Refusal> {
        let operation = "write the checkpoint object";
        let place = || format!("{}/{path}", self.store);
        let put = self
            .store
            .put_opts(path, text.into(), PutOptions::from(mode));
        match self.pace.timeout(REQUEST_TIMEOUT, put).await {
            Ok(Ok(put)) => Ok(UpdateVersion {
                e_tag: put.e_tag,
                version: put.version,
            }),
            Ok(Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. })) => {
                Err(Refusal::Conflict)
            }
            Ok(Err(error)) => Err(Refusal::Failed(failed(operation, place(), error))),
            Err(elapsed) => Err(Refusal::Failed(away(operation, place(), elapsed))),
        }
    }

    /// Writes, on an object of its own, what a store that honours conditions must refuse. The
    /// object stays: one of a fixed name leaves nothing behind however often a start is killed,
    /// and no producer takes it away under another's proof.
    ///
    /// # Errors
    /// `CHECKPOINT_CONFIG_INVALID` if it takes them: leases would keep nobody out.
    pub(super) async fn prove_conditional_puts(&self) -> Result<(), Error> {
        let path = self.prefix.clone().join(".condition-test");
        let put = |text: &str, mode| self.put_at(&path, text.to_owned(), mode);
        self.make_test_object(&path).await?;
        let other = UpdateVersion {
            e_tag: Some("\"0123456789abcdef0123456789abcdef\"".to_owned()),
            version: None,
        };
        let created_twice = put("2", PutMode::Create).await;
        let updated_blindly = put("3", PutMode::Update(other)).await;
        for outcome in [created_twice, updated_blindly] {
            match outcome {
                Err(Refusal::Conflict) => {}
                Err(Refusal::Failed(error)) => return Err(error),
                Ok(_) => {
                    return Err(config_invalid(
                        self.place(),
                        "the object store ignores the conditions of a conditional put",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Makes sure that the object of the proof is there. A refusal alone does not say so: S3
    /// also refuses while another write is in flight (409), and asks for another try.
    async fn make_test_object(&self, path: &Path) -> Result<(), Error> {
        for tries in 1..=TEST_TRIES {
            match self.put_at(path, "1".to_owned(), PutMode::Create).await {
                Ok(_) => return Ok(()),
                Err(Refusal::Failed(error)) => return Err(error),
                Err(Refusal::Conflict) => {}
            }
            match self
                .pace
                .timeout(REQUEST_TIMEOUT, self.store.head(path))
                .await
            {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(StoreError::NotFound { .. })) => {}
                Ok(Err(error)) => return Err(failed(TESTING, self.place(), error)),
                Err(elapsed) => return Err(away(TESTING, self.place(), elapsed)),
            }
            self.pace.sleep(PAUSES.longest(tries)).await;
        }
        Err(unavailable(
            TESTING,
            self.place(),
            "The object store refuses every write of it: look after it",
        ))
    }

    /// Changes an object's text without any condition.
    #[cfg(test)]
    pub(super) async fn rewrite(&self, key: &CursorKey, change: impl FnOnce(&str) -> String) {
        let (bytes, _) = self.fetch(&self.path(key)).await.unwrap().unwrap();
        let text = change(std::str::from_utf8(&bytes).unwrap());
        self.put_at(&self.path(key), text, PutMode::Overwrite)
            .await
            .unwrap();
    }

    pub(super) fn gone(&self, operation: &'static str, key: &CursorKey) -> Error {
        unavailable(
            operation,
            self.place_of(key),
            "The object is gone: bring it back, or start the stream anew",
        )
    }

    /// The store gave no clear answer about the object of a key.
    pub(super) fn unsettled(&self, operation: &'static str, key: &CursorKey) -> Error {
        self.unsettled_at(operation, &self.path(key))
    }

    /// The same, about any object.
    pub(super) fn unsettled_at(&self, operation: &'static str, path: &Path) -> Error {
        unavailable(
            operation,
            format!("{}/{path}", self.store),
            "The object store gives no clear answer: look after it and the network",
        )
    }
}

fn away(operation: &'static str, place: String, source: impl Into<Cause>) -> Error {
    unavailable(
        operation,
        place,
        "The object store does not answer: look after it and the network",
    )
    .because(source)
}

fn failed(operation: &'static str, place: String, source: StoreError) -> Error {
    let fault = match (said(&source), &source) {
        (Some(fault), _) => fault,
        (None, StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. }) => {
            "these credentials may not read and write there"
        }
        (None, StoreError::NotImplemented { .. } | StoreError::NotSupported { .. }) => {
            "it has no conditional put"
        }
        (None, StoreError::UnknownConfigurationKey { .. } | StoreError::InvalidPath { .. }) => {
            "its settings do not fit"
        }
        (None, _) => return away(operation, place, source),
    };
    config_invalid(place, fault).because(source)
}

/// What the store's own words mean that no waiting helps.
fn said(error: &StoreError) -> Option<&'static str> {
    const MEANINGS: [(&[&str], &str); 4] = [
        (
            &["ExpiredToken", "TokenRefreshRequired"],
            "its credentials have expired: renew them, and run again",
        ),
        (
            &["RequestTimeTooSkewed"],
            "this machine's clock is too far from the object store's: set it right",
        ),
        (
            &[
                "PermanentRedirect",
                "301 Moved",
                "AuthorizationHeaderMalformed",
            ],
            "the bucket is in another region: name it in `wiring.object_store.region`",
        ),
        (
            &["ETag Header missing", "Missing ETag", "missing etag"],
            "it answers without an ETag, which every conditional put needs",
        ),
    ];
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        let text = cause.to_string();
        let meant = MEANINGS
            .iter()
            .find(|(words, _)| words.iter().any(|word| text.contains(word)));
        if let Some((_, meaning)) = meant {
            return Some(meaning);
        }
        next = cause.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReasonCode;

    #[test]
    fn what_no_waiting_helps_is_final_and_has_a_sentence_of_its_own() {
        for (said, sentence) in [
            ("400 Bad Request: <Code>ExpiredToken</Code>", "have expired"),
            ("403 Forbidden: <Code>RequestTimeTooSkewed</Code>", "clock"),
            (
                "301 Moved Permanently: <Code>PermanentRedirect</Code>",
                "region",
            ),
            ("ETag Header missing from response", "without an ETag"),
        ] {
            let error = StoreError::Generic {
                store: "S3",
                source: said.into(),
            };
            let error = failed("write", "s3://b/p".to_owned(), error);
            assert_eq!(error.code(), ReasonCode::ConfigInvalid, "{said}");
            assert!(error.to_string().contains(sentence), "{error}");
        }
        let error = StoreError::Generic {
            store: "S3",
            source: "503 Slow Down".into(),
        };
        assert!(failed("write", String::new(), error).is_retryable());
    }
}
