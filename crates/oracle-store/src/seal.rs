//! The seal: `_SEALED.json`, or the older `_SEALED.flag`, whose existence is all it says.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ReasonCode};
use crate::json::from_json;
use crate::manifest::FORMAT_VERSION;
use crate::store::WorldStore;
use model::PackId;

/// The JSON seal's key under an engine run root.
pub(crate) const PACK_SEAL: &str = "_SEALED.json";
/// The flag seal's key under an engine run root; enough in local posture only.
pub(crate) const PACK_SEAL_FLAG: &str = "_SEALED.flag";

/// Whether a sealed world may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SealStatus {
    /// The world is whole.
    SealedOk,
    /// The world is kept for study and refused in both postures.
    SealedFailed,
}

/// The JSON seal of a pack. No other fields may stand in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PackSeal {
    /// Always `v0`.
    pub version: String,
    /// The pack that is sealed.
    pub oracle_pack_id: PackId,
    /// Whether it may be used.
    pub seal_status: SealStatus,
    /// When it was sealed, RFC 3339.
    pub sealed_at_utc: String,
}

/// What seals a world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seal {
    /// `_SEALED.json`; it wins where both stand.
    Json(PackSeal),
    /// `_SEALED.flag`.
    Flag,
}

impl Seal {
    /// Reads the seal of a world, if it has one.
    ///
    /// # Errors
    /// `PACK_SEAL_INVALID`; `ORACLE_READ_FAILED` if the storage fails.
    pub async fn load(store: &WorldStore) -> Result<Option<Self>, Error> {
        if let Some(object) = store.get_if_exists(PACK_SEAL).await? {
            return PackSeal::parse(&object.bytes)
                .map(|seal| Some(Self::Json(seal)))
                .map_err(|error| error.object(store.full_name(PACK_SEAL)));
        }
        Ok(store.exists(PACK_SEAL_FLAG).await?.then_some(Self::Flag))
    }
}

impl PackSeal {
    /// Parses a JSON seal.
    ///
    /// # Errors
    /// `PACK_SEAL_INVALID` if a field is missing, unknown or malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let invalid = |what| Error::new(ReasonCode::PackSealInvalid, what);
        let seal: Self = from_json(bytes).map_err(|source| {
            invalid(format!("The seal is not understood ({source})")).because(source)
        })?;
        if seal.version != FORMAT_VERSION {
            return Err(invalid(format!(
                "The seal has version {:?}, not {FORMAT_VERSION:?}",
                seal.version
            ))
            .field("version"));
        }
        if chrono::DateTime::parse_from_rfc3339(&seal.sealed_at_utc).is_err() {
            return Err(
                invalid("The seal's time is not RFC 3339".to_owned()).field("sealed_at_utc")
            );
        }
        Ok(seal)
    }
}
