//! Which gates a request verifies, and in which order: pure graph work.
//!
//! Depth-first from the required gates in their order, dependencies before the
//! gates that need them, each gate once however many need it. A gate that the
//! map does not have, or a circle, is a fault at the place where it is met; the
//! walk goes on past it, so that `verify` can list everything.

use std::collections::HashMap;

use crate::error::{Error, ReasonCode};
use crate::gate_map::{Gate, GateId, GateMap};

/// One step of a verification: a gate to verify, or why there is none.
pub(crate) enum Step<'m> {
    Verify(&'m Gate),
    Fault(GateId, Error),
}

/// Who asks for a gate.
#[derive(Clone)]
pub(crate) struct Requirement {
    pub(crate) gate_id: GateId,
    /// `output X` or `gate Y`, for errors.
    pub(crate) required_by: String,
}

/// How far the walk follows dependencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    RequiredOnly,
    WithDependencies,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    OnPath,
    Done,
}

/// The steps for `required`, dependencies first, each gate once.
pub(crate) fn steps(
    map: &GateMap,
    required: impl IntoIterator<Item = Requirement>,
    depth: Depth,
) -> Vec<Step<'_>> {
    let mut walk = Walk {
        map,
        depth,
        marks: HashMap::new(),
        path: Vec::new(),
        steps: Vec::new(),
    };
    for requirement in required {
        walk.enter(requirement);
        walk.run();
    }
    walk.steps
}

/// An explicit stack: a map is input, and a long chain must not end the process.
struct Walk<'m> {
    map: &'m GateMap,
    depth: Depth,
    marks: HashMap<GateId, Mark>,
    path: Vec<Entered<'m>>,
    steps: Vec<Step<'m>>,
}

/// A gate whose dependencies are being walked.
struct Entered<'m> {
    gate: &'m Gate,
    next_upstream: usize,
    circle: Option<Error>,
}

impl Walk<'_> {
    fn run(&mut self) {
        while let Some(entered) = self.path.last_mut() {
            let gate = entered.gate;
            if self.depth == Depth::WithDependencies
                && let Some(upstream) = gate.upstream.get(entered.next_upstream)
            {
                entered.next_upstream += 1;
                let required_by = format!("gate {}", gate.id);
                self.enter(Requirement {
                    gate_id: upstream.clone(),
                    required_by,
                });
            } else {
                let circle = self.path.pop().and_then(|entered| entered.circle);
                self.marks.insert(gate.id.clone(), Mark::Done);
                self.steps.push(match circle {
                    Some(error) => Step::Fault(gate.id.clone(), error),
                    None => Step::Verify(gate),
                });
            }
        }
    }

    fn enter(&mut self, requirement: Requirement) {
        let Requirement {
            gate_id,
            required_by,
        } = requirement;
        match self.marks.get(&gate_id) {
            Some(Mark::Done) => {}
            Some(Mark::OnPath) => self.close_circle(&gate_id),
            None => {
                if let Some(gate) = self.map.gate(&gate_id) {
                    self.marks.insert(gate_id, Mark::OnPath);
                    self.path.push(Entered {
                        gate,
                        next_upstream: 0,
                        circle: None,
                    });
                } else {
                    self.marks.insert(gate_id.clone(), Mark::Done);
                    let what = format!(
                        "{required_by} needs this gate, and the gate map has none of its name"
                    );
                    let error = Error::new(ReasonCode::GateUnknown, what).of_gate(&gate_id);
                    self.steps.push(Step::Fault(gate_id, error));
                }
            }
        }
    }

    /// The gate where the circle closes answers for it, in place of its receipt.
    fn close_circle(&mut self, gate_id: &GateId) {
        let from = self
            .path
            .iter()
            .position(|entered| entered.gate.id == *gate_id);
        let Some(circle) = from.and_then(|from| self.path.get_mut(from..)) else {
            return;
        };
        let ids: Vec<_> = circle
            .iter()
            .map(|entered| entered.gate.id.as_str())
            .collect();
        let what = format!("it depends on itself: {} → {gate_id}", ids.join(" → "));
        if let Some(first) = circle.first_mut() {
            let error = Error::new(ReasonCode::GateDependencyCycle, what).of_gate(gate_id);
            first.circle = Some(error);
        }
    }
}
