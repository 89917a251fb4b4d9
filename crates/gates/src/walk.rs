//! The walk through the checks of one world: to the first refusal for whoever wants to read, to
//! the end for whoever wants to know everything.

use oracle_store::{
    DataPlaces, InstanceProof, OutputId, PackEvidence, PackExpectation, ReasonCode, check_pack,
    locate,
};

use crate::attest_error::AttestError;
use crate::check::Check;
use crate::clearance::{Clearance, ClearanceRequest, Extent, GATE_CHECKS};
use crate::data::{ContentsFound, DataEvidence, DataExtent, DataQuestion};
use crate::error::Error;
use crate::identify::IdentifiedWorld;
use crate::located::LocatedOutput;
use crate::receipt::{GateReceipt, VerificationMode};

/// How far a walk looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// As the request says, to the first refusal.
    Reading,
    /// By digest and to the end, whatever the request waives.
    Inspection { whole_pack: bool },
}

/// A world on its walk through the checks, with what was found so far.
#[derive(Debug)]
pub(crate) struct Walk {
    pub(crate) world: IdentifiedWorld,
    depth: Depth,
    /// The last check that was made.
    done: Check,
    pub(crate) found: Found,
    pub(crate) refusals: Vec<AttestError>,
}

/// What the checks found so far; empty where one has not been made or found nothing.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) pack: Option<PackEvidence>,
    pub(crate) gates: Vec<GateReceipt>,
    pub(crate) clearance: Option<Clearance>,
    pub(crate) outputs: Vec<LocatedOutput>,
    pub(crate) contents: Option<ContentsFound>,
    pub(crate) instance_proofs: Vec<(OutputId, InstanceProof)>,
    pub(crate) data: Option<DataEvidence>,
}

impl Walk {
    /// A walk that goes on behind the checks that have identified the world.
    pub(crate) fn of(world: IdentifiedWorld, depth: Depth) -> Self {
        Self {
            world,
            depth,
            done: Check::Scenario,
            found: Found::default(),
            refusals: Vec::new(),
        }
    }

    /// Makes the checks that follow, up to `last`; a reader's walk ends at the first refusal.
    pub(crate) async fn through(mut self, last: Check) -> Self {
        for check in Check::ALL {
            if check <= self.done || check > last {
                continue;
            }
            if self.depth == Depth::Reading && !self.refusals.is_empty() {
                break;
            }
            self.done = check;
            self = match check {
                Check::Pack => self.look_at_pack().await,
                Check::Closure | Check::Agreement | Check::Gates => self.look_at_gates(check).await,
                Check::Parts => self.look_at_parts().await,
                Check::Data => self.look_at_data().await,
                // These have identified the world, before the walk.
                Check::Catalogue
                | Check::GateMap
                | Check::Receipt
                | Check::Outputs
                | Check::Scenario => self,
            };
        }
        self
    }

    /// The walk, if nothing was refused on it; else the first refusal.
    pub(crate) fn holds(mut self) -> Result<Self, AttestError> {
        if self.refusals.is_empty() {
            Ok(self)
        } else {
            Err(self.refusals.swap_remove(0))
        }
    }

    fn refuse(&mut self, check: Check, errors: impl IntoIterator<Item = Error>) {
        let refusals = errors
            .into_iter()
            .map(|error| AttestError::new(check, error));
        self.refusals.extend(refusals);
    }

    async fn look_at_pack(mut self) -> Self {
        let world = &self.world;
        let expectation = PackExpectation {
            posture: world.request.posture,
            world_key: &world.world_key,
            catalogue_digest: world.catalogue.digest(),
            gate_map_digest: world.gate_map.digest(),
            oracle_pack_id: world.request.oracle_pack_id.as_ref(),
        };
        match check_pack(&world.request.store, &expectation).await {
            Ok(pack) => self.found.pack = Some(pack),
            Err(error) => self.refuse(Check::Pack, [Error::oracle(error)]),
        }
        self
    }

