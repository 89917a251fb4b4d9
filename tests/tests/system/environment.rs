//! Variables of the platform's run tasks: over the profile, under the flags, never misread.

use serde_json::Value;
use system_tests::{Ran, Rig};

/// Runs a command under variables.
fn run(rig: &Rig, words: &[&str], variables: &[(&str, &str)], more: &[&str]) -> Ran {
    let mut command = rig.command(words, more);
    Ran::of(command.envs(variables.iter().copied()))
}

/// The ids of the outputs of a plan or report, in order.
fn output_ids(report: &Value) -> Vec<String> {
    let outputs = report["outputs"].as_array().expect("outputs");
    let ids = outputs.iter().map(|output| output["output_id"].as_str());
    ids.map(|id| id.expect("an id").to_owned()).collect()
}

/// Where a plan says that a value comes from.
fn origin<'p>(plan: &'p Value, key: &str) -> &'p str {
    let settings = plan["settings"].as_array().expect("settings");
    let setting = settings.iter().find(|setting| setting["key"] == key);
    setting.expect("the key")["from"].as_str().expect("a text")
}

/// The outputs of the sample world, by their place in its policy.
fn sample_outputs(rig: &Rig) -> Vec<String> {
    rig.world.streamable_output_ids()
}

#[test]
fn off_a_terminal_the_log_says_how_far_each_output_is() {
    let rig = Rig::sample();
    let mut command = rig.command(&["stream"], &[]);
    let ran = Ran::of(command.env("WSP_PROGRESS_EVERY", "100"));
    ran.expect(0, "");
    for output in ran.report["per_output"].as_array().unwrap() {
        let (id, emitted) = (
            output["output_id"].as_str().unwrap(),
            &output["acknowledged"],
        );
        let said = format!("output_id={id} emitted={emitted} last_file=");
        assert!(ran.stderr.contains(&said), "{said}: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains('\u{1b}'), "without colours");
    let mut quiet = rig.command(&["--quiet", "stream"], &[]);
    assert!(!Ran::of(&mut quiet).stderr.contains("emitted="));
    let mut unusable = rig.command(&["stream"], &[]);
    let ran = Ran::of(unusable.env("WSP_PROGRESS_SECONDS", "often"));
    ran.expect(2, "PROFILE_INVALID");
}

#[test]
fn a_variable_wins_over_the_profile_and_a_flag_over_the_variable() {
    let rig = Rig::sample();
    let task = [
        ("WSP_STREAM_SPEEDUP", "60"),
        ("WSP_CHECKPOINT_FLUSH_EVERY", "7"),
        ("WSP_IG_PUSH_CONCURRENCY", "3"),
    ];
    let plan = run(&rig, &["plan"], &task, &[]).report;
    assert_eq!(plan["pace"]["speedup"], 60.0, "{plan}");
    for (key, from) in [
        ("policy.stream_speedup", "environment WSP_STREAM_SPEEDUP"),
        (
            "wiring.wsp_checkpoint.flush_every",
            "environment WSP_CHECKPOINT_FLUSH_EVERY",
        ),
        (
            "wiring.wsp_push.lanes",
            "environment WSP_IG_PUSH_CONCURRENCY",
        ),
        ("wiring.wsp_checkpoint.backend", "profile"),
        ("wiring.wsp_push.on_reject", "default"),
    ] {
        assert_eq!(origin(&plan, key), from, "{key}");
    }
    let flags = ["--dry-run", "--speedup", "5"];
    let plan = run(&rig, &["stream"], &task, &flags).report;
    assert_eq!(plan["pace"]["speedup"], 5.0, "{plan}");
    assert!(origin(&plan, "policy.stream_speedup").starts_with("flag"));
}

#[test]
fn output_lists_of_the_environment_stand_in_for_those_of_the_profile() {
    let rig = Rig::sample();
    let all = sample_outputs(&rig);
    let list = rig.folder.path().join("lists.yaml");
    std::fs::write(&list, format!("output_ids: [{}]", all[1])).unwrap();
    let list = list.to_str().unwrap();
    let (first, both) = (all[0].as_str(), format!(" {} , {},", all[2], all[0]));
    for (variables, expected) in [
        (vec![("WSP_TRAFFIC_OUTPUT_IDS", first)], vec![0]),
        (vec![("WSP_TRAFFIC_OUTPUT_IDS", both.as_str())], vec![2, 0]),
        (vec![("WSP_TRAFFIC_OUTPUT_IDS_REF", list)], vec![1]),
        (
            vec![
                ("WSP_TRAFFIC_OUTPUT_IDS_REF", list),
                ("WSP_TRAFFIC_OUTPUT_IDS", first),
            ],
            vec![0],
        ),
        (
            vec![
                ("WSP_TRAFFIC_OUTPUT_IDS", first),
                ("WSP_CONTEXT_OUTPUT_IDS_REF", list),
            ],
            vec![0, 1],
        ),
        (
            vec![
                ("WSP_TRAFFIC_OUTPUT_IDS_REF", list),
                ("WSP_CONTEXT_OUTPUT_IDS", first),
            ],
            vec![1, 0],
        ),
        // Unset and empty are one.
        (
            vec![
                ("WSP_TRAFFIC_OUTPUT_IDS", ""),
                ("WSP_TRAFFIC_OUTPUT_IDS_REF", list),
            ],
            vec![1],
        ),
    ] {
        let plan = run(&rig, &["plan"], &variables, &[]);
        plan.expect(0, "");
        let expected: Vec<_> = expected
            .into_iter()
            .map(|at: usize| all[at].clone())
            .collect();
        assert_eq!(output_ids(&plan.report), expected, "{variables:?}");
    }
    let none = run(&rig, &["plan"], &[("WSP_TRAFFIC_OUTPUT_IDS", " , ")], &[]);
    none.expect(1, "NO_TRAFFIC_OUTPUTS");
}

#[test]
fn a_value_that_cannot_be_read_is_refused_by_the_variables_name() {
    let rig = Rig::sample();
    for (name, value) in [
        ("WSP_STREAM_SPEEDUP", "fast"),
        ("WSP_STREAM_SPEEDUP", "-1"),
        ("WSP_MAX_EVENTS_PER_OUTPUT", "0"),
        ("WSP_MAX_EVENTS_PER_OUTPUT", "1e3"),
        ("WSP_CHECKPOINT_BACKEND", "redis"),
        ("WSP_CHECKPOINT_FLUSH_EVERY", "0"),
        ("WSP_CHECKPOINT_ROOT", "~/cursors"),
        ("WSP_IG_PUSH_CONCURRENCY", "5000"),
        ("WSP_LANE_COUNT", "two"),
        ("WSP_LANE_INDEX", "1"),
        ("WSP_CAMPAIGN_START_UTC", "tomorrow"),
    ] {
        let ran = run(&rig, &["stream"], &[(name, value)], &["--dry-run"]);
        ran.expect(2, "PROFILE_INVALID");
        let detail = ran.report["detail"].as_str().unwrap();
        let place = name == "WSP_CHECKPOINT_ROOT" && detail.contains("wsp_checkpoint.root");
        assert!(detail.contains(name) || place, "{detail}");
    }
}

#[test]
fn one_of_several_lanes_streams_its_own_events() {
    let rig = Rig::sample();
    let lane = [("WSP_LANE_COUNT", "4"), ("WSP_LANE_INDEX", "0")];
    let ran = run(&rig, &["stream"], &lane, &["--speedup", "0"]);
    ran.expect(0, "");
    let emitted = ran.report["emitted"].as_u64().unwrap();
    assert!((1..rig.rows() / 2).contains(&emitted), "{emitted}");
    let rig = Rig::sample();
    let only = [("WSP_LANE_COUNT", "1"), ("WSP_LANE_INDEX", "0")];
    run(&rig, &["stream"], &only, &[]).expect(0, "");
}

#[test]
fn a_variable_that_is_nearly_ours_is_warned_of_and_a_known_one_is_not() {
    let rig = Rig::sample();
    let task = [
        ("WSP_STREAM_SPEDUP", "60"),
        ("WSP_OUTPUT_CONCURRENCY", "2"),
        ("WSP_READY_POLL_SECONDS", "0.5"),
        ("OTHER_SPEEDUP", "1"),
    ];
    let plan = run(&rig, &["plan"], &task, &[]);
    plan.expect(0, "");
    let warned = "WSP_STREAM_SPEDUP is not known and sets nothing; is WSP_STREAM_SPEEDUP meant?";
    assert!(plan.stderr.contains(warned), "{}", plan.stderr);
    for quiet in [
        "WSP_OUTPUT_CONCURRENCY",
        "WSP_READY_POLL_SECONDS",
        "OTHER_SPEEDUP",
    ] {
        assert!(!plan.stderr.contains(quiet), "{}", plan.stderr);
    }
}

#[test]
fn no_event_leaves_before_the_campaign_starts_and_a_past_start_delays_nothing() {
    let rig = Rig::sample();
    let past = [("WSP_CAMPAIGN_START_UTC", "2020-01-01T00:00:00Z")];
    let ran = run(&rig, &["stream"], &past, &["--max-events", "5"]);
    ran.expect(0, "MAX_EVENTS");
    let start = std::time::SystemTime::now() + std::time::Duration::from_secs(3);
    let text = wsp::EventTime::of_wall(start).unwrap().to_string();
    let ran = run(
        &rig,
        &["stream"],
        &[("WSP_CAMPAIGN_START_UTC", &text)],
        &["--max-events", "5"],
    );
    ran.expect(0, "MAX_EVENTS");
    assert!(std::time::SystemTime::now() >= start, "{}", ran.report);
}

#[test]
fn each_output_has_its_share_in_both_orders_and_a_resume_goes_on_behind_it() {
    for order in ["event_time", "as_written"] {
        let rig = Rig::sample();
        let bound = ["--max-events-per-output", "20", "--order", order];
        let ran = rig.stream(&bound);
        ran.expect(0, "MAX_EVENTS");
        for output in ran.report["per_output"].as_array().unwrap() {
            assert_eq!(output["acknowledged"], 20, "{order}: {output}");
        }
        let more = run(
            &rig,
            &["stream"],
            &[("WSP_MAX_EVENTS_PER_OUTPUT", "30")],
            &["--order", order],
        );
        more.expect(0, "MAX_EVENTS");
        let outputs = sample_outputs(&rig).len() as u64;
        assert_eq!(rig.gate.stats().unique, outputs * 50);
        rig.stream(&["--order", order]).expect(0, "");
        let stats = rig.gate.stats();
        assert_eq!((stats.unique, stats.duplicates), (rig.rows(), 0));
    }
}

#[test]
fn context_streams_with_its_traffic_and_one_without_a_cursor_is_announced() {
    let mut rig = Rig::sample();
    let all = sample_outputs(&rig);
    let traffic = format!("[{}]", all[0]);
    rig.set(&[("policy.traffic_output_ids", &traffic)]);
    rig.stream(&["--max-events", "10"]).expect(0, "MAX_EVENTS");
    let context = format!("[{}]", all[1]);
    let keys = [
        ("policy.traffic_output_ids", traffic.as_str()),
        ("policy.context_output_ids", context.as_str()),
    ];
    rig.set(&keys);
    let plan = rig.run(&["plan"], &[]).report;
    assert_eq!(output_ids(&plan), all[..2]);
    assert_eq!(plan["outputs"][1]["role"], "behavioural_context");
    assert_eq!(plan["begin_anew"], serde_json::json!([all[1]]));
    let ran = rig.stream(&["--max-events", "10"]);
    ran.expect(0, "MAX_EVENTS");
    assert!(ran.stderr.contains(&all[1]), "{}", ran.stderr);
    let audit = rig.audit();
    let mut starts = audit
        .iter()
        .filter(|line| line["event_kind"] == "stream_start");
    let anew = |line: &Value| line["details"]["begin_anew"].clone();
    assert_eq!(starts.next().map(anew), Some(serde_json::json!([])));
    assert_eq!(starts.next().map(anew), Some(serde_json::json!([all[1]])));
    let without = [keys[0], keys[1], ("policy.stream_context", "false")];
    rig.set(&without);
    assert_eq!(output_ids(&rig.run(&["plan"], &[]).report), all[..1]);
}

#[test]
fn baseline_traffic_has_context_of_its_own() {
    let mut rig = Rig::sample();
    let list = |name: &str, id: &str| {
        let path = rig.folder.path().join(name);
        std::fs::write(&path, format!("output_ids: [{id}]")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let all = sample_outputs(&rig);
    let id = |segment: &str| {
        let found = all.iter().find(|id| id.starts_with(segment));
        found.expect("an output of the segment").clone()
    };
    let (baseline, fraud) = (id("s2_event"), id("s3_event"));
    let others: Vec<_> = all
        .iter()
        .filter(|id| !id.contains("event_stream"))
        .collect();
    let of_fraud = list("fraud.yaml", others[0]);
    let of_baseline = list("baseline.yaml", others[1]);
    for (traffic, context) in [
        (baseline.clone(), others[1]),
        (fraud.clone(), others[0]),
        (format!("{baseline}, {fraud}"), others[0]),
    ] {
        rig.set(&[
            ("policy.traffic_output_ids", &format!("[{traffic}]")),
            ("policy.context_output_ids_ref", &of_fraud),
            ("policy.context_output_ids_baseline_ref", &of_baseline),
        ]);
        let plan = rig.run(&["plan"], &[]).report;
        assert_eq!(output_ids(&plan).last(), Some(context), "{traffic}");
    }
}

/// A profile as the platform's newest ones are: blocks of other components, no posture, variables
/// with empty defaults.
fn platform_profile(rig: &Rig, of_producer: &str) -> std::path::PathBuf {
    let traffic = rig.world.streamable_output_ids();
    let config = rig.profile.parent().expect("a folder");
    let allowlist = config.join("producer_allowlist.txt");
    let of_producer = of_producer.replace("ALLOWLIST", allowlist.to_str().unwrap());
    let text = format!(
        "profile_id: dev_full
policy:
  policy_rev: dev-full-v0
  partitioning_profiles_ref: config/platform/ig/partitioning_profiles_v0.yaml
  partitioning_profile_id: ig.partitioning.v0.traffic
  require_gate_pass: true
  stream_speedup: 0
  traffic_output_ids: [{}]
wiring:
  object_store:
    root: s3://some-bucket
    endpoint: ${{OBJECT_STORE_ENDPOINT}}
    region: ${{OBJECT_STORE_REGION}}
    path_style: false
  event_bus_kind: kafka
  event_bus: {{stream: '${{KAFKA_BOOTSTRAP_SERVERS}}'}}
  health_bus_probe_mode: describe
  oracle_root: ${{ORACLE_ROOT:-s3://some-bucket}}
  oracle_engine_run_root: ${{ORACLE_ENGINE_RUN_ROOT:-}}
  oracle_scenario_id: ${{ORACLE_SCENARIO_ID:-}}
  oracle_stream_view_root: ${{ORACLE_STREAM_VIEW_ROOT:-}}
  control_bus: {{kind: kafka, topic: fp.bus.control.v1}}
  wsp_checkpoint: {{backend: postgres, dsn: '${{WSP_CHECKPOINT_DSN:-}}', flush_every: 100}}
{of_producer}
  security:
    auth_mode: api_key
    api_key_header: X-IG-Api-Key
    auth_allowlist: [world_stream_producer]
    wsp_auth_token: ${{IG_API_KEY:-}}
    push_rate_limit_per_minute: 0
ieg:
  wiring: {{projection_db_dsn: '${{IEG_PROJECTION_DSN}}'}}
",
        traffic.join(", ")
    );
    let path = config.join("platform.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_profile_of_the_platforms_shape_streams_in_strict_posture_and_names_the_block_it_lacks() {
    let mut rig = Rig::sample();
    let root = rig.engine_run_root();
    let flags = |rig: &Rig| {
        let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
        [
            ("--engine-run-root", root.clone()),
            ("--catalogue", path(rig.world.catalogue())),
            ("--gate-map", path(rig.world.gate_map())),
            ("--ig-url", rig.gate.url()),
        ]
    };
    let cursors = rig.folder.path().join("cursors");
    let task = [
        ("WSP_CHECKPOINT_BACKEND", "file"),
        ("WSP_CHECKPOINT_ROOT", cursors.to_str().unwrap()),
        ("OBJECT_STORE_REGION", "eu-west-2"),
    ];
    let stream = |rig: &Rig| {
        let flags = flags(rig);
        let flags: Vec<&str> = flags
            .iter()
            .flat_map(|(flag, value)| [*flag, value])
            .collect();
        run(rig, &["stream"], &task, &flags)
    };
    rig.profile = platform_profile(&rig, "");
    let refused = stream(&rig);
    refused.expect(1, "PRODUCER_ID_MISSING");
    let detail = refused.report["detail"].as_str().unwrap();
    assert!(detail.contains("wiring.wsp_producer"), "{detail}");
    let block =
        "  wsp_producer: {producer_id: svc:world_stream_producer, allowlist_ref: ALLOWLIST}";
    rig.profile = platform_profile(&rig, block);
    let streamed = stream(&rig);
    streamed.expect(0, "");
    assert_eq!(streamed.report["posture"], "strict");
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

#[test]
fn a_rate_of_the_task_caps_the_pace_and_a_plan_stands_in_for_it() {
    let rig = Rig::sample();
    let seconds = |variables: &[(&str, &str)], more: &[&str]| {
        let began = std::time::Instant::now();
        let ran = run(&rig, &["stream"], variables, more);
        ran.expect(0, "MAX_EVENTS");
        began.elapsed().as_secs_f64()
    };
    // 50 events at 25 a second take two seconds, at the most that a slow machine makes of it.
    let capped = seconds(&[("WSP_TARGET_EPS", "25")], &["--max-events", "50"]);
    assert!((1.8..30.0).contains(&capped), "{capped}");
    let plan = r#"[{"start_offset_seconds": 0, "target_eps": 1},
                   {"start_offset_seconds": 60, "target_eps": 25}]"#;
    let planned = [
        ("WSP_TARGET_EPS", "1"),
        ("WSP_RATE_PLAN_JSON", plan),
        // Long ago: the second step holds, and nothing is caught up.
        ("WSP_CAMPAIGN_START_UTC", "2020-01-01T00:00:00Z"),
    ];
    let by_plan = seconds(&planned, &["--max-events", "50"]);
    assert!((1.8..30.0).contains(&by_plan), "{by_plan}");
    let settings = run(&rig, &["plan"], &planned, &[]).report;
    assert_eq!(
        origin(&settings, "policy.max_rate"),
        "environment WSP_RATE_PLAN_JSON"
    );
    for (name, value) in [
        ("WSP_RATE_PLAN_JSON", plan),
        ("WSP_RATE_PLAN_JSON", "[]"),
        ("WSP_TARGET_EPS", "-3"),
        ("WSP_TARGET_EPS", "many"),
    ] {
        let refused = run(&rig, &["plan"], &[(name, value)], &[]);
        refused.expect(2, "PROFILE_INVALID");
        let detail = refused.report["detail"].as_str().unwrap();
        assert!(detail.contains(name), "{detail}");
    }
}
