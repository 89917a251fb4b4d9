//! A gate that asks for less, asks for quiet, or is silent: the stream sends less, waits, and ends
//! in bounded time where it must.

use std::thread::sleep;
use std::time::{Duration, Instant};

use sandbox::{
    Fault, FaultRule, GateOptions, OutputOptions, RetryAfter, SampleOutput, WorldOptions,
};
use system_tests::{Rig, signal};

const LANES: u64 = 16;
const FLUSH_EVERY: u64 = 100;
const PATIENCE: Duration = Duration::from_mins(2);

/// So many events of one output, each with a key of its own, by any lane that is free.
fn rig(rows: u64, keys: &[(&str, &str)]) -> Rig {
    let output = OutputOptions {
        parts: 1,
        rows_per_part: rows,
        ..OutputOptions::of(SampleOutput::FlowAnchorWithFraud)
    };
    let gate = GateOptions {
        record_arrivals: true,
        ..GateOptions::default()
    };
    let (lanes, flush_every) = (LANES.to_string(), FLUSH_EVERY.to_string());
    let mut all = vec![
        ("wiring.wsp_push.lanes", lanes.as_str()),
        ("wiring.wsp_push.ordering", "none"),
        ("wiring.wsp_checkpoint.flush_every", &flush_every),
        ("wiring.wsp_retry.base_delay_ms", "1"),
        ("wiring.wsp_retry.max_delay_ms", "20"),
    ];
    all.extend(keys);
    Rig::new(&WorldOptions::sample().with_outputs([output]), gate, &all)
}

fn status(code: u16, retry_after: Option<RetryAfter>) -> Fault {
    Fault::Status {
        code,
        retry_after,
        body: None,
        store: false,
    }
}

