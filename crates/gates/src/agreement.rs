//! Catalogue and gate map state the same restriction from both ends: an output names the
//! gates that it requires, a gate names the outputs that it authorizes. Where they disagree,
//! one of them lost a restriction, and nothing says which: refused.

use oracle_store::{CatalogueEntry, Posture};

use crate::error::{Error, ReasonCode};
use crate::gate_map::{GateId, GateMap};

/// Compares both directions for some outputs. A gate whose entry spells out no
/// `authorizes_outputs` or no `upstream_gate_dependencies` is refused in strict posture; in
/// local posture it is not compared.
///
/// # Errors
/// `GATE_MAP_UNREADABLE` for a missing key, `CATALOGUE_GATES_DISAGREE`.
pub(crate) fn check<'a>(
    outputs: impl Iterator<Item = &'a CatalogueEntry>,
    gate_map: &GateMap,
    posture: Posture,
) -> Result<(), Error> {
    if posture == Posture::Strict
        && let Some((gate, key)) = gate_map.gates().find_map(|gate| gate.missing_key())
    {
        let what = format!("The gate {gate} has no `{key}`, which may be empty but not missing");
        return Err(Error::new(ReasonCode::GateMapUnreadable, what).of_gate(gate));
    }
    for output in outputs {
        for gate in gate_map.gates() {
            let Some(authorized) = &gate.authorizes else {
                continue;
            };
            let authorizes = authorized.contains(&output.output_id);
            let requires = output
                .read_requires_gates
                .iter()
                .any(|id| id == gate.id.as_str());
            if authorizes != requires {
                return Err(disagreement(output, &gate.id, authorizes));
            }
        }
    }
    Ok(())
}

fn disagreement(output: &CatalogueEntry, gate: &GateId, authorizes: bool) -> Error {
    let output = &output.output_id;
    let what = if authorizes {
        format!(
            "The gate map says that {gate} authorizes {output}, whose `read_requires_gates` does \
             not name it"
        )
    } else {
        format!(
            "The output {output} requires {gate}, whose `authorizes_outputs` does not name the \
             output"
        )
    };
    Error::new(ReasonCode::CatalogueGatesDisagree, what).of_gate(gate)
}
