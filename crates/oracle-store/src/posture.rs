//! What a world must show before it may be used, in each posture.
//!
//! | evidence | local | strict |
//! |---|---|---|
//! | manifest | checked if it stands; needed by a JSON seal | required, pack id recomputed |
//! | world key | compared if there is a manifest | compared |
//! | catalogue and gate map digests | not compared | compared |
//! | seal | checked if it stands; the flag is enough | JSON required |
//! | a seal of failure | refused | refused |

use serde::{Deserialize, Serialize};

use crate::error::{Error, ReasonCode};
use crate::manifest::{PACK_MANIFEST, PackManifest};
use crate::seal::{PACK_SEAL, PACK_SEAL_FLAG, PackSeal, Seal, SealStatus};
use crate::store::WorldStore;
use model::{Hex64, PackId, WorldKey};

/// How much evidence a world must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Posture {
    /// A developer's machine: evidence that exists is checked.
    Local,
    /// Everywhere else: all evidence must exist and is checked.
    Strict,
}

/// What the pack is compared with.
#[derive(Debug, Clone, Copy)]
pub struct PackExpectation<'a> {
    /// How much evidence the world must show.
    pub posture: Posture,
    /// The world key that the run receipt and the scenario give.
    pub world_key: &'a WorldKey,
    /// The sha256 of the catalogue in use.
    pub catalogue_digest: &'a Hex64,
    /// The sha256 of the gate map in use.
    pub gate_map_digest: &'a Hex64,
    /// The pack that the caller asks for; `None` accepts any.
    pub oracle_pack_id: Option<&'a PackId>,
}

/// How a world is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SealKind {
    /// `_SEALED.json` seals the world.
    Json,
    /// `_SEALED.flag` seals the world.
    Flag,
    /// Nothing seals the world.
    None,
}

/// What the pack's own files show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PackEvidence {
    /// The pack's id; `None` without a manifest.
    pub oracle_pack_id: Option<PackId>,
    /// The release of the engine; `None` without a manifest.
    pub engine_release: Option<String>,
    /// How the world is sealed.
    pub seal: SealKind,
    /// Whether the pack id was recomputed and the two digests compared.
    pub facts_verified: bool,
}

/// Checks a world's manifest and seal against what is expected of it.
///
/// # Errors
/// In this order: `PACK_MANIFEST_MISSING`, `PACK_MANIFEST_INVALID`, `PACK_ID_MISMATCH`,
/// `WORLD_KEY_MISMATCH`, `CATALOGUE_DIGEST_MISMATCH`, `GATE_MAP_DIGEST_MISMATCH`,
/// `PACK_NOT_SEALED`, `PACK_SEAL_INVALID`, `PACK_SEAL_MISMATCH`, `PACK_SEALED_FAILED`;
/// `ORACLE_READ_FAILED` if the storage fails.
pub async fn check_pack(
    store: &WorldStore,
    expected: &PackExpectation<'_>,
) -> Result<PackEvidence, Error> {
    let manifest = PackManifest::load(store).await?;
    // Read first and judged last: what is wrong with the manifest comes before.
    let seal = Seal::load(store).await;
    let json_seal_stands = match &seal {
        Ok(seal) => matches!(seal, Some(Seal::Json(_))),
        Err(error) => error.code() == ReasonCode::PackSealInvalid,
    };
    check_manifest(manifest.as_ref(), json_seal_stands, expected)
        .map_err(|error| error.object(store.full_name(PACK_MANIFEST)))?;
    let seal = seal?;
    let seal_name = match seal {
        Some(Seal::Flag) => PACK_SEAL_FLAG,
        _ => PACK_SEAL,
    };
    let seal = check_seal(seal.as_ref(), manifest.as_ref(), expected.posture)
        .map_err(|error| error.object(store.full_name(seal_name)))?;
    let (oracle_pack_id, engine_release) = manifest
        .map(|manifest| (manifest.oracle_pack_id, manifest.engine_release))
        .unzip();
    Ok(PackEvidence {
        oracle_pack_id,
        engine_release,
        seal,
        facts_verified: expected.posture == Posture::Strict,
    })
}

