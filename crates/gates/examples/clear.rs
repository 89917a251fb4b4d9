//! Clears outputs of a world on the command line, with no other crate of the platform:
//!
//! ```text
//! cargo run -p gates --example clear -- WORLD CATALOGUE GATE_MAP OUTPUT...
//! ```
//!
//! Prints one receipt a gate as JSON lines, then what each output was cleared by.

use std::path::Path;
use std::process::ExitCode;

use gates::{ClearanceRequest, GateMap, VerificationMode, clear};
use oracle_store::{
    Catalogue, ObjectStoreConfig, OutputId, Posture, RunReceipt, Tokens, WorldStore,
    resolve_engine_run_root,
};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [world, catalogue, gate_map, outputs @ ..] = arguments.as_slice() else {
        eprintln!("usage: clear WORLD CATALOGUE GATE_MAP OUTPUT...");
        return ExitCode::from(2);
    };
    match clear_outputs(world, catalogue, gate_map, outputs).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn clear_outputs(
    world: &str,
    catalogue: &str,
    gate_map: &str,
    outputs: &[String],
) -> Result<(), Box<dyn std::error::Error>> {
    let root = resolve_engine_run_root(world, None, &std::env::current_dir()?)?;
    let store = WorldStore::open(root, &ObjectStoreConfig::default())?;
    let tokens = Tokens::of_run(&RunReceipt::load(&store).await?);
    let catalogue = Catalogue::load(Path::new(catalogue))?;
    let gate_map = GateMap::load(Path::new(gate_map))?;
    let outputs: Vec<OutputId> = outputs.iter().map(OutputId::new).collect();
    let request = ClearanceRequest {
        store: &store,
        tokens: &tokens,
        catalogue: &catalogue,
        gate_map: &gate_map,
        outputs: &outputs,
        mode: VerificationMode::Digest,
        posture: Posture::Strict,
        require_gate_pass: true,
    };
    let clearance = clear(&request).await?;
    for receipt in clearance.receipts() {
        println!("{}", serde_json::to_string(receipt)?);
    }
    for output_id in &outputs {
        println!(
            "{}",
            serde_json::json!({ "output_id": output_id, "cleared": clearance.basis(output_id) })
        );
    }
    Ok(())
}
