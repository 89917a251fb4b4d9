//! `_oracle_pack_contents.json`: every object of a pack with its length and sha256.
//!
//! The only evidence that covers the data itself: gates hash validation bundles, not
//! rows. Nothing in the manifest or the seal binds it, since they allow no more fields;
//! whoever can rewrite the data and this index together is not found out by it.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ReasonCode};
use crate::json::from_json;
use crate::locator::{DataPlaces, OutputLocator, Part, PartPattern, Pin};
use crate::manifest::{FORMAT_VERSION, PACK_MANIFEST};
use crate::seal::{PACK_SEAL, PACK_SEAL_FLAG};
use crate::store::{Entry, KnownDigests, STAGING_PREFIX, WorldStore, is_plain_key};
use model::{Hex64, PackId};

/// The index's key under an engine run root.
pub(crate) const PACK_CONTENTS: &str = "_oracle_pack_contents.json";

/// Objects that are verified at one time.
const OBJECTS_IN_FLIGHT: usize = 4;

/// How the data of a pack is verified against its contents index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataVerification {
    /// Nothing is compared.
    None,
    /// The length of every object is compared.
    Size,
    /// The sha256 of every object is compared.
    Sha256,
}

/// One object of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContentsEntry {
    /// The object's key, relative to the engine run root.
    pub path: String,
    /// The object's length in bytes.
    pub bytes: u64,
    /// The sha256 of the object's bytes.
    pub sha256: Hex64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContentsFile {
    version: String,
    oracle_pack_id: PackId,
    objects: Vec<ContentsEntry>,
}

/// The contents of a pack, in byte order of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentsIndex {
    oracle_pack_id: PackId,
    objects: BTreeMap<String, ContentsEntry>,
}

impl KnownDigests for ContentsIndex {
    fn sha256_of(&self, path: &str) -> Option<&Hex64> {
        self.objects.get(path).map(|entry| &entry.sha256)
    }
}

/// What came of verifying objects: how many bytes were hashed, and every fault.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ContentsReport {
    /// Number of objects that were compared.
    pub objects: u64,
    /// Number of bytes that were hashed.
    pub bytes_hashed: u64,
    /// What is wrong, in byte order of the keys.
    pub faults: Vec<Error>,
}

impl ContentsIndex {
    pub(crate) fn new(oracle_pack_id: PackId, objects: Vec<ContentsEntry>) -> Self {
        let objects = objects
            .into_iter()
            .map(|entry| (entry.path.clone(), entry))
            .collect();
        Self {
            oracle_pack_id,
            objects,
        }
    }

    /// Reads the index of a world, if it has one; it must belong to the given pack.
    ///
    /// # Errors
    /// `PACK_CONTENTS_INVALID`, `PACK_CONTENTS_MISMATCH`, `ORACLE_READ_FAILED`.
    pub async fn load_if_exists(
        store: &WorldStore,
        oracle_pack_id: &PackId,
    ) -> Result<Option<Self>, Error> {
        let Some(object) = store.get_if_exists(PACK_CONTENTS).await? else {
            return Ok(None);
        };
        let named = |error: Error| error.object(store.full_name(PACK_CONTENTS));
        let index = Self::parse(&object.bytes).map_err(named)?;
        if index.oracle_pack_id != *oracle_pack_id {
            let what = format!(
                "The contents index is of pack {}, not {oracle_pack_id}",
                index.oracle_pack_id
            );
            return Err(named(
                Error::new(ReasonCode::PackContentsMismatch, what).field("oracle_pack_id"),
            ));
        }
        Ok(Some(index))
    }

    /// Reads the index of a world that must have one.
    ///
    /// # Errors
    /// `PACK_CONTENTS_MISSING`, and as [`load_if_exists`](Self::load_if_exists).
    pub async fn load(store: &WorldStore, oracle_pack_id: &PackId) -> Result<Self, Error> {
        Self::load_if_exists(store, oracle_pack_id)
            .await?
            .ok_or_else(|| Self::missing(store))
    }

