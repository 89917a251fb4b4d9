//! Profiles as operators write them: keys, environment, refusals.

#![allow(clippy::unwrap_used)]

use super::*;
use replay::{RateSteps, Speedup};

const PATH: &str = "config/test.yaml";

fn env(name: &str) -> Option<String> {
    (name == "SET").then(|| "value".to_owned())
}

fn profile(text: &str) -> Result<Profile, Error> {
    Profile::parse(text, Path::new(PATH), &env)
}

fn refused(text: &str) -> (&'static str, String) {
    let error = profile(text).unwrap_err();
    (error.code(), error.to_string())
}

#[test]
fn an_empty_profile_is_strict_and_has_the_documented_defaults() {
    let profile = profile("profile_id: nightly\n").unwrap();
    assert_eq!(profile.posture, Posture::Strict);
    assert_eq!(profile.gate_verification, VerificationMode::Digest);
    assert!(profile.require_gate_pass);
    assert_eq!(profile.pace, Pace::default());
    assert_eq!(profile.catalogue_path, None);
    assert_eq!(profile.checkpoint.backend, CheckpointBackend::File);
    assert_eq!(
        profile.checkpoint.root,
        "runs/fraud-platform/wsp_checkpoints"
    );
    assert_eq!(profile.checkpoint.flush_every, 1);
    assert_eq!(profile.push.lanes.count.get(), 32);
    assert_eq!(profile.push.lanes.ordering, LaneOrdering::Key);
    assert_eq!(profile.retry.give_up_after.as_secs(), 900);
    assert_eq!(profile.api_key_header, "X-IG-Api-Key");
    assert_eq!(profile.runs_root, Path::new("runs/fraud-platform"));
}

#[test]
fn the_posture_comes_from_the_policy_else_from_the_profile_id() {
    for (text, posture) in [
        ("profile_id: local", Posture::Local),
        ("profile_id: dev_local", Posture::Local),
        ("profile_id: local_parity", Posture::Local),
        ("profile_id: dev", Posture::Strict),
        (
            "profile_id: local\npolicy: {posture: strict}",
            Posture::Strict,
        ),
        ("profile_id: prod\npolicy: {posture: local}", Posture::Local),
    ] {
        assert_eq!(profile(text).unwrap().posture, posture, "{text}");
    }
    assert_eq!(refused("policy: {posture: lax}").0, "PROFILE_INVALID");
}

#[test]
fn a_local_profile_finds_the_contracts_catalogue_and_looks_at_presence() {
    let profile = profile("profile_id: local").unwrap();
    assert!(
        profile
            .catalogue()
            .unwrap()
            .ends_with(DEFAULT_CATALOGUES[0])
    );
    assert_eq!(profile.gate_verification, VerificationMode::Presence);
}

#[test]
fn presence_is_not_enough_in_strict_posture() {
    let (code, message) = refused("profile_id: prod\npolicy: {gate_verification: presence}");
    assert_eq!(code, "PROFILE_INVALID");
    assert!(message.contains("policy.gate_verification"), "{message}");
}

#[test]
fn a_waiver_is_honoured_in_local_posture_only() {
    let waived = "policy: {posture: local, require_gate_pass: false}";
    assert!(!profile(waived).unwrap().require_gate_pass);
    let strict = profile("policy: {posture: strict, require_gate_pass: false}").unwrap();
    assert!(strict.require_gate_pass);
    assert_eq!(strict.warnings.len(), 1);
}

#[test]
fn unknown_keys_are_refused_in_our_blocks_and_ignored_elsewhere() {
    assert!(
        profile("ieg: {x: 1}\nwiring: {event_bus: {root: r}, object_store: {bucket: b}}").is_ok()
    );
    let (code, message) = refused("wiring: {wsp_push: {lane: 3}}");
    assert_eq!(code, "PROFILE_KEY_UNKNOWN");
    assert!(
        message.contains("wiring.wsp_push") && message.contains("`lane`"),
        "{message}"
    );
    assert_eq!(
        refused("wiring: {wsp_pushes: {lanes: 3}}").0,
        "PROFILE_KEY_UNKNOWN"
    );
    let (code, message) = refused("policy: {stream_rate: [{offset_s: 0, rate: 5, rampto: 9}]}");
    assert_eq!(code, "PROFILE_KEY_UNKNOWN");
    assert!(message.contains("`rampto`"), "{message}");
}

