//! Parts that are not in time order: sorted once, streamed in time order, whatever happens
//! meanwhile.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sandbox::{GateOptions, OutputOptions, SampleOutput, WorldOptions};
use serde_json::{Value, json};
use system_tests::{Ran, Rig, signal};

const OUTPUT: SampleOutput = SampleOutput::ArrivalEvents;

/// A world whose parts all span the same time, shuffled as a whole.
fn unsorted(parts: usize, rows_per_part: u64) -> WorldOptions {
    let output = OutputOptions {
        parts,
        rows_per_part,
        ..OutputOptions::of(OUTPUT)
    };
    WorldOptions::sample()
        .with_outputs([output])
        .with_unsorted([OUTPUT])
}

fn rig(parts: usize, rows_per_part: u64, keys: &[(&str, &str)]) -> Rig {
    let flush = ("wiring.wsp_checkpoint.flush_every", "1000");
    let mut keys: Vec<_> = [flush].into_iter().chain(keys.iter().copied()).collect();
    if keys.iter().any(|(key, _)| *key == "policy.stream_rate") {
        // An event has one pace.
        keys.push(("policy.stream_speedup", "null"));
    }
    let world = unsorted(parts, rows_per_part);
    Rig::new(&world, GateOptions::default(), &keys)
}

fn cache(rig: &Rig) -> PathBuf {
    rig.runs_root().join("wsp/sort_cache")
}

/// The files of a kind in the cache.
fn files(rig: &Rig, kind: &str) -> Vec<PathBuf> {
    let Ok(files) = std::fs::read_dir(cache(rig)) else {
        return Vec::new();
    };
    let files = files.map(|file| file.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|found| found == kind))
        .collect()
}

fn digest(ran: &Ran) -> String {
    ran.report["stream_digest"].as_str().unwrap().to_owned()
}

/// Waits until there is a file of a kind.
fn wait_for(rig: &Rig, kind: &str) {
    let began = Instant::now();
    while files(rig, kind).is_empty() {
        assert!(began.elapsed() < Duration::from_mins(2), "no {kind} file");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn flip_a_byte(path: &Path, at: u64) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at as usize] ^= 0x40;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_stream_of_unsorted_parts_goes_on_in_the_middle_from_the_cache() {
    let rig = rig(4, 2_000, &[("wiring.wsp_push.ordering", "strict")]);
    let planned = rig.run(&["plan"], &[]);
    planned.expect(0, "");
    let sorting = &planned.report["sorting"];
    assert_eq!(
        (&sorting["parts"], &sorting["rows"]),
        (&json!(4), &json!(8_000))
    );
    assert!(
        sorting["disk_bytes"].as_u64().unwrap() > 500_000,
        "{sorting}"
    );
    assert!(!cache(&rig).exists(), "plan writes nothing");
    rig.stream(&["--max-events", "5000"])
        .expect(0, "MAX_EVENTS");
    assert_eq!(files(&rig, "sorted").len(), 4);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&cache(&rig)), 0o700);
        assert_eq!(mode(&files(&rig, "sorted")[0]), 0o600);
    }
    let planned = rig.run(&["plan"], &[]);
    // Parts that are done are not sorted again.
    let sorting = &planned.report["sorting"];
    assert_eq!(
        (&sorting["parts"], &sorting["sorted_already"]),
        (&json!(0), &json!(3))
    );
    let before: Vec<_> = files(&rig, "sorted")
        .iter()
        .map(|path| path.metadata().unwrap().modified().unwrap())
        .collect();
    rig.stream(&[]).expect(0, "");
    let after: Vec<_> = files(&rig, "sorted")
        .iter()
        .map(|path| path.metadata().unwrap().modified().unwrap())
        .collect();
    assert_eq!(before, after, "nothing is sorted twice");
    let stats = rig.gate.stats();
    assert_eq!((stats.unique, stats.duplicates), (8_000, 0));
}

#[test]
fn what_was_sorted_for_one_platform_run_is_streamed_for_another() {
    let rig = rig(2, 500, &[("wiring.wsp_checkpoint.scope", "platform_run")]);
    let run = |id: &str| rig.stream(&["--platform-run-id", id]);
    let first = run("platform_20260101T000000Z");
    first.expect(0, "");
    let second = run("platform_20260102T000000Z");
    second.expect(0, "");
    assert_eq!(digest(&first), digest(&second));
    assert_eq!(files(&rig, "sorted").len(), 2);
}

