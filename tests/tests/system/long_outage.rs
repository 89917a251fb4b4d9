//! A gate that answers 503 for a long time: memory stays flat, and the stream is at full speed soon
//! after.

use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sandbox::{Fault, FaultRule, GateOptions, RetryAfter, WorldOptions};
use system_tests::{Rig, rounds, signal};

/// What the allocator may do with what it has.
const SLACK_KIB: u64 = 2_048;
const LOOK: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_mins(2);

/// In the long form as fast as can be; in the short one at a pace that a busy machine keeps.
struct Form {
    outage: Duration,
    rows_per_part: u64,
    speedup: &'static str,
    /// How long goodput is measured before the outage.
    measured: Duration,
    /// How soon after the outage the stream must be as fast as before.
    recovered_within: Duration,
}

impl Form {
    fn chosen() -> Self {
        let seconds = rounds("WSP_OUTAGE_503_S", 6, 600);
        let is_long = seconds >= 60;
        Self {
            outage: Duration::from_secs(seconds.into()),
            rows_per_part: if is_long { 60_000 } else { 2_000 },
            // An hour in 40 seconds: 500 events a second.
            speedup: if is_long { "0" } else { "90" },
            measured: Duration::from_secs(if is_long { 10 } else { 2 }),
            recovered_within: Duration::from_secs(if is_long { 10 } else { 40 }),
        }
    }
}

#[test]
fn soak_ten_minutes_of_503_cost_no_memory_and_no_speed_afterwards() {
    let form = Form::chosen();
    let world = WorldOptions::sample().with_shape(2, form.rows_per_part);
    let keys = [
        ("policy.stream_speedup", form.speedup),
        ("wiring.wsp_push.when_late", "slip"),
        ("wiring.wsp_push.concurrency", "adaptive"),
        ("wiring.wsp_retry.base_delay_ms", "250"),
        ("wiring.wsp_retry.max_delay_ms", "5000"),
        ("wiring.wsp_retry.give_up_after_s", "900"),
    ];
    let rig = Rig::new(&world, GateOptions::default(), &keys);
    let mut child = rig.start_stream(&[]);
    rig.wait_for_unique(200);
    let before = goodput(&rig, form.measured);

    let outage = rig.gate.set_faults(vec![
        FaultRule::with_probability(0.5, unavailable(Some(RetryAfter::Seconds(1)))),
        FaultRule::always(unavailable(None)),
    ]);
    outage.unwrap();
    let rss = watch_memory(&mut child, form.outage);
    let stats = rig.gate.stats();
    let posts: u64 = stats.faults_fired.iter().sum();
    rig.gate.set_faults(Vec::new()).unwrap();
    let back_after = recovered(&rig, before);

    let (first, second) = rss.split_at(rss.len() / 2);
    let (first, second) = (first.iter().max().unwrap(), second.iter().max().unwrap());
    println!(
        "{} s of 503: {posts} posts meanwhile, at most {first} KiB resident in its first half, \
         {second} KiB in its second; {before:.0} events a second before, as fast after {:.1} s",
        form.outage.as_secs(),
        back_after.as_secs_f64(),
    );
    assert!(
        *second <= first + SLACK_KIB,
        "{first} KiB, then {second} KiB"
    );
    assert!(back_after <= form.recovered_within, "{back_after:?}");
    signal(&child, "TERM");
    let ran = Rig::finish(child);
    ran.expect(3, "STOPPED");
    let stats = rig.gate.stats();
    assert_eq!(
        (ran.report["emitted"].as_u64(), stats.duplicates),
        (Some(stats.unique), 0)
    );
}

fn unavailable(retry_after: Option<RetryAfter>) -> Fault {
    Fault::Status {
        code: 503,
        retry_after,
        body: None,
        store: false,
    }
}

/// New events a second, over a span.
fn goodput(rig: &Rig, span: Duration) -> f64 {
    let (before, began) = (rig.gate.stats().unique, Instant::now());
    sleep(span);
    let events = rig.gate.stats().unique - before;
    events as f64 / began.elapsed().as_secs_f64()
}

/// How long after now the stream is at nine tenths of a goodput, over a second.
fn recovered(rig: &Rig, before: f64) -> Duration {
    let began = Instant::now();
    let mut seen = vec![(began, rig.gate.stats().unique)];
    loop {
        sleep(LOOK);
        let now = (Instant::now(), rig.gate.stats().unique);
        seen.push(now);
        let second = Duration::from_secs(1);
        let earlier = seen.iter().rfind(|(at, _)| now.0 - *at >= second);
        let is_back = earlier.is_some_and(|(at, unique)| {
            (now.1 - unique) as f64 / (now.0 - *at).as_secs_f64() >= before * 0.9
        });
        if is_back {
            return began.elapsed();
        }
        assert!(began.elapsed() < PATIENCE, "{:?}", rig.gate.stats());
    }
}

/// Resident KiB of a process, again and again for a while, once the outage has settled.
fn watch_memory(child: &mut Child, span: Duration) -> Vec<u64> {
    let (mut seen, began) = (Vec::new(), Instant::now());
    while began.elapsed() < span {
        sleep(LOOK);
        assert!(child.try_wait().unwrap().is_none(), "the stream waits");
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().strip_suffix(" kB").unwrap();
        seen.push(kib.parse().unwrap());
    }
    seen
}