#[test]
fn a_misspelt_key_of_the_policy_is_refused_and_a_foreign_one_ignored() {
    for (key, meant) in [
        ("postur", "posture"),
        ("Posture", "posture"),
        ("require_gates_pass", "require_gate_pass"),
        ("require-gate-pass", "require_gate_pass"),
        ("gate_verfication", "gate_verification"),
        ("traffic_output_id", "traffic_output_ids"),
        ("traffic_outputs_ids_ref", "traffic_output_ids_ref"),
        ("stream_speed_up", "stream_speedup"),
    ] {
        let (code, message) = refused(&format!("policy: {{{key}: local}}"));
        assert_eq!(code, "PROFILE_KEY_UNKNOWN", "{key}");
        assert!(
            message.contains(key) && message.contains(meant),
            "{message}"
        );
    }
    for key in [
        "max_inflight",
        "partitioning_profile_id",
        "retention_days",
        "stream_sink",
    ] {
        assert!(profile(&format!("policy: {{{key}: 1}}")).is_ok(), "{key}");
    }
}

#[test]
fn a_place_that_is_no_path_is_refused_with_its_key() {
    for named in ["~/x", "$VAR/x", "gs://bucket/x"] {
        for (block, key, full) in [
            ("wsp_checkpoint", "root", "wiring.wsp_checkpoint.root"),
            ("wsp_audit", "root", "wiring.wsp_audit.root"),
            ("wsp_order", "time_index", "wiring.wsp_order.time_index"),
            (
                "wsp_producer",
                "allowlist_ref",
                "wiring.wsp_producer.allowlist_ref",
            ),
        ] {
            let (code, message) = refused(&format!("wiring: {{{block}: {{{key}: '{named}'}}}}"));
            assert_eq!(code, "PROFILE_INVALID", "{full}: {named}");
            assert!(
                message.contains(full) && message.contains(named),
                "{message}"
            );
        }
        for key in [
            "engine_catalogue_path",
            "gate_map_path",
            "oracle_root",
            "oracle_engine_run_root",
        ] {
            assert_eq!(
                refused(&format!("wiring: {{{key}: '{named}'}}")).0,
                "PROFILE_INVALID"
            );
        }
    }
    let sqlite = "wiring: {wsp_checkpoint: {backend: sqlite, root: 's3://bucket/x'}}";
    assert_eq!(refused(sqlite).0, "PROFILE_INVALID");
    let object = "wiring: {oracle_root: 's3://oracle', wsp_checkpoint: {backend: object, root: 's3://bucket/x'}}";
    assert!(profile(object).is_ok());
}

#[test]
fn a_byte_order_mark_before_profile_list_and_allowlist_is_no_text() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("\u{FEFF}{text}")).unwrap();
        path
    };
    write("outputs.yaml", "[x]\n");
    write("allowed.txt", "svc:a\n");
    let path = write(
        "profile.yaml",
        "profile_id: local\npolicy: {traffic_output_ids_ref: outputs.yaml}\nwiring: {wsp_producer: {producer_id: 'svc:a', allowlist_ref: allowed.txt}}\n",
    );
    let profile = Profile::load(&path, &env).unwrap();
    assert_eq!(profile.profile_id, "local");
    let list = profile.traffic.as_ref().unwrap();
    assert_eq!(profile.read_outputs(list).unwrap(), ["x"]);
    assert!(crate::plan::producer::AllowedProducer::check(&profile).is_ok());
}

#[test]
fn unset_variables_are_absent_and_an_error_only_where_needed() {
    let profile =
        profile("wiring: {ig_ingest_url: '${UNSET}', oracle_scenario_id: '${SET}'}").unwrap();
    assert_eq!(profile.scenario_id.as_deref(), Some("value"));
    let error = Profile::require(
        profile.ig_ingest_url.as_ref(),
        "wiring.ig_ingest_url",
        "--ig-url",
    )
    .unwrap_err();
    assert_eq!(error.code(), "PROFILE_VALUE_MISSING");
    assert!(error.to_string().contains("--ig-url"), "{error}");
}

#[test]
fn values_may_come_from_the_environment_whatever_their_type() {
    let profile = profile(
        "policy: {stream_speedup: '${UNSET:-600}'}\nwiring: {wsp_push: {lanes: '${UNSET:-8}'}}",
    )
    .unwrap();
    assert_eq!(profile.pace, Speedup::new(600.0).unwrap().into());
    assert_eq!(profile.push.lanes.count.get(), 8);
}

