//! `memory`, `wide` and `scale`: what many rows cost.

use sandbox::{Disorder, WorldOptions};

use crate::process::{Streamed, median};
use crate::starts::to_first_post;
use crate::world::{rig, stream_of};

pub fn memory() {
    let run = Streamed::run(&rig(&stream_of(2, 2_500_000)), &[]);
    println!(
        "memory: {:.0} MiB peak over 5,000,000 rows, {:.0} events/s",
        run.used.peak_mib,
        run.rate()
    );
}

pub fn wide() {
    let mut world = WorldOptions::sample().with_shape(100, 40_000);
    for output in &mut world.outputs {
        output.row_group_rows = 8_192;
        output.overlap = 12;
    }
    let rig = rig(&world);
    let rows = rig.rows();
    let overlap = rig.run(&["plan"], &[]).report["overlap"].clone();
    let most = (rows / 100 * 99).to_string();
    let run = Streamed::run(&rig, &["--max-events", &most]);
    println!(
        "wide: {:.0} MiB peak over {most} of {rows} rows, {:.0} events/s, {overlap}",
        run.used.peak_mib,
        run.rate()
    );
    let times = (0..5).map(|_| to_first_post(&rig)).collect();
    println!(
        "wide: resume at 99 % reaches its first post in {:.0} ms (median of 5)",
        median(times)
    );
}

/// Parts whose rows come in no order: each is sorted once into the cache.
pub fn unsorted() {
    const ROWS: u64 = 4_000_000;
    let mut world = stream_of(8, ROWS / 8);
    for output in &mut world.outputs {
        output.overlap = 8;
        output.disorder = Some(Disorder {
            every_nth_part: 1,
            window_rows: ROWS / 8,
        });
    }
    let rig = rig(&world);
    let first = to_first_post(&rig);
    let most = (ROWS / 100 * 99).to_string();
    let run = Streamed::run(&rig, &["--max-events", &most]);
    let resumes = (0..5).map(|_| to_first_post(&rig)).collect();
    println!(
        "unsorted: first post after {:.1} s of sorting {ROWS} rows; then {:.0} MiB peak, {:.0} \
         events/s; resume at 99 % reaches its first post in {:.0} ms (median of 5)",
        first / 1e3,
        run.used.peak_mib,
        run.rate(),
        median(resumes)
    );
}

pub fn scale() {
    let run = |rows: u64| Streamed::run(&rig(&stream_of(10, rows / 10)), &[]).used;
    let mut small = vec![run(1_000_000)];
    let large = run(10_000_000);
    small.extend((0..2).map(|_| run(1_000_000)));
    let seconds = median(small.iter().map(|used| used.seconds).collect());
    let cpu_seconds = median(small.iter().map(|used| used.cpu_seconds).collect());
    println!(
        "scale: 10 million rows in {:.1} s, 1 million in {seconds:.1} s (median of 3): ratio {:.2}; \
         of processor time {:.2}; peak {:.0} and {:.0} MiB",
        large.seconds,
        large.seconds / seconds,
        large.cpu_seconds / cpu_seconds,
        large.peak_mib,
        small[0].peak_mib,
    );
}
