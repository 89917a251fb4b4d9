//! Clearance: the one value that says "these outputs of this world may be read".

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use grant::GrantKey;
use oracle_store::{
    Catalogue, CatalogueEntry, OutputId, Pin, Posture, ReadGrant, Tokens, WorldStore,
};
use serde::Serialize;

use crate::agreement;
use crate::closure::{Depth, Requirement, Step, steps};
use crate::error::{Error, ReasonCode};
use crate::gate_map::{GateId, GateMap};
use crate::receipt::{Artifact, GateReceipt, VerificationMode};
use crate::verify::{Verdict, Verifier};

/// What grants are issued with: no other file of any crate can claim it.
const KEY: GrantKey = GrantKey::claim();

/// Gates that are verified at one time.
const GATES_IN_FLIGHT: usize = 4;

/// What is to be cleared, and how hard to look.
#[derive(Debug, Clone, Copy)]
pub struct ClearanceRequest<'a> {
    /// The world.
    pub store: &'a WorldStore,
    /// The values of the tokens in the gate map's templates.
    pub tokens: &'a Tokens,
    /// Says which gates an output requires.
    pub catalogue: &'a Catalogue,
    /// Says where a gate's evidence stands and how it is verified.
    pub gate_map: &'a GateMap,
    /// The outputs to be read.
    pub outputs: &'a [OutputId],
    /// How hard to look.
    pub mode: VerificationMode,
    /// Strict posture takes verified digests and nothing less.
    pub posture: Posture,
    /// `false` waives the gates, in local posture only: nothing is looked at.
    pub require_gate_pass: bool,
}

/// Why a clearance was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClearanceStatus {
    /// Every required gate holds.
    Cleared,
    /// The gates were waived and not looked at.
    Waived,
}

/// On what ground one output may be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "basis", content = "gates")]
pub enum Basis {
    /// These required gates hold; their receipts stand in the clearance.
    GatesPassed(Vec<GateId>),
    /// The catalogue requires no gate for it.
    NoGateRequired,
    /// These required gates were waived.
    GatesWaived(Vec<GateId>),
}

/// Proof that outputs of one world may be read, and the grants that open their rows.
///
/// Only [`clear`] makes one: it has no constructor, no default and no parsed form.
///
/// ```compile_fail
/// let forged = gates::Clearance { ..unreachable!() };
/// ```
/// ```compile_fail
/// let forged: gates::Clearance = Default::default();
/// ```
/// ```compile_fail
/// let forged: gates::Clearance = serde_json::from_str("{}").unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Clearance {
    status: ClearanceStatus,
    mode: VerificationMode,
    receipts: Vec<GateReceipt>,
    outputs: BTreeMap<OutputId, ClearedOutput>,
}

#[derive(Debug, Clone)]
struct ClearedOutput {
    grant: ReadGrant,
    basis: Basis,
}

impl Clearance {
    /// Whether the gates hold or were waived.
    pub fn status(&self) -> ClearanceStatus {
        self.status
    }

    /// How hard was looked. Of no meaning for a waiver.
    pub fn mode(&self) -> VerificationMode {
        self.mode
    }

    /// One receipt a verified gate, dependencies before the gates that need them.
    pub fn receipts(&self) -> &[GateReceipt] {
        &self.receipts
    }

    /// The permission to open the rows of an output, if it was part of the request.
    pub fn grant(&self, output_id: &OutputId) -> Option<&ReadGrant> {
        self.outputs.get(output_id).map(|output| &output.grant)
    }

    /// On what ground an output may be read, if it was part of the request.
    pub fn basis(&self, output_id: &OutputId) -> Option<&Basis> {
        self.outputs.get(output_id).map(|output| &output.basis)
    }

    /// An object that a gate verified, as it was then: `bytes` and `etag` are the pin
    /// under which it must be read. `path` is relative to the engine run root.
    pub fn artifact(&self, path: &str) -> Option<&Artifact> {
        let mut artifacts = self.receipts.iter().flat_map(|receipt| &receipt.artifacts);
        artifacts.find(|artifact| artifact.path == path)
    }
}

/// Verifies what `request` requires and clears its outputs, or stops at the first gate
/// that does not hold.
///
/// Presence mode looks at the required gates; digest mode verifies these and all that
/// they depend on, each gate once. Needs a tokio runtime.
///
/// # Errors
/// In this order: `OUTPUT_UNKNOWN`; `GATE_WAIVER_REFUSED` for a waiver or presence mode
/// in strict posture; `GATE_UNKNOWN`, `GATE_DEPENDENCY_CYCLE`; `GATE_MAP_UNREADABLE` for a
/// gate without a key that restricts reading (strict posture), `CATALOGUE_GATES_DISAGREE`; then, gate by gate with
/// dependencies first, `GATE_PASS_MISSING`, `GATE_METHOD_UNSUPPORTED`,
/// `GATE_FLAG_INVALID`, `GATE_INDEX_MISSING`, `GATE_INDEX_INVALID`,
/// `GATE_BUNDLE_EMPTY`, `GATE_FILE_MISSING`, `GATE_DIGEST_MISMATCH`, and oracle-store's
/// `TEMPLATE_TOKEN_MISSING`, `OBJECT_PATH_REFUSED`, `ORACLE_READ_FAILED`.
pub async fn clear(request: &ClearanceRequest<'_>) -> Result<Clearance, Error> {
    let outputs = request.entries()?;
    if request.posture == Posture::Strict
        && (!request.require_gate_pass || request.mode == VerificationMode::Presence)
    {
        let what = "Strict posture takes verified digests, no waiver and no mere presence of flags";
        return Err(Error::new(ReasonCode::GateWaiverRefused, what));
    }
    if !request.require_gate_pass {
        return request.clearance(ClearanceStatus::Waived, &outputs, Vec::new());
    }
    let mut to_verify = request.steps(&outputs);
    if let Some(fault) = to_verify
        .iter()
        .position(|step| matches!(step, Step::Fault(..)))
        && let Step::Fault(_, error) = to_verify.swap_remove(fault)
    {
        return Err(error);
    }
    request.check_agreement(&outputs)?;
    let verifier = request.verifier();
    let mut verdicts = std::pin::pin!(verify_steps(&verifier, to_verify));
    let mut receipts = Vec::new();
    while let Some(Verdict { receipt, error }) = verdicts.next().await {
        match error {
            Some(error) => return Err(error),
            None => receipts.push(receipt),
        }
    }
    request.clearance(ClearanceStatus::Cleared, &outputs, receipts)
}