/// Waits until the first fault rule has struck so many posts.
fn wait_for_struck(rig: &Rig, posts: u64) {
    let began = Instant::now();
    while rig.gate.stats().faults_fired[0] < posts {
        assert!(began.elapsed() < PATIENCE, "{:?}", rig.gate.stats());
        sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_storm_narrows_an_adaptive_stream_and_recovery_widens_it_again() {
    for code in [429, 503] {
        let rig = rig(800, &[("wiring.wsp_push.concurrency", "adaptive")]);
        let storm = FaultRule::next(150, status(code, None)).after(200);
        let slow = FaultRule::always(Fault::Delay { ms: 20 });
        rig.gate.set_faults(vec![storm, slow]).unwrap();
        rig.stream(&[]).expect(0, "");
        let arrivals = rig.gate.arrivals();
        let in_hand: Vec<u64> = arrivals.iter().map(|a| a.in_hand.into()).collect();
        let widest = |range: std::ops::Range<usize>| in_hand[range].iter().max().copied();
        let (before, after_storm, later) = (widest(0..200), widest(200..203), widest(203..800));
        println!("{code}: {before:?} at once, after the storm {after_storm:?}, then {later:?}");
        assert!(before >= Some(LANES * 3 / 4), "{before:?} before");
        assert!(
            after_storm <= Some(LANES / 3),
            "{after_storm:?} after the storm"
        );
        assert!(later >= Some(LANES * 3 / 4), "{later:?} later");
    }
}

#[test]
fn retry_after_in_both_forms_silences_every_lane() {
    for (code, form) in [
        (429, RetryAfter::Seconds(2)),
        (503, RetryAfter::Seconds(2)),
        // To the second: between two and three of them.
        (503, RetryAfter::DateIn(3)),
    ] {
        let rig = rig(300, &[]);
        let quiet = FaultRule::next(1, status(code, Some(form))).after(100);
        rig.gate.set_faults(vec![quiet]).unwrap();
        rig.stream(&[]).expect(0, "");
        let stats = rig.gate.stats();
        assert_eq!((stats.posts, stats.unique), (rig.rows() + 1, rig.rows()));
        let mut arrived: Vec<_> = rig.gate.arrivals().iter().map(|a| a.arrived_ns).collect();
        arrived.sort_unstable();
        let gaps = arrived.windows(2).map(|pair| pair[1] - pair[0]);
        let quiet = Duration::from_nanos(gaps.max().unwrap());
        assert!(quiet >= Duration::from_millis(1_900), "{form:?}: {quiet:?}");
    }
}

#[test]
fn a_gate_that_keeps_asking_for_quiet_is_not_hammered() {
    let rig = rig(300, &[]);
    let quiet = status(503, Some(RetryAfter::Seconds(1)));
    let rule = FaultRule::always(quiet).after(100);
    rig.gate.set_faults(vec![rule]).unwrap();
    let child = rig.start_stream(&[]);
    wait_for_struck(&rig, 1);
    let began = Instant::now();
    sleep(Duration::from_millis(2_500));
    let (posts, outage) = (rig.gate.stats().faults_fired[0], began.elapsed());
    rig.gate.set_faults(Vec::new()).unwrap();
    Rig::finish(child).expect(0, "");
    // At most one post a lane between two silences of a second.
    let allowed = LANES * (outage.as_secs() + 2);
    assert!(posts <= allowed, "{posts} posts in {outage:?}");
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

#[test]
fn a_gate_that_fails_for_good_ends_the_stream_and_a_rerun_resumes() {
    let asking = status(503, Some(RetryAfter::Seconds(600)));
    for fault in [status(503, None), status(500, None), asking] {
        let rig = rig(300, &[("wiring.wsp_retry.give_up_after_s", "1")]);
        let rule = FaultRule::always(fault.clone()).after(100);
        rig.gate.set_faults(vec![rule]).unwrap();
        let ran = rig.stream(&[]);
        ran.expect(1, "IG_PUSH_RETRY_EXHAUSTED");
        assert_eq!(ran.report["emitted"], 100, "{fault:?}");
        rig.gate.set_faults(Vec::new()).unwrap();
        rig.stream(&[]).expect(0, "");
        let stats = rig.gate.stats();
        assert_eq!(stats.unique, rig.rows());
        assert!(stats.duplicates <= FLUSH_EVERY + LANES, "{stats:?}");
    }
}

#[test]
fn a_gate_that_is_gone_ends_the_stream_and_a_rerun_resumes() {
    let mut rig = rig(300, &[("wiring.wsp_retry.give_up_after_s", "1")]);
    // It goes where the stream is sure to be under way.
    let stall = Fault::Stall {
        ms: 600_000,
        store: true,
    };
    let rule = FaultRule::always(stall).after(100);
    rig.gate.set_faults(vec![rule]).unwrap();
    let child = rig.start_stream(&[]);
    wait_for_struck(&rig, 1);
    rig.gate.die();
    let ran = Rig::finish(child);
    ran.expect(1, "IG_PUSH_RETRY_EXHAUSTED");
    rig.stream(&[]).expect(1, "IG_PUSH_RETRY_EXHAUSTED");
    rig.gate.set_faults(Vec::new()).unwrap();
    rig.gate.bring_up().unwrap();
    rig.stream(&[]).expect(0, "");
    let stats = rig.gate.stats();
    assert_eq!(stats.unique, rig.rows());
    assert!(stats.duplicates <= FLUSH_EVERY + LANES, "{stats:?}");
}

#[test]
fn a_stop_waits_for_a_silent_gate_no_longer_than_the_drain() {
    for store in [false, true] {
        let rig = rig(300, &[("wiring.wsp_push.drain_timeout_s", "1")]);
        let ms = 600_000;
        let rule = FaultRule::always(Fault::Stall { ms, store }).after(100);
        rig.gate.set_faults(vec![rule]).unwrap();
        let child = rig.start_stream(&[]);
        wait_for_struck(&rig, LANES);
        let asked = Instant::now();
        signal(&child, "TERM");
        let ran = Rig::finish(child);
        let drain = asked.elapsed();
        ran.expect(3, "STOPPED");
        assert!(
            drain >= Duration::from_secs(1) && drain < Duration::from_mins(1),
            "{drain:?}"
        );
        assert_eq!(ran.report["unanswered"], LANES, "{}", ran.report);
        assert_eq!(ran.report["emitted"], 100);
        rig.gate.set_faults(Vec::new()).unwrap();
        rig.stream(&[]).expect(0, "");
        let stats = rig.gate.stats();
        assert_eq!(stats.unique, rig.rows());
        let stored = if store { LANES } else { 0 };
        assert!(
            (stored..=FLUSH_EVERY + LANES).contains(&stats.duplicates),
            "{stats:?}"
        );
    }
}

#[test]
fn a_second_signal_does_not_wait_for_the_drain() {
    let rig = rig(300, &[("wiring.wsp_push.drain_timeout_s", "600")]);
    let stall = Fault::Stall {
        ms: 600_000,
        store: false,
    };
    let rule = FaultRule::always(stall).after(100);
    rig.gate.set_faults(vec![rule]).unwrap();
    let mut child = rig.start_stream(&[]);
    wait_for_struck(&rig, LANES);
    let began = Instant::now();
    // Two that come at once may be taken for one.
    let ended = loop {
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        assert!(began.elapsed() < PATIENCE, "it does not end");
        signal(&child, "TERM");
        sleep(Duration::from_millis(100));
    };
    assert_eq!(ended.code(), Some(130));
    rig.gate.set_faults(Vec::new()).unwrap();
    rig.stream(&[]).expect(0, "");
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

#[test]
fn a_token_that_expires_ends_the_stream_at_once_and_the_message_says_what_to_renew() {
    for code in [401, 403] {
        let rig = rig(300, &[]);
        let rule = FaultRule::always(status(code, None)).after(100);
        rig.gate.set_faults(vec![rule]).unwrap();
        let ran = rig.stream(&[]);
        ran.expect(1, "IG_PUSH_REJECTED");
        let detail = ran.report["detail"].as_str().unwrap();
        for word in [&code.to_string(), "wsp_auth_token", "IG_SERVICE_TOKEN"] {
            assert!(detail.contains(word), "{detail}");
        }
        // No lane asks again.
        let posts = rig.gate.stats().posts;
        assert!(posts <= 100 + LANES, "{posts} posts");
        assert_eq!(ran.report["emitted"], 100);
        rig.gate.set_faults(Vec::new()).unwrap();
        rig.stream(&[]).expect(0, "");
        assert_eq!(rig.gate.stats().unique, rig.rows());
    }
}
