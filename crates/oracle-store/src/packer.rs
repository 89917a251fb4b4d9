//! Packs a world: contents index, manifest, seal, in that order, each written once.
//!
//! ```text
//!  unsealed ──► contents ──► manifest ──► seal ──► sealed: nothing more is written
//!      ▲           │            │
//!      └───────────┴────────────┘  a crash in between: a rerun completes it
//! ```
//! Every file is created only if it is absent and is durable before the next one, so
//! that a seal never stands without what it seals. A rerun with the same facts changes
//! nothing; with other facts it is refused.

use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;

use crate::contents::{ContentsEntry, ContentsIndex, PACK_CONTENTS, contents_of};
use crate::error::{Error, ReasonCode};
use crate::manifest::{FORMAT_VERSION, PACK_MANIFEST, PackFacts, PackManifest};
use crate::receipt::{RUN_RECEIPT, RunReceipt};
use crate::seal::{PACK_SEAL, PackSeal, Seal, SealStatus};
use crate::store::{Entry, WorldStore};
use model::PackId;

/// Objects that are hashed at one time.
const OBJECTS_IN_FLIGHT: usize = 4;

/// What to pack a world with.
#[derive(Debug, Clone)]
pub struct PackRequest {
    /// The facts that make the pack's id.
    pub facts: PackFacts,
    /// Whether the world may be used.
    pub seal_status: SealStatus,
    /// Whether to hash every object and write the contents index.
    pub with_contents: bool,
    /// Whether to write nothing and only say what would be written.
    pub dry_run: bool,
    /// The wall time that manifest and seal state.
    pub now: SystemTime,
}

/// What packing a world ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PackOutcome {
    /// The world is packed and sealed now.
    Packed,
    /// The world was packed and sealed before, with the same facts.
    AlreadySealed,
    /// Nothing was written, as asked.
    DryRun,
}

/// What packing did with one of the pack's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PackAction {
    /// The file was written.
    Written,
    /// The file was there before, with the same facts.
    Unchanged,
    /// The file would be written by a run that is no dry run.
    WouldWrite,
}

/// One of the pack's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PackFile {
    /// The file's full name.
    pub name: String,
    /// What packing did with the file.
    pub action: PackAction,
}

/// What packing did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PackReport {
    /// The pack's id.
    pub oracle_pack_id: PackId,
    /// What packing ended with.
    pub outcome: PackOutcome,
    /// The status that the seal states.
    pub seal_status: SealStatus,
    /// The pack's files, in the order of writing.
    pub files: Vec<PackFile>,
    /// Number of objects in the contents index.
    pub objects: u64,
    /// Length of those objects together, in bytes.
    pub bytes: u64,
}

/// Packs and seals a world.
///
/// # Errors
/// `RUN_RECEIPT_UNREADABLE`, `WORLD_KEY_MISSING`, and `WORLD_KEY_MISMATCH` where the
/// facts are not those of the run; `PACK_MANIFEST_INVALID` / `_MISMATCH`,
/// `PACK_SEAL_INVALID` / `_MISMATCH`, `PACK_CONTENTS_INVALID` / `_MISMATCH` where such a
/// file stands and says otherwise; `PACK_MANIFEST_MISSING` where a seal stands without
/// one; `OBJECT_PATH_REFUSED`, `ORACLE_READ_FAILED` (also where writing fails, or the
/// world changes while it is packed).
pub async fn pack(store: &WorldStore, request: &PackRequest) -> Result<PackReport, Error> {
    check_receipt(store, request).await?;
    let pack_id = request.facts.pack_id();
    let mut report = PackReport {
        oracle_pack_id: pack_id.clone(),
        outcome: PackOutcome::AlreadySealed,
        seal_status: request.seal_status,
        files: Vec::new(),
        objects: 0,
        bytes: 0,
    };
    let manifest = PackManifest::load(store).await?;
    if let Some(manifest) = &manifest {
        check_manifest(store, manifest, request)?;
    }
    if let Some(seal) = Seal::load(store).await? {
        if manifest.is_none() {
            let what = "The world is sealed, but its pack manifest is gone";
            return Err(Error::new(ReasonCode::PackManifestMissing, what)
                .object(store.full_name(PACK_MANIFEST)));
        }
        check_seal(store, &seal, &pack_id, request)?;
        return Ok(report);
    }
    report.outcome = if request.dry_run {
        PackOutcome::DryRun
    } else {
        PackOutcome::Packed
    };
    let listed = contents_of(store).await?;
    if request.with_contents {
        let index = ContentsIndex::new(pack_id.clone(), hash_all(store, &listed).await?);
        report.objects = index.objects().len() as u64;
        report.bytes = index.bytes();
        write(
            store,
            request,
            PACK_CONTENTS,
            index.to_json(),
            &mut report,
            async || check_contents(store, &index).await,
        )
        .await?;
    }
    let manifest = manifest_json(&pack_id, request);
    write(
        store,
        request,
        PACK_MANIFEST,
        manifest,
        &mut report,
        async || {
            let standing = PackManifest::load(store).await?;
            standing
                .map(|manifest| check_manifest(store, &manifest, request))
                .transpose()
        },
    )
    .await?;
    if contents_of(store).await? != listed {
        let what = "The world changed while it was packed, and is not sealed";
        return Err(Error::new(ReasonCode::OracleReadFailed, what).object(store.root().as_str()));
    }
    write(
        store,
        request,
        PACK_SEAL,
        seal_json(&pack_id, request),
        &mut report,
        async || {
            let standing = Seal::load(store).await?;
            standing
                .map(|seal| check_seal(store, &seal, &pack_id, request))
                .transpose()
        },
    )
    .await?;
    Ok(report)
}