    async fn look_at_gates(mut self, check: Check) -> Self {
        let world = self.world.clone();
        let output_ids: Vec<_> = world.entries.iter().map(|e| e.output_id.clone()).collect();
        let request = self.clearance_request(&world, &output_ids);
        let extent = match self.depth {
            Depth::Reading => Extent::FirstRefusal,
            Depth::Inspection { .. } => Extent::Everything,
        };
        match request.look(check, extent).await {
            Ok(looked) => {
                self.refuse(check, looked.refusals);
                self.found.gates.extend(looked.receipts);
            }
            Err(error) => self.refuse(check, [error]),
        }
        let is_refused = |refusal: &AttestError| GATE_CHECKS.contains(&refusal.check());
        if check == Check::Gates && !self.refusals.iter().any(is_refused) {
            match request.clearance(self.found.gates.clone()) {
                Ok(clearance) => self.found.clearance = Some(clearance),
                Err(error) => self.refuse(check, [error]),
            }
        }
        self
    }

    fn clearance_request<'a>(
        &self,
        world: &'a IdentifiedWorld,
        outputs: &'a [OutputId],
    ) -> ClearanceRequest<'a> {
        let request = &world.request;
        let (mode, require_gate_pass) = match self.depth {
            Depth::Reading => (request.mode(), request.require_gate_pass),
            Depth::Inspection { .. } => (VerificationMode::Digest, true),
        };
        ClearanceRequest {
            store: &request.store,
            tokens: &world.tokens,
            catalogue: &world.catalogue,
            gate_map: &world.gate_map,
            outputs,
            mode,
            posture: request.posture,
            require_gate_pass,
        }
    }

    /// Locates every output. A part that a gate hashed may have been replaced before it was
    /// located: its grant finds that out.
    async fn look_at_parts(mut self) -> Self {
        let world = self.world.clone();
        let store = &world.request.store;
        for entry in &world.entries {
            let located = locate(store, entry, &world.tokens).await;
            let checked = located.and_then(|locator| {
                let clearance = self.found.clearance.as_ref();
                if let Some(grant) = clearance.and_then(|c| c.grant(&entry.output_id)) {
                    locator
                        .parts
                        .iter()
                        .try_for_each(|part| grant.check(part))?;
                }
                Ok(locator)
            });
            match checked {
                Ok(locator) => self.found.outputs.push(LocatedOutput {
                    entry: entry.clone(),
                    locator,
                }),
                Err(error) => self.refuse(Check::Parts, [Error::oracle(error)]),
            }
            if self.depth == Depth::Reading && !self.refusals.is_empty() {
                return self;
            }
        }
        if self.depth == (Depth::Inspection { whole_pack: true }) && !self.found_a_folder() {
            let places = DataPlaces::of(&world.catalogue, &world.tokens);
            let folder = places.refuse_folders(store).await.err();
            self.refuse(Check::Parts, folder.map(Error::oracle));
        }
        self
    }

    /// Whether locating the outputs has found a folder in the place of a part already.
    fn found_a_folder(&self) -> bool {
        let code = crate::ReasonCode::Oracle(ReasonCode::UnsupportedOutputFormat);
        self.refusals.iter().any(|refusal| refusal.code() == code)
    }

    async fn look_at_data(mut self) -> Self {
        let pack = self.found.pack.as_ref();
        let pack_id = pack.and_then(|pack| pack.oracle_pack_id.as_ref());
        let world = &self.world;
        let extent = match self.depth {
            Depth::Reading => DataExtent::Asked(world.request.data_verification),
            // A contents index belongs to a pack.
            Depth::Inspection { .. } if pack_id.is_none() => return self,
            Depth::Inspection { whole_pack: false } => DataExtent::Listed,
            Depth::Inspection { whole_pack: true } => DataExtent::WholePack,
        };
        let question = DataQuestion {
            store: &world.request.store,
            pack: pack_id,
            tokens: &world.tokens,
            catalogue: &world.catalogue,
            outputs: &self.found.outputs,
            posture: world.request.posture,
            extent,
        };
        let looked = question.look().await;
        self.refuse(Check::Data, looked.refusals);
        self.found.contents = looked.contents;
        self.found.instance_proofs = looked.instance_proofs;
        self.found.data = looked.evidence;
        self
    }
}
