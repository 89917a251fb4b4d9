//! A checkpoint store that goes away in mid-stream: the stream waits, then goes on; or it says
//! which place is gone, and ends.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sandbox::WorldOptions;
use serde_json::Value;
use system_tests::checkpoints::{Backend, Checkpoints};
use system_tests::{Rig, rounds, signal};

const FLUSH_EVERY: u64 = 40;
const LANES: u64 = 16;

/// About six seconds of stream, if nothing gets in its way.
fn rig(checkpoints: &Checkpoints, give_up_after_s: &str) -> Rig {
    let world = WorldOptions::sample().with_shape(2, 600);
    Rig::keeping(
        checkpoints,
        &world,
        &[
            (
                "wiring.wsp_checkpoint.flush_every",
                &FLUSH_EVERY.to_string(),
            ),
            ("wiring.wsp_checkpoint.lease_s", "2"),
            ("wiring.wsp_push.lanes", &LANES.to_string()),
            ("wiring.wsp_retry.give_up_after_s", give_up_after_s),
            ("policy.stream_speedup", "600"),
        ],
    )
}

/// Everything arrived, once: a store that was away is no reason to send anything again.
fn assert_whole(rig: &Rig, child: Child, what: &str) {
    let ran = Rig::finish(child);
    ran.expect(0, "");
    let stats = rig.gate.stats();
    println!(
        "{what}: {} missing, {} repeated, {} saves tried again",
        rig.rows() - stats.unique,
        stats.duplicates,
        ran.report["checkpoints"]["retried"],
    );
    assert_eq!((stats.unique, stats.duplicates), (rig.rows(), 0));
    let again = rig.stream(&[]);
    again.expect(0, "");
    assert_eq!(again.report["emitted"], 0, "what was sent is durable");
}

/// Waits until the window is full, and sees that it stays so.
fn assert_waits(rig: &Rig, child: &mut Child, outage: Duration) {
    let before = rig.gate.stats().posts;
    sleep(outage);
    let after = rig.gate.stats().posts;
    assert!(
        after - before <= FLUSH_EVERY + LANES,
        "{} events were sent while none could be saved",
        after - before
    );
    assert!(child.try_wait().unwrap().is_none(), "the stream waits");
}

#[test]
fn soak_a_postgres_restart_costs_nothing() {
    let checkpoints = Checkpoints::on(Backend::Postgres);
    let rig = rig(&checkpoints, "60");
    let child = rig.start_stream(&[]);
    let restarts = 3;
    for restart in 1..=restarts {
        rig.wait_for_unique(restart * 1_000);
        checkpoints.server().end("INT");
        checkpoints.server().bring_up();
    }
    assert_whole(&rig, child, &format!("{restarts} restarts of Postgres"));
}

#[test]
fn soak_a_postgres_outage_is_waited_out() {
    let seconds = rounds("WSP_OUTAGE_S", 3, 20);
    let checkpoints = Checkpoints::on(Backend::Postgres);
    let rig = rig(&checkpoints, "120");
    let mut child = rig.start_stream(&[]);
    rig.wait_for_unique(500);
    checkpoints.server().end("KILL");
    assert_waits(&rig, &mut child, Duration::from_secs(seconds.into()));
    checkpoints.server().bring_up();
    assert_whole(
        &rig,
        child,
        &format!("{seconds} s without Postgres, after SIGKILL"),
    );
}

#[test]
fn a_postgres_outage_beyond_patience_ends_the_stream_and_a_rerun_resumes() {
    let checkpoints = Checkpoints::on(Backend::Postgres);
    let rig = rig(&checkpoints, "1");
    let child = rig.start_stream(&[]);
    rig.wait_for_unique(500);
    checkpoints.server().end("KILL");
    let ran = Rig::finish(child);
    ran.expect(1, "CHECKPOINT_UNAVAILABLE");
    rig.stream(&[]).expect(1, "CHECKPOINT_UNAVAILABLE");
    checkpoints.server().bring_up();
    rig.stream(&["--speedup", "0"]).expect(0, "");
    let stats = rig.gate.stats();
    assert_eq!(stats.unique, rig.rows());
    assert!(stats.duplicates <= FLUSH_EVERY + LANES, "{stats:?}");
}

/// What the stream says that it is at, over its control socket; null before anybody listens.
fn status(rig: &Rig) -> Value {
    rig.run(&["control"], &["status"]).report["stream"].clone()
}

#[test]
fn a_store_that_is_away_is_told_of_once_and_shown_to_whoever_asks() {
    let checkpoints = Checkpoints::on(Backend::Postgres);
    let rig = rig(&checkpoints, "120");
    let child = rig.start_stream(&[]);
    rig.wait_for_unique(500);
    checkpoints.server().end("KILL");
    let began = Instant::now();
    let seen = loop {
        let seen = status(&rig);
        if seen["state"] == "store_away" {
            break seen;
        }
        assert!(began.elapsed() < Duration::from_mins(1), "{seen}");
        sleep(Duration::from_millis(50));
    };
    assert!(seen["store_away"]["cause"].is_string(), "{seen}");
    checkpoints.server().bring_up();
    let ran = Rig::finish(child);
    ran.expect(0, "");
    for words in [
        "the checkpoint store is away",
        "the checkpoint store is back",
    ] {
        assert_eq!(
            ran.stderr.matches(words).count(),
            1,
            "{words}: {}",
            ran.stderr
        );
    }
    let outages = &ran.report["outages"]["checkpoint_store"];
    assert_eq!(outages["times"], 1, "{outages}");
    assert_eq!(ran.report["outages"]["ingestion_gate"]["times"], 0);
    let audit = rig.audit();
    for kind in ["outage_began", "outage_ended"] {
        let lines = audit.iter().filter(|line| line["event_kind"] == kind);
        let what: Vec<_> = lines.map(|line| &line["details"]["what"]).collect();
        assert_eq!(what, ["checkpoint_store"], "{kind}");
    }
}