/// Verifies every gate that `request` requires and stops at nothing: one receipt a gate,
/// dependencies first. For inspection; no receipt opens rows. Posture and
/// `require_gate_pass` are not asked.
///
/// # Errors
/// `OUTPUT_UNKNOWN`.
pub async fn verify_gates(request: &ClearanceRequest<'_>) -> Result<Vec<GateReceipt>, Error> {
    let to_verify = request.steps(&request.entries()?);
    let verifier = request.verifier();
    Ok(verify_steps(&verifier, to_verify)
        .map(|verdict| verdict.receipt)
        .collect()
        .await)
}

/// Compares what outputs require with what gates authorize, as [`clear`] does: the whole
/// catalogue in strict posture, the outputs asked for in local posture.
///
/// # Errors
/// `OUTPUT_UNKNOWN`, `GATE_MAP_UNREADABLE`, `CATALOGUE_GATES_DISAGREE`.
pub fn check_agreement(request: &ClearanceRequest<'_>) -> Result<(), Error> {
    request.check_agreement(&request.entries()?)
}

fn verify_steps<'r>(
    verifier: &'r Verifier<'_>,
    steps: Vec<Step<'r>>,
) -> impl Stream<Item = Verdict> {
    let verify = async move |step| match step {
        Step::Verify(gate) => verifier.verify(gate).await,
        Step::Fault(gate_id, error) => verifier.refuse(&gate_id, error),
    };
    stream::iter(steps).map(verify).buffered(GATES_IN_FLIGHT)
}

impl<'a> ClearanceRequest<'a> {
    fn entries(&self) -> Result<Vec<&'a CatalogueEntry>, Error> {
        let entry = |output_id: &OutputId| {
            self.catalogue.output(output_id).ok_or_else(|| {
                let what = format!("The catalogue has no output {output_id}");
                Error::new(ReasonCode::OutputUnknown, what)
            })
        };
        self.outputs.iter().map(entry).collect()
    }

    /// Compares what outputs require with what gates authorize: the whole catalogue in strict
    /// posture, the outputs asked for in local posture.
    fn check_agreement(&self, outputs: &[&'a CatalogueEntry]) -> Result<(), Error> {
        agreement::check(self.catalogue, outputs, self.gate_map, self.posture)
    }

    fn verifier(&self) -> Verifier<'a> {
        let Self {
            store,
            tokens,
            gate_map,
            mode,
            ..
        } = *self;
        Verifier {
            store,
            tokens,
            gate_map,
            mode,
        }
    }

    fn steps(&self, outputs: &[&CatalogueEntry]) -> Vec<Step<'a>> {
        let required = outputs.iter().flat_map(|entry| {
            entry.read_requires_gates.iter().map(|gate_id| Requirement {
                gate_id: GateId::new(gate_id),
                required_by: format!("output {}", entry.output_id),
            })
        });
        let depth = match self.mode {
            VerificationMode::Presence => Depth::RequiredOnly,
            VerificationMode::Digest => Depth::WithDependencies,
        };
        steps(self.gate_map, required, depth)
    }

    fn clearance(
        &self,
        status: ClearanceStatus,
        outputs: &[&CatalogueEntry],
        receipts: Vec<GateReceipt>,
    ) -> Result<Clearance, Error> {
        let proven = Arc::new(self.proven(&receipts)?);
        let clear_output = |entry: &&CatalogueEntry| {
            let gates: Vec<_> = entry.read_requires_gates.iter().map(GateId::new).collect();
            let basis = match status {
                _ if gates.is_empty() => Basis::NoGateRequired,
                ClearanceStatus::Cleared => Basis::GatesPassed(gates),
                ClearanceStatus::Waived => Basis::GatesWaived(gates),
            };
            let proven = Arc::clone(&proven);
            let grant = ReadGrant::issue(KEY, self.store, &entry.output_id, proven);
            (entry.output_id.clone(), ClearedOutput { grant, basis })
        };
        let outputs = outputs.iter().map(clear_output).collect();
        Ok(Clearance {
            status,
            mode: self.mode,
            receipts,
            outputs,
        })
    }

    /// The pin of every object that a gate hashed.
    ///
    /// # Errors
    /// `GATE_DIGEST_MISMATCH` if two gates hashed other bytes under one name: what the first one
    /// proved is gone.
    fn proven(&self, receipts: &[GateReceipt]) -> Result<HashMap<String, Pin>, Error> {
        let mut proven: HashMap<String, Pin> = HashMap::new();
        for receipt in receipts {
            for (path, pin) in receipt.artifacts.iter().map(Artifact::pinned) {
                if proven.get(&path).is_some_and(|before| *before != pin) {
                    let what = "The object changed between two gates that verified it";
                    return Err(Error::new(ReasonCode::GateDigestMismatch, what)
                        .of_gate(&receipt.gate_id)
                        .object(self.store.full_name(&path)));
                }
                proven.insert(path, pin);
            }
        }
        Ok(proven)
    }
}
