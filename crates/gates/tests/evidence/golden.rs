//! The evidence of a real engine world, made by another program than ours.

use std::path::{Path, PathBuf};

use gates::{AttestRequest, ClearanceRequest, GateMap, VerificationMode, attest, clear};
use oracle_store::{
    Catalogue, ObjectStoreConfig, OutputId, Posture, ReadOptions, RunReceipt, Tokens, WorldStore,
    open_rows, resolve_engine_run_root,
};

fn folder(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} names no folder"))
        .into()
}

#[tokio::test]
#[ignore = "needs WSP_GOLDEN_WORLD and WSP_GOLDEN_REFERENCE"]
async fn every_gate_of_the_golden_world_verifies() {
    let (world, reference) = (folder("WSP_GOLDEN_WORLD"), folder("WSP_GOLDEN_REFERENCE"));
    let root = resolve_engine_run_root(world.to_str().unwrap(), None, Path::new("/")).unwrap();
    let store = WorldStore::open(root, &ObjectStoreConfig::default()).unwrap();
    let catalogue = Catalogue::load(&reference.join("engine_outputs.catalogue.yaml")).unwrap();
    let gate_map = GateMap::load(&reference.join("engine_gates.map.yaml")).unwrap();
    let outputs: Vec<OutputId> = catalogue
        .outputs()
        .iter()
        .map(|entry| entry.output_id.clone())
        .collect();
    let receipt = RunReceipt::load(&store).await.unwrap();
    let clearance = clear(&ClearanceRequest {
        store: &store,
        tokens: &Tokens::of_run(&receipt),
        catalogue: &catalogue,
        gate_map: &gate_map,
        outputs: &outputs,
        mode: VerificationMode::Digest,
        posture: Posture::Strict,
        require_gate_pass: true,
    })
    .await
    .unwrap();
    assert_eq!(clearance.receipts().len(), gate_map.gate_ids().count());
    assert!(
        clearance
            .receipts()
            .iter()
            .all(|receipt| receipt.unbound_items.is_empty())
    );
}

/// A service of a few lines: it attests an output of the golden world and counts its rows.
#[tokio::test]
#[ignore = "needs WSP_GOLDEN_WORLD and WSP_GOLDEN_REFERENCE"]
async fn the_golden_world_is_attested_in_strict_posture() {
    let (world, reference) = (folder("WSP_GOLDEN_WORLD"), folder("WSP_GOLDEN_REFERENCE"));
    let root = resolve_engine_run_root(world.to_str().unwrap(), None, Path::new("/")).unwrap();
    let store = WorldStore::open(root, &ObjectStoreConfig::default()).unwrap();
    let catalogue = reference.join("engine_outputs.catalogue.yaml");
    let gate_map = reference.join("engine_gates.map.yaml");
    let request = AttestRequest::new(store, catalogue, gate_map, ["arrival_events_5B"]);
    let attested = attest(&request).await.unwrap();
    assert!(attested.pack.facts_verified);
    let output = &attested.outputs[0];
    let grant = attested.grant(output.id()).unwrap();
    let parts = output.locator.parts.iter();
    let batches = parts.flat_map(|part| open_rows(grant, part, &ReadOptions::default()).unwrap());
    let rows: usize = batches.map(|batch| batch.unwrap().rows.len()).sum();
    assert!(rows > 0);
}
