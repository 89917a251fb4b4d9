//! Verification of one gate: from its flag to a receipt.
//!
//! ```text
//! flag ──► stated digest ──────────────────────────────┐
//! index ─► items ─► which files, in which order        │
//!                     │ each pinned (size, ETag)       ▼
//!                     └─► read once ─► digests ─► compared ─► receipt
//! ```
//!
//! What was found stands in the receipt also when the gate fails.

use std::time::Duration;

use model::Clock;
use oracle_store::render;
use oracle_store::{Hex64, Tokens, WorldStore};

use crate::bundle::Bundle;
use crate::error::{Error, ReasonCode};
use crate::flag::parse_flag;
use crate::gate_map::{DigestKind, Gate, GateId, GateMap, Method};
use crate::receipt::{Artifact, ArtifactRole, GateReceipt, MethodReceipt, VerificationMode};
use crate::record::{Record, refusal};

/// The world and the map that all gates of a request are verified against.
#[derive(Clone, Copy)]
pub(crate) struct Verifier<'a> {
    pub(crate) store: &'a WorldStore,
    pub(crate) tokens: &'a Tokens,
    pub(crate) gate_map: &'a GateMap,
    pub(crate) mode: VerificationMode,
}

/// A receipt, and the error that made it a `FAIL`.
pub(crate) struct Verdict {
    pub(crate) receipt: GateReceipt,
    pub(crate) error: Option<Error>,
}

impl Verifier<'_> {
    pub(crate) async fn verify(&self, gate: &Gate) -> Verdict {
        let clock = self.store.clock();
        let started = clock.now();
        let mut receipt = self.receipt(&gate.id);
        receipt.scope.clone_from(&gate.scope);
        let outcome = match self.mode {
            VerificationMode::Presence => self.presence(gate, &mut receipt).await,
            VerificationMode::Digest => self.digest(gate, &mut receipt).await,
        };
        let elapsed = clock.since(started);
        let verdict = conclude(
            receipt,
            outcome.err().map(|error| error.of_gate(&gate.id)),
            elapsed,
        );
        let GateReceipt {
            gate_id,
            status,
            bytes_hashed,
            duration_ms,
            ..
        } = &verdict.receipt;
        tracing::debug!(%gate_id, ?status, bytes_hashed, duration_ms, "gate verified");
        verdict
    }

    /// The verdict on a gate that cannot be looked at.
    pub(crate) fn refuse(&self, gate_id: &GateId, error: Error) -> Verdict {
        conclude(self.receipt(gate_id), Some(error), Duration::ZERO)
    }

    fn receipt(&self, gate_id: &GateId) -> GateReceipt {
        GateReceipt::blank(
            gate_id,
            self.mode,
            self.store.root().as_str(),
            self.gate_map.digest(),
        )
    }

    async fn presence(&self, gate: &Gate, receipt: &mut GateReceipt) -> Result<(), Error> {
        let key = self.key(&gate.flag_template)?;
        let pin = self
            .store
            .head_if_exists(&key)
            .await
            .map_err(Error::oracle)?;
        let pin = pin.ok_or_else(|| self.pass_missing(&key))?;
        receipt
            .artifacts
            .push(Artifact::new(&key, ArtifactRole::Flag, &pin, None));
        Ok(())
    }

    async fn digest(&self, gate: &Gate, receipt: &mut GateReceipt) -> Result<(), Error> {
        let key = self.key(&gate.flag_template)?;
        let flag = self.record(&key, ArtifactRole::Flag, receipt).await?;
        let flag = flag.ok_or_else(|| self.pass_missing(&key))?;
        let method = gate.method.as_ref().map_err(|why| {
            let what = format!("The gate map's entry cannot be verified: {why}");
            Error::new(ReasonCode::GateMethodUnsupported, what)
        })?;
        receipt.method = Some(MethodReceipt {
            kind: method.kind.clone(),
            ordering: method.ordering.clone(),
            digest_field: method.digest_field.clone(),
        });
        let expected = parse_flag(&flag.object.bytes, &method.digest_field).map_err(|why| {
            let what = format!("The passed flag states no digest, for {why}");
            refusal(self.store, ReasonCode::GateFlagInvalid, what, &key)
        })?;
        let actual = self.take_digest(method, flag, receipt).await?;
        if actual != expected {
            let what = "The bundle is not the one that its passed flag states";
            let error = refusal(self.store, ReasonCode::GateDigestMismatch, what, &key);
            return Err(error.digests(expected, actual));
        }
        receipt.digest = Some(actual);
        Ok(())
    }

    /// The gate's digest as it is now. Items that state their own are compared on the way.
    async fn take_digest(
        &self,
        method: &Method,
        flag: Record,
        receipt: &mut GateReceipt,
    ) -> Result<Hex64, Error> {
        let root = self.key(&method.bundle_root_template)?;
        let root = format!("{}/", root.trim_end_matches('/'));
        let index = self.index(method, &root, receipt).await?;
        let bundle = Bundle::look_up(self.store, method, &root, flag, index).await?;
        bundle.bind_items(receipt)?;
        bundle.digest(receipt).await
    }

    /// Reads the index. A bundle digest needs none, and covers its absence too.
    async fn index(
        &self,
        method: &Method,
        root: &str,
        receipt: &mut GateReceipt,
    ) -> Result<Option<Record>, Error> {
        let (template, optional) = match &method.digest {
            DigestKind::Bundle {
                index_template: None,
            } => return Ok(None),
            DigestKind::Bundle {
                index_template: Some(template),
            } => (template, true),
            DigestKind::IndexedFiles { index_template, .. }
            | DigestKind::MemberDigests { index_template } => (index_template, false),
        };
        let key = self.key(template)?;
        let index = self.record(&key, ArtifactRole::Index, receipt).await?;
        if index.is_some() || optional && key.starts_with(root) && !method.excludes(&key) {
            return Ok(index);
        }
        Err(refusal(
            self.store,
            ReasonCode::GateIndexMissing,
            "The index does not exist",
            &key,
        ))
    }

    /// Reads a flag or an index whole, if it exists.
    async fn record(
        &self,
        key: &str,
        role: ArtifactRole,
        receipt: &mut GateReceipt,
    ) -> Result<Option<Record>, Error> {
        let object = self.store.get_if_exists(key).await.map_err(Error::oracle)?;
        let Some(object) = object else {
            return Ok(None);
        };
        let sha256 = Some(Hex64::sha256_of(&object.bytes));
        receipt
            .artifacts
            .push(Artifact::new(key, role, &object.pin, sha256));
        receipt.bytes_hashed += object.pin.size;
        Ok(Some(Record {
            key: key.to_owned(),
            object,
        }))
    }

    fn key(&self, template: &str) -> Result<String, Error> {
        render(template, self.tokens).map_err(Error::oracle)
    }

    fn pass_missing(&self, key: &str) -> Error {
        refusal(
            self.store,
            ReasonCode::GatePassMissing,
            "The passed flag does not exist",
            key,
        )
    }
}

fn conclude(mut receipt: GateReceipt, error: Option<Error>, elapsed: Duration) -> Verdict {
    receipt.duration_ms = elapsed.as_millis() as u64;
    if let Some(error) = &error {
        receipt.fail(error);
    }
    Verdict { receipt, error }
}
