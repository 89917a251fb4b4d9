//! The memory that a verification takes does not grow with what it verifies.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::Path;

use gates::{ClearanceRequest, GateMap, VerificationMode, clear};
use oracle_store::{
    Catalogue, Hex64, ObjectStoreConfig, OutputId, Posture, RunReceipt, Tokens, WorldStore,
    resolve_engine_run_root,
};
use sha2::{Digest, Sha256};

const FILE_MIB: u64 = 384;
const LIMIT_MIB: u64 = 64;

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

/// The most memory that this process has ever had resident.
fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    peak.trim()
        .strip_suffix(" kB")
        .unwrap()
        .trim()
        .parse::<u64>()
        .unwrap()
        / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_far_larger_than_the_limit_is_verified_within_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("bundle")).unwrap();
    let mut hasher = Sha256::new();
    for name in ["a.bin", "b.bin"] {
        // Sparse: the test reads zeros and costs no disk.
        let file = File::create(dir.path().join("bundle").join(name)).unwrap();
        file.set_len(FILE_MIB << 20).unwrap();
        (0..FILE_MIB).for_each(|_| hasher.update(vec![0; 1 << 20]));
    }
    let flag = format!(
        "sha256_hex = {}\n",
        Hex64::of_digest(hasher.finalize().into())
    );
    fs::write(dir.path().join("bundle/_passed.flag"), flag).unwrap();

    let root = resolve_engine_run_root(dir.path().to_str().unwrap(), None, Path::new("/")).unwrap();
    let receipt = format!(
        r#"{{"run_id": "{0}", "manifest_fingerprint": "{0}{0}", "parameter_hash": "{0}{0}", "seed": 1}}"#,
        "0".repeat(32)
    );
    let clearance = clear(&ClearanceRequest {
        store: &WorldStore::open(root, &ObjectStoreConfig::default()).unwrap(),
        tokens: &Tokens::of_run(&RunReceipt::parse(receipt.as_bytes()).unwrap()),
        catalogue: &Catalogue::parse(CATALOGUE.as_bytes()).unwrap(),
        gate_map: &GateMap::parse("map", GATE_MAP.as_bytes()).unwrap(),
        outputs: &[OutputId::new("o")],
        mode: VerificationMode::Digest,
        posture: Posture::Strict,
        require_gate_pass: true,
    })
    .await
    .unwrap();
    assert!(clearance.receipts()[0].bytes_hashed > (2 * FILE_MIB) << 20);
    assert!(peak_mib() <= LIMIT_MIB, "{} MiB", peak_mib());
}
