//! The schema of profiles accepts exactly what the loader accepts, value by value: profiles are
//! generated, mutated, and judged by both.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};
use wsp::profile::Profile;

/// What a key takes.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Number,
    Whole,
    /// A whole number from 1 on, and one that goes with the defaults.
    Natural(u64),
    /// The number of a shard; 0 goes with every count.
    Shard,
    Flag,
    Choice(&'static [&'static str]),
    Ids,
    Rate,
    Conditions,
}

use Kind::{Choice, Conditions, Flag, Ids, Natural, Number, Rate, Shard, Text, Whole};

/// Every key of a profile.
const KEYS: &[(&str, Kind)] = &[
    ("profile_id", Text),
    ("policy.posture", Choice(&["local"])),
    ("policy.policy_rev", Text),
    ("policy.require_gate_pass", Flag),
    ("policy.gate_verification", Choice(&["presence", "digest"])),
    (
        "policy.data_verification",
        Choice(&["none", "size", "sha256"]),
    ),
    ("policy.stream_speedup", Number),
    ("policy.stream_rate", Rate),
    ("policy.max_rate", Rate),
    ("policy.stream_order", Choice(&["event_time", "as_written"])),
    ("policy.stream_source", Choice(&["outputs", "view", "auto"])),
    ("policy.trust_stream_views", Flag),
    ("policy.traffic_output_ids", Ids),
    ("policy.traffic_output_ids_ref", Text),
    ("policy.context_output_ids", Ids),
    ("policy.context_output_ids_ref", Text),
    ("policy.context_output_ids_baseline_ref", Text),
    ("policy.stream_context", Flag),
    ("wiring.object_store.endpoint", Text),
    ("wiring.object_store.region", Text),
    ("wiring.object_store.path_style", Flag),
    ("wiring.oracle_root", Text),
    ("wiring.oracle_engine_run_root", Text),
    ("wiring.oracle_scenario_id", Text),
    ("wiring.oracle_stream_view_root", Text),
    ("wiring.engine_catalogue_path", Text),
    ("wiring.gate_map_path", Text),
    ("wiring.ig_ingest_url", Text),
    (
        "wiring.wsp_checkpoint.backend",
        Choice(&["file", "sqlite", "postgres", "object"]),
    ),
    ("wiring.wsp_checkpoint.root", Text),
    ("wiring.wsp_checkpoint.dsn", Text),
    ("wiring.wsp_checkpoint.flush_every", Natural(8)),
    (
        "wiring.wsp_checkpoint.scope",
        Choice(&["pack", "platform_run", "scenario_run"]),
    ),
    ("wiring.wsp_checkpoint.lease_s", Natural(8)),
    ("wiring.wsp_checkpoint.save_timeout_s", Natural(8)),
    ("wiring.wsp_producer.producer_id", Text),
    ("wiring.wsp_producer.allowlist_ref", Text),
    ("wiring.wsp_retry.max_attempts", Natural(8)),
    ("wiring.wsp_retry.base_delay_ms", Natural(8)),
    ("wiring.wsp_retry.max_delay_ms", Natural(8_000)),
    ("wiring.wsp_retry.give_up_after_s", Natural(8)),
    ("wiring.wsp_push.lanes", Natural(4_096)),
    (
        "wiring.wsp_push.ordering",
        Choice(&["key", "strict", "none"]),
    ),
    ("wiring.wsp_push.timeout_ms", Natural(8)),
    ("wiring.wsp_push.drain_timeout_s", Whole),
    ("wiring.wsp_push.client", Choice(&["direct", "reqwest"])),
    (
        "wiring.wsp_push.concurrency",
        Choice(&["fixed", "adaptive"]),
    ),
    ("wiring.wsp_push.when_late", Choice(&["catch_up", "slip"])),
    ("wiring.wsp_push.on_reject", Choice(&["stop", "quarantine"])),
    ("wiring.wsp_push.max_quarantined", Natural(8)),
    (
        "wiring.wsp_push.on_gate_quarantine",
        Choice(&["continue", "stop"]),
    ),
    ("wiring.wsp_push.max_gate_quarantined", Natural(8)),
    ("wiring.wsp_push.transient_errors", Ids),
    ("wiring.wsp_push.max_event_bytes", Natural(8)),
    ("wiring.wsp_push.emitted_at_utc", Flag),
    ("wiring.wsp_order.on_disorder", Choice(&["sort", "refuse"])),
    ("wiring.wsp_order.sort_cache_mib", Natural(8)),
    ("wiring.wsp_order.sort_cache", Text),
    ("wiring.wsp_order.memory_budget_mib", Natural(8)),
    ("wiring.wsp_order.time_index", Text),
    ("wiring.wsp_shard.index", Shard),
    ("wiring.wsp_shard.count", Natural(65_536)),
    ("wiring.wsp_shard.by", Choice(&["key", "event_id"])),
    ("wiring.wsp_shard.max_clock_skew_ms", Natural(8)),
    ("wiring.wsp_audit.root", Text),
    ("wiring.wsp_thresholds.fail_if", Conditions),
    ("wiring.wsp_thresholds.abort_if", Conditions),
    ("wiring.security.api_key_header", Text),
    ("wiring.security.wsp_auth_token", Text),
];

