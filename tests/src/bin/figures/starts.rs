//! `start` and `resume`: how long until the first post.

use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use sandbox::WorldOptions;
use system_tests::Rig;

use crate::process::{Streamed, median};
use crate::world::{FLUSH_EVERY, rig, stream_of};

const PATIENCE: Duration = Duration::from_mins(2);

/// Milliseconds from starting a stream of one event to the gate's first post.
pub fn to_first_post(rig: &Rig) -> f64 {
    first_post_of(rig, || rig.start_stream(&["--max-events", "1"]))
}

/// The same of a stream that is started by a caller.
pub fn first_post_of(rig: &Rig, start: impl FnOnce() -> Child) -> f64 {
    let before = rig.gate.stats().posts;
    let began = Instant::now();
    let child = start();
    while rig.gate.stats().posts == before {
        assert!(began.elapsed() < PATIENCE, "no post");
        thread::sleep(Duration::from_micros(200));
    }
    let elapsed = began.elapsed();
    Rig::finish(child);
    elapsed.as_secs_f64() * 1e3
}

pub fn start() {
    let rig = rig(&WorldOptions::sample().with_shape(2, 10_000));
    let times = (0..11).map(|_| to_first_post(&rig)).collect();
    println!(
        "start: {:.0} ms from exec to the first post (median of 11)",
        median(times)
    );
}

pub fn resume() {
    let mut rig = rig(&stream_of(1, 5_000_000));
    for order in ["as_written", "event_time"] {
        let (shallow_root, deep_root) = (format!("{order}-shallow"), format!("{order}-deep"));
        let order_key = ("policy.stream_order", order);
        let root = |root| [("wiring.wsp_checkpoint.root", root), order_key, FLUSH_EVERY];
        rig.set(&root(&deep_root));
        Streamed::run(&rig, &["--max-events", "4900000"]);
        let (mut shallow, mut deep) = (Vec::new(), Vec::new());
        for _ in 0..7 {
            rig.set(&root(&shallow_root));
            shallow.push(to_first_post(&rig));
            rig.set(&root(&deep_root));
            deep.push(to_first_post(&rig));
        }
        let (shallow, deep) = (median(shallow), median(deep));
        println!(
            "resume ({order}): first post after {shallow:.0} ms at row 0, {deep:.0} ms at row 4,900,000: {:+.0} ms",
            deep - shallow
        );
    }
}
