//! Every fault of the gate, by every ordering, with cursors in files and in Postgres: nothing
//! missing, repeats within the bound, keys in order, and meters that add up in every snapshot.
//!
//! A cell of the matrix is a world and a gate of its own. Its first process meets the fault and
//! is killed in the middle of the world, where the gate stops answering; the next one meets the
//! fault again. Where the fault ends a stream it is lifted then, and a rerun goes on.

use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, scope, sleep, spawn};
use std::time::{Duration, Instant};

use sandbox::{
    Fault, FaultRule, GateOptions, OrderCheck, OutputOptions, RetryAfter, SampleOutput,
    WorldOptions,
};
use serde_json::Value;
use system_tests::checkpoints::{Backend, Checkpoints};
use system_tests::{Ran, Rig};
use wsp::control::{self, Request};

const FLUSH_EVERY: u64 = 20;
const LANES: u64 = 8;
const RUN: [&str; 2] = ["--platform-run-id", "platform_20260128T090000Z"];
/// What may be repeated after one crash.
const BOUND: u64 = FLUSH_EVERY + LANES;
const OUTPUTS: [SampleOutput; 2] = [
    SampleOutput::EventStreamBaseline,
    SampleOutput::EventStreamWithFraud,
];
/// The first is the sum of the others.
const METERS: [&str; 5] = [
    "read",
    "buffered",
    "in_flight",
    "acknowledged",
    "quarantined",
];
/// Posts before a fault, and before the place where the first process is killed.
const CLEAN: u64 = 30;
const KILLED_AT: u64 = 200;
const PATIENCE: Duration = Duration::from_mins(2);
/// Cells side by side: most of a cell's time is waiting.
const SIDE_BY_SIDE: usize = 6;

/// What goes wrong, and what is to come of it.
struct Trouble {
    name: &'static str,
    rule: Option<FaultRule>,
    /// The reason code that it ends a stream with.
    ends: Option<&'static str>,
    restarts: bool,
    timeout_ms: &'static str,
    /// `on_reject`: rejected events are set aside, and redriven in the end.
    sets_aside: bool,
}

impl Trouble {
    fn of(name: &'static str, rule: FaultRule) -> Self {
        Self {
            name,
            rule: Some(rule.after(CLEAN)),
            ends: None,
            restarts: false,
            timeout_ms: "30000",
            sets_aside: false,
        }
    }

    fn ending(name: &'static str, fault: Fault, reason: &'static str) -> Self {
        Self {
            ends: Some(reason),
            ..Self::of(name, FaultRule::next(1, fault))
        }
    }

    fn stall(name: &'static str, store: bool) -> Self {
        let fault = Fault::Stall { ms: 60_000, store };
        Self {
            timeout_ms: "1000",
            ..Self::of(name, FaultRule::next(3, fault))
        }
    }

    fn restarts() -> Self {
        Self {
            name: "the gate restarts",
            rule: None,
            ends: None,
            restarts: true,
            timeout_ms: "30000",
            sets_aside: false,
        }
    }

    /// Of ten events the gate refuses one, always the same.
    fn set_aside() -> Self {
        let rule = FaultRule::for_share(0.1, status(422, None, false));
        let of = Self::of("rejects, set aside", rule.clone());
        Self {
            rule: Some(rule),
            sets_aside: true,
            ..of
        }
    }
}

fn status(code: u16, retry_after: Option<RetryAfter>, store: bool) -> Fault {
    Fault::Status {
        code,
        retry_after,
        body: None,
        store,
    }
}

/// Now and then among good answers, so many times.
fn some(fault: Fault) -> FaultRule {
    let mut rule = FaultRule::next(40, fault);
    rule.when.probability = Some(0.3);
    rule
}