/// Keys that the schema knows and this table leaves out, with why.
const LEFT_OUT: [&str; 2] = [
    // Columns by output, each its own key.
    "policy.time_columns",
    // Named so that nobody is left with a key of old: only without a value.
    "wiring.wsp_order.sort_budget_mib",
];

/// Values that a kind takes, and values that it does not.
#[expect(clippy::too_many_lines, reason = "one table, a line a kind")]
fn values(kind: Kind) -> (Vec<Value>, Vec<Value>) {
    let anything_wrong = || vec![json!({"a": 1}), json!("${UNSET"), json!("${}")];
    let or_variable = |mut good: Vec<Value>, default: &str| {
        good.extend([
            Value::Null,
            json!("${UNSET}"),
            json!(format!("${{UNSET:-{default}}}")),
        ]);
        good
    };
    let and_wrong = |wrong: Vec<Value>| [anything_wrong(), wrong].concat();
    match kind {
        Text => (
            or_variable(
                vec![
                    json!("a"),
                    json!("runs/x"),
                    json!(5),
                    json!(1.5),
                    json!(true),
                ],
                "a",
            ),
            and_wrong(vec![json!([]), json!(["a"])]),
        ),
        Number => (
            or_variable(
                vec![json!(0), json!(0.5), json!(600), json!("600"), json!("1e3")],
                "5",
            ),
            and_wrong(vec![
                json!(-1),
                json!("x"),
                json!(true),
                json!([]),
                json!("-1"),
            ]),
        ),
        Whole => (
            or_variable(vec![json!(0), json!(8), json!("8")], "8"),
            and_wrong(vec![
                json!(-1),
                json!(1.5),
                json!("x"),
                json!(true),
                json!([]),
            ]),
        ),
        Natural(number) => (
            or_variable(
                vec![json!(number), json!(number.to_string())],
                &number.to_string(),
            ),
            and_wrong(vec![
                json!(0),
                json!(-1),
                json!(1.5),
                json!("0"),
                json!("x"),
                json!(true),
                json!([]),
            ]),
        ),
        Shard => (
            or_variable(vec![json!(0), json!("0"), json!("")], "0"),
            and_wrong(vec![
                json!(-1),
                json!(0.5),
                json!(65_536),
                json!("x"),
                json!(true),
                json!([]),
            ]),
        ),
        Flag => (
            or_variable(
                vec![json!(true), json!(false), json!("true"), json!(" false ")],
                "true",
            ),
            and_wrong(vec![json!(1), json!("yes"), json!("True"), json!([])]),
        ),
        Choice(names) => {
            let good = names
                .iter()
                .flat_map(|name| [json!(name), json!(format!(" {name} "))]);
            let wrong = vec![json!("other"), json!(5), json!(true), json!([names[0]])];
            (or_variable(good.collect(), names[0]), and_wrong(wrong))
        }
        Ids => (
            vec![
                json!([]),
                json!(["a", "b"]),
                json!(["${UNSET}"]),
                Value::Null,
            ],
            vec![
                json!("a"),
                json!("${UNSET}"),
                json!([1]),
                json!({"a": 1}),
                json!([["a"]]),
            ],
        ),
        Rate => (
            or_variable(
                vec![
                    json!(5),
                    json!("5"),
                    json!("0:1,5:9"),
                    json!([{"offset_s": 0, "rate": 5}]),
                    json!([{"offset_s": 0, "rate": 1, "ramp_to": 5}, {"offset_s": "4", "rate": 5, "ramp_to": null}]),
                ],
                "5",
            ),
            and_wrong(vec![
                json!(0),
                json!(-1),
                json!([]),
                json!("x"),
                json!(true),
                json!([5]),
                json!([{"offset_s": 0}]),
                json!([{"offset_s": 0, "rate": 5, "x": 1}]),
            ]),
        ),
        Conditions => (
            vec![json!([]), json!(["retries > 0"])],
            vec![
                json!("retries > 0"),
                json!(["retries"]),
                json!([1]),
                json!({"a": 1}),
            ],
        ),
    }
}

fn set(profile: &mut Value, path: &str, value: Value) {
    let (blocks, key) = path.rsplit_once('.').unwrap_or(("", path));
    let blocks = blocks.split('.').filter(|block| !block.is_empty());
    let block = blocks.fold(profile, |block, name| {
        let block = block.as_object_mut().unwrap();
        block
            .entry(name)
            .or_insert_with(|| Value::Object(Map::new()))
    });
    block[key] = value;
}