fn check_manifest(
    manifest: Option<&PackManifest>,
    json_seal_stands: bool,
    expected: &PackExpectation<'_>,
) -> Result<(), Error> {
    let strict = expected.posture == Posture::Strict;
    let Some(manifest) = manifest else {
        let what = if strict {
            "Strict posture needs a pack manifest, and there is none"
        } else if json_seal_stands {
            "The world is sealed, but its pack manifest is gone"
        } else if expected.oracle_pack_id.is_some() {
            "A pack was asked for by its id, but the world has no pack manifest"
        } else {
            return Ok(());
        };
        return Err(Error::new(ReasonCode::PackManifestMissing, what));
    };
    if strict && manifest.facts().pack_id() != manifest.oracle_pack_id {
        let what = "The pack id is not the one that the manifest's own facts give";
        return Err(Error::new(ReasonCode::PackIdMismatch, what).field("oracle_pack_id"));
    }
    if let Some(asked) = expected
        .oracle_pack_id
        .filter(|id| **id != manifest.oracle_pack_id)
    {
        let what = format!(
            "The pack is {}, not {asked} as asked for",
            manifest.oracle_pack_id
        );
        return Err(Error::new(ReasonCode::PackIdMismatch, what).field("oracle_pack_id"));
    }
    if let Some(field) = differing_field(&manifest.world_key, expected.world_key) {
        let what = "The pack holds another world than the run receipt and the scenario name";
        return Err(Error::new(ReasonCode::WorldKeyMismatch, what).field(field));
    }
    if strict && manifest.catalogue_digest != *expected.catalogue_digest {
        let what = format!(
            "The pack was made with catalogue {}, and {} is in use",
            manifest.catalogue_digest, expected.catalogue_digest
        );
        return Err(Error::new(ReasonCode::CatalogueDigestMismatch, what).field("catalogue_digest"));
    }
    if strict && manifest.gate_map_digest != *expected.gate_map_digest {
        let what = format!(
            "The pack was made with gate map {}, and {} is in use",
            manifest.gate_map_digest, expected.gate_map_digest
        );
        return Err(Error::new(ReasonCode::GateMapDigestMismatch, what).field("gate_map_digest"));
    }
    Ok(())
}

fn differing_field(pack: &WorldKey, world: &WorldKey) -> Option<&'static str> {
    if pack.manifest_fingerprint != world.manifest_fingerprint {
        Some("manifest_fingerprint")
    } else if pack.parameter_hash != world.parameter_hash {
        Some("parameter_hash")
    } else if pack.scenario_id != world.scenario_id {
        Some("scenario_id")
    } else if pack.seed != world.seed {
        Some("seed")
    } else {
        None
    }
}

fn check_seal(
    seal: Option<&Seal>,
    manifest: Option<&PackManifest>,
    posture: Posture,
) -> Result<SealKind, Error> {
    match (seal, posture) {
        (None, Posture::Local) => Ok(SealKind::None),
        (Some(Seal::Flag), Posture::Local) => Ok(SealKind::Flag),
        (None, Posture::Strict) => Err(Error::new(
            ReasonCode::PackNotSealed,
            "Strict posture needs a sealed pack, and there is no seal",
        )),
        (Some(Seal::Flag), Posture::Strict) => Err(Error::new(
            ReasonCode::PackNotSealed,
            "Strict posture needs a JSON seal, and there is only a flag",
        )),
        (Some(Seal::Json(seal)), _) => check_json_seal(seal, manifest),
    }
}

fn check_json_seal(seal: &PackSeal, manifest: Option<&PackManifest>) -> Result<SealKind, Error> {
    if let Some(pack) = manifest.filter(|m| m.oracle_pack_id != seal.oracle_pack_id) {
        let what = format!(
            "The seal is of pack {}, not {}",
            seal.oracle_pack_id, pack.oracle_pack_id
        );
        return Err(Error::new(ReasonCode::PackSealMismatch, what).field("oracle_pack_id"));
    }
    match seal.seal_status {
        SealStatus::SealedOk => Ok(SealKind::Json),
        SealStatus::SealedFailed => Err(Error::new(
            ReasonCode::PackSealedFailed,
            "The pack was sealed as failed and may not be streamed",
        )
        .field("seal_status")),
    }
}
