//! SIGKILL at any moment, of the process and of the Postgres server: nothing missing, repeats
//! within the bound.
//!
//! A world is streamed by one process after the other, each killed after a random number of
//! further events, until enough were killed. How fast the machine is, and how late this thread
//! notices, only decides how many worlds that takes: one that ends before its killer comes is
//! streamed whole, and the next one is begun.

use std::os::unix::process::ExitStatusExt;
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
const SIGKILL: i32 = 9;

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
    let mut killer = Killer {
        backend,
        checkpoints: Checkpoints::on(backend),
        random: Random::default(),
        wanted: kills,
        killed: 0,
        servers: 0,
        repeated: 0,
        worst: 0,
    };
    let mut worlds = 0;
    while killer.killed < kills {
        let before = killer.killed;
        killer.stream_a_world(worlds);
        worlds += 1;
        assert!(killer.killed > before, "a whole world without a kill");
    }
    println!(
        "{backend:?}: {} kills over {worlds} worlds, {} of them of the server too: 0 missing, {} \
         repeated, at most {} a kill ({BOUND} allowed)",
        killer.killed, killer.servers, killer.repeated, killer.worst,
    );
}

struct Killer {
    backend: Backend,
    checkpoints: Checkpoints,
    random: Random,
    wanted: u32,
    killed: u32,
    servers: u32,
    repeated: u64,
    worst: u64,
}

impl Killer {
    /// Streams one world to its end, with as many kills as fit.
    fn stream_a_world(&mut self, number: u64) {
        // 5,000 events, paced so that they take four seconds at least.
        let mut world = WorldOptions::sample();
        world.seed += number;
        let rig = Rig::keeping(
            &self.checkpoints,
            &world,
            &[
                (
                    "wiring.wsp_checkpoint.flush_every",
                    &FLUSH_EVERY.to_string(),
                ),
                // After a crash of the server the next process waits for its end.
                ("wiring.wsp_checkpoint.lease_s", "3"),
                ("wiring.wsp_push.lanes", &LANES.to_string()),
                ("wiring.wsp_retry.give_up_after_s", "120"),
                ("policy.stream_speedup", "900"),
            ],
        );
        let killed_before = self.killed;
        while self.killed < self.wanted && rig.gate.stats().unique < rig.rows() {
            self.stream_and_kill(&rig);
        }
        rig.stream(&["--speedup", "0"]).expect(0, "");
        let stats = rig.gate.stats();
        assert_eq!((stats.unique, stats.invalid), (rig.rows(), 0));
        let kills = u64::from(self.killed - killed_before);
        assert!(stats.duplicates <= kills * BOUND, "{stats:?}");
        self.repeated += stats.duplicates;
    }

    /// One process, killed after a random number of further events, from none at all to 400.
    fn stream_and_kill(&mut self, rig: &Rig) {
        let victim = Victim::of_round(self.backend, self.killed);
        let before = rig.gate.stats();
        let mut child = rig.start_stream(&[]);
        let target = (before.unique + self.random.below(400)).min(rig.rows());
        while rig.gate.stats().unique < target && child.try_wait().unwrap().is_none() {
            sleep(Duration::from_micros(self.random.below(900)));
        }
        if victim != Victim::Process {
            self.checkpoints.server().end("KILL");
            self.servers += 1;
        }
        if victim == Victim::Server {
            self.checkpoints.server().bring_up();
            goes_on(rig, &mut child);
        }
        child.kill().unwrap();
        let ended = child.wait_with_output().unwrap().status;
        if victim == Victim::Both {
            self.checkpoints.server().bring_up();
        }
        if ended.signal() == Some(SIGKILL) {
            self.killed += 1;
        } else {
            assert!(ended.success(), "{ended}");
        }
        // What the dead process sent is counted before the next one sends anything.
        assert!(rig.gate.settle(PATIENCE), "its connections stay open");
        let repeated = rig.gate.stats().duplicates - before.duplicates;
        self.worst = self.worst.max(repeated);
        assert!(
            repeated <= BOUND,
            "{repeated} repeated after kill {} ({victim:?})",
            self.killed
        );
    }
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
