//! Attests outputs of a world on the command line, with no other crate of the platform:
//!
//! ```text
//! cargo run -p gates --example attest -- WORLD CATALOGUE GATE_MAP OUTPUT...
//! ```
//!
//! Prints one receipt a gate as JSON lines, then how many rows each output has.

use std::path::Path;
use std::process::ExitCode;

use gates::{AttestRequest, attest};
use oracle_store::{
    ObjectStoreConfig, ReadOptions, WorldStore, open_rows, resolve_engine_run_root,
};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [world, catalogue, gate_map, outputs @ ..] = arguments.as_slice() else {
        eprintln!("usage: attest WORLD CATALOGUE GATE_MAP OUTPUT...");
        return ExitCode::from(2);
    };
    match attest_outputs(world, catalogue, gate_map, outputs).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn attest_outputs(
    world: &str,
    catalogue: &str,
    gate_map: &str,
    outputs: &[String],
) -> Result<(), Box<dyn std::error::Error>> {
    let root = resolve_engine_run_root(world, None, &std::env::current_dir()?)?;
    let store = WorldStore::open(root, &ObjectStoreConfig::default())?;
    let request = AttestRequest::new(store, Path::new(catalogue), Path::new(gate_map), outputs);
    let attested = attest(&request).await?;
    for receipt in attested.receipts() {
        println!("{}", serde_json::to_string(receipt)?);
    }
    for output in &attested.outputs {
        let grant = attested
            .grant(output.id())
            .ok_or("an attested output has a grant")?;
        let mut rows = 0;
        for part in &output.locator.parts {
            attested.data.verify_part(part).await?;
            for batch in open_rows(grant, part, &ReadOptions::default())? {
                rows += batch?.rows.len();
            }
        }
        println!(
            "{}",
            serde_json::json!({ "output_id": output.id(), "rows": rows })
        );
    }
    Ok(())
}
