//! The services of `examples/services`: what they answer, how they resume, how short they are.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use sandbox::{Corruption, GateOptions, WorldOptions};
use serde_json::Value;
use system_tests::{Rig, wsp_cli};

const RUN: &str = "platform_20260128T090000Z";

/// A service, as `cargo test --workspace` built it.
fn service(name: &str) -> Command {
    let program = wsp_cli().with_file_name("examples").join(name);
    assert!(
        program.is_file(),
        "no {name}: cargo build --workspace --examples"
    );
    let mut service = Command::new(program);
    service
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    service
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}

/// What `sr-attest` answers about a rig's world.
fn attest(rig: &Rig, root: &str) -> (bool, Value) {
    let ids = rig.world.streamable_output_ids();
    let mut service = service("sr-attest");
    service.args([
        root,
        text(rig.world.catalogue()),
        text(rig.world.gate_map()),
    ]);
    let ran = service.args(&ids).output().unwrap();
    let answer = serde_json::from_slice(&ran.stdout);
    let said = String::from_utf8_lossy(&ran.stderr);
    (
        ran.status.success(),
        answer.unwrap_or_else(|error| panic!("{error}: {said}")),
    )
}

#[test]
fn a_scenario_runner_learns_which_world_it_is_or_why_it_may_not_be_streamed() {
    let rig = Rig::sample();
    let (holds, answer) = attest(&rig, &rig.engine_run_root());
    assert!(holds, "{answer}");
    assert_eq!(answer["outputs"].as_array().unwrap().len(), 5);
    assert!(!answer["gates"].as_array().unwrap().is_empty(), "{answer}");
    for (damage, code) in [
        (Corruption::ReceiptMissing, "RUN_RECEIPT_UNREADABLE"),
        (Corruption::ManifestMissing, "PACK_MANIFEST_MISSING"),
        (Corruption::SealFailed, "PACK_SEALED_FAILED"),
        (Corruption::FlagMissing, "GATE_PASS_MISSING"),
        (Corruption::FlagDigestWrong, "GATE_DIGEST_MISMATCH"),
        (Corruption::OutputEmpty, "OUTPUT_EMPTY"),
    ] {
        let rig = Rig::sample();
        damage.apply(&rig.world).unwrap();
        let (holds, answer) = attest(&rig, &rig.engine_run_root());
        assert!(!holds, "{damage:?}");
        assert_eq!(answer["code"], code, "{answer}");
        for field in ["detail", "advice"] {
            assert!(!answer[field].as_str().unwrap().is_empty(), "{answer}");
        }
    }
}

/// What `ig-check` says of some lines.
fn check(rig: &Rig, lines: &[u8]) -> Output {
    let mut service = service("ig-check");
    let service = service.arg(rig.world.catalogue()).stdin(Stdio::piped());
    let mut child = service.spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn an_ingestion_gate_tells_good_envelopes_from_those_with_anothers_id() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept.ndjson");
    let gate = GateOptions {
        keep: Some(kept.clone()),
        ..GateOptions::default()
    };
    let rig = Rig::new(&WorldOptions::sample().with_shape(1, 20), gate, &[]);
    rig.stream(&[]).expect(0, "");
    let good = std::fs::read_to_string(&kept).unwrap();
    let checked = check(&rig, good.as_bytes());
    assert!(checked.status.success(), "{checked:?}");
    assert_eq!(checked.stdout, b"100 good, 0 bad\n");
    // The id of another row, a field that is not in the schema, and no JSON.
    let mut lines: Vec<Value> = good
        .lines()
        .take(2)
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    lines[0]["event_id"] = lines[1]["event_id"].clone();
    lines[1]["amount"] = 1.into();
    let bad = format!("{}\n{}\nnothing\n", lines[0], lines[1]);
    let checked = check(&rig, bad.as_bytes());
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(said.ends_with("0 good, 3 bad\n"), "{said}");
    assert!(said.starts_with("line 1: its id should be "), "{said}");
}

/// `backfill` of the first output of a rig's world.
fn backfill(rig: &Rig, mode: &str, state: &Path) -> Child {
    let id = &rig.world.streamable_output_ids()[0];
    let (root, gate) = (rig.engine_run_root(), rig.gate.url());
    let (catalogue, gate_map) = (text(rig.world.catalogue()), text(rig.world.gate_map()));
    let arguments = [
        mode,
        &root,
        catalogue,
        gate_map,
        id,
        &gate,
        text(state),
        RUN,
    ];
    service("backfill").args(arguments).spawn().unwrap()
}

#[test]
fn a_backfill_that_is_killed_repeats_at_most_what_it_had_not_saved() {
    const ROWS: u64 = 20_000;
    // Events between saves, and one a lane of the stream.
    for (mode, allowed) in [("raw", 50 + 1), ("stream", 50 + 32)] {
        let mut world = WorldOptions::sample();
        world.outputs.truncate(1);
        let world = world.with_shape(2, ROWS / 2);
        let rig = Rig::new(&world, GateOptions::default(), &[]);
        let state: PathBuf = rig.folder.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let mut killed = backfill(&rig, mode, &state);
        rig.wait_for_unique(ROWS / 4);
        killed.kill().unwrap();
        killed.wait().unwrap();
        let before = rig.gate.stats();
        assert!(before.unique < ROWS, "{mode}: it was over before the kill");
        // Leases of a producer that is dead are free.
        let began = Instant::now();
        let rest = backfill(&rig, mode, &state).wait_with_output().unwrap();
        assert!(began.elapsed() < Duration::from_mins(2));
        let said = String::from_utf8_lossy(&rest.stderr);
        assert!(rest.status.success(), "{mode}: {said}");
        let stats = rig.gate.stats();
        assert_eq!(stats.unique, ROWS, "{mode}");
        assert!(stats.duplicates <= allowed, "{mode}: {stats:?}");
    }
}

#[test]
fn the_services_are_as_short_as_the_library_promises() {
    let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/services");
    for (name, most) in [("sr-attest", 60), ("ig-check", 50), ("backfill", 120)] {
        let source = services.join(name).join("src/main.rs");
        let source = std::fs::read_to_string(source).unwrap();
        let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
        let lines = source.lines().filter(is_code).count();
        assert!(lines <= most, "{name} has {lines} lines of code");
    }
}
