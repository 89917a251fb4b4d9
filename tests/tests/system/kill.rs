//! SIGKILL at any moment, of the process and of the Postgres server: nothing missing, repeats
//! within the bound.

use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sandbox::WorldOptions;
use system_tests::checkpoints::{Backend, Checkpoints};
use system_tests::{Random, Rig, rounds};

const FLUSH_EVERY: u64 = 40;
const LANES: u64 = 16;
const BOUND: u64 = FLUSH_EVERY + LANES;
/// Longer than a server needs to recover on a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn soak_kills_lose_nothing_and_repeat_within_the_bound_on_file() {
    kill_loop(Backend::File, rounds("WSP_KILLS", 100, 1_000));
}

#[test]
fn soak_kills_lose_nothing_and_repeat_within_the_bound_on_sqlite() {
    kill_loop(Backend::Sqlite, rounds("WSP_KILLS", 15, 400));
}

#[test]
fn soak_kills_lose_nothing_and_repeat_within_the_bound_on_postgres() {
    kill_loop(Backend::Postgres, rounds("WSP_KILLS", 15, 400));
}

/// What a round kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Process,
    /// The server; the process after it, once it went on.
    Server,
    /// The server, and the process while the server is away.
    Both,
}

impl Victim {
    fn of_round(backend: Backend, round: u32) -> Self {
        match (backend, round % 3) {
            (Backend::Postgres, 1) => Self::Server,
            (Backend::Postgres, 2) => Self::Both,
            _ => Self::Process,
        }
    }
}

fn kill_loop(backend: Backend, kills: u32) {
    let checkpoints = Checkpoints::on(backend);
    // 500 events a kill in two seconds of schedule, unbroken; kills come after random numbers
    // of further events, from none at all to 400.
    let world = WorldOptions::sample().with_shape(2, u64::from(kills) * 50);
    let rig = Rig::keeping(
        &checkpoints,
        &world,
        &[
            (
                "wiring.wsp_checkpoint.flush_every",
                &FLUSH_EVERY.to_string(),
            ),
            ("wiring.wsp_push.lanes", &LANES.to_string()),
            ("wiring.wsp_retry.give_up_after_s", "120"),
            ("policy.stream_speedup", "1800"),
        ],
    );
    let mut random = Random::default();
    let (mut killed, mut servers, mut worst) = (0, 0, 0);
    while killed < kills && rig.gate.stats().unique < rig.rows() {
        let victim = Victim::of_round(backend, killed);
        let before = rig.gate.stats();
        let mut child = rig.start_stream(&[]);
        let target = (before.unique + random.below(400)).min(rig.rows());
        while rig.gate.stats().unique < target && child.try_wait().unwrap().is_none() {
            sleep(Duration::from_micros(random.below(900)));
        }
        if victim != Victim::Process {
            checkpoints.server().end("KILL");
            servers += 1;
        }
        if victim == Victim::Server {
            checkpoints.server().bring_up();
            goes_on(&rig, &mut child);
        }
        child.kill().unwrap();
        child.wait_with_output().unwrap();
        if victim == Victim::Both {
            checkpoints.server().bring_up();
        }
        killed += 1;
        let repeated = rig.gate.stats().duplicates - before.duplicates;
        worst = worst.max(repeated);
        assert!(
            repeated <= BOUND,
            "{repeated} repeated after kill {killed} ({victim:?})"
        );
    }
    let last = rig.stream(&["--speedup", "0"]);
    last.expect(0, "");
    let stats = rig.gate.stats();
    println!(
        "{backend:?}: {killed} kills, {servers} of them of the server too: {} missing, {} repeated, \
         at most {worst} a kill ({BOUND} allowed)",
        rig.rows() - stats.unique,
        stats.duplicates,
    );
    assert_eq!(killed, kills, "the world ended before the kills did");
    assert_eq!(stats.unique, rig.rows());
    assert!(stats.duplicates <= u64::from(killed) * BOUND);
    assert_eq!(stats.invalid, 0);
}

/// Waits until a stream has sent more than it could have without saving, or is at its end.
fn goes_on(rig: &Rig, child: &mut Child) {
    let posts = rig.gate.stats().posts;
    let began = Instant::now();
    while rig.gate.stats().posts <= posts + BOUND {
        if let Some(ended) = child.try_wait().unwrap() {
            assert!(ended.success(), "the stream did not survive the server");
            return;
        }
        assert!(began.elapsed() < PATIENCE, "the stream does not go on");
        sleep(Duration::from_millis(2));
    }
}