#[test]
fn a_rate_is_a_number_or_a_list_of_steps() {
    let pace = |text: &str| profile(text).unwrap().pace;
    let rate = |text: &str| Pace::from(text.parse::<RateSteps>().unwrap());
    assert_eq!(pace("policy: {stream_rate: 500}"), rate("500"));
    assert_eq!(
        pace("policy: {stream_rate: '${UNSET:-0:5,9:7}'}"),
        rate("0:5,9:7")
    );
    assert_eq!(
        pace(
            "policy: {stream_rate: [{offset_s: 0, rate: 100}, {offset_s: 60, rate: '${UNSET:-5}'}]}"
        ),
        rate("0:100,60:5")
    );
    assert_eq!(
        pace("policy: {stream_rate: [{offset_s: 0, rate: 0, ramp_to: 9}, {offset_s: 4, rate: 9}]}"),
        rate("0:0..9,4:9")
    );
}

#[test]
fn unusable_values_are_refused_with_their_key() {
    for (text, key) in [
        ("policy: {stream_rate: 0}", "policy.stream_rate"),
        (
            "policy: {stream_rate: 5, stream_speedup: 1}",
            "policy.stream_rate",
        ),
        (
            "policy: {stream_rate: [{offset_s: 0}]}",
            "policy.stream_rate.0.rate",
        ),
        (
            "policy: {stream_rate: [{offset_s: 0, rate: soon}]}",
            "policy.stream_rate.0.rate",
        ),
        (
            "policy: {stream_rate: [{offset_s: 0, rate: 5, ramp_to: 9}]}",
            "policy.stream_rate",
        ),
        ("policy: {stream_speedup: -1}", "policy.stream_speedup"),
        ("policy: {stream_speedup: fast}", "policy.stream_speedup"),
        ("policy: {stream_order: by_key}", "policy.stream_order"),
        (
            "policy: {data_verification: md5}",
            "policy.data_verification",
        ),
        (
            "policy: {traffic_output_ids: one}",
            "policy.traffic_output_ids",
        ),
        (
            "wiring: {wsp_checkpoint: {backend: redis}}",
            "wiring.wsp_checkpoint.backend",
        ),
        (
            "wiring: {wsp_checkpoint: {flush_every: 0}}",
            "wiring.wsp_checkpoint.flush_every",
        ),
        ("wiring: {wsp_push: {lanes: 5000}}", "wiring.wsp_push.lanes"),
        (
            "wiring: {wsp_push: {ordering: loose}}",
            "wiring.wsp_push.ordering",
        ),
        (
            "wiring: {wsp_retry: {base_delay_ms: 9, max_delay_ms: 8}}",
            "wiring.wsp_retry.max_delay_ms",
        ),
        ("wiring: {ig_ingest_url: [a]}", "wiring.ig_ingest_url"),
    ] {
        let (code, message) = refused(text);
        assert_eq!(code, "PROFILE_INVALID", "{text}");
        assert!(message.contains(&format!("`{key}`")), "{text}: {message}");
    }
}

#[test]
fn what_is_no_mapping_is_unreadable() {
    for text in ["", "- a", "a: [", "just text"] {
        assert_eq!(refused(text).0, "PROFILE_UNREADABLE", "{text:?}");
    }
    let missing = Profile::load(Path::new("nowhere/profile.yaml"), &env).unwrap_err();
    assert_eq!(missing.code(), "PROFILE_UNREADABLE");
}

#[test]
fn literal_credentials_are_refused_in_strict_posture_and_warned_of_in_local() {
    for text in [
        "wiring: {wsp_checkpoint: {dsn: 'postgres://u:hunter2@db/x'}}",
        "wiring: {wsp_checkpoint: {dsn: 'postgres://u:hunter2@${UNSET:-db}/x'}}",
        "wiring: {wsp_checkpoint: {dsn: 'host=${SET} password=hunter2'}}",
        "wiring: {wsp_checkpoint: {dsn: '${SET:-postgres://u:hunter2@db/x}'}}",
        "wiring: {security: {wsp_auth_token: hunter2}}",
        "wiring: {security: {wsp_auth_token: '${SET:-hunter2}'}}",
        "wiring: {security: {wsp_auth_token: 'hunter2${SET}'}}",
        "wiring: {object_store: {endpoint: 'http://u:hunter2@${SET}:9000'}}",
        "wiring: {ig_ingest_url: 'https://u:hunter2@ig'}",
    ] {
        let (code, message) = refused(&format!("profile_id: prod\n{text}"));
        assert_eq!(code, "PROFILE_SECRET_LITERAL");
        assert!(!message.contains("hunter2"));
        let local = profile(&format!("profile_id: local\n{text}")).unwrap();
        assert_eq!(local.warnings.len(), 1);
    }
    let named = "profile_id: prod\nwiring: {wsp_checkpoint: {dsn: '${SET}'}, security: {wsp_auth_token: '${SET}'}}";
    assert_eq!(
        profile(named).unwrap().auth_token.unwrap().reveal(),
        "value"
    );
}

