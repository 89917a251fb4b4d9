//! Envelopes say when they set out, if the profile asks for it.

use std::time::SystemTime;

use envelope::EventTime;
use sandbox::{FaultRule, GateOptions, WorldOptions};
use serde_json::Value;
use system_tests::Rig;

/// What a gate kept of 40 events, some of which it took only after a few posts.
fn kept(keys: &[(&str, &str)]) -> (Vec<Value>, Rig) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kept.ndjson");
    let fault: FaultRule = "status:503,p=0.3".parse().unwrap();
    let gate = GateOptions {
        keep: Some(file.clone()),
        faults: vec![fault],
        ..GateOptions::default()
    };
    let quick = [
        ("wiring.wsp_retry.base_delay_ms", "1"),
        ("wiring.wsp_retry.max_delay_ms", "5"),
    ];
    let keys: Vec<_> = quick.iter().chain(keys).copied().collect();
    let rig = Rig::new(&WorldOptions::sample().with_shape(1, 40), gate, &keys);
    rig.stream(&["--max-events", "40"]).expect(0, "MAX_EVENTS");
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (lines.collect(), rig)
}

fn now() -> EventTime {
    EventTime::of_wall(SystemTime::now()).unwrap()
}

#[test]
fn each_envelope_says_when_it_set_out_where_the_profile_asks_for_it() {
    let began = now().in_whole_micros();
    let (kept, rig) = kept(&[("wiring.wsp_push.emitted_at_utc", "true")]);
    let ended = now();
    assert_eq!(kept.len(), 40);
    for envelope in &kept {
        let emitted = envelope["emitted_at_utc"].as_str().unwrap();
        let emitted: EventTime = emitted.parse().unwrap();
        assert!((began..=ended).contains(&emitted), "{envelope}");
    }
    // The rest, by a run that resumes; events that the gate has are taken as duplicates.
    let again = rig.stream(&[]);
    again.expect(0, "");
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

#[test]
fn envelopes_say_nothing_of_it_by_default() {
    let (kept, _rig) = kept(&[]);
    assert!(
        kept.iter()
            .all(|envelope| envelope.get("emitted_at_utc").is_none())
    );
}
