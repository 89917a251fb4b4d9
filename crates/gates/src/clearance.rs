//! Clearance: the one value that says "these outputs of this world may be read".

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use grant::GrantKey;
use oracle_store::{
    Catalogue, CatalogueEntry, OutputId, Pin, Posture, ReadGrant, StreamView, Tokens, WorldStore,
};
use serde::{Deserialize, Serialize};

use crate::agreement;
use crate::check::Check;
use crate::closure::{Depth, Requirement, Step, steps};
use crate::error::{Error, ReasonCode};
use crate::gate_map::{GateId, GateMap};
use crate::receipt::{Artifact, GateReceipt, VerificationMode};
use crate::verify::{Verdict, Verifier};

/// What grants are issued with: no other file of any crate can claim it.
const KEY: GrantKey = GrantKey::claim();

/// Gates that are verified at one time.
const GATES_IN_FLIGHT: usize = 4;

/// The outputs to be cleared, and how their gates are verified.
#[derive(Debug, Clone, Copy)]
pub struct ClearanceRequest<'a> {
    /// The store of the world.
    pub store: &'a WorldStore,
    /// The values of the tokens in the gate map's templates.
    pub tokens: &'a Tokens,
    /// Says which gates an output requires.
    pub catalogue: &'a Catalogue,
    /// Says where a gate's evidence stands and how it is verified.
    pub gate_map: &'a GateMap,
    /// The outputs to be read.
    pub outputs: &'a [OutputId],
    /// Whether flags are looked for, or digests are verified.
    pub mode: VerificationMode,
    /// Strict posture takes verified digests and nothing less.
    pub posture: Posture,
    /// `false` waives the gates, in local posture only: nothing is looked at.
    pub require_gate_pass: bool,
}

/// Whether a clearance stands on gates that hold or on a waiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[non_exhaustive]
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

    /// How the gates were verified; without meaning where they were waived.
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

    /// Extends the grant of an output to a stream view of it.
    pub(crate) fn extend_to(&mut self, view: &StreamView) -> Result<(), Error> {
        let output_id = &view.locator().output_id;
        let output = self.outputs.get_mut(output_id).ok_or_else(|| {
            let what = format!("The output {output_id} of the view was not cleared");
            Error::new(ReasonCode::OutputUnknown, what)
        })?;
        let extended = output.grant.clone().extended_to(KEY, &view.locator().parts);
        output.grant = extended.map_err(Error::oracle)?;
        Ok(())
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
/// they depend on, each gate once. Runs on any executor.
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
    let mut receipts = Vec::new();
    for check in GATE_CHECKS {
        let looked = request.look(check, Extent::FirstRefusal).await?;
        if let Some(refusal) = looked.refusals.into_iter().next() {
            return Err(refusal);
        }
        receipts.extend(looked.receipts);
    }
    request.clearance(receipts)
}

/// Verifies every gate that `request` requires and stops at nothing: one receipt a gate,
/// dependencies first. For inspection; no receipt opens rows. Posture and
/// `require_gate_pass` are not asked.
///
/// # Errors
/// `OUTPUT_UNKNOWN`.
pub async fn verify_gates(request: &ClearanceRequest<'_>) -> Result<Vec<GateReceipt>, Error> {
    let request = ClearanceRequest {
        require_gate_pass: true,
        ..*request
    };
    let looked = request.look(Check::Gates, Extent::Everything).await?;
    Ok(looked.receipts)
}

/// The checks that lead to a clearance, in the order in which they refuse.
pub(crate) const GATE_CHECKS: [Check; 3] = [Check::Closure, Check::Agreement, Check::Gates];

/// How far a check looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    FirstRefusal,
    Everything,
}

/// What one check of the gates found.
#[derive(Default)]
pub(crate) struct Looked {
    pub(crate) receipts: Vec<GateReceipt>,
    pub(crate) refusals: Vec<Error>,
}

fn verify_steps<'r>(
    verifier: &'r Verifier<'_>,
    steps: Vec<Step<'r>>,
) -> impl Stream<Item = Verdict> {
    let verify = async move |step| match step {
        Step::Verify(gate) => verifier.verify(gate).await,
        // The closure refuses these; here they have their receipt.
        Step::Fault(gate_id, error) => Verdict {
            error: None,
            ..verifier.refuse(&gate_id, error)
        },
    };
    stream::iter(steps).map(verify).buffered(GATES_IN_FLIGHT)
}

impl Looked {
    fn refused(refusals: impl IntoIterator<Item = Error>) -> Self {
        Self {
            receipts: Vec::new(),
            refusals: refusals.into_iter().collect(),
        }
    }
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

    /// Makes one of the [`GATE_CHECKS`].
    ///
    /// # Errors
    /// `OUTPUT_UNKNOWN`: without its entry, nothing is known of an output.
    pub(crate) async fn look(&self, check: Check, extent: Extent) -> Result<Looked, Error> {
        let outputs = self.entries()?;
        if check == Check::Closure
            && let Err(refusal) = self.refuse_less_than_digests()
        {
            return Ok(Looked::refused([refusal]));
        }
        if !self.require_gate_pass {
            return Ok(Looked::default());
        }
        Ok(match check {
            Check::Closure => Looked::refused(self.steps(&outputs).into_iter().filter_map(
                |step| match step {
                    Step::Fault(_, error) => Some(error),
                    Step::Verify(_) => None,
                },
            )),
            Check::Agreement => {
                // The whole catalogue in strict posture, in local posture what is asked for.
                let agreed =
                    agreement::check(self.catalogue, &outputs, self.gate_map, self.posture);
                Looked::refused(agreed.err())
            }
            _ => self.look_at_gates(&outputs, extent).await,
        })
    }

    /// Verifies the gates, up to four at a time, dependencies first.
    async fn look_at_gates(&self, outputs: &[&CatalogueEntry], extent: Extent) -> Looked {
        let verifier = self.verifier();
        let mut verdicts = std::pin::pin!(verify_steps(&verifier, self.steps(outputs)));
        let mut looked = Looked::default();
        while let Some(Verdict { receipt, error }) = verdicts.next().await {
            looked.receipts.push(receipt);
            looked.refusals.extend(error);
            if extent == Extent::FirstRefusal && !looked.refusals.is_empty() {
                break;
            }
        }
        looked
    }

    fn refuse_less_than_digests(&self) -> Result<(), Error> {
        let is_less = !self.require_gate_pass || self.mode == VerificationMode::Presence;
        if self.posture == Posture::Strict && is_less {
            let what =
                "Strict posture takes verified digests, no waiver and no mere presence of flags";
            return Err(Error::new(ReasonCode::GateWaiverRefused, what));
        }
        Ok(())
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

    /// The clearance, once none of the [`GATE_CHECKS`] has refused.
    pub(crate) fn clearance(&self, receipts: Vec<GateReceipt>) -> Result<Clearance, Error> {
        let outputs = self.entries()?;
        let status = if self.require_gate_pass {
            ClearanceStatus::Cleared
        } else {
            ClearanceStatus::Waived
        };
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