fn troubles() -> Vec<Trouble> {
    let seconds = Some(RetryAfter::Seconds(1));
    let date = Some(RetryAfter::DateIn(2));
    let next = FaultRule::next;
    vec![
        Trouble::of("a storm of 429", next(60, status(429, None, false))),
        Trouble::of("a storm of 503", next(60, status(503, None, false))),
        Trouble::of(
            "503, Retry-After: seconds",
            next(3, status(503, seconds, false)),
        ),
        Trouble::of(
            "503, Retry-After: a date",
            next(3, status(503, date, false)),
        ),
        Trouble::of("500", some(status(500, None, false))),
        Trouble::of("500, but stored", some(status(500, None, true))),
        Trouble::of("closed before reading", some(Fault::DropBeforeReading)),
        Trouble::of("closed after storing", some(Fault::DropAfterStoring)),
        Trouble::of("reset before storing", some(Fault::Reset { store: false })),
        Trouble::of("reset after storing", some(Fault::Reset { store: true })),
        Trouble::of("truncated answers", some(Fault::TruncateAnswer)),
        Trouble::stall("stalls beyond the timeout", false),
        Trouble::stall("stalls, but stored", true),
        Trouble::restarts(),
        Trouble::of("a slow gate", some(Fault::Delay { ms: 15 })),
        Trouble::of("trickled answers", some(Fault::Trickle { ms_per_byte: 1 })),
        Trouble::of("taken aside by the gate", some(Fault::Quarantine)),
        Trouble::set_aside(),
        Trouble::ending("a reject", status(422, None, false), "IG_PUSH_REJECTED"),
        Trouble::ending(
            "2xx of garbage",
            Fault::GarbageAnswer,
            "IG_RESPONSE_UNKNOWN",
        ),
        Trouble::ending("2xx, no decision", Fault::NoDecision, "IG_RESPONSE_UNKNOWN"),
    ]
}

#[test]
fn every_fault_by_every_ordering_on_both_backends_loses_nothing() {
    let homes = [Backend::File, Backend::Postgres].map(Checkpoints::on);
    let troubles = troubles();
    let mut cells = Vec::new();
    for trouble in &troubles {
        for ordering in ["key", "strict", "none"] {
            for home in &homes {
                let seed = cells.len() as u64;
                cells.push(Cell {
                    trouble,
                    ordering,
                    home,
                    seed,
                });
            }
        }
    }
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(vec![String::new(); cells.len()]);
    let bad = Mutex::new(Vec::new());
    scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some((place, cell)) = {
                    let place = next.fetch_add(1, Relaxed);
                    cells.get(place).map(|cell| (place, cell))
                } {
                    let (row, verdict) = cell.row();
                    rows.lock().unwrap()[place] = row;
                    bad.lock().unwrap().extend(verdict.err());
                }
            });
        }
    });
    print_table(&rows.into_inner().unwrap());
    let bad = bad.into_inner().unwrap();
    assert!(
        bad.is_empty(),
        "{} bad cells:\n{}",
        bad.len(),
        bad.join("\n")
    );
}

/// Past the capture of tests' output: the table is there to be read.
fn print_table(rows: &[String]) {
    let head = "\nfault                      ordering  backend    posts  retries  duplicates  crashes  stops  snapshots  verdict\n";
    let table = rows.iter().fold(head.to_owned(), |table, row| table + row);
    std::io::stdout().write_all(table.as_bytes()).unwrap();
}

struct Cell<'a> {
    trouble: &'a Trouble,
    ordering: &'static str,
    home: &'a Checkpoints,
    seed: u64,
}

/// What came of a cell.
#[derive(Debug, Default)]
struct Tally {
    posts: u64,
    /// As the processes that lived to report counted them.
    retries: u64,
    duplicates: u64,
    /// Of the process that was killed: its retries, since it began the world.
    duplicates_before_crash: u64,
    crashes: u64,
    stops: u64,
    /// Before anything was redriven, which comes when its keys have gone on.
    out_of_order: u64,
    /// Of running streams, after their first event.
    snapshots: u64,
    faults: Vec<String>,
}

