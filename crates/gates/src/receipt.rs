//! What the verification of one gate found: a portable receipt.
//!
//! A receipt is a report, not a permission: only a
//! [`Clearance`](crate::Clearance) opens rows. Its JSON form is frozen by
//! [`GATE_RECEIPT_SCHEMA`](crate::GATE_RECEIPT_SCHEMA).

use oracle_store::{Hex64, Pin};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::gate_map::GateId;

/// How the evidence of gates is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerificationMode {
    /// The flag object of every required gate exists; nothing is read.
    Presence,
    /// The digests of the required gates and of all that they depend on are
    /// taken anew and compared.
    Digest,
}

/// Whether a gate's evidence holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum GateStatus {
    /// The evidence holds.
    Pass,
    /// The evidence is missing, not understood, or states another digest.
    Fail,
}

/// The verification of one gate of one world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct GateReceipt {
    /// Version of this format: `v1`.
    pub version: String,
    /// The gate that was verified.
    pub gate_id: GateId,
    /// Whether the gate's evidence holds.
    pub status: GateStatus,
    /// What the gate speaks for, as the gate map says (`fingerprint`).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scope: Option<String>,
    /// How the gate was verified.
    pub mode: VerificationMode,
    /// The engine run root, as the caller named it.
    pub engine_run_root: String,
    /// sha256 of the gate map that said how to verify.
    pub gate_map_digest: Hex64,
    /// The method that the gate map names; `None` in presence mode.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub method: Option<MethodReceipt>,
    /// The gate's digest, stated and found. Only after a digest verification
    /// that passed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub digest: Option<Hex64>,
    /// Every object that was looked at, flag and index included.
    pub artifacts: Vec<Artifact>,
    /// Items of the index whose objects the evidence binds.
    pub bound_items: Vec<BoundItem>,
    /// Items of the index whose objects it does not bind.
    pub unbound_items: Vec<UnboundItem>,
    /// Bytes that were read and hashed.
    pub bytes_hashed: u64,
    /// Wall time of this gate's verification, in milliseconds.
    pub duration_ms: u64,
    /// Why the status is `FAIL`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failure: Option<FailureReceipt>,
}

impl GateReceipt {
    /// A receipt before anything was looked at.
    pub(crate) fn blank(
        gate_id: &GateId,
        mode: VerificationMode,
        engine_run_root: &str,
        gate_map_digest: &Hex64,
    ) -> Self {
        Self {
            version: "v1".to_owned(),
            gate_id: gate_id.clone(),
            status: GateStatus::Pass,
            scope: None,
            mode,
            engine_run_root: engine_run_root.to_owned(),
            gate_map_digest: gate_map_digest.clone(),
            method: None,
            digest: None,
            artifacts: Vec::new(),
            bound_items: Vec::new(),
            unbound_items: Vec::new(),
            bytes_hashed: 0,
            duration_ms: 0,
            failure: None,
        }
    }

    pub(crate) fn fail(&mut self, error: &Error) {
        self.status = GateStatus::Fail;
        let digests = error.digest_pair();
        self.failure = Some(FailureReceipt {
            code: error.code().as_str().to_owned(),
            detail: error.to_string(),
            object: error.object_name().map(str::to_owned),
            expected_digest: digests.map(|pair| pair.expected.clone()),
            actual_digest: digests.map(|pair| pair.actual.clone()),
        });
    }
}

/// How a digest was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MethodReceipt {
    /// `verification_method.kind` of the gate map.
    pub kind: String,
    /// `verification_method.ordering`.
    pub ordering: String,
    /// `verification_method.digest_field`.
    pub digest_field: String,
}

/// One object as it was when it was looked at: what was verified is exactly
/// this, and a later read can compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Artifact {
    /// The object's key, relative to the engine run root.
    pub path: String,
    /// The object's part in the gate's evidence.
    pub role: ArtifactRole,
    /// The object's length in bytes.
    pub bytes: u64,
    /// The store's tag of these bytes: an ETag; on disk, inode, modification time and change time.
    pub etag: String,
    /// sha256 of its bytes. Absent in presence mode, and for a file of over 1 MiB that
    /// only the gate's digest covers: it is not hashed twice.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sha256: Option<Hex64>,
}

impl Artifact {
    /// The object's key, and the pin under which it was hashed.
    pub(crate) fn pinned(&self) -> (String, Pin) {
        let pin = Pin {
            size: self.bytes,
            etag: self.etag.clone(),
        };
        (self.path.clone(), pin)
    }

    pub(crate) fn new(path: &str, role: ArtifactRole, pin: &Pin, sha256: Option<Hex64>) -> Self {
        Self {
            path: path.to_owned(),
            role,
            bytes: pin.size,
            etag: pin.etag.clone(),
            sha256,
        }
    }
}

/// The part of an object in a gate's evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ArtifactRole {
    /// The passed flag.
    Flag,
    /// The index.
    Index,
    /// A file that the gate's digest covers or an index item names.
    File,
}

/// An index item whose object cannot change unseen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BoundItem {
    /// The object's key, relative to the engine run root.
    pub path: String,
    /// The gate's digest covers the object's bytes.
    pub by_gate_digest: bool,
    /// The item states the object's own sha256, and it is that.
    pub by_item_digest: bool,
}

/// An index item whose object may change unseen by this gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct UnboundItem {
    /// The object's key, relative to the engine run root.
    pub path: String,
    /// Why nothing binds the object.
    pub reason: UnboundReason,
}

/// Why an index item binds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UnboundReason {
    /// The gate's digest does not cover it (its file name is excluded), and it states none.
    NoDigest,
    /// Its path names a folder, a partition or a pattern, not one object.
    NotOneObject,
}

/// Why a gate failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FailureReceipt {
    /// The reason code, for example `GATE_PASS_MISSING`.
    pub code: String,
    /// What, where, and what to do.
    pub detail: String,
    /// The full name of the object concerned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub object: Option<String>,
    /// The digest that the evidence states, if digests differ.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expected_digest: Option<Hex64>,
    /// The digest of what is there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub actual_digest: Option<Hex64>,
}
