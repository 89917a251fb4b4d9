//! Grants for outputs that require no gate: only `gates` issues one, to tests too.

use futures::FutureExt;
use gates::{ClearanceRequest, GateMap, VerificationMode, clear};
use oracle_store::{Catalogue, OutputId, Posture, ReadGrant, RunReceipt, Tokens, WorldStore};

/// The grant of an output that a catalogue of its own says to require no gate.
pub fn granted(store: &WorldStore, output_id: &OutputId) -> ReadGrant {
    let catalogue =
        format!("outputs: [{{output_id: '{output_id}', class: stream, read_requires_gates: []}}]");
    let receipt = serde_json::json!({
        "run_id": "0".repeat(32), "manifest_fingerprint": "a".repeat(64),
        "parameter_hash": "b".repeat(64), "seed": 7,
    });
    let clearing = clear(&ClearanceRequest {
        store,
        tokens: &Tokens::of_run(&RunReceipt::parse(receipt.to_string().as_bytes()).unwrap()),
        catalogue: &Catalogue::parse(catalogue.as_bytes()).unwrap(),
        gate_map: &GateMap::parse("no gates", b"gates: []").unwrap(),
        outputs: std::slice::from_ref(output_id),
        mode: VerificationMode::Digest,
        posture: Posture::Local,
        require_gate_pass: true,
    })
    .now_or_never();
    let clearance = clearing.expect("where no gate is required, nothing is read");
    clearance.unwrap().grant(output_id).unwrap().clone()
}