/// Creates one file, unless one that says the same stands already. `standing` reads and
/// checks the one that stands, if any.
async fn write(
    store: &WorldStore,
    request: &PackRequest,
    key: &str,
    json: Vec<u8>,
    report: &mut PackReport,
    standing: impl AsyncFn() -> Result<Option<()>, Error>,
) -> Result<(), Error> {
    let action = if standing().await?.is_some() {
        PackAction::Unchanged
    } else if request.dry_run {
        PackAction::WouldWrite
    } else if store.create(key, json.into()).await? {
        PackAction::Written
    } else {
        // Another packer was faster; what it wrote must be the same.
        standing().await?;
        PackAction::Unchanged
    };
    report.files.push(PackFile {
        name: store.full_name(key),
        action,
    });
    Ok(())
}

async fn check_receipt(store: &WorldStore, request: &PackRequest) -> Result<(), Error> {
    let receipt = RunReceipt::load(store).await?;
    let key = &request.facts.world_key;
    if receipt.world_key(key.scenario_id.clone()) != *key {
        let what = "The world key to pack with is not that of the run receipt";
        return Err(
            Error::new(ReasonCode::WorldKeyMismatch, what).object(store.full_name(RUN_RECEIPT))
        );
    }
    Ok(())
}

fn check_manifest(
    store: &WorldStore,
    manifest: &PackManifest,
    request: &PackRequest,
) -> Result<(), Error> {
    if manifest.facts() == request.facts && manifest.oracle_pack_id == request.facts.pack_id() {
        return Ok(());
    }
    let what = match other_facts(&manifest.facts(), &request.facts) {
        facts if facts.is_empty() => {
            "The world already has a pack manifest, whose id its facts do not give".to_owned()
        }
        facts => format!(
            "The world already has a pack manifest with other facts ({})",
            facts.join("; ")
        ),
    };
    Err(Error::new(ReasonCode::PackManifestMismatch, what).object(store.full_name(PACK_MANIFEST)))
}

/// What a manifest states, where it is not what was asked for.
fn other_facts(stated: &PackFacts, asked: &PackFacts) -> Vec<String> {
    let texts = |facts: &PackFacts| {
        [
            (
                "manifest_fingerprint",
                facts.world_key.manifest_fingerprint.to_string(),
            ),
            ("parameter_hash", facts.world_key.parameter_hash.to_string()),
            ("scenario_id", facts.world_key.scenario_id.to_string()),
            ("seed", facts.world_key.seed.to_string()),
            ("engine_release", facts.engine_release.clone()),
            ("catalogue_digest", facts.catalogue_digest.to_string()),
            ("gate_map_digest", facts.gate_map_digest.to_string()),
        ]
    };
    texts(stated)
        .into_iter()
        .zip(texts(asked))
        .filter(|((_, stated), (_, asked))| stated != asked)
        .map(|((name, stated), (_, asked))| format!("{name} {stated}, asked for {asked}"))
        .collect()
}

fn check_seal(
    store: &WorldStore,
    seal: &Seal,
    pack_id: &PackId,
    request: &PackRequest,
) -> Result<(), Error> {
    let same = match seal {
        Seal::Json(seal) => {
            seal.oracle_pack_id == *pack_id && seal.seal_status == request.seal_status
        }
        Seal::Flag => request.seal_status == SealStatus::SealedOk,
    };
    if same {
        return Ok(());
    }
    let what = "The world is already sealed, as another pack or with another status";
    Err(Error::new(ReasonCode::PackSealMismatch, what).object(store.full_name(PACK_SEAL)))
}

async fn check_contents(store: &WorldStore, index: &ContentsIndex) -> Result<Option<()>, Error> {
    let standing = ContentsIndex::load_if_exists(store, index.oracle_pack_id()).await?;
    let Some(standing) = standing else {
        return Ok(None);
    };
    if standing == *index {
        return Ok(Some(()));
    }
    let what = "The world has a contents index of other contents";
    Err(Error::new(ReasonCode::PackContentsMismatch, what).object(store.full_name(PACK_CONTENTS)))
}

async fn hash_all(store: &WorldStore, listed: &[Entry]) -> Result<Vec<ContentsEntry>, Error> {
    futures::stream::iter(listed)
        .map(|Entry { path, pin }| async move {
            let sha256 = store.sha256(path, pin).await?;
            Ok(ContentsEntry {
                path: path.clone(),
                bytes: pin.size,
                sha256,
            })
        })
        .buffered(OBJECTS_IN_FLIGHT)
        .try_collect()
        .await
}

fn manifest_json(pack_id: &PackId, request: &PackRequest) -> Vec<u8> {
    let PackFacts {
        world_key,
        engine_release,
        catalogue_digest,
        gate_map_digest,
    } = request.facts.clone();
    let manifest = PackManifest {
        version: FORMAT_VERSION.to_owned(),
        oracle_pack_id: pack_id.clone(),
        world_key,
        engine_release,
        catalogue_digest,
        gate_map_digest,
        created_at_utc: timestamp(request),
    };
    serde_json::to_vec(&manifest).expect("a manifest of plain texts and numbers is JSON")
}

fn seal_json(pack_id: &PackId, request: &PackRequest) -> Vec<u8> {
    let seal = PackSeal {
        version: FORMAT_VERSION.to_owned(),
        oracle_pack_id: pack_id.clone(),
        seal_status: request.seal_status,
        sealed_at_utc: timestamp(request),
    };
    serde_json::to_vec(&seal).expect("a seal of plain texts is JSON")
}

fn timestamp(request: &PackRequest) -> String {
    DateTime::<Utc>::from(request.now).to_rfc3339_opts(SecondsFormat::Micros, true)
}