#[test]
fn credentials_of_the_environment_in_a_place_or_an_address_are_refused_and_not_shown() {
    let env = |name: &str| match name {
        "DSN" => Some("postgres://wsp:hunter2@db/wsp".to_owned()),
        "PAIRS" => Some("host=db password = hunter2".to_owned()),
        "ROOT" => Some("s3://AK:hunter2@bucket/x".to_owned()),
        "USER_ONLY" => Some("http://hunter2@127.0.0.1:9".to_owned()),
        "URL" => Some("http://AK:hunter2@127.0.0.1:9".to_owned()),
        _ => None,
    };
    let keys = [
        "wiring.wsp_checkpoint.root",
        "wiring.wsp_checkpoint.backend",
        "wiring.wsp_push.lanes",
        "wiring.wsp_audit.root",
        "wiring.wsp_order.time_index",
        "wiring.wsp_producer.allowlist_ref",
        "wiring.oracle_root",
        "wiring.oracle_engine_run_root",
        "wiring.engine_catalogue_path",
        "wiring.gate_map_path",
        "wiring.object_store.endpoint",
        "wiring.ig_ingest_url",
        "policy.traffic_output_ids_ref",
        "policy.context_output_ids_ref",
        "policy.posture",
        "policy.gate_verification",
        "policy.data_verification",
    ];
    for key in keys {
        for variable in ["DSN", "PAIRS", "ROOT", "USER_ONLY", "URL"] {
            let opened = key.replace('.', ": {");
            let closed = "}".repeat(key.matches('.').count());
            let text = format!("{opened}: '${{{variable}}}'{closed}");
            let refused = Profile::parse(&text, Path::new("profile.yaml"), &env);
            let error = refused.expect_err(&text);
            assert_eq!(error.code(), "PROFILE_INVALID", "{text}");
            let all = format!("{error} {error:?} {}", error.detail());
            assert!(!all.contains("hunter2"), "{text}: {all}");
            assert!(all.contains(key), "{text}: {all}");
        }
    }
}

#[test]
fn tokens_and_connection_strings_are_not_printed() {
    let text = "profile_id: local\nwiring: {wsp_checkpoint: {dsn: 'postgres://u:hunter2@db/x'}, security: {wsp_auth_token: hunter2}}";
    assert!(!format!("{:?}", profile(text).unwrap()).contains("hunter2"));
}

#[test]
fn what_is_no_whole_variable_is_refused_with_its_key() {
    for text in ["${SET", "${UNSET:-${SET}", "${SET-x}"] {
        let (code, message) = refused(&format!("wiring: {{wsp_checkpoint: {{root: '{text}'}}}}"));
        assert_eq!(code, "PROFILE_INVALID", "{text}");
        assert!(
            message.contains("`wiring.wsp_checkpoint.root`"),
            "{message}"
        );
    }
}

#[test]
fn a_default_that_names_a_variable_is_expanded() {
    let text = "wiring: {wsp_checkpoint: {root: '${UNSET:-${SET}/cursors}'}}";
    assert_eq!(profile(text).unwrap().checkpoint.root, "value/cursors");
}

#[test]
fn a_token_leaves_this_host_encrypted_only() {
    let token = "wiring: {security: {wsp_auth_token: '${SET}'}}";
    let clear = PushEndpoint::parse("http://ig.example:8081").unwrap();
    let strict = profile(&format!("profile_id: prod\n{token}")).unwrap();
    assert_eq!(
        strict
            .check_token_travels_safely(&clear)
            .unwrap_err()
            .code(),
        "PROFILE_TOKEN_IN_CLEAR"
    );
    assert!(
        strict
            .check_token_travels_safely(&PushEndpoint::parse("https://ig.example").unwrap())
            .is_ok()
    );
    assert!(
        strict
            .check_token_travels_safely(&PushEndpoint::parse("http://127.0.0.1:1").unwrap())
            .is_ok()
    );
    let local = profile(&format!("profile_id: local\n{token}")).unwrap();
    assert!(local.check_token_travels_safely(&clear).is_ok());
}