impl Tally {
    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.faults.push(what());
        }
    }

    fn add(&mut self, seen: Seen) {
        self.snapshots += seen.snapshots;
        // One is enough to read.
        self.faults.extend(seen.faults.into_iter().next());
    }
}

impl Cell<'_> {
    /// A line of the table, and what is wrong with it.
    fn row(&self) -> (String, Result<(), String>) {
        let tally = catch_unwind(AssertUnwindSafe(|| self.run())).unwrap_or_else(|_| Tally {
            faults: vec!["it panicked".to_owned()],
            ..Tally::default()
        });
        let verdict = if tally.faults.is_empty() { "ok" } else { "BAD" };
        let (name, ordering) = (self.trouble.name, self.ordering);
        let backend = format!("{:?}", self.home.backend()).to_lowercase();
        let mut row = format!("{name:<26} {ordering:<9} {backend:<9} ");
        let Tally {
            posts,
            retries,
            duplicates,
            crashes,
            stops,
            snapshots,
            ..
        } = tally;
        let _ = writeln!(
            row,
            "{posts:>6} {retries:>8} {duplicates:>11} {crashes:>8} {stops:>6} {snapshots:>10}  {verdict}"
        );
        let faults = tally.faults.join("; ");
        let told = format!("{name}, {ordering}, {backend}: {faults}");
        (row, if verdict == "ok" { Ok(()) } else { Err(told) })
    }

    fn run(&self) -> Tally {
        let mut tally = Tally::default();
        let mut rig = self.rig();
        self.run_into_a_crash(&mut rig, &mut tally);
        self.arm(&rig, None);
        for _ in 0..4 {
            let child = rig.start_stream(&RUN);
            let watched = Watch::over(&rig, &child);
            if self.trouble.restarts {
                restart_twice(&mut rig);
            }
            let ran = Rig::finish(child);
            watched.end(&mut tally);
            if self.finished(&rig, ran, &mut tally) {
                break;
            }
        }
        tally.out_of_order = rig.gate.stats().order_violations;
        if self.trouble.sets_aside {
            rig.gate.set_faults(Vec::new()).unwrap();
            let redriven = rig.run(&["redrive"], &RUN);
            let status = redriven.status;
            tally.check(status == 0, || redriven.report.to_string());
        }
        self.judge(&rig, &mut tally);
        tally
    }

    fn rig(&self) -> Rig {
        let outputs = OUTPUTS.map(|output| OutputOptions {
            rows_per_part: 100,
            ..OutputOptions::of(output)
        });
        let mut world = WorldOptions::sample().with_outputs(outputs);
        world.seed += self.seed;
        let columns = OUTPUTS.map(|output| (output.id().to_owned(), "flow_id".to_owned()));
        let gate = GateOptions {
            order: match self.ordering {
                "key" => OrderCheck::PerKey(columns.into()),
                "strict" => OrderCheck::Total,
                _ => OrderCheck::Off,
            },
            ..GateOptions::default()
        };
        let (flush_every, lanes) = (FLUSH_EVERY.to_string(), LANES.to_string());
        let kept = self.home.keys();
        let on_reject = if self.trouble.sets_aside {
            "quarantine"
        } else {
            "stop"
        };
        let mut keys = vec![
            ("wiring.wsp_push.on_reject", on_reject),
            ("wiring.wsp_checkpoint.flush_every", &*flush_every),
            ("wiring.wsp_push.lanes", &lanes),
            ("wiring.wsp_push.ordering", self.ordering),
            ("wiring.wsp_push.concurrency", "adaptive"),
            ("wiring.wsp_push.timeout_ms", self.trouble.timeout_ms),
            ("wiring.wsp_retry.base_delay_ms", "2"),
            ("wiring.wsp_retry.max_delay_ms", "20"),
            ("wiring.wsp_retry.give_up_after_s", "120"),
        ];
        keys.extend(kept.iter().map(|(key, value)| (*key, value.as_str())));
        Rig::new(&world, gate, &keys)
    }

    /// Sets the fault, and perhaps the place where the gate stops answering.
    fn arm(&self, rig: &Rig, silent_after: Option<u64>) {
        let silence = Fault::Stall {
            ms: 600_000,
            store: false,
        };
        let silence = silent_after.map(|posts| FaultRule::always(silence).after(posts));
        let rules = self.trouble.rule.clone().into_iter().chain(silence);
        rig.gate.set_faults(rules.collect()).unwrap();
    }

    /// One process, killed where the gate stops answering; or ended by the fault before that.
    fn run_into_a_crash(&self, rig: &mut Rig, tally: &mut Tally) {
        self.arm(rig, Some(KILLED_AT));
        let mut child = rig.start_stream(&RUN);
        let watched = Watch::over(rig, &child);
        if self.trouble.restarts {
            restart_twice(rig);
        }
        let began = Instant::now();
        let silent = |rig: &Rig| rig.gate.stats().faults_fired.last() > Some(&0);
        while !(silent(rig) && has_struck(rig)) && child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < PATIENCE, "{:?}", rig.gate.stats());
            sleep(Duration::from_millis(2));
        }
        if child.try_wait().unwrap().is_some() {
            self.finished(rig, Rig::finish(child), tally);
        } else {
            look_at(rig, tally);
            child.kill().unwrap();
            child.wait_with_output().unwrap();
            tally.crashes += 1;
        }
        watched.end(tally);
        assert!(rig.gate.settle(PATIENCE), "connections stay open");
        tally.duplicates_before_crash = rig.gate.stats().duplicates;
    }

    /// Looks at a report; true if the world is at its end. A fault that ended it is lifted.
    fn finished(&self, rig: &Rig, ran: Ran, tally: &mut Tally) -> bool {
        let counts = ran.report["retries"].as_object().unwrap().values();
        tally.retries += counts.filter_map(Value::as_u64).sum::<u64>();
        let struck = has_struck(rig);
        tally.check(struck, || "the fault never struck".to_owned());
        check_meters(&ran, tally, self.trouble.sets_aside);
        if ran.status == 0 {
            return true;
        }
        let expected = Some(ran.reason()) == self.trouble.ends && ran.status == 1;
        tally.check(expected, || format!("{}\n{}", ran.report, ran.stderr));
        tally.stops += 1;
        rig.gate.set_faults(Vec::new()).unwrap();
        false
    }

    fn judge(&self, rig: &Rig, tally: &mut Tally) {
        let stats = rig.gate.stats();
        tally.posts = stats.posts;
        tally.duplicates = stats.duplicates;
        let missing = rig.rows() - stats.unique;
        tally.check(missing == 0, || format!("{missing} missing"));
        tally.check(stats.invalid == 0, || format!("{} invalid", stats.invalid));
        let violations = tally.out_of_order;
        tally.check(violations == 0, || format!("{violations} out of order"));
        let repeated = tally.duplicates - tally.duplicates_before_crash;
        let allowed = tally.retries + (tally.crashes + tally.stops) * BOUND;
        tally.check(repeated <= allowed, || {
            format!("{repeated} repeated, {allowed} allowed")
        });
        let stops = u64::from(self.trouble.ends.is_some());
        let met = tally.stops >= stops && tally.crashes + tally.stops > 0;
        tally.check(met, || "nothing was interrupted".to_owned());
        let snapshots = tally.snapshots;
        tally.check(snapshots > 0, || "no snapshot was taken".to_owned());
    }
}