    /// The refusal of a world that has no contents index and needs one.
    pub fn missing(store: &WorldStore) -> Error {
        let what = "The pack has no contents index";
        Error::new(ReasonCode::PackContentsMissing, what).object(store.full_name(PACK_CONTENTS))
    }

    /// Parses an index.
    ///
    /// # Errors
    /// `PACK_CONTENTS_INVALID` if a field is missing, unknown or malformed, or a path is
    /// listed twice or is none of a pack's.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let invalid = |what| Error::new(ReasonCode::PackContentsInvalid, what);
        let file: ContentsFile = from_json(bytes).map_err(|source| {
            invalid(format!("The contents index is not understood ({source})")).because(source)
        })?;
        if file.version != FORMAT_VERSION {
            let what = format!(
                "The contents index has version {:?}, not {FORMAT_VERSION:?}",
                file.version
            );
            return Err(invalid(what).field("version"));
        }
        let listed = file.objects.len();
        if let Some(entry) = file.objects.iter().find(|entry| !is_content(&entry.path)) {
            let what = "The contents index lists what is no content of a pack".to_owned();
            return Err(invalid(what).field(&entry.path));
        }
        let lengths = file.objects.iter().map(|entry| entry.bytes);
        if lengths.clone().try_fold(0, u64::checked_add).is_none() {
            let what = "The contents index states more bytes than there can be".to_owned();
            return Err(invalid(what).field("objects"));
        }
        let index = Self::new(file.oracle_pack_id, file.objects);
        if index.objects.len() != listed {
            return Err(invalid("The contents index lists a path twice".to_owned()));
        }
        Ok(index)
    }

    /// The file's bytes. Equal contents give equal bytes.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let file = ContentsFile {
            version: FORMAT_VERSION.to_owned(),
            oracle_pack_id: self.oracle_pack_id.clone(),
            objects: self.objects.values().cloned().collect(),
        };
        serde_json::to_vec(&file).expect("an index of plain texts and numbers is JSON")
    }

    /// The pack that the index belongs to.
    pub fn oracle_pack_id(&self) -> &PackId {
        &self.oracle_pack_id
    }

    /// The objects, in byte order of their keys.
    pub fn objects(&self) -> impl ExactSizeIterator<Item = &ContentsEntry> {
        self.objects.values()
    }

    /// The length of all objects together.
    pub fn bytes(&self) -> u64 {
        self.objects().map(|entry| entry.bytes).sum()
    }

    /// Checks that a located output has exactly the parts that were packed. No IO.
    ///
    /// # Errors
    /// `PACK_CONTENTS_MISMATCH` for a part that is not listed; `DATA_MISMATCH` for a
    /// listed part that is gone.
    pub fn check_parts(&self, store: &WorldStore, output: &OutputLocator) -> Result<(), Error> {
        for part in &output.parts {
            self.listed(store, part.path())?;
        }
        let pattern = PartPattern::parse(&output.path)?;
        let located: BTreeSet<&str> = output.parts.iter().map(Part::path).collect();
        let gone = self
            .objects
            .keys()
            .find(|path| pattern.matches(path) && !located.contains(path.as_str()));
        match gone {
            Some(path) => Err(is_gone(store, path)),
            None => Ok(()),
        }
    }

    /// Verifies one part as it was located; says how many bytes were hashed.
    ///
    /// # Errors
    /// `PACK_CONTENTS_MISMATCH` if the part is not listed, `DATA_MISMATCH`,
    /// `ORACLE_READ_FAILED`.
    pub async fn verify_part(
        &self,
        store: &WorldStore,
        part: &Part,
        level: DataVerification,
    ) -> Result<u64, Error> {
        let entry = self.listed(store, part.path())?;
        verify_object(store, entry, part.pin(), level).await
    }

    /// Verifies every listed object that is no data (receipts, flags, bundles); parts
    /// are verified one by one before they are read. Never stops at the first fault.
    pub async fn verify_records(
        &self,
        store: &WorldStore,
        data: &DataPlaces,
        level: DataVerification,
    ) -> ContentsReport {
        let records = self
            .objects()
            .filter(|entry| is_indexed(&entry.path) && !data.hold(&entry.path));
        let checks = records.map(|entry| async move {
            match store.head_if_exists(&entry.path).await? {
                Some(pin) => verify_object(store, entry, &pin, level).await,
                None => Err(is_gone(store, &entry.path)),
            }
        });
        collect(checks.collect()).await
    }

    /// Verifies the whole pack: every object of the root is listed, and every listed
    /// object is there and as it was packed. Stream views are no part of a pack. Never stops at
    /// the first fault.
    ///
    /// # Errors
    /// `OBJECT_PATH_REFUSED`, `ORACLE_READ_FAILED` if the root cannot be listed.
    pub async fn verify_world(
        &self,
        store: &WorldStore,
        level: DataVerification,
    ) -> Result<ContentsReport, Error> {
        let found: BTreeMap<String, Pin> = contents_of(store)
            .await?
            .into_iter()
            .map(|entry| (entry.path, entry.pin))
            .collect();
        let listed = self.objects.keys().filter(|path| is_indexed(path));
        let paths: BTreeSet<&String> = listed.chain(found.keys()).collect();
        let checks = paths.into_iter().map(|path| {
            let pin = found.get(path);
            async move {
                let entry = self.listed(store, path)?;
                match pin {
                    Some(pin) => verify_object(store, entry, pin, level).await,
                    None => Err(is_gone(store, path)),
                }
            }
        });
        Ok(collect(checks.collect()).await)
    }

    fn listed(&self, store: &WorldStore, path: &str) -> Result<&ContentsEntry, Error> {
        self.objects.get(path).ok_or_else(|| {
            let what = "The object is not in the pack's contents index";
            Error::new(ReasonCode::PackContentsMismatch, what).object(store.full_name(path))
        })
    }
}

