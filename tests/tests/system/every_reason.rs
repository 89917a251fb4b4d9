//! The rest of bad input: refusals that are a matter of the profile, the cursors or the
//! whole world rather than of one corrupted file. And the promise over all of them: no
//! reason code without a test that leads to it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sandbox::{GateOptions, Pack, WorldOptions};
use serde_json::Value;
use system_tests::{Ran, Rig};

fn rig(keys: &[(&str, &str)]) -> Rig {
    Rig::new(&WorldOptions::sample(), GateOptions::default(), keys)
}

/// Streams, and sees the refusal: nothing was pushed, and the operator is told what and where.
#[track_caller]
fn assert_refused(rig: &Rig, more: &[&str], status: i32, code: &str, names: &str) {
    let ran = rig.stream(more);
    assert_explained(&ran, status, code, names);
    assert_eq!(rig.gate.stats().connections, 0, "{code}");
}

#[track_caller]
fn assert_explained(ran: &Ran, status: i32, code: &str, names: &str) {
    ran.expect(status, code);
    let detail = ran.report["detail"].as_str().unwrap();
    assert!(
        detail.contains(names),
        "{code} does not name {names}: {detail}"
    );
}

#[test]
fn a_profile_that_is_no_profile_is_refused() {
    let mut rig = rig(&[]);
    rig.profile = rig.folder.path().join("nowhere.yaml");
    assert_refused(&rig, &[], 2, "PROFILE_UNREADABLE", "nowhere.yaml");
    std::fs::write(&rig.profile, "policy: [unclosed").unwrap();
    assert_refused(&rig, &[], 2, "PROFILE_UNREADABLE", "nowhere.yaml");
}

#[test]
fn credentials_in_the_file_or_in_clear_are_refused_in_strict_posture_and_never_shown() {
    let literal = rig(&[
        ("policy.posture", "strict"),
        ("wiring.security.wsp_auth_token", "hunter2secret"),
    ]);
    let ran = literal.stream(&[]);
    assert_explained(&ran, 2, "PROFILE_SECRET_LITERAL", "wsp_auth_token");
    assert!(!format!("{}{}", ran.report, ran.stderr).contains("hunter2"));
    let clear = rig(&[
        ("policy.posture", "strict"),
        ("wiring.security.wsp_auth_token", "${WSP_TEST_TOKEN}"),
        ("wiring.ig_ingest_url", "http://gate.example:8081"),
    ]);
    let mut command = clear.command(&["stream"], &[]);
    let ran = Ran::of(command.env("WSP_TEST_TOKEN", "hunter2secret"));
    assert_explained(&ran, 2, "PROFILE_TOKEN_IN_CLEAR", "http");
    assert!(!format!("{}{}", ran.report, ran.stderr).contains("hunter2"));
}

#[test]
fn a_token_that_a_proxy_would_read_is_refused_in_strict_posture_and_warned_of_in_local() {
    for (posture, status) in [("strict", 2), ("local", 1)] {
        let proxied = rig(&[
            ("policy.posture", posture),
            ("wiring.wsp_push.client", "reqwest"),
            ("wiring.wsp_retry.give_up_after_s", "1"),
            ("wiring.wsp_push.timeout_ms", "500"),
            ("wiring.security.wsp_auth_token", "${WSP_TEST_TOKEN}"),
        ]);
        let mut command = proxied.command(&["stream"], &[]);
        command
            .env("WSP_TEST_TOKEN", "hunter2secret")
            .env("http_proxy", "http://proxy.invalid:3128");
        let ran = Ran::of(&mut command);
        assert_eq!(ran.status, status, "{}", ran.report);
        assert!(ran.stderr.contains("`http_proxy` names"), "{}", ran.stderr);
        assert!(!format!("{}{}", ran.report, ran.stderr).contains("hunter2"));
        assert_eq!(proxied.gate.stats().posts, 0);
    }
}

#[test]
fn an_allowlist_that_allows_nobody_or_cannot_be_read_is_refused() {
    let rig = rig(&[("wiring.wsp_producer.allowlist_ref", "allow")]);
    let allowlist = rig.folder.path().join("allow");
    std::fs::write(&allowlist, "# nobody yet\n\n").unwrap();
    assert_refused(&rig, &[], 1, "PRODUCER_ALLOWLIST_EMPTY", "allow");
    std::fs::remove_file(&allowlist).unwrap();
    std::fs::create_dir(&allowlist).unwrap();
    assert_refused(&rig, &[], 1, "PRODUCER_ALLOWLIST_UNREADABLE", "allow");
}

#[test]
fn an_object_store_that_cannot_be_configured_is_refused() {
    let rig = rig(&[
        ("wiring.object_store.endpoint", "not a url"),
        ("wiring.oracle_root", "null"),
        ("wiring.oracle_engine_run_root", "s3://worlds/run-1"),
    ]);
    assert_refused(
        &rig,
        &[],
        1,
        "OBJECT_STORE_INVALID",
        "object_store.endpoint",
    );
}

