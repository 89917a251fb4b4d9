//! What `plan` foretells is what the run then does: counts, times, durations.

use sandbox::{GateOptions, SampleOutput, WorldOptions};
use serde_json::{Value, json};
use system_tests::{Ran, Rig};

fn rig(world: &WorldOptions, keys: &[(&str, &str)]) -> Rig {
    Rig::new(world, GateOptions::default(), keys)
}

/// Plans with these flags, streams with them, and compares: counts of each output, times of the
/// first and the last event, and the reason. Answers with both.
#[track_caller]
fn plan_and_stream(rig: &Rig, flags: &[&str]) -> (Value, Ran) {
    let planned = rig.run(&["plan"], flags);
    planned.expect(0, "");
    let ran = rig.stream(flags);
    let plan = planned.report;
    let forecast = &plan["forecast"];
    ran.expect(0, forecast["reason"].as_str().unwrap_or_default());
    for (field, of_run) in [
        ("events", "emitted"),
        ("first_ts_utc", "first_ts_utc"),
        ("last_ts_utc", "last_ts_utc"),
    ] {
        assert_eq!(forecast[field], ran.report[of_run], "{field} of {flags:?}");
    }
    let outputs = plan["outputs"].as_array().unwrap().iter();
    for (planned, did) in outputs.zip(ran.report["per_output"].as_array().unwrap()) {
        assert_eq!(planned["to_send"], did["acknowledged"], "{planned}");
        let number = |field: &str| planned[field].as_u64().unwrap();
        let parts = number("skipped") + number("to_send") + number("left_out");
        assert_eq!(number("rows"), parts, "{planned}");
    }
    (plan, ran)
}

#[track_caller]
fn assert_lasts_as_long(plan: &Value, ran: &Ran) {
    let foretold = plan["forecast"]["duration_s"].as_f64().unwrap();
    let due = ran.report["schedule"]["last_due_s"].as_f64().unwrap();
    assert!((foretold - due).abs() < 1e-3, "{foretold} s, and {due} s");
}

#[test]
fn a_plan_foretells_counts_and_duration_of_every_pace() {
    let world = WorldOptions::sample().with_shape(2, 60);
    for flags in [
        &["--speedup", "3600"][..],
        &["--rate", "900"],
        &["--rate", "0:100..900,0.5:900"],
        &["--speedup", "3600", "--max-events", "77"],
        &["--speedup", "3600", "--max-events-per-output", "11"],
        &["--rate", "500", "--max-events-per-output", "11"],
        &[
            "--speedup",
            "3600",
            "--from",
            "2026-01-28T08:20:00Z",
            "--to",
            "2026-01-28T08:50:00Z",
        ],
        &[
            "--speedup",
            "3600",
            "--order",
            "as_written",
            "--max-events",
            "100",
        ],
    ] {
        let (plan, ran) = plan_and_stream(&rig(&world, &[]), flags);
        assert_eq!(plan["forecast"]["basis"], "time_columns");
        assert_lasts_as_long(&plan, &ran);
        let forecast = &plan["forecast"];
        let (mean, peak) = (
            forecast["mean_events_per_second"].as_f64().unwrap(),
            forecast["peak_events_per_second"].as_u64().unwrap(),
        );
        let lasts = forecast["duration_s"].as_f64().unwrap();
        let events = forecast["events"].as_f64().unwrap();
        assert!((mean * lasts - events).abs() < 1e-6, "{forecast}");
        assert!(peak as f64 >= mean.min(events) * 0.9, "{forecast}");
    }
}

#[test]
fn an_unpaced_plan_has_counts_and_no_duration() {
    let rig = rig(&WorldOptions::sample().with_shape(2, 40), &[]);
    let (plan, _) = plan_and_stream(&rig, &["--speedup", "0", "--max-events", "150"]);
    assert_eq!(plan["forecast"]["duration_s"], Value::Null);
    assert_eq!(plan["forecast"]["peak_events_per_second"], Value::Null);
    assert_eq!(plan["forecast"]["reason"], "MAX_EVENTS");
}

