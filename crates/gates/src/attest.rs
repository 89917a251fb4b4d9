//! One call that attests a world: every check of its evidence, and then the value that says so.

use oracle_store::{
    InstanceProof, OutputId, PackEvidence, ReadGrant, RunReceipt, StreamView, WorldKey, WorldStore,
};

use crate::attest_error::AttestError;
use crate::check::Check;
use crate::clearance::Clearance;
use crate::data::{ContentsFound, DataEvidence};
use crate::error::Error;
use crate::identify::{AttestRequest, IdentifiedWorld};
use crate::located::LocatedOutput;
use crate::receipt::GateReceipt;
use crate::view_trust::ViewTrust;
use crate::walk::{Depth, Walk};

/// A world whose evidence holds, and whose outputs may be read.
///
/// Only [`attest`] and [`ClearedWorld::attest`] make one.
#[derive(Debug)]
#[non_exhaustive]
pub struct AttestedWorld {
    /// The world's store.
    pub store: WorldStore,
    /// The run receipt.
    pub receipt: RunReceipt,
    /// The fingerprint, parameters, scenario and seed of the world.
    pub world_key: WorldKey,
    /// What manifest and seal show.
    pub pack: PackEvidence,
    /// The grants that open rows, and a receipt for every gate that was verified.
    pub clearance: Clearance,
    /// The outputs that were asked for, in the order of the request.
    pub outputs: Vec<LocatedOutput>,
    /// What proves the data itself.
    pub data: DataEvidence,
}

impl AttestedWorld {
    /// One receipt a verified gate, dependencies before the gates that need them; none where
    /// gates were waived.
    pub fn receipts(&self) -> &[GateReceipt] {
        self.clearance.receipts()
    }

    /// Has an output read from a stream view of it: the view is checked against the world and
    /// the output's parts, and the output's grant is extended to its files.
    ///
    /// Nothing proves the bytes of a view. `trust` is the operator's word for them, which
    /// strict posture asks for.
    ///
    /// # Errors
    /// In this order: `VIEW_MISSING`; `STREAM_VIEW_UNPROVEN`; `VIEW_INVALID`,
    /// `VIEW_RECEIPT_BAD`, `VIEW_OUTPUT_MISMATCH`, `VIEW_ID_MISMATCH`, `VIEW_STALE`;
    /// `ORACLE_READ_FAILED`.
    pub async fn read_from_view(
        &mut self,
        output: &LocatedOutput,
        trust: ViewTrust,
    ) -> Result<StreamView, Error> {
        trust.check(&self.store, output.id()).await?;
        let opened = StreamView::open(&self.store, &self.world_key, &output.locator).await;
        let view = opened.map_err(Error::oracle)?;
        self.clearance.extend_to(&view)?;
        self.data = self.data.clone().with_views();
        Ok(view)
    }

    /// The permission to open the rows of an output; `None` if it was not asked for.
    pub fn grant(&self, output_id: &OutputId) -> Option<&ReadGrant> {
        self.clearance.grant(output_id)
    }
}

/// Proves that outputs of a world may be read, or says with the first check that does not hold
/// why they may not. Reads evidence only, writes nothing.
///
/// Runs on any executor.
///
/// # Errors
/// The first refusal in the order of [`Check::ALL`]: the codes of [`AttestRequest::identify`],
/// [`IdentifiedWorld::clear`] and [`ClearedWorld::attest`].
pub async fn attest(request: &AttestRequest) -> Result<AttestedWorld, AttestError> {
    let identified = request.clone().identify().await?;
    identified.clear().await?.attest().await
}

impl IdentifiedWorld {
    /// Proves pack and gates; the parts are looked at by [`ClearedWorld::attest`].
    ///
    /// # Errors
    /// In this order: `PACK_MANIFEST_MISSING`, `PACK_MANIFEST_INVALID`, `PACK_ID_MISMATCH`,
    /// `WORLD_KEY_MISMATCH`, `CATALOGUE_DIGEST_MISMATCH`, `GATE_MAP_DIGEST_MISMATCH`,
    /// `PACK_NOT_SEALED`, `PACK_SEAL_INVALID`, `PACK_SEAL_MISMATCH`, `PACK_SEALED_FAILED`; then
    /// those of [`clear`](crate::clear).
    pub async fn clear(self) -> Result<ClearedWorld, AttestError> {
        let walk = Walk::of(self, Depth::Reading).through(Check::Gates).await;
        walk.holds().map(ClearedWorld)
    }

    /// Looks at all evidence to the end, always by digest, whatever the request waives, and with
    /// `whole_pack` at the bytes of every object of the pack too. For people to read: nothing
    /// that it finds opens rows.
    pub async fn examine(self, whole_pack: bool) -> Examination {
        let walk = Walk::of(self, Depth::Inspection { whole_pack });
        let Walk {
            found, refusals, ..
        } = walk.through(Check::Data).await;
        Examination {
            refusals,
            pack: found.pack,
            gates: found.gates,
            outputs: found.outputs,
            contents: found.contents,
            instance_proofs: found.instance_proofs,
        }
    }
}

/// A world whose pack and gates hold, and whose parts have not been looked at.
#[derive(Debug)]
pub struct ClearedWorld(Walk);

impl ClearedWorld {
    /// Locates the outputs and compares the data with what is known of it.
    ///
    /// # Errors
    /// In this order: `OUTPUT_TEMPLATE_MISSING`, `TEMPLATE_TOKEN_MISSING`, `OUTPUT_EMPTY`,
    /// `UNSUPPORTED_OUTPUT_FORMAT`; `PACK_CONTENTS_INVALID`, `PACK_CONTENTS_MISMATCH`,
    /// `DATA_MISMATCH`, `INSTANCE_PROOF_INVALID`, `INSTANCE_PROOF_MISMATCH`,
    /// `PACK_CONTENTS_MISSING`; `ORACLE_READ_FAILED` if the storage fails, or a part is not the
    /// one that a gate hashed.
    pub async fn attest(self) -> Result<AttestedWorld, AttestError> {
        let Walk { world, found, .. } = self.0.through(Check::Data).await.holds()?;
        let (Some(pack), Some(clearance), Some(data)) = (found.pack, found.clearance, found.data)
        else {
            unreachable!("a walk without a refusal has made every check")
        };
        Ok(AttestedWorld {
            store: world.request.store,
            receipt: world.receipt,
            world_key: world.world_key,
            pack,
            clearance,
            outputs: found.outputs,
            data,
        })
    }
}

/// All that an examination found, refusals and evidence that holds.
#[derive(Debug)]
#[non_exhaustive]
pub struct Examination {
    /// Every refusal, in the order in which checks refuse; empty where all evidence holds.
    pub refusals: Vec<AttestError>,
    /// What manifest and seal show; `None` where they were refused.
    pub pack: Option<PackEvidence>,
    /// One receipt for every gate that is needed, those that fail and those that the gate map
    /// does not have included; dependencies first.
    pub gates: Vec<GateReceipt>,
    /// The outputs that were located, in the order of the request.
    pub outputs: Vec<LocatedOutput>,
    /// What the contents index lists; `None` where there is none or it was refused.
    pub contents: Option<ContentsFound>,
    /// The instance receipts that stand and hold, by output; looked for with `whole_pack` only.
    pub instance_proofs: Vec<(OutputId, InstanceProof)>,
}
