//! Envelopes equal to what the platform's existing producer pushed for a world that
//! another tool wrote. The world is named by `WSP_GOLDEN_WORLD`, the catalogue and
//! gate map it belongs to by `WSP_GOLDEN_REFERENCE`; without them these tests are
//! ignored. A world with the platform's stream views is named by `WSP_GOLDEN_VIEWS`: its
//! envelopes are those that the platform's newest producer pushed from them, one output at a
//! time.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sandbox::{Dialect, GateOptions, StandInGate, WorldOptions};
use serde_json::Value;
use system_tests::{Ran, Rig, run_in};

const OUTPUTS: [&str; 5] = [
    "arrival_events_5B",
    "s1_arrival_entities_6B",
    "s2_event_stream_baseline_6B",
    "s3_event_stream_with_fraud_6B",
    "s3_flow_anchor_with_fraud_6B",
];

fn named(variable: &str) -> PathBuf {
    PathBuf::from(std::env::var(variable).unwrap_or_else(|_| panic!("set {variable}")))
}

fn golden(output: &str) -> Vec<Value> {
    let world = named("WSP_GOLDEN_WORLD");
    let folder = format!("{}.golden", world.display());
    let text = std::fs::read_to_string(format!("{folder}/{output}.ndjson")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Streams the golden world through one lane and returns what the gate kept.
fn streamed(order: &str, verification: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept.ndjson");
    let gate = StandInGate::start(GateOptions {
        keep: Some(kept.clone()),
        ..GateOptions::default()
    })
    .unwrap();
    std::fs::write(
        folder.path().join("allow.txt"),
        "svc:world_stream_producer\n",
    )
    .unwrap();
    let reference = named("WSP_GOLDEN_REFERENCE");
    let profile = serde_json::json!({
        "profile_id": "local",
        "policy": {
            "stream_speedup": 0, "stream_order": order, "gate_verification": verification,
            "traffic_output_ids": OUTPUTS,
        },
        "wiring": {
            "engine_catalogue_path": reference.join("engine_outputs.catalogue.yaml"),
            "oracle_engine_run_root": named("WSP_GOLDEN_WORLD"),
            "ig_ingest_url": gate.url(),
            "wsp_checkpoint": {"flush_every": 100, "root": "cursors"},
            "wsp_push": {"ordering": "strict"},
            "wsp_producer": {"producer_id": "svc:world_stream_producer", "allowlist_ref": "allow.txt"},
            "wsp_audit": {"root": "runs"},
        },
    });
    std::fs::write(folder.path().join("profile.yaml"), profile.to_string()).unwrap();
    let args = [
        "stream",
        "--profile",
        "profile.yaml",
        "--platform-run-id",
        "platform_20260128T090000Z",
    ];
    run_in(folder.path(), &args).expect(0, "");
    gate.stop();
    let text = std::fs::read_to_string(kept).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
#[ignore = "needs WSP_GOLDEN_REFERENCE"]
fn golden_the_sample_worlds_rows_are_as_the_platforms_schemas_say() {
    let policy = named("WSP_GOLDEN_REFERENCE").join("platform/schema_policy_v0.yaml");
    let gate = GateOptions {
        dialect: Some(Dialect::Local),
        schema_policy: Some(policy),
        ..GateOptions::default()
    };
    let rig = Rig::new(&WorldOptions::sample(), gate, &[]);
    let ran = rig.stream(&[]);
    ran.expect(0, "");
    assert_eq!(
        ran.report["decisions"]["admit"],
        rig.rows(),
        "{}",
        ran.report
    );
}

#[test]
#[ignore = "needs WSP_GOLDEN_WORLD and WSP_GOLDEN_REFERENCE"]
fn every_envelope_of_the_golden_world_is_equal_in_the_order_it_was_written() {
    let streamed = streamed("as_written", "digest");
    let expected: Vec<Value> = OUTPUTS.iter().flat_map(|output| golden(output)).collect();
    assert_eq!(streamed.len(), 3_000);
    for (number, (streamed, expected)) in streamed.iter().zip(&expected).enumerate() {
        assert_eq!(streamed, expected, "envelope {number}");
    }
}

#[test]
#[ignore = "needs WSP_GOLDEN_WORLD and WSP_GOLDEN_REFERENCE"]
fn event_time_order_sends_the_same_envelopes_sorted_by_time() {
    let streamed = streamed("event_time", "presence");
    let by_id = |envelopes: &[Value]| -> BTreeMap<String, Value> {
        let ids = envelopes
            .iter()
            .map(|e| (e["event_id"].as_str().unwrap().to_owned(), e.clone()));
        ids.collect()
    };
    let expected: Vec<Value> = OUTPUTS.iter().flat_map(|output| golden(output)).collect();
    assert_eq!(by_id(&streamed), by_id(&expected));
    let times: Vec<&str> = streamed
        .iter()
        .map(|e| e["ts_utc"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted());
}

#[test]
#[ignore = "needs WSP_GOLDEN_WORLD and WSP_GOLDEN_REFERENCE"]
fn the_platforms_own_profiles_stream_and_verify_the_golden_world() {
    let reference = named("WSP_GOLDEN_REFERENCE");
    let catalogue = reference.join("engine_outputs.catalogue.yaml");
    let world = named("WSP_GOLDEN_WORLD");
    let gate = StandInGate::start(GateOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // Where the profiles refer to lists of outputs and of producers.
    let config = folder.path().join("config/platform/wsp");
    std::fs::create_dir_all(&config).unwrap();
    for list in std::fs::read_dir(reference.join("platform/outputs")).unwrap() {
        let list = list.unwrap();
        std::fs::copy(list.path(), config.join(list.file_name())).unwrap();
    }
    let producer = "svc:world_stream_producer\n";
    std::fs::write(config.join("producer_allowlist_v0.txt"), producer).unwrap();
    let run = |command: &[&str], profile: &str, more: &[&str]| {
        let path = reference.join(format!("profiles/{profile}.yaml"));
        let world = [
            "--profile",
            path.to_str().unwrap(),
            "--catalogue",
            catalogue.to_str().unwrap(),
            "--engine-run-root",
            world.to_str().unwrap(),
        ];
        run_in(folder.path(), &[command, &world[..], more].concat())
    };
    let streamed = run(
        &["stream"],
        "local",
        &["--ig-url", &gate.url(), "--speedup", "0"],
    );
    streamed.expect(0, "");
    // The traffic, and the three outputs of its context.
    assert_eq!(gate.stats().unique, 4 * 600);
    for profile in ["dev", "prod"] {
        let verified = run(&["verify"], profile, &[]);
        verified.expect(0, "");
        assert_eq!(verified.report["posture"], "strict");
        assert_eq!(verified.report["gates"].as_array().unwrap().len(), 10);
        // Without its connection string, a run is refused before anything is looked at.
        run(&["plan"], profile, &[]).expect(2, "PROFILE_VALUE_MISSING");
    }
}

/// What is streamed of one output of the golden world with views, from the folder that it stands
/// in: its views are bound to its name there.
fn streamed_of_views(output: &str, source: &str, more: &[&str]) -> (Ran, Vec<Value>) {
    streamed_with(output, source, serde_json::json!({}), more)
}

/// The same, with keys of `wsp_checkpoint`.
fn streamed_with(
    output: &str,
    source: &str,
    checkpoint: Value,
    more: &[&str],
) -> (Ran, Vec<Value>) {
    let world = named("WSP_GOLDEN_VIEWS");
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let gate = StandInGate::start(GateOptions {
        keep: Some(place("kept.ndjson")),
        ..GateOptions::default()
    })
    .unwrap();
    std::fs::write(place("allow.txt"), "svc:world_stream_producer\n").unwrap();
    let mut kept_in = serde_json::json!({"flush_every": 100, "root": place("cursors")});
    for (key, value) in checkpoint.as_object().unwrap() {
        kept_in[key] = value.clone();
    }
    let profile = serde_json::json!({
        "profile_id": "local",
        "policy": {
            "stream_speedup": 0, "stream_source": source, "traffic_output_ids": [output],
        },
        "wiring": {
            "engine_catalogue_path":
                named("WSP_GOLDEN_REFERENCE").join("engine_outputs.catalogue.yaml"),
            "oracle_engine_run_root": world.file_name().unwrap().to_str(),
            "ig_ingest_url": gate.url(),
            "wsp_checkpoint": kept_in,
            "wsp_push": {"ordering": "strict"},
            "wsp_producer": {
                "producer_id": "svc:world_stream_producer", "allowlist_ref": place("allow.txt"),
            },
            "wsp_audit": {"root": place("runs")},
        },
    });
    std::fs::write(place("profile.yaml"), profile.to_string()).unwrap();
    let profile = place("profile.yaml");
    let args = [
        "stream",
        "--profile",
        profile.to_str().unwrap(),
        "--platform-run-id",
        "platform_20260128T090000Z",
    ];
    let ran = run_in(world.parent().unwrap(), &[&args, more].concat());
    gate.stop();
    let kept = std::fs::read_to_string(place("kept.ndjson")).unwrap();
    let kept = kept.lines().map(|line| serde_json::from_str(line).unwrap());
    (ran, kept.collect())
}

/// The platform's newest producer stopped after 253 events of one output; its cursor stands where
/// it keeps them.
#[test]
#[ignore = "needs WSP_GOLDEN_VIEWS and WSP_GOLDEN_REFERENCE"]
fn the_platforms_views_go_on_exactly_behind_the_newest_producers_cursor() {
    let output = "s2_event_stream_baseline_6B";
    let kept = format!("{}.cursor253", named("WSP_GOLDEN_VIEWS").display());
    let copied = tempfile::tempdir().unwrap();
    let cursors = copied.path().join("cursors");
    for pack_key in std::fs::read_dir(kept).unwrap() {
        let pack_key = pack_key.unwrap();
        let folder = format!("output_id={output}");
        let (from, to) = (
            pack_key.path().join(&folder),
            cursors.join(pack_key.file_name()),
        );
        std::fs::create_dir_all(to.join(&folder)).unwrap();
        let cursor = std::fs::read(from.join("cursor.json")).unwrap();
        std::fs::write(to.join(&folder).join("cursor.json"), cursor).unwrap();
    }
    for (order, root) in [("event_time", "taken"), ("as_written", "taken_too")] {
        let root = copied.path().join(root);
        std::fs::create_dir(&root).unwrap();
        let copied = std::process::Command::new("cp")
            .arg("-r")
            .arg(&cursors)
            .arg(&root)
            .status();
        assert!(copied.unwrap().success());
        let checkpoint = serde_json::json!({"root": root.join("cursors"), "scope": "scenario_run"});
        let more = ["--order", order];
        let (ran, streamed) = streamed_with(output, "view", checkpoint, &more);
        ran.expect(0, "");
        assert!(streamed == golden_of_views(output)[253..], "{order}");
    }
}

fn golden_of_views(output: &str) -> Vec<Value> {
    let world = named("WSP_GOLDEN_VIEWS");
    let folder = format!("{}.golden", world.display());
    let text = std::fs::read_to_string(format!("{folder}/{output}.ndjson")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
#[ignore = "needs WSP_GOLDEN_VIEWS and WSP_GOLDEN_REFERENCE"]
fn every_envelope_of_the_platforms_views_is_equal_and_in_order_from_views_and_outputs() {
    for (source, order) in [
        ("view", "event_time"),
        ("view", "as_written"),
        ("outputs", "event_time"),
    ] {
        for output in OUTPUTS {
            let (ran, streamed) = streamed_of_views(output, source, &["--order", order]);
            ran.expect(0, "");
            let expected = golden_of_views(output);
            assert_eq!(expected.len(), 600);
            assert!(streamed == expected, "{output} from {source} in {order}");
            let report = ran.report.to_string();
            let file = format!("views/stream_view/ts_utc/output_id={output}/part-000001.parquet");
            assert_eq!(report.contains(&file), source == "view", "{report}");
        }
    }
}

#[test]
#[ignore = "needs WSP_GOLDEN_VIEWS and WSP_GOLDEN_REFERENCE"]
fn the_platforms_views_are_refused_under_another_name_of_their_root() {
    let absolute = named("WSP_GOLDEN_VIEWS");
    let root = ["--engine-run-root", absolute.to_str().unwrap()];
    let (ran, streamed) = streamed_of_views(OUTPUTS[0], "view", &root);
    ran.expect(1, "VIEW_ID_MISMATCH");
    assert!(streamed.is_empty());
}
