//! Says what a world holds, without `wsp`: its key, and of one output each part with its
//! rows and its first and last time.
//!
//! ```text
//! cargo run -p oracle-store --example inspect_world -- \
//!     <engine run root> <catalogue.yaml> <output id> [scenario id]
//! ```
//! Without arguments it writes a tiny world into a temporary folder and inspects that.

use std::error::Error;
use std::path::Path;

use oracle_store::{
    Catalogue, ObjectStoreConfig, OutputId, Part, ReadOptions, RunReceipt, Tokens, WorldStore,
    locate, read_column, resolve_engine_run_root, resolve_scenario_id,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [root, catalogue, output] => inspect(root, catalogue, output, None).await,
        [root, catalogue, output, scenario] => {
            inspect(root, catalogue, output, Some(scenario)).await
        }
        _ => {
            let folder = tempfile::tempdir()?;
            let catalogue = write_tiny_world(folder.path())?;
            inspect(
                &folder.path().display().to_string(),
                &catalogue,
                "arrivals",
                None,
            )
            .await
        }
    }
}

async fn inspect(
    root: &str,
    catalogue: &str,
    output: &str,
    scenario: Option<&str>,
) -> Result<(), Box<dyn Error>> {
    let root = resolve_engine_run_root(root, None, &std::env::current_dir()?)?;
    let store = WorldStore::open(root, &ObjectStoreConfig::default())?;
    let catalogue = Catalogue::load(Path::new(catalogue))?;
    let entry = catalogue
        .output(&OutputId::new(output))
        .ok_or("no such output")?;

    let receipt = RunReceipt::load(&store).await?;
    let of_run = Tokens::of_run(&receipt);
    let scenario = resolve_scenario_id(&store, &[scenario], &[entry], &of_run).await?;
    let located = locate(&store, entry, &of_run.with_scenario(&scenario)).await?;
    println!(
        "{}",
        serde_json::to_string_pretty(&receipt.world_key(scenario))?
    );

    for part in located.parts {
        // Rows are read on plain threads: decoding blocks.
        let (of_thread, path) = (store.clone(), part.path().to_owned());
        let times = store.start_work(move || times(&of_thread, &part)).await??;
        println!("{path}: {times}");
    }
    Ok(())
}

fn times(store: &WorldStore, part: &Part) -> Result<String, oracle_store::Error> {
    let (mut rows, mut nulls) = (0, 0);
    for batch in read_column(store, part, "ts_utc", &ReadOptions::default())? {
        let (first_row, values) = batch?;
        rows = first_row + values.len() as u64;
        nulls += values.logical_null_count();
    }
    Ok(format!("{rows} rows, {nulls} without a time"))
}

fn write_tiny_world(folder: &Path) -> Result<String, Box<dyn Error>> {
    let scenario = folder.join("data/arrivals/scenario_id=demo");
    std::fs::create_dir_all(&scenario)?;
    let lines = "{\"id\":1,\"ts_utc\":\"2026-01-01T00:00:00Z\"}\n{\"id\":2,\"ts_utc\":null}\n";
    std::fs::write(scenario.join("part-0.jsonl"), lines)?;
    let (run_id, hash) = ("0".repeat(32), "a".repeat(64));
    let receipt = format!(
        r#"{{"run_id":"{run_id}","manifest_fingerprint":"{hash}","parameter_hash":"{hash}","seed":1}}"#
    );
    std::fs::write(folder.join("run_receipt.json"), receipt)?;
    let catalogue = folder.join("catalogue.yaml");
    let entry = "outputs:\n- output_id: arrivals\n  class: stream\n  primary_key: [id]\n  read_requires_gates: []\n  \
                 path_template: data/arrivals/scenario_id={scenario_id}/part-*.jsonl\n";
    std::fs::write(&catalogue, entry)?;
    Ok(catalogue.display().to_string())
}