/// Whether the cell's own fault had a part in it, if it has one.
fn has_struck(rig: &Rig) -> bool {
    rig.gate.stats().faults_fired.first() != Some(&0)
}

/// The gate dies twice while a stream runs; once before it, if it is over.
fn restart_twice(rig: &mut Rig) {
    for _ in 0..2 {
        let (before, began) = (rig.gate.stats().posts, Instant::now());
        // A stream that is over posts no more.
        while rig.gate.stats().posts < before + 25 && began.elapsed() < Duration::from_secs(2) {
            sleep(Duration::from_millis(1));
        }
        rig.gate.die();
        sleep(Duration::from_millis(60));
        rig.gate.bring_up().unwrap();
    }
}

/// Asks a running stream for a snapshot again and again, by its control socket, until it is
/// dropped.
struct Watch {
    is_over: Arc<AtomicBool>,
    looking: Option<JoinHandle<Seen>>,
}

/// What the snapshots of one process came to.
#[derive(Default)]
struct Seen {
    snapshots: u64,
    faults: Vec<String>,
}

impl Watch {
    fn over(rig: &Rig, child: &Child) -> Self {
        let (runs_root, pid) = (rig.runs_root(), child.id());
        let is_over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&is_over);
        let looking = spawn(move || {
            let mut seen = Seen::default();
            while !ended.load(Relaxed) {
                let streams = control::find(&runs_root, None).unwrap_or_default();
                if let Some(stream) = streams.iter().find(|stream| stream.pid == pid)
                    && let Ok(answer) = control::send(&stream.socket, &Request::Status)
                {
                    seen.look_at(&answer["stream"]);
                }
                sleep(Duration::from_millis(10));
            }
            seen
        });
        Self {
            is_over,
            looking: Some(looking),
        }
    }

    fn end(mut self, tally: &mut Tally) {
        self.is_over.store(true, Relaxed);
        let looking = self.looking.take().unwrap();
        tally.add(looking.join().unwrap());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
    }
}