#[test]
fn the_scenario_is_never_guessed() {
    let world = WorldOptions {
        pack: Pack::None,
        contents_index: false,
        ..WorldOptions::sample()
    };
    let unnamed = [("wiring.oracle_scenario_id", "null")];
    let rig = Rig::new(&world, GateOptions::default(), &unnamed);
    let part = &rig.world.parts("s3_event_stream_with_fraud_6B")[0];
    let scenario = part.parent().unwrap();
    let other = scenario.with_file_name("scenario_id=stress_v2");
    std::fs::create_dir(&other).unwrap();
    std::fs::copy(part, other.join("part-000000.parquet")).unwrap();
    assert_refused(&rig, &[], 1, "SCENARIO_ID_AMBIGUOUS", "stress_v2");
    std::fs::remove_dir_all(rig.world.engine_run_root().join("data")).unwrap();
    let root = rig.engine_run_root();
    assert_refused(&rig, &[], 1, "SCENARIO_ID_MISSING", &root);
}

#[test]
fn an_instance_receipt_that_proves_nothing_or_something_else_is_refused() {
    let world = WorldOptions {
        instance_proofs: true,
        pack: Pack::None,
        contents_index: false,
        ..WorldOptions::sample()
    };
    let rig = Rig::new(
        &world,
        GateOptions::default(),
        &[("policy.data_verification", "sha256")],
    );
    let receipt = found(rig.world.engine_run_root(), "instance_receipt.json");
    let text = std::fs::read_to_string(&receipt).unwrap();
    std::fs::write(&receipt, text.replace("PASS", "FAIL")).unwrap();
    assert_refused(
        &rig,
        &[],
        1,
        "INSTANCE_PROOF_INVALID",
        "instance_receipt.json",
    );
    let mut proof: Value = serde_json::from_str(&text).unwrap();
    proof["target_digest"]["hex"] = "0".repeat(64).into();
    std::fs::write(&receipt, proof.to_string()).unwrap();
    let ran = rig.stream(&[]);
    assert_explained(&ran, 1, "INSTANCE_PROOF_MISMATCH", "instance_receipt.json");
}

#[test]
fn a_run_that_would_take_more_memory_than_allowed_is_refused() {
    let rig = rig(&[
        ("policy.stream_order", "event_time"),
        ("wiring.wsp_order.memory_budget_mib", "1"),
    ]);
    assert_refused(&rig, &[], 1, "MEMORY_BUDGET_EXCEEDED", "memory_budget_mib");
}

/// The run of a stream under a limit of the process, as `ulimit` takes it.
fn ran_under(rig: &Rig, limit: &str) -> Ran {
    let stream = rig.command(&["stream"], &[]);
    let mut limited = std::process::Command::new("sh");
    limited
        .args(["-c", &format!("ulimit {limit}; exec \"$@\""), "sh"])
        .arg(stream.get_program())
        .args(stream.get_args())
        .current_dir(rig.folder.path());
    Ran::of(&mut limited)
}

#[test]
fn more_open_files_than_the_process_may_have_are_refused_and_a_soft_limit_is_raised() {
    let rig = rig(&[("policy.stream_order", "event_time")]);
    let ran = ran_under(&rig, "-n 60");
    assert_explained(&ran, 1, "FILE_HANDLES_EXCEEDED", "ulimit -n");
    assert_eq!(rig.gate.stats().posts, 0);
    ran_under(&rig, "-S -n 60").expect(0, "");
}

#[test]
fn an_address_space_without_room_for_the_program_or_for_the_run_is_refused() {
    let rig = rig(&[("policy.stream_order", "event_time")]);
    for room_mib in [60, 120, 195] {
        let ran = ran_under(&rig, &format!("-v {}", room_mib << 10));
        assert_explained(&ran, 1, "PROCESS_LIMIT_EXCEEDED", "ulimit -v");
    }
    assert_eq!(rig.gate.stats().posts, 0);
}

