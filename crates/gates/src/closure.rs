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
                && let Some(upstream) = gate
                    .upstream
                    .as_ref()
                    .and_then(|all| all.get(entered.next_upstream))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    /// A map of gates `g0`, `g1`, … with these dependencies.
    fn map(upstream: &[Vec<usize>]) -> GateMap {
        let mut yaml = "gates: [".to_owned();
        for (gate, upstream) in upstream.iter().enumerate() {
            let upstream: Vec<_> = upstream.iter().map(|gate| format!("g{gate}")).collect();
            let upstream = upstream.join(", ");
            write!(yaml, "{{gate_id: g{gate}, passed_flag_path_template: f, upstream_gate_dependencies: [{upstream}], authorizes_outputs: []}}, ").unwrap();
        }
        GateMap::parse("map", (yaml + "]").as_bytes()).unwrap()
    }

    fn walk(map: &GateMap, required: &[usize], depth: Depth) -> Vec<(String, Option<ReasonCode>)> {
        let required = required.iter().map(|gate| Requirement {
            gate_id: GateId::new(format!("g{gate}")),
            required_by: "output o".to_owned(),
        });
        let name = |step| match step {
            Step::Verify(gate) => (gate.id.to_string(), None),
            Step::Fault(gate_id, error) => (gate_id.to_string(), Some(error.code())),
        };
        steps(map, required, depth).into_iter().map(name).collect()
    }

    proptest! {
        #[test]
        fn every_needed_gate_comes_once_and_after_its_dependencies(
            raw in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..4), 1..12),
            required in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
        ) {
            // A gate depends on earlier ones only: no circles.
            let upstream: Vec<Vec<usize>> = raw
                .iter()
                .enumerate()
                .map(|(gate, picks)| if gate == 0 { vec![] } else { picks.iter().map(|p| p.index(gate)).collect() })
                .collect();
            let required: Vec<usize> = required.iter().map(|pick| pick.index(upstream.len())).collect();
            let found = walk(&map(&upstream), &required, Depth::WithDependencies);
            prop_assert!(found.iter().all(|(_, fault)| fault.is_none()));
            let order: Vec<usize> = found.iter().map(|(id, _)| id[1..].parse().unwrap()).collect();
            for (place, gate) in order.iter().enumerate() {
                prop_assert!(!order[..place].contains(gate), "once");
                prop_assert!(upstream[*gate].iter().all(|dep| order[..place].contains(dep)));
            }
            let mut needed: BTreeSet<usize> = required.iter().copied().collect();
            while let Some(dep) = needed.iter().flat_map(|g| &upstream[*g]).find(|d| !needed.contains(d)) {
                needed.insert(*dep);
            }
            prop_assert_eq!(order.into_iter().collect::<BTreeSet<_>>(), needed);
        }

        #[test]
        fn any_map_ends_with_one_step_a_gate(
            raw in prop::collection::vec(prop::collection::vec(0_usize..8, 0..4), 1..8),
        ) {
            let found = walk(&map(&raw), &[0], Depth::WithDependencies);
            let distinct: BTreeSet<_> = found.iter().map(|(id, _)| id).collect();
            prop_assert_eq!(distinct.len(), found.len());
        }
    }

    #[test]
    fn a_gate_that_needs_itself_is_a_circle_and_is_not_verified() {
        let map = map(&[vec![0], vec![0]]);
        let circle = Some(ReasonCode::GateDependencyCycle);
        let found = walk(&map, &[1], Depth::WithDependencies);
        assert_eq!(found, [("g0".to_owned(), circle), ("g1".to_owned(), None)]);
        assert_eq!(
            walk(&map, &[1], Depth::RequiredOnly),
            [("g1".to_owned(), None)]
        );
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_gates_does_not_end_the_process() {
        let upstream: Vec<_> = (0..100_000)
            .map(|gate: usize| gate.checked_sub(1).into_iter().collect())
            .collect();
        assert_eq!(
            walk(&map(&upstream), &[99_999], Depth::WithDependencies).len(),
            100_000
        );
    }
}
