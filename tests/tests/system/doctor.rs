//! `doctor`: what it finds, what it leaves alone, and what it says of what is broken.

use sandbox::{Corruption, FaultRule};
use serde_json::Value;
use system_tests::Rig;

const RUN: &str = "platform_20260128T090000Z";

/// The finding and the reason about one subject.
fn found<'c>(checkup: &'c Value, subject: &str) -> (&'c str, Option<&'c str>) {
    let looked = checkup["looked"].as_array().unwrap();
    let line = looked.iter().find(|looked| looked["subject"] == subject);
    let line = line.unwrap_or_else(|| panic!("nothing about {subject}: {checkup}"));
    (line["finding"].as_str().unwrap(), line["reason"].as_str())
}

#[test]
fn a_fit_world_and_gate_are_said_to_be_so_and_no_stored_cursor_is_touched() {
    let rig = Rig::sample();
    rig.stream(&["--max-events", "500"]).expect(0, "MAX_EVENTS");
    let before = rig.run(&["checkpoint", "show"], &[]).report["cursors"].clone();
    let posts = rig.gate.stats().posts;
    let looked = rig.run(&["doctor"], &[]);
    looked.expect(0, "");
    assert_eq!(looked.report["status"], "HEALTHY");
    assert_eq!(found(&looked.report, "push"), ("not_tried", None));
    assert_eq!(
        rig.gate.stats().posts,
        posts,
        "nothing is pushed unless asked for"
    );
    let pushed = rig.run(&["doctor"], &["--push", "--platform-run-id", RUN]);
    pushed.expect(0, "");
    for subject in ["world", "cursors", "push", "resume", "repeat"] {
        assert_eq!(found(&pushed.report, subject), ("works", None), "{subject}");
    }
    assert!(
        pushed.stderr.contains("100 events: 100 admitted"),
        "{}",
        pushed.stderr
    );
    let cursors = |cursors: &Value| {
        let each = cursors.as_array().unwrap().iter();
        each.map(|cursor| cursor["cursor"].clone())
            .collect::<Vec<_>>()
    };
    let after = rig.run(&["checkpoint", "show"], &[]).report["cursors"].clone();
    assert_eq!(cursors(&after), cursors(&before));
    // It is no run of the stream: that one goes on where it was.
    rig.stream(&[]).expect(0, "");
}

#[test]
fn what_is_broken_is_named_with_its_code_and_what_hangs_on_it_is_not_tried() {
    let rig = Rig::sample();
    Corruption::FlagMissing.apply(&rig.world).unwrap();
    let looked = rig.run(&["doctor"], &["--push", "--platform-run-id", RUN]);
    assert_eq!(looked.status, 1, "{}", looked.report);
    assert_eq!(looked.report["status"], "UNFIT");
    assert_eq!(
        found(&looked.report, "world"),
        ("broken", Some("GATE_PASS_MISSING"))
    );
    assert_eq!(found(&looked.report, "push").0, "not_tried");
    assert_eq!(rig.gate.stats().posts, 0);

    let mut rig = Rig::sample();
    rig.set(&[("wiring.ig_ingest_url", "http://127.0.0.1:9")]);
    let looked = rig.run(&["doctor"], &["--push", "--platform-run-id", RUN]);
    assert_eq!(looked.status, 1, "{}", looked.report);
    assert_eq!(found(&looked.report, "world").0, "works");
    assert_eq!(found(&looked.report, "gate_health").0, "broken");
    assert_eq!(found(&looked.report, "push").0, "not_tried");

    let rig = Rig::sample();
    let refusing: FaultRule = "status:401".parse().unwrap();
    rig.gate.set_faults(vec![refusing]).unwrap();
    let looked = rig.run(&["doctor"], &["--push", "--platform-run-id", RUN]);
    assert_eq!(looked.status, 1, "{}", looked.report);
    assert_eq!(
        found(&looked.report, "push"),
        ("broken", Some("IG_PUSH_REJECTED"))
    );
    assert_eq!(found(&looked.report, "repeat").0, "not_tried");
}

#[test]
fn events_are_pushed_under_a_platform_run_that_is_named_and_under_no_other() {
    let rig = Rig::sample();
    rig.run(&["doctor"], &["--push"])
        .expect(2, "PROFILE_VALUE_MISSING");
    assert_eq!(rig.gate.stats().connections, 0);
}