#[test]
fn a_cap_and_cut_gaps_change_the_foretold_duration() {
    let rig = rig(&WorldOptions::sample().with_shape(1, 40), &[]);
    let foretold = |flags: &[&str]| {
        let planned = rig.run(&["plan"], flags);
        planned.expect(0, "");
        planned.report["forecast"]["duration_s"].as_f64().unwrap()
    };
    let plain = foretold(&["--speedup", "3600"]);
    let capped = foretold(&["--speedup", "3600", "--max-rate", "100"]);
    assert!(
        capped > plain && capped >= 1.99,
        "200 events at 100: {capped} s"
    );
    let cut = foretold(&["--speedup", "3600", "--max-gap", "0.001"]);
    assert!(
        cut < plain && cut <= 0.2,
        "199 gaps of a millisecond: {cut} s"
    );
}

#[test]
fn a_plan_says_what_a_resume_skips_to_the_row() {
    for order in ["event_time", "as_written"] {
        for unsorted in [false, true] {
            let mut world = WorldOptions::sample().with_shape(2, 50);
            if unsorted {
                world = world.with_unsorted(SampleOutput::TRAFFIC);
            }
            let rig = rig(&world, &[("policy.stream_order", order)]);
            let mut done = 0;
            for bound in ["123", "201"] {
                let (plan, ran) = plan_and_stream(&rig, &["--max-events", bound]);
                let outputs = plan["outputs"].as_array().unwrap().iter();
                let skipped = outputs.map(|output| output["skipped"].as_u64().unwrap());
                assert_eq!(skipped.sum::<u64>(), done, "{order}, unsorted: {unsorted}");
                done += ran.report["emitted"].as_u64().unwrap();
            }
            let (plan, _) = plan_and_stream(&rig, &[]);
            assert_eq!(plan["forecast"]["events"], rig.rows() - done);
        }
    }
}

#[test]
fn nothing_left_is_foretold_as_nothing() {
    let rig = rig(&WorldOptions::sample().with_shape(1, 20), &[]);
    rig.stream(&[]).expect(0, "");
    let plan = rig.run(&["plan"], &["--speedup", "60"]).report;
    let forecast = &plan["forecast"];
    assert_eq!(
        (&forecast["events"], &forecast["duration_s"]),
        (&json!(0), &Value::Null)
    );
    assert_eq!(plan["resources"]["read_bytes"], 0);
    let left: u64 = plan["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|output| output["to_send"].as_u64().unwrap())
        .sum();
    assert_eq!(left, 0);
}

#[test]
fn a_plan_that_a_run_would_refuse_is_refused_alike() {
    let rig = rig(&WorldOptions::sample().with_shape(1, 20), &[]);
    rig.stream(&["--max-events", "10"]).expect(0, "MAX_EVENTS");
    let other = ["--platform-run-id", "platform_20260101T000000Z"];
    rig.stream(&other).expect(1, "CHECKPOINT_RUN_MISMATCH");
    rig.run(&["plan"], &other)
        .expect(1, "CHECKPOINT_RUN_MISMATCH");
}

#[test]
fn a_start_that_has_passed_is_foretold_with_what_is_overdue() {
    let rig = rig(&WorldOptions::sample().with_shape(1, 20), &[]);
    let plan = |flags: &[&str]| rig.run(&["plan"], flags).report["forecast"].clone();
    let passed = plan(&["--speedup", "1", "--start-at", "2026-01-01T00:00:00Z"]);
    assert_eq!(
        (&passed["overdue"], &passed["duration_s"]),
        (&json!(100), &json!(0.0))
    );
    let coming = plan(&["--speedup", "3600", "--start-at", "2200-01-01T00:00:00Z"]);
    assert!(coming["starts_in_s"].as_f64().unwrap() > 1e9, "{coming}");
    assert_eq!(coming["overdue"], 0);
}

#[test]
fn people_get_a_table_of_the_plan_beside_the_object() {
    let rig = rig(&WorldOptions::sample().with_shape(2, 60), &[]);
    for command in [&["plan"][..], &["stream", "--dry-run"]] {
        let ran = rig.run(command, &["--speedup", "3600"]);
        ran.expect(0, "");
        for line in ["PLANNED  ", "TO SEND", "600", "at 3600 times", "open files"] {
            assert!(ran.stderr.contains(line), "{line} of {}", ran.stderr);
        }
        let quiet = rig.run(command, &["--quiet"]);
        assert!(!quiet.stderr.contains("TO SEND"), "{}", quiet.stderr);
    }
}
