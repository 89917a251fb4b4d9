//! `_oracle_pack_manifest.json`: which world a pack holds, and what it was made with.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ReasonCode};
use crate::json::from_json;
use crate::store::WorldStore;
use model::{Hex64, PackId, WorldKey};

/// The manifest's key under an engine run root.
pub(crate) const PACK_MANIFEST: &str = "_oracle_pack_manifest.json";

/// The only format version of manifest, seal and contents index.
pub(crate) const FORMAT_VERSION: &str = "v0";

/// The manifest of a pack. No other fields may stand in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PackManifest {
    /// Always `v0`.
    pub version: String,
    /// The pack's id: the digest that [`PackFacts::pack_id`] gives for the other fields.
    pub oracle_pack_id: PackId,
    /// Which world the pack holds.
    pub world_key: WorldKey,
    /// The release of the engine that made the world.
    pub engine_release: String,
    /// The sha256 of the catalogue file's bytes.
    pub catalogue_digest: Hex64,
    /// The sha256 of the gate map file's bytes.
    pub gate_map_digest: Hex64,
    /// When the pack was made, RFC 3339.
    pub created_at_utc: String,
}

/// The facts that a pack's id is the digest of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackFacts {
    /// Which world it is.
    pub world_key: WorldKey,
    /// The release of the engine that made it.
    pub engine_release: String,
    /// The sha256 of the catalogue file's bytes.
    pub catalogue_digest: Hex64,
    /// The sha256 of the gate map file's bytes.
    pub gate_map_digest: Hex64,
}

impl PackFacts {
    /// The sha256 of the facts, joined by `|` in a fixed order.
    pub fn pack_id(&self) -> PackId {
        let WorldKey {
            manifest_fingerprint,
            parameter_hash,
            scenario_id,
            seed,
        } = &self.world_key;
        let Self {
            engine_release,
            catalogue_digest,
            gate_map_digest,
            ..
        } = self;
        let digest = Hex64::sha256_of(format!(
            "{manifest_fingerprint}|{parameter_hash}|{scenario_id}|{seed}|{engine_release}|\
             {catalogue_digest}|{gate_map_digest}"
        ));
        PackId::from(digest)
    }
}

impl PackManifest {
    /// Reads the manifest of a world, if it has one.
    ///
    /// # Errors
    /// `PACK_MANIFEST_INVALID`; `ORACLE_READ_FAILED` if the storage fails.
    pub async fn load(store: &WorldStore) -> Result<Option<Self>, Error> {
        let Some(object) = store.get_if_exists(PACK_MANIFEST).await? else {
            return Ok(None);
        };
        Self::parse(&object.bytes)
            .map(Some)
            .map_err(|error| error.object(store.full_name(PACK_MANIFEST)))
    }

    /// Parses a manifest.
    ///
    /// # Errors
    /// `PACK_MANIFEST_INVALID` if a field is missing, unknown or malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let invalid = |what| Error::new(ReasonCode::PackManifestInvalid, what);
        let manifest: Self = from_json(bytes).map_err(|source| {
            invalid(format!("The pack manifest is not understood ({source})")).because(source)
        })?;
        if manifest.version != FORMAT_VERSION {
            return Err(invalid(format!(
                "The pack manifest has version {:?}, not {FORMAT_VERSION:?}",
                manifest.version
            ))
            .field("version"));
        }
        if manifest.engine_release.is_empty() {
            return Err(
                invalid("The pack manifest's engine release is empty".to_owned())
                    .field("engine_release"),
            );
        }
        if chrono::DateTime::parse_from_rfc3339(&manifest.created_at_utc).is_err() {
            return Err(
                invalid("The pack manifest's time is not RFC 3339".to_owned())
                    .field("created_at_utc"),
            );
        }
        Ok(manifest)
    }

    /// The facts that the manifest states.
    pub fn facts(&self) -> PackFacts {
        PackFacts {
            world_key: self.world_key.clone(),
            engine_release: self.engine_release.clone(),
            catalogue_digest: self.catalogue_digest.clone(),
            gate_map_digest: self.gate_map_digest.clone(),
        }
    }
}
