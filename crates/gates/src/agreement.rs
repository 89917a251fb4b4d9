//! Catalogue and gate map state the same restriction from both ends: an output names the
//! gates that it requires, a gate names the outputs that it authorizes. Where they disagree,
//! one of them lost a restriction, and nothing says which: refused.

use oracle_store::{Catalogue, CatalogueEntry, Posture};

use crate::error::{Error, ReasonCode};
use crate::gate_map::{AUTHORIZES, GateId, GateMap};

/// Compares both directions for some outputs; in strict posture for the whole catalogue, and
/// every name on either side must be known to the other. A gate whose entry spells out no
/// `authorizes_outputs` or no `upstream_gate_dependencies` is refused in strict posture; in
/// local posture the former is refused where a selected output does not require the gate.
///
/// # Errors
/// `GATE_MAP_UNREADABLE` for a missing key, `CATALOGUE_GATES_DISAGREE`.
pub(crate) fn check<'a>(
    catalogue: &'a Catalogue,
    outputs: &[&'a CatalogueEntry],
    gate_map: &GateMap,
    posture: Posture,
) -> Result<(), Error> {
    if posture == Posture::Strict
        && let Some((gate, key)) = gate_map.gates().find_map(|gate| gate.missing_key())
    {
        let what = format!("The gate {gate} has no `{key}`, which may be empty but not missing");
        return Err(Error::new(ReasonCode::GateMapUnreadable, what).of_gate(gate));
    }
    if posture == Posture::Strict {
        check_names(catalogue, gate_map)?;
    }
    let all: Vec<_> = catalogue.outputs().iter().collect();
    let outputs = match posture {
        Posture::Strict => &all,
        Posture::Local => outputs,
    };
    for output in outputs {
        for gate in gate_map.gates() {
            let requires = output
                .read_requires_gates
                .iter()
                .any(|id| id == gate.id.as_str());
            let Some(authorized) = &gate.authorizes else {
                if requires {
                    continue;
                }
                let what = format!(
                    "The gate {} has no `{AUTHORIZES}`, so that it may restrict {}, which does \
                     not require it",
                    gate.id, output.output_id
                );
                return Err(Error::new(ReasonCode::GateMapUnreadable, what).of_gate(&gate.id));
            };
            let authorizes = authorized.contains(&output.output_id);
            if authorizes != requires {
                return Err(disagreement(output, &gate.id, authorizes));
            }
        }
    }
    Ok(())
}

/// Every gate that an output requires is in the map, and every output that a gate authorizes in
/// the catalogue.
fn check_names(catalogue: &Catalogue, gate_map: &GateMap) -> Result<(), Error> {
    for output in catalogue.outputs() {
        for id in &output.read_requires_gates {
            let gate = GateId::new(id);
            if gate_map.gate(&gate).is_none() {
                let what = format!(
                    "The output {} requires {gate}, which is not in the gate map",
                    output.output_id
                );
                return Err(Error::new(ReasonCode::CatalogueGatesDisagree, what).of_gate(&gate));
            }
        }
    }
    for gate in gate_map.gates() {
        let authorized = gate.authorizes.iter().flatten();
        if let Some(output) = authorized
            .into_iter()
            .find(|output| catalogue.output(output).is_none())
        {
            let what = format!(
                "The gate {} authorizes {output}, which is not in the catalogue",
                gate.id
            );
            return Err(Error::new(ReasonCode::CatalogueGatesDisagree, what).of_gate(&gate.id));
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