#[test]
fn a_store_that_is_away_at_the_start_is_waited_for_and_a_stop_ends_the_wait() {
    let checkpoints = Checkpoints::on(Backend::Postgres);
    let rig = rig(&checkpoints, "120");
    checkpoints.server().end("KILL");
    let mut child = rig.start_stream(&["--speedup", "0"]);
    // Longer than one try takes to fail.
    sleep(Duration::from_secs(8));
    assert!(child.try_wait().unwrap().is_none(), "the stream waits");
    signal(&child, "TERM");
    let stopped = Rig::finish(child);
    stopped.expect(3, "STOPPED");
    assert!(
        stopped.stderr.contains("the checkpoint store is away"),
        "{}",
        stopped.stderr
    );

    let child = rig.start_stream(&["--speedup", "0"]);
    sleep(Duration::from_secs(2));
    checkpoints.server().bring_up();
    Rig::finish(child).expect(0, "");
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

#[test]
fn a_checkpoint_folder_deleted_in_mid_run_ends_the_stream_and_is_named() {
    let checkpoints = Checkpoints::on(Backend::File);
    let rig = rig(&checkpoints, "1");
    let child = rig.start_stream(&[]);
    rig.wait_for_unique(500);
    signal(&child, "STOP");
    std::fs::remove_dir_all(checkpoints.root()).unwrap();
    signal(&child, "CONT");
    assert_names_the_place(&rig, child, &checkpoints.root());
    assert!(!checkpoints.root().exists(), "nobody made it again");
}

#[test]
fn a_sqlite_file_deleted_in_mid_run_ends_the_stream_and_is_named() {
    let checkpoints = Checkpoints::on(Backend::Sqlite);
    let rig = rig(&checkpoints, "1");
    let child = rig.start_stream(&[]);
    rig.wait_for_unique(500);
    std::fs::remove_file(checkpoints.root()).unwrap();
    assert_names_the_place(&rig, child, &checkpoints.root());
    assert!(!checkpoints.root().exists(), "nobody made it again");
}

#[test]
fn a_full_disk_is_waited_out() {
    let checkpoints = Checkpoints::on(Backend::File);
    let rig = rig(&checkpoints, "60");
    let mut child = rig.start_stream(&[]);
    rig.wait_for_unique(500);
    let full = fill_disk(&rig, &child, &checkpoints);
    assert_waits(&rig, &mut child, Duration::from_secs(2));
    for file in &full {
        std::fs::remove_file(file).unwrap();
    }
    assert_whole(&rig, child, "a full disk");
}

#[test]
fn a_disk_that_stays_full_ends_the_stream_and_is_named() {
    let checkpoints = Checkpoints::on(Backend::File);
    let rig = rig(&checkpoints, "1");
    let child = rig.start_stream(&[]);
    rig.wait_for_unique(500);
    let full = fill_disk(&rig, &child, &checkpoints);
    let detail = assert_names_the_place(&rig, child, &checkpoints.root());
    assert!(detail.contains("The disk is full"), "{detail}");
    for file in &full {
        std::fs::remove_file(file).unwrap();
    }
    rig.stream(&["--speedup", "0"]).expect(0, "");
    let stats = rig.gate.stats();
    assert_eq!(stats.unique, rig.rows());
    assert!(stats.duplicates <= FLUSH_EVERY + LANES, "{stats:?}");
}

/// Makes every further write of cursors end as on a full disk: what they are written to before
/// they are renamed is where the system itself has no space. Done while the producer is stopped
/// with no such file open.
fn fill_disk(rig: &Rig, child: &Child, checkpoints: &Checkpoints) -> Vec<PathBuf> {
    let pack = only_entry(&checkpoints.root());
    for _ in 0..1_000 {
        signal(child, "STOP");
        let temporaries: Vec<PathBuf> = std::fs::read_dir(&pack)
            .unwrap()
            .flat_map(|output| {
                let folder = output.unwrap().path();
                ["cursor.json.tmp", "lease.json.tmp"].map(|name| folder.join(name))
            })
            .collect();
        let is_writing = temporaries.iter().any(|file| file.exists());
        if !is_writing {
            for file in &temporaries {
                std::os::unix::fs::symlink("/dev/full", file).unwrap();
            }
        }
        signal(child, "CONT");
        if !is_writing {
            return temporaries;
        }
        sleep(Duration::from_millis(1));
    }
    panic!("the producer never stops writing: {:?}", rig.gate.stats());
}

/// The one folder in a folder that is not hidden.
fn only_entry(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut shown = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    shown.next().unwrap().path()
}

fn assert_names_the_place(rig: &Rig, child: Child, place: &Path) -> String {
    let ran = Rig::finish(child);
    ran.expect(1, "CHECKPOINT_UNAVAILABLE");
    let detail = ran.report["detail"].as_str().unwrap();
    assert!(detail.contains(place.to_str().unwrap()), "{detail}");
    assert!(rig.gate.stats().unique < rig.rows(), "it did not go on");
    let failed = |line: &serde_json::Value| {
        line["event_kind"] == "stream_failed"
            && line["details"]["reason"] == "CHECKPOINT_UNAVAILABLE"
    };
    assert!(rig.audit().iter().any(failed), "the audit says so");
    detail.to_owned()
}