async fn collect<F: Future<Output = Result<u64, Error>>>(checks: Vec<F>) -> ContentsReport {
    let mut report = ContentsReport::default();
    let mut results = futures::stream::iter(checks).buffered(OBJECTS_IN_FLIGHT);
    while let Some(result) = results.next().await {
        report.objects += 1;
        match result {
            Ok(hashed) => report.bytes_hashed += hashed,
            Err(fault) => report.faults.push(fault),
        }
    }
    report
}

async fn verify_object(
    store: &WorldStore,
    entry: &ContentsEntry,
    pin: &Pin,
    level: DataVerification,
) -> Result<u64, Error> {
    let mismatch =
        |what| Err(Error::new(ReasonCode::DataMismatch, what).object(store.full_name(&entry.path)));
    if level == DataVerification::None {
        return Ok(0);
    }
    if pin.size != entry.bytes {
        return mismatch(format!(
            "The object has {} bytes, not {} as packed",
            pin.size, entry.bytes
        ));
    }
    if level == DataVerification::Size {
        return Ok(0);
    }
    let sha256 = store.sha256(&entry.path, pin).await?;
    if sha256 != entry.sha256 {
        return mismatch(format!(
            "The object's sha256 is {sha256}, not {} as packed",
            entry.sha256
        ));
    }
    Ok(pin.size)
}

fn is_gone(store: &WorldStore, path: &str) -> Error {
    Error::new(
        ReasonCode::DataMismatch,
        "An object that was packed is gone",
    )
    .object(store.full_name(path))
}

/// Every object of a root but the pack's own files and its stream views.
pub(crate) async fn contents_of(store: &WorldStore) -> Result<Vec<Entry>, Error> {
    let mut entries = store.list_under("").await?;
    entries.retain(|entry| is_content(&entry.path) && is_indexed(&entry.path));
    Ok(entries)
}

/// The folder of the stream views that the platform builds beside a pack.
const STREAM_VIEWS: &str = "stream_view/";

/// Whether the index speaks for an object. Views are built, and built anew, after a pack is
/// sealed, and an index of an earlier release may list some.
fn is_indexed(path: &str) -> bool {
    !path.starts_with(STREAM_VIEWS)
}

fn is_content(path: &str) -> bool {
    is_plain_key(path)
        && ![PACK_CONTENTS, PACK_MANIFEST, PACK_SEAL, PACK_SEAL_FLAG].contains(&path)
        && !path.starts_with(STAGING_PREFIX)
}