impl Seen {
    fn look_at(&mut self, snapshot: &Value) {
        let [read, parts @ ..] = METERS.map(|meter| snapshot[meter].as_u64().unwrap());
        let in_flight = parts[1];
        self.snapshots += u64::from(read > 0);
        if read != parts.iter().sum::<u64>() || in_flight > BOUND {
            self.faults.push(format!("a running stream: {snapshot}"));
        }
    }
}

/// What an operator sees of a running stream, while the gate is silent.
fn look_at(rig: &Rig, tally: &mut Tally) {
    let asked = rig.run(&["control"], &["status"]);
    let stream = &asked.report["stream"];
    let acknowledged = stream["acknowledged"].as_u64();
    let unique = rig.gate.stats().unique;
    tally.check(acknowledged.is_some_and(|events| events <= unique), || {
        format!("{unique} at the gate, and it says {}", asked.report)
    });
    if acknowledged.is_some() {
        let mut seen = Seen::default();
        seen.look_at(stream);
        tally.add(seen);
    }
}

/// read = buffered + in flight + acknowledged + quarantined, in every report and output.
fn check_meters(ran: &Ran, tally: &mut Tally, sets_aside: bool) {
    let mut sums = [0; 4];
    for output in ran.report["per_output"].as_array().unwrap() {
        let [read, parts @ ..] = METERS.map(|meter| output[meter].as_u64().unwrap());
        let sum = parts.iter().sum::<u64>();
        tally.check(read == sum, || format!("the meters: {output}"));
        sums.iter_mut()
            .zip(parts)
            .for_each(|(sum, part)| *sum += part);
    }
    let [buffered, in_flight, acknowledged, quarantined] = sums;
    let emitted = ran.report["emitted"].as_u64();
    tally.check(emitted == Some(acknowledged), || {
        format!("emitted: {}", ran.report)
    });
    tally.check(in_flight <= BOUND, || format!("{in_flight} in flight"));
    let done = ran.status == 0;
    let is_empty = buffered + in_flight == 0 && (sets_aside || quarantined == 0);
    tally.check(!done || is_empty, || format!("left over: {}", ran.report));
}