#[test]
fn a_run_killed_while_it_sorts_leaves_nothing_that_a_later_one_believes() {
    let rig = rig(2, 60_000, &[("wiring.wsp_order.memory_budget_mib", "64")]);
    let mut killed = rig.start_stream(&[]);
    wait_for(&rig, "run");
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(files(&rig, "sorted").len() < 2, "it was killed in time");
    rig.stream(&["--max-events", "3000", "--take-over"])
        .expect(0, "MAX_EVENTS");
    assert_eq!(files(&rig, "sorted").len(), 2);
    assert!(files(&rig, "run").is_empty());
    assert!(files(&rig, "tmp").is_empty());
    assert_eq!(rig.gate.stats().unique, 3_000);
}

#[test]
fn a_stop_is_answered_while_parts_are_sorted() {
    let rig = rig(2, 60_000, &[("wiring.wsp_order.memory_budget_mib", "64")]);
    let stopped = rig.start_stream(&[]);
    wait_for(&rig, "run");
    let asked = Instant::now();
    signal(&stopped, "TERM");
    let ran = Rig::finish(stopped);
    ran.expect(3, "STOPPED");
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(rig.gate.stats().posts, 0);
}

#[test]
fn a_damaged_block_is_never_streamed_and_a_rerun_goes_on() {
    let rig = rig(1, 5_000, &[("wiring.wsp_push.ordering", "strict")]);
    rig.stream(&["--max-events", "100"]).expect(0, "MAX_EVENTS");
    let sorted = files(&rig, "sorted").pop().unwrap();
    let length = sorted.metadata().unwrap().len();
    // In a block behind the first ones.
    flip_a_byte(&sorted, length / 2);
    let damaged = rig.stream(&[]);
    damaged.expect(1, "SORT_CACHE_DAMAGED");
    rig.stream(&[]).expect(0, "");
    let stats = rig.gate.stats();
    assert_eq!((stats.unique, stats.duplicates), (5_000, 0));
    assert_eq!(stats.order_violations, 0);
}

#[test]
fn a_sorted_part_cut_short_or_without_a_whole_end_is_sorted_again() {
    let rig = rig(1, 2_000, &[]);
    rig.stream(&["--max-events", "100"]).expect(0, "MAX_EVENTS");
    let sorted = files(&rig, "sorted").pop().unwrap();
    let length = sorted.metadata().unwrap().len();
    for (from_end, again) in [(1, "150"), (70, "50")] {
        flip_a_byte(&sorted, length - from_end);
        rig.stream(&["--max-events", again]).expect(0, "MAX_EVENTS");
        assert_eq!(sorted.metadata().unwrap().len(), length);
    }
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&sorted)
        .unwrap();
    file.set_len(length / 2).unwrap();
    rig.stream(&[]).expect(0, "");
    assert_eq!(rig.gate.stats().unique, 2_000);
}

#[test]
fn two_producers_at_once_sort_a_part_once() {
    let rig = rig(
        2,
        20_000,
        &[("wiring.wsp_checkpoint.scope", "platform_run")],
    );
    let ids = ["platform_20260101T000000Z", "platform_20260102T000000Z"];
    let both = ids.map(|id| rig.start_stream(&["--platform-run-id", id, "--max-events", "2000"]));
    let both = both.map(Rig::finish);
    for ran in &both {
        ran.expect(0, "MAX_EVENTS");
    }
    assert_eq!(digest(&both[0]), digest(&both[1]));
    assert_eq!(files(&rig, "sorted").len(), 2);
    assert!(files(&rig, "tmp").is_empty());
}