fn load(profile: &Value) -> Result<Profile, wsp::Error> {
    Profile::parse(&profile.to_string(), Path::new("profile.yaml"), &|_| None)
}

fn schema() -> jsonschema::Validator {
    let schema: Value = serde_yaml::from_str(wsp::schema::WSP_PROFILE_SCHEMA).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

/// A profile of a few keys, of which some may have values that they do not take.
fn profiles() -> impl Strategy<Value = Value> {
    let key = (select(KEYS), any::<prop::sample::Index>(), 0..8_u8);
    let keys = prop::collection::vec(key, 0..6);
    // Now and then a block of another kind, or a key that nobody knows.
    let odd = prop::option::weighted(
        0.3,
        select(vec![
            ("policy", Value::Null),
            ("policy", json!("local")),
            ("wiring", json!([])),
            ("wiring.wsp_push", Value::Null),
            ("wiring.wsp_push", json!(5)),
            ("wiring.wsp_retry.zz", json!(1)),
            ("wiring.wsp_zz", json!({})),
            ("wiring.zz", json!({"a": [1]})),
            ("policy.wsp_zz", json!(1)),
            ("policy.zzzzzzzz", json!({"a": "${"})),
            ("zz", json!("${")),
            ("wiring.wsp_order.sort_budget_mib", Value::Null),
            ("wiring.wsp_order.sort_budget_mib", json!(5)),
            ("policy.time_columns", json!({"o": "c", "p": 5})),
            ("policy.time_columns", json!({"o": " "})),
            ("policy.time_columns", json!({"o": null})),
            ("policy.time_columns", Value::Null),
        ]),
    );
    (odd, keys).prop_map(|(odd, keys)| {
        let mut profile = json!({});
        for ((path, kind), index, luck) in keys {
            let (good, wrong) = values(kind);
            let value = index.get(if luck == 0 { &wrong } else { &good }).clone();
            set(&mut profile, path, value);
        }
        // Strict posture judges values together.
        set(&mut profile, "profile_id", json!("local"));
        if let Some((path, value)) = odd {
            set(&mut profile, path, value);
        }
        profile
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn schema_and_loader_accept_the_same_profiles(profile in profiles()) {
        let by_schema = schema_of_thread(&profile);
        let loaded = load(&profile);
        prop_assert_eq!(by_schema, loaded.is_ok(), "{}: {:?}", profile, loaded.err());
    }
}

/// Whether the schema accepts a profile; it is compiled once.
fn schema_of_thread(profile: &Value) -> bool {
    static SCHEMA: std::sync::LazyLock<jsonschema::Validator> = std::sync::LazyLock::new(schema);
    SCHEMA.is_valid(profile)
}

#[test]
fn each_value_of_each_key_is_judged_alike() {
    let mut apart = Vec::new();
    for (path, kind) in KEYS {
        let (good, wrong) = values(*kind);
        let both = good.into_iter().map(|value| (value, true));
        for (value, is_good) in both.chain(wrong.into_iter().map(|value| (value, false))) {
            let mut profile = json!({"profile_id": "local"});
            set(&mut profile, path, value.clone());
            let verdicts = (schema_of_thread(&profile), load(&profile).is_ok());
            if verdicts != (is_good, is_good) {
                apart.push(format!(
                    "{path}: {value} (good: {is_good}): schema and loader {verdicts:?}"
                ));
            }
        }
    }
    assert!(apart.is_empty(), "{apart:#?}");
}

#[test]
fn the_table_has_every_key_of_the_schema() {
    fn keys(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
        let Some(properties) = schema["properties"].as_object() else {
            found.insert(path.trim_start_matches('.').to_owned());
            return;
        };
        for (name, schema) in properties {
            keys(schema, &format!("{path}.{name}"), found);
        }
    }
    let schema: Value = serde_yaml::from_str(wsp::schema::WSP_PROFILE_SCHEMA).unwrap();
    let mut found = BTreeSet::new();
    keys(&schema, "", &mut found);
    let tested = KEYS.iter().map(|(path, _)| *path).chain(LEFT_OUT);
    let tested: BTreeSet<String> = tested.map(str::to_owned).collect();
    assert_eq!(found, tested);
}

#[test]
fn shipped_profiles_name_their_schema_for_editors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/platform/profiles");
    for name in ["local", "dev_local", "dev", "prod"] {
        let text = std::fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap();
        let first = text.lines().next().unwrap();
        let named = first
            .strip_prefix("# yaml-language-server: $schema=")
            .unwrap();
        assert!(folder.join(named).ends_with("wsp_profile.schema.yaml"));
        assert!(folder.join(named).exists(), "{named}");
    }
}
