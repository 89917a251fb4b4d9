//! The answers of the platform's two gates, frozen: what each makes of a stream, by dialect,
//! `on_reject` and number of lanes.

use std::thread;

use sandbox::{Dialect, FaultRule, GateOptions, WorldOptions};
use serde_json::Value;
use system_tests::{Ran, Rig};

const RUN: &str = "platform_20260128T090000Z";

/// How a stream is set up.
#[derive(Debug, Clone, Copy)]
struct Setting {
    dialect: Dialect,
    sets_aside: bool,
    lanes: u32,
}

fn settings() -> impl Iterator<Item = Setting> {
    let dialects = [Dialect::Local, Dialect::Managed].into_iter();
    let pairs = dialects.flat_map(|dialect| [false, true].map(|sets_aside| (dialect, sets_aside)));
    pairs.flat_map(|(dialect, sets_aside)| {
        [1, 32].map(|lanes| Setting {
            dialect,
            sets_aside,
            lanes,
        })
    })
}

fn rig(setting: Setting) -> Rig {
    let gate = GateOptions {
        dialect: Some(setting.dialect),
        ..GateOptions::default()
    };
    let lanes = setting.lanes.to_string();
    let on_reject = if setting.sets_aside {
        "quarantine"
    } else {
        "stop"
    };
    let keys = [
        ("wiring.wsp_push.on_reject", on_reject),
        ("wiring.wsp_push.lanes", &lanes),
        ("wiring.wsp_checkpoint.flush_every", "20"),
        ("wiring.wsp_retry.base_delay_ms", "1"),
        ("wiring.wsp_retry.max_delay_ms", "100"),
        ("wiring.wsp_retry.max_attempts", "3"),
    ];
    Rig::new(&WorldOptions::sample().with_shape(1, 40), gate, &keys)
}

fn fail_with(rig: &Rig, rule: &str) {
    let rule: FaultRule = rule.parse().unwrap();
    rig.gate.set_faults(vec![rule]).unwrap();
}

fn stream(rig: &Rig, more: &[&str]) -> Ran {
    rig.stream(&[&["--platform-run-id", RUN], more].concat())
}

fn count(ran: &Ran, of: &[&str]) -> u64 {
    let found = of.iter().fold(&ran.report, |value, field| &value[*field]);
    found.as_u64().unwrap_or_default()
}

