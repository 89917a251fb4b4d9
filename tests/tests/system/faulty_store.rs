//! Object storage that stumbles: the same stream as without faults, or a named failure.

use std::collections::BTreeSet;

use sandbox::{GateOptions, OutputOptions, SampleOutput, WorldOptions};
use system_tests::{Bucket, Ground, Mishap, Rig, Weather};

system_tests::on_each_ground!(an_object_that_changes_while_it_is_read_is_refused);

const PLATFORM_RUN: [&str; 2] = ["--platform-run-id", "platform_20260128T090000Z"];

#[test]
fn foul_weather_changes_nothing() {
    for order in ["as_written", "event_time"] {
        let fair = Rig::sample();
        let flags = [&PLATFORM_RUN[..], &["--order", order]].concat();
        let expected = fair.stream(&flags).report["stream_digest"].clone();
        assert!(expected.is_string());

        let mut rig = Rig::sample_on(Ground::S3);
        for seed in 1..=3 {
            let cursors = rig.folder.path().join(format!("cursors {seed}"));
            rig.set(&[
                ("policy.posture", "strict"),
                ("policy.data_verification", "sha256"),
                ("wiring.wsp_checkpoint.root", cursors.to_str().unwrap()),
            ]);
            let bucket = rig.bucket.as_ref().unwrap();
            bucket.forget();
            bucket.set_weather(Some(Weather { seed, one_in: 5 }));
            let ran = rig.stream(&flags);
            ran.expect(0, "");
            assert_eq!(
                ran.report["stream_digest"], expected,
                "{order}, seed {seed}"
            );
            let struck = bucket.struck();
            let faults: u32 = struck.values().sum();
            println!(
                "{order}, seed {seed}: {faults} of {} requests struck",
                bucket.requests().len()
            );
            assert_eq!(struck.len(), Mishap::ALL.len(), "{struck:?}");
            // Every run sends the same ids: the gate knows all but the first run's.
            let stats = rig.gate.stats();
            assert_eq!(stats.unique, rig.rows());
            assert_eq!(stats.duplicates, (seed - 1) * rig.rows());
        }
    }
}

#[test]
fn foul_weather_does_not_touch_cursors_or_packs() {
    let bare = WorldOptions {
        pack: sandbox::Pack::None,
        contents_index: false,
        ..WorldOptions::sample()
    };
    let keys = [
        ("wiring.wsp_checkpoint.backend", "object"),
        ("wiring.wsp_checkpoint.root", "s3://worlds/cursors"),
    ];
    let rig = Rig::on(Ground::S3, &bare, GateOptions::default(), &keys);
    let bucket = rig.bucket.as_ref().unwrap();
    bucket.set_weather(Some(Weather { seed: 4, one_in: 8 }));
    rig.run(&["pack"], &["--engine-release", "engine-1.4.0"])
        .expect(0, "");
    rig.run(&["verify"], &["--data"]).expect(0, "");
    let bound = rig.rows() / 2;
    rig.stream(&["--max-events", &bound.to_string()])
        .expect(0, "MAX_EVENTS");
    rig.stream(&[]).expect(0, "");
    let stats = rig.gate.stats();
    assert_eq!((stats.unique, stats.duplicates), (rig.rows(), 0));
}

#[test]
fn a_storm_that_does_not_pass_is_named_and_then_resumed() {
    let keys = [("policy.stream_speedup", "300")];
    let rig = Rig::on(Ground::S3, &one_long_part(), GateOptions::default(), &keys);
    let bucket = rig.bucket.as_ref().unwrap();
    let child = rig.start_stream(&[]);
    rig.wait_for_unique(50);
    bucket.set_weather(Some(Weather { seed: 5, one_in: 1 }));
    let ran = Rig::finish(child);
    ran.expect(1, "ORACLE_READ_FAILED");
    let detail = ran.report["detail"].as_str().unwrap();
    assert!(detail.contains(&rig.object_name("data/")), "{detail}");
    let emitted = ran.report["emitted"].as_u64().unwrap();
    assert!((50..rig.rows()).contains(&emitted), "{emitted}");

    bucket.set_weather(None);
    let rest = rig.stream(&["--speedup", "0"]);
    rest.expect(0, "");
    assert_eq!(rest.report["emitted"], rig.rows() - emitted);
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

fn an_object_that_changes_while_it_is_read_is_refused(ground: Ground) {
    let options = |seed| WorldOptions {
        seed,
        ..one_long_part()
    };
    let gate = || GateOptions {
        record_arrivals: true,
        ..GateOptions::default()
    };
    let ids = |rig: &Rig| -> BTreeSet<_> {
        rig.gate
            .arrivals()
            .into_iter()
            .map(|arrival| arrival.event_id)
            .collect()
    };
    let whole = Rig::new(&options(1), gate(), &[]);
    whole.stream(&[]).expect(0, "");

    let rig = Rig::on(
        ground,
        &options(1),
        gate(),
        &[("policy.stream_speedup", "240")],
    );
    let other = tempfile::tempdir().unwrap();
    let other = options(2).build(other.path()).unwrap();
    let id = SampleOutput::EventStreamBaseline.id();
    let bytes = std::fs::read(&other.parts(id)[0]).unwrap();
    let part = &rig.world.parts(id)[0];

    let child = rig.start_stream(&[]);
    rig.wait_for_unique(50);
    // On disk in place: the open file itself.
    std::fs::write(part, bytes).unwrap();
    rig.mirror();
    let ran = Rig::finish(child);
    ran.expect(1, "ORACLE_READ_FAILED");
    let detail = ran.report["detail"].as_str().unwrap();
    assert!(
        detail.contains("changed") && detail.contains(&rig.object_name(part)),
        "{detail}"
    );
    let pushed = ids(&rig);
    assert!(pushed.len() >= 50 && (pushed.len() as u64) < rig.rows());
    assert!(pushed.is_subset(&ids(&whole)), "mixed bytes were pushed");
}

/// One part of many row groups: most of it is not read when its first rows are pushed.
fn one_long_part() -> WorldOptions {
    let output = OutputOptions {
        parts: 1,
        rows_per_part: 20_000,
        row_group_rows: 250,
        ..OutputOptions::of(SampleOutput::EventStreamBaseline)
    };
    WorldOptions::sample().with_outputs([output])
}

#[test]
fn weather_is_the_same_for_the_same_seed() {
    let struck = |seed| {
        let rig = Rig::sample_on(Ground::S3);
        let bucket: &Bucket = rig.bucket.as_ref().unwrap();
        bucket.set_weather(Some(Weather { seed, one_in: 5 }));
        rig.run(&["verify"], &["--data"]).expect(0, "");
        bucket.struck()
    };
    assert_eq!(struck(6), struck(6));
    assert_ne!(struck(6), struck(7));
}
