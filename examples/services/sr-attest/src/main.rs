//! A scenario runner's question: may this world be streamed? `sr-attest ROOT CATALOGUE GATE_MAP
//! OUTPUT…` answers with one JSON object and exit status 0, or with the refusal and 1.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use gates::{AttestError, AttestRequest, AttestedWorld, GateMap, LocatedOutput, attest};
use oracle_store::{Catalogue, ObjectStoreConfig, Posture, WorldStore, resolve_engine_run_root};
use serde_json::json;

type Failure = Box<dyn std::error::Error>;

async fn may_stream(arguments: &[String]) -> Result<AttestedWorld, Failure> {
    let [root, catalogue, gate_map, outputs @ ..] = arguments else {
        return Err("usage: sr-attest ROOT CATALOGUE GATE_MAP OUTPUT…".into());
    };
    let root = resolve_engine_run_root(root, None, &std::env::current_dir()?)?;
    let store = WorldStore::open(root, &ObjectStoreConfig::default())?;
    let catalogue = Arc::new(Catalogue::load(Path::new(catalogue))?);
    let gate_map = GateMap::load(Path::new(gate_map))?;
    let outputs = outputs.iter().map(String::as_str);
    let request = AttestRequest::new(store, catalogue, gate_map, outputs);
    Ok(attest(&request.posture(Posture::Strict)).await?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let refused = match may_stream(&arguments).await {
        Ok(world) => {
            let gates = world
                .receipts()
                .iter()
                .map(|receipt| receipt.gate_id.to_string());
            let answer = json!({
                "world_key": world.world_key,
                "oracle_pack_id": world.pack.oracle_pack_id,
                "gates": gates.collect::<Vec<_>>(),
                "outputs": world.outputs.iter().map(LocatedOutput::id).collect::<Vec<_>>(),
            });
            println!("{answer}");
            return ExitCode::SUCCESS;
        }
        Err(refused) => refused,
    };
    let refusal = refused.downcast_ref::<AttestError>();
    let code = refusal.map(|refusal| refusal.code().as_str());
    let place = refusal.and_then(|refusal| refusal.object_name());
    let advice = refusal.map(AttestError::advice);
    println!(
        "{}",
        json!({"code": code, "detail": refused.to_string(), "place": place, "advice": advice})
    );
    ExitCode::FAILURE
}