#[test]
fn output_lists_are_lists_or_mappings_and_name_their_file_when_unreadable() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("a.yaml"),
        "version: v0\noutput_ids: [x, y]\n",
    )
    .unwrap();
    std::fs::write(folder.path().join("b.yaml"), "[x]\n").unwrap();
    std::fs::write(folder.path().join("c.yaml"), "output_ids: 3\n").unwrap();
    let profile = Profile::parse("profile_id: local", &folder.path().join("p.yaml"), &env).unwrap();
    let read = |name: &str| profile.read_outputs(&OutputList::Ref(name.to_owned()));
    assert_eq!(read("a.yaml").unwrap(), ["x", "y"]);
    assert_eq!(read("b.yaml").unwrap(), ["x"]);
    for unreadable in ["c.yaml", "gone.yaml"] {
        let error = read(unreadable).unwrap_err();
        assert_eq!(error.code(), "PROFILE_REF_UNREADABLE");
        assert!(error.to_string().contains(unreadable), "{error}");
    }
}

#[test]
fn a_refusal_names_the_whole_path_of_its_key_and_what_may_be_there() {
    for (text, code, words) in [
        (
            "wiring: {wsp_checkpoint: {backend: redis}}",
            "PROFILE_INVALID",
            "`wiring.wsp_checkpoint.backend` is `redis`, not file, sqlite, postgres or object",
        ),
        (
            "wiring: {wsp_push: {lanes: 0}}",
            "PROFILE_INVALID",
            "`wiring.wsp_push.lanes` is `0`, not a whole number of at least 1",
        ),
        (
            "policy: {stream_context: yes please}",
            "PROFILE_INVALID",
            "`policy.stream_context` is `yes please`, not true or false",
        ),
        (
            "policy: {stream_rate: [{rate: 5}]}",
            "PROFILE_INVALID",
            "`policy.stream_rate.0.offset_s` is missing",
        ),
        (
            "wiring: {wsp_push: {transient_errors: [1]}}",
            "PROFILE_INVALID",
            "`wiring.wsp_push.transient_errors` is not a list of texts",
        ),
        (
            "policy: {traffic_output_ids: '${UNSET}'}",
            "PROFILE_INVALID",
            "`policy.traffic_output_ids` is not a list of texts",
        ),
        (
            "wiring: {wsp_retry: 3}",
            "PROFILE_INVALID",
            "`wiring.wsp_retry` is not a block of keys",
        ),
        (
            "wiring: {wsp_push: {lane: '${UNSET}'}}",
            "PROFILE_KEY_UNKNOWN",
            "block `wiring.wsp_push` has an unknown key `lane`",
        ),
        (
            "wiring: {wsp_push: {1: 2}}",
            "PROFILE_KEY_UNKNOWN",
            "block `wiring.wsp_push` has an unknown key ``",
        ),
    ] {
        let (found, message) = refused(text);
        assert_eq!(found, code, "{text}: {message}");
        assert!(message.contains(words), "{text}: {message}");
    }
}

#[test]
fn values_of_other_components_are_not_looked_at() {
    for text in [
        "1: a\nprofile_id: p",
        "policy: {retention: {x: '${A-b}'}, 1: 2}",
        "wiring: {event_bus: ['${A-b}'], 1: 2, security: {other: '${'}, object_store: {x: [1]}}",
        "policy:\nwiring:",
        "wiring: {wsp_push: , security: ~}",
    ] {
        assert!(profile(text).is_ok(), "{text}");
    }
}

#[test]
fn merge_keys_bring_in_blocks_and_values() {
    let text = "x: &x {lanes: 3}\nwiring: {wsp_push: {<<: *x, ordering: none}}";
    let merged = profile(text).unwrap().push.lanes;
    assert_eq!(
        (merged.count.get(), merged.ordering),
        (3, LaneOrdering::None)
    );
    let unknown = "x: &x {lane: 3}\nwiring: {wsp_push: {<<: *x}}";
    assert_eq!(refused(unknown).0, "PROFILE_KEY_UNKNOWN");
    let twice = "wiring: {wsp_push: {lanes: 3, lanes: 4}}";
    assert_eq!(refused(twice).0, "PROFILE_UNREADABLE");
}

#[test]
fn a_literal_credential_is_refused_although_its_value_is_absent() {
    let text = "wiring: {wsp_checkpoint: {dsn: 'postgres://u:hunter2@${UNSET}/x'}}";
    assert_eq!(refused(text).0, "PROFILE_SECRET_LITERAL");
}