#[test]
fn a_limit_of_file_sizes_is_a_failure_with_a_report() {
    let rig = rig(&[]);
    let ran = ran_under(&rig, "-f 0");
    assert_eq!((ran.status, &ran.report["status"]), (1, &"FAILED".into()));
    assert!(ran.stderr.contains("File too large"), "{}", ran.stderr);
    // Nothing is lost by it.
    rig.stream(&[]).expect(0, "");
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

#[test]
fn a_disordered_part_is_refused_where_sorting_is_not_allowed() {
    let mut world = WorldOptions::sample();
    world.outputs[0].disorder = Some(sandbox::Disorder {
        every_nth_part: 2,
        window_rows: 50,
    });
    let rig = Rig::new(
        &world,
        GateOptions::default(),
        &[
            ("policy.stream_order", "event_time"),
            ("wiring.wsp_order.on_disorder", "refuse"),
        ],
    );
    assert_refused(&rig, &[], 1, "EVENT_TIME_DISORDER", "part-000001.parquet");
    rig.stream(&["--order", "as_written"]).expect(0, "");
}

#[test]
fn an_audit_that_cannot_be_written_stops_a_strict_run_before_it_starts() {
    let rig = rig(&[
        ("policy.posture", "strict"),
        ("wiring.wsp_audit.root", "runs"),
    ]);
    std::fs::write(rig.folder.path().join("runs"), "no folder").unwrap();
    assert_refused(&rig, &[], 1, "AUDIT_UNWRITABLE", "runs");
}

#[test]
fn a_scenario_run_that_fits_no_envelope_is_refused() {
    let rig = rig(&[]);
    let more = ["--scenario-run-id", "NOT HEX"];
    assert_refused(&rig, &more, 1, "ENVELOPE_FIELD_INVALID", "scenario_run_id");
}

#[test]
fn a_checkpoint_store_that_cannot_work_is_refused() {
    let rig = rig(&[
        ("wiring.wsp_checkpoint.backend", "postgres"),
        (
            "wiring.wsp_checkpoint.dsn",
            "postgres://wsp@localhost/wsp?sslmode=perhaps",
        ),
    ]);
    assert_refused(&rig, &[], 1, "CHECKPOINT_CONFIG_INVALID", "sslmode");
}

#[test]
fn a_cursor_of_a_newer_format_or_in_anothers_place_is_refused() {
    let rig = rig(&[("policy.stream_order", "event_time")]);
    rig.stream(&["--max-events", "1500"])
        .expect(0, "MAX_EVENTS");
    let posts = rig.gate.stats().posts;
    let cursors = all_found(&rig.world.runs_root(), "cursor.json");
    let text = std::fs::read_to_string(&cursors[0]).unwrap();
    let mut newer: Value = serde_json::from_str(&text).unwrap();
    newer["format_version"] = 99.into();
    std::fs::write(&cursors[0], newer.to_string()).unwrap();
    let ran = rig.stream(&[]);
    assert_explained(&ran, 1, "CHECKPOINT_VERSION_UNSUPPORTED", "99");
    std::fs::copy(&cursors[1], &cursors[0]).unwrap();
    let place = cursors[0].to_str().unwrap();
    let ran = rig.stream(&[]);
    assert_explained(&ran, 1, "CHECKPOINT_KEY_MISMATCH", place);
    assert_eq!(rig.gate.stats().posts, posts);
}

#[test]
fn an_engine_release_that_fits_no_manifest_is_refused() {
    let rig = rig(&[]);
    let other = ["--engine-release", "engine-0.0.1"];
    let ran = rig.run(&["pack"], &other);
    assert_explained(&ran, 1, "PACK_MANIFEST_MISMATCH", "engine-0.0.1");
}

/// What no run can come to, and who sees it instead.
const BEYOND_A_RUN: [(&str, &str); 11] = [
    (
        "IG_ENDPOINT_INVALID",
        "a program's own push client: push's tests",
    ),
    ("IG_NO_ANSWER", "a program's own push client: push's tests"),
    ("STREAM_INTERNAL", "a defect of the program itself"),
    (
        "READ_GRANT_MISMATCH",
        "a library caller's mistake: oracle-store's tests",
    ),
    (
        "ENVELOPE_INVALID",
        "validators only: the stand-in gate's tests",
    ),
    (
        "CHECKPOINT_REGRESSION",
        "a writer's mistake: the conformance suite",
    ),
    (
        "CHECKPOINT_KEY_INVALID",
        "a library caller's mistake: checkpoint's tests",
    ),
    (
        "REQUEST_INVALID",
        "a library caller's mistake: wsp's tests of a stream without a profile",
    ),
    (
        "SHARD_CLOCK_SKEWED",
        "a store whose clock is another: wsp's tests of leases",
    ),
    (
        "GATE_WAIVER_REFUSED",
        "a library caller's mistake, the profile waives the waiver: gates' tests",
    ),
    (
        "GATE_DEPENDENCY_CYCLE",
        "a gate map that no engine writes: gates' tests",
    ),
];

#[test]
fn every_reason_code_has_a_test_that_leads_to_it() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        here.join("tests"),
        here.join("../crates/sandbox/src/corruption"),
    ];
    let text: String = folders
        .iter()
        .flat_map(|folder| sources(folder))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let tested: BTreeSet<&str> = text
        .split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
        .collect();
    let beyond: BTreeSet<&str> = BEYOND_A_RUN.iter().map(|(code, _)| *code).collect();
    let codes = wsp::all_reason_codes();
    let untested: Vec<_> = codes
        .iter()
        .filter(|code| !tested.contains(*code) && !beyond.contains(*code))
        .collect();
    assert!(untested.is_empty(), "no test leads to {untested:?}");
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    all(folder, &|path| {
        path.extension().is_some_and(|ending| ending == "rs")
    })
}

fn found(folder: &Path, name: &str) -> PathBuf {
    all_found(folder, name).remove(0)
}

fn all_found(folder: &Path, name: &str) -> Vec<PathBuf> {
    all(folder, &|path| path.ends_with(name))
}

fn all(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(all(&path, wanted));
        } else if wanted(&path) {
            files.push(path);
        }
    }
    files.sort();
    files
}