#[test]
fn what_a_run_reads_is_not_cleared_and_the_rest_is() {
    let rig = rig(2, 1_000, &[("policy.stream_rate", "400")]);
    let stream = rig.start_stream(&["--max-events", "800"]);
    rig.wait_for_unique(10);
    let shown = rig.run(&["cache", "show"], &[]);
    shown.expect(0, "");
    assert_eq!(shown.report["parts"].as_array().unwrap().len(), 2);
    assert_eq!(shown.report["parts"][0]["rows"], 1_000);
    assert!(shown.report["parts"][0]["last_used_utc"].is_string());
    let cleared = rig.run(&["cache", "clear"], &[]);
    assert_eq!(cleared.report["freed_bytes"], 0, "{}", cleared.report);
    assert_eq!(cleared.report["parts"].as_array().unwrap().len(), 2);
    Rig::finish(stream).expect(0, "MAX_EVENTS");
    std::fs::write(cache(&rig).join("somebody.else"), "s").unwrap();
    let cleared = rig.run(&["cache", "clear"], &[]);
    cleared.expect(0, "");
    assert!(cleared.report["freed_bytes"].as_u64().unwrap() > 100_000);
    assert_eq!(cleared.report["parts"], json!([]));
    let left = std::fs::read_dir(cache(&rig)).unwrap();
    assert_eq!(left.count(), 1, "what is another's stays");
    rig.stream(&[]).expect(0, "");
    assert_eq!(rig.gate.stats().unique, 2_000);
}

#[test]
fn the_least_recently_used_file_makes_room() {
    let keys = [("wiring.wsp_order.sort_cache_mib", "5")];
    let mut rig = rig(1, 6_000, &keys);
    rig.stream(&["--max-events", "10"]).expect(0, "MAX_EVENTS");
    let first = files(&rig, "sorted").pop().unwrap();
    // The same part under another time of change is another part.
    let part = rig.world.parts(OUTPUT.id())[0].clone();
    let bytes = std::fs::read(&part).unwrap();
    std::fs::write(&part, bytes).unwrap();
    rig.set(&[keys[0], ("wiring.wsp_checkpoint.scope", "platform_run")]);
    rig.stream(&["--max-events", "10"]).expect(0, "MAX_EVENTS");
    assert!(!first.exists());
    assert_eq!(files(&rig, "sorted").len(), 1);
}

#[test]
fn more_than_the_cache_may_take_is_refused_before_the_first_push() {
    for memory in ["64", "512"] {
        let keys = [
            ("wiring.wsp_order.sort_cache_mib", "1"),
            ("wiring.wsp_order.memory_budget_mib", memory),
        ];
        let rig = rig(2, 10_000, &keys);
        let ran = rig.stream(&[]);
        ran.expect(1, "SORT_CACHE_TOO_SMALL");
        assert!(
            ran.report["detail"]
                .as_str()
                .unwrap()
                .contains("sort_cache_mib")
        );
        assert_eq!(rig.gate.stats().posts, 0);
        assert_eq!(files(&rig, "sorted").len() + files(&rig, "run").len(), 0);
    }
}

#[test]
fn the_old_key_is_refused_with_what_to_write_instead_and_so_is_a_cache_in_the_world() {
    let mut rig = Rig::sample();
    rig.set(&[("wiring.wsp_order.sort_budget_mib", "64")]);
    let ran = rig.stream(&[]);
    ran.expect(2, "PROFILE_KEY_UNKNOWN");
    let told: &Value = &ran.report["detail"];
    assert!(told.as_str().unwrap().contains("sort_cache_mib"), "{told}");
    let inside = rig.world.engine_run_root().join("cache");
    rig.set(&[("wiring.wsp_order.sort_cache", inside.to_str().unwrap())]);
    rig.stream(&[]).expect(2, "PROFILE_INVALID");
    assert!(!inside.exists());
}

#[test]
fn a_cache_that_cannot_be_written_is_a_reason() {
    let mut rig = rig(1, 500, &[]);
    let file = rig.folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    rig.set(&[(
        "wiring.wsp_order.sort_cache",
        file.join("x").to_str().unwrap(),
    )]);
    rig.stream(&[]).expect(1, "SORT_CACHE_UNWRITABLE");
    assert_eq!(rig.gate.stats().posts, 0);
}

#[test]
fn removing_the_runs_root_does_not_change_what_is_read() {
    let rig = rig(2, 1_000, &[("policy.stream_rate", "500")]);
    let stream = rig.start_stream(&["--max-events", "900"]);
    rig.wait_for_unique(10);
    std::fs::remove_dir_all(cache(&rig)).unwrap();
    Rig::finish(stream).expect(0, "MAX_EVENTS");
    assert_eq!(rig.gate.stats().unique, 900);
}

#[test]
fn as_many_rows_as_real_worlds_have_stream_by_default() {
    let rig = rig(3, 30_000, &[]);
    let ran = rig.stream(&["--max-events", "20000"]);
    ran.expect(0, "MAX_EVENTS");
    assert_eq!(rig.gate.stats().order_violations, 0);
}