fn aside(rig: &Rig) -> Vec<Value> {
    let file = rig.runs_root().join(RUN).join("wsp/quarantine.ndjson");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What a row of the table comes to.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Everything is delivered, by so many decisions of this name and the rest ADMIT.
    Delivered(&'static str, u64),
    /// Everything is delivered, after posts that were made again for this cause.
    Again(&'static str),
    /// The stream stops with this reason, whatever `on_reject` says.
    Stops(&'static str),
    /// One event: set aside for this reason, or the stream stops with this code.
    OneApart(&'static str, &'static str),
}

/// The rows of the table that are over at once: the gate's rule, in each dialect, and the end.
const ROWS: [(&str, &str, &str, End); 11] = [
    (
        "admitted",
        "delay:0",
        "delay:0",
        End::Delivered("duplicate", 0),
    ),
    (
        "a repeat",
        "drop-after-storing,skip=50,next=1",
        "drop-after-storing,skip=50,next=1",
        End::Delivered("duplicate", 1),
    ),
    (
        "a payload that fails its schema",
        "quarantine:SCHEMA_FAIL,skip=20,next=7",
        "quarantine:SCHEMA_FAIL,skip=20,next=7",
        End::Delivered("quarantine", 7),
    ),
    (
        "unhealthy for a while",
        "unhealthy,after=0,for=700",
        "unhealthy,after=0,for=700",
        End::Again("gate_unhealthy"),
    ),
    (
        "an exception now and then",
        "exception,skip=30,next=4",
        "exception,skip=30,next=4",
        End::Again("any"),
    ),
    (
        "a rate limit",
        "rate-limited,skip=10,next=40",
        "rate-limited,skip=10,next=40",
        End::Again("any"),
    ),
    (
        "a wrong token",
        "unauthorized,skip=60",
        "unauthorized,skip=60",
        End::Stops("IG_PUSH_REJECTED"),
    ),
    (
        "a body that is too large",
        "too-large,skip=60,next=1",
        "too-large,skip=60,next=1",
        End::OneApart("rejected", "IG_PUSH_REJECTED"),
    ),
    (
        "a body that is no JSON",
        r#"{"do":{"status":{"code":400,"body":"<!doctype html>"}},"when":{"skip":60,"next":1}}"#,
        r#"{"do":{"status":{"code":400,"body":"<!doctype html>"}},"when":{"skip":60,"next":1}}"#,
        End::OneApart("rejected", "IG_PUSH_REJECTED"),
    ),
    (
        "a conflict",
        "status:409,skip=60,next=1",
        "status:409,skip=60,next=1",
        End::OneApart("rejected", "IG_PUSH_REJECTED"),
    ),
    (
        "a decision that nobody knows",
        r#"{"do":{"status":{"code":200,"body":"{\"decision\":\"MAYBE\"}"}},"when":{"skip":60,"next":1}}"#,
        r#"{"do":{"status":{"code":202,"body":"{\"decision\":\"MAYBE\"}"}},"when":{"skip":60,"next":1}}"#,
        End::Stops("IG_RESPONSE_UNKNOWN"),
    ),
];

#[test]
fn every_answer_of_both_gates_has_its_end() {
    for setting in settings() {
        for (row, local, managed, end) in ROWS {
            let rig = rig(setting);
            let rule = match setting.dialect {
                Dialect::Local => local,
                Dialect::Managed => managed,
            };
            fail_with(&rig, rule);
            let ran = stream(&rig, &[]);
            assert_end(&format!("{row}, {setting:?}"), &rig, &ran, setting, end);
        }
    }
}

fn assert_end(what: &str, rig: &Rig, ran: &Ran, setting: Setting, end: End) {
    let rows = rig.rows();
    let ended = (ran.status, ran.reason());
    let told = || format!("{what}: {}\n{}", ran.report, ran.stderr);
    let apart = aside(rig);
    match end {
        End::Delivered(decision, events) => {
            assert_eq!(ended, (0, ""), "{}", told());
            assert_eq!(count(ran, &["decisions", decision]), events, "{}", told());
            assert_eq!(
                count(ran, &["decisions", "admit"]),
                rows - events,
                "{}",
                told()
            );
            assert!(apart.is_empty(), "{}", told());
        }
        End::Again(cause) => {
            assert_eq!(ended, (0, ""), "{}", told());
            assert_eq!(count(ran, &["decisions", "admit"]), rows, "{}", told());
            let retries = ran.report["retries"].as_object().unwrap();
            let again: u64 = retries
                .iter()
                .filter(|(name, _)| cause == "any" || name.as_str() == cause)
                .filter_map(|(_, count)| count.as_u64())
                .sum();
            assert!(again > 0, "{}", told());
            assert!(apart.is_empty(), "{}", told());
        }
        End::OneApart(reason, _) if setting.sets_aside => {
            assert_eq!(ended, (0, ""), "{}", told());
            assert_eq!(apart.len(), 1, "{}", told());
            assert_eq!(apart[0]["reason"], reason, "{}", told());
            assert_eq!(count(ran, &["decisions", "admit"]), rows - 1, "{}", told());
        }
        End::Stops(code) | End::OneApart(_, code) => {
            assert_eq!(ended, (1, code), "{}", told());
            assert!(apart.is_empty(), "{}", told());
            finish(rig, &told());
        }
    }
}

/// A rerun at a gate that is well again brings the rest: nothing was lost.
fn finish(rig: &Rig, told: &str) {
    rig.gate.set_faults(Vec::new()).unwrap();
    stream(rig, &[]).expect(0, "");
    assert_eq!(rig.gate.stats().unique, rig.rows(), "{told}");
}

#[test]
fn an_event_in_doubt_is_set_aside_or_ends_the_stream_and_never_wedges_it() {
    let rules = ["bus-failure,skip=60,next=1", "in-flight,skip=60,next=1"];
    // Each waits half a minute for a gate that never finds out.
    thread::scope(|scope| {
        let all = settings().flat_map(|setting| rules.map(|rule| (setting, rule)));
        for (setting, rule) in all {
            scope.spawn(move || {
                let rig = rig(setting);
                fail_with(&rig, rule);
                let ran = stream(&rig, &[]);
                let end = End::OneApart("in_doubt", "IG_PUBLISH_AMBIGUOUS");
                let what = format!("{rule}, {setting:?}");
                if setting.sets_aside {
                    assert_end(&what, &rig, &ran, setting, end);
                    give_up(&rig, &aside(&rig)[0]);
                } else {
                    ran.expect(1, "IG_PUBLISH_AMBIGUOUS");
                    assert!(aside(&rig).is_empty(), "{what}");
                    let rest = stream(&rig, &["--on-reject", "quarantine"]);
                    rest.expect(0, "");
                    assert_eq!(aside(&rig).len(), 1, "{what}");
                }
                assert!(count(&ran, &["retries", "in_doubt"]) >= 2, "{what}");
                assert_eq!(rig.gate.stats().unique, rig.rows() - 1, "{what}");
            });
        }
    });
}

/// The operator knows what became of the event: it waits no more, and the audit says so.
fn give_up(rig: &Rig, event: &Value) {
    let id = event["event_id"].as_str().unwrap();
    let closed = rig.run(&["redrive"], &["--platform-run-id", RUN, "--give-up", id]);
    closed.expect(0, "");
    assert_eq!(count(&closed, &["waiting"]), 0);
    let audit = rig.audit();
    let told = audit
        .iter()
        .find(|line| line["event_kind"] == "events_given_up");
    assert_eq!(
        told.unwrap()["details"]["event_ids"],
        serde_json::json!([id])
    );
    let again = rig.run(&["redrive"], &["--platform-run-id", RUN, "--give-up", id]);
    again.expect(1, "QUARANTINE_EVENT_UNKNOWN");
}

#[test]
fn a_gate_that_stays_unhealthy_is_waited_for_and_the_rest_comes_once_it_is_restarted() {
    for setting in settings() {
        let mut rig = rig(setting);
        fail_with(&rig, "unhealthy,until-restart,skip=60,next=1");
        let lanes = setting.lanes.to_string();
        let on_reject = if setting.sets_aside {
            "quarantine"
        } else {
            "stop"
        };
        rig.set(&[
            ("wiring.wsp_push.on_reject", on_reject),
            ("wiring.wsp_push.lanes", &lanes),
            ("wiring.wsp_retry.give_up_after_s", "1"),
        ]);
        let ran = stream(&rig, &[]);
        ran.expect(1, "IG_PUSH_RETRY_EXHAUSTED");
        assert!(aside(&rig).is_empty(), "{setting:?}");
        rig.gate.die();
        rig.gate.bring_up().unwrap();
        finish(&rig, &format!("{setting:?}"));
    }
}

#[test]
fn a_name_of_the_profile_is_as_good_as_unhealthy() {
    let mut rig = rig(settings().next().unwrap());
    rig.set(&[("wiring.wsp_push.transient_errors", "[GATE_ASLEEP]")]);
    fail_with(
        &rig,
        r#"{"do":{"status":{"code":400,"body":"{\"error\":\"GATE_ASLEEP\"}"}},"when":{"skip":60,"next":9}}"#,
    );
    let ran = stream(&rig, &[]);
    ran.expect(0, "");
    assert!(
        count(&ran, &["retries", "gate_unhealthy"]) >= 9,
        "{}",
        ran.report
    );
}
