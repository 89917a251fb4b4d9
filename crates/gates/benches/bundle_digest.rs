//! How fast, and in how much memory, a large bundle is verified. Linux only: it reads
//! `/proc`.
//!
//! ```text
//! cargo bench -p gates                              256 MiB
//! GATES_BENCH_MIB=2048 cargo bench -p gates         2 GiB
//! ```
//!
//! Rates are bytes a second of CPU time of the store's threads, which read and hash; `openssl
//! speed`, which only hashes, runs between the passes, so that both see the same machine.

#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark goes by the machine's clock"
)]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use gates::{ClearanceRequest, GateMap, VerificationMode, clear};
use oracle_store::{
    Catalogue, Hex64, ObjectStoreConfig, OutputId, Posture, RunReceipt, Tokens, WorldStore,
    resolve_engine_run_root,
};
use sha2::{Digest, Sha256};

const CATALOGUE: &str =
    "outputs: [{output_id: o, class: stream, path_template: o/, read_requires_gates: [g]}]";
const GATE_MAP: &str = "
gates:
- gate_id: g
  passed_flag_path_template: bundle/_passed.flag
  bundle_root_template: bundle/
  verification_method:
    {kind: sha256_bundle_digest, digest_field: sha256_hex, ordering: ascii_lex, exclude_filenames: [_passed.flag]}
  upstream_gate_dependencies: []
  authorizes_outputs: [o]
";
const FILES: u64 = 4;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mib: u64 = std::env::var("GATES_BENCH_MIB").map_or(Ok(256), |text| text.parse())?;
    let dir = tempfile::tempdir()?;
    write_bundle(dir.path(), mib)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let (mut best, mut wall, mut openssl) = (0.0_f64, f64::MAX, None);
    for _ in 0..3 {
        let (hashed, started) = (hash_seconds()?, Instant::now());
        runtime.block_on(verify(dir.path()))?;
        wall = wall.min(started.elapsed().as_secs_f64());
        best = best.max(megabytes(mib) / (hash_seconds()? - hashed));
        openssl = openssl_rate().into_iter().chain(openssl).reduce(f64::max);
    }
    println!("bundle of {mib} MiB in {FILES} files, best of 3");
    println!("verified in        {:8.0} ms wall", wall * 1e3);
    println!("hashed             {best:8.0} MB/s on one core");
    if let Some(openssl) = openssl {
        println!(
            "openssl sha256     {openssl:8.0} MB/s   ratio {:.2}",
            best / openssl
        );
    }
    println!("peak resident      {:8} MiB", peak_mib()?);
    Ok(())
}

fn write_bundle(root: &Path, mib: u64) -> Result<(), Failure> {
    fs::create_dir(root.join("bundle"))?;
    let mut chunk = vec![0; 1 << 20];
    let mut digest = Sha256::new();
    for name in 0..FILES {
        let mut file = File::create(root.join(format!("bundle/{name}.bin")))?;
        for number in 0..mib / FILES {
            chunk.fill(number as u8);
            digest.update(&chunk);
            file.write_all(&chunk)?;
        }
    }
    let flag = format!(
        "sha256_hex = {}\n",
        Hex64::of_digest(digest.finalize().into())
    );
    Ok(fs::write(root.join("bundle/_passed.flag"), flag)?)
}

async fn verify(root: &Path) -> Result<(), Failure> {
    let root = resolve_engine_run_root(&root.display().to_string(), None, Path::new("/"))?;
    let receipt = format!(
        r#"{{"run_id": "{0}", "manifest_fingerprint": "{0}{0}", "parameter_hash": "{0}{0}", "seed": 1}}"#,
        "0".repeat(32)
    );
    clear(&ClearanceRequest {
        store: &WorldStore::open(root, &ObjectStoreConfig::default())?,
        tokens: &Tokens::of_run(&RunReceipt::parse(receipt.as_bytes())?),
        catalogue: &Catalogue::parse(CATALOGUE.as_bytes())?,
        gate_map: &GateMap::parse("map", GATE_MAP.as_bytes())?,
        outputs: &[OutputId::new("o")],
        mode: VerificationMode::Digest,
        posture: Posture::Strict,
        require_gate_pass: true,
    })
    .await?;
    Ok(())
}

/// 10⁶ bytes, as openssl counts.
fn megabytes(mib: u64) -> f64 {
    (mib << 20) as f64 / 1e6
}

/// CPU seconds that the threads which read and hash have had so far.
fn hash_seconds() -> Result<f64, Failure> {
    let mut nanoseconds = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.trim() == "oracle-store-io" {
            let statistics = fs::read_to_string(task.join("schedstat"))?;
            nanoseconds += statistics
                .split_whitespace()
                .next()
                .unwrap_or("0")
                .parse::<u64>()?;
        }
    }
    Ok(nanoseconds as f64 / 1e9)
}

/// The last column of `openssl speed`, in thousands of bytes a second, if there is one.
fn openssl_rate() -> Option<f64> {
    let arguments = ["speed", "-seconds", "1", "-bytes", "1048576", "sha256"];
    let output = Command::new("openssl").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let column = text.lines().last()?.split_whitespace().last()?;
    Some(column.strip_suffix('k')?.parse::<f64>().ok()? / 1e3)
}

fn peak_mib() -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .ok_or("no VmHWM")?;
    Ok(peak.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}
