//! `memory`, `wide`, `unsorted` and `scale`: what many rows cost.

use sandbox::{OutputOptions, SampleOutput, WorldOptions};

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
pub fn unsorted(rows: u64, parts: usize) {
    let arrivals = SampleOutput::ArrivalEvents;
    let output = OutputOptions {
        parts,
        rows_per_part: rows / parts as u64,
        ..OutputOptions::of(arrivals)
    };
    let world = WorldOptions::sample().with_outputs([output]);
    let rig = rig(&world.with_unsorted([arrivals]));
    let first = Streamed::run(&rig, &["--max-events", "1"]);
    let cache: u64 = std::fs::read_dir(rig.runs_root().join("wsp/sort_cache"))
        .expect("there is a sort cache")
        .filter_map(|file| Some(file.ok()?.metadata().ok()?.len()))
        .sum();
    let most = (rows / 100 * 99).to_string();
    let run = Streamed::run(&rig, &["--max-events", &most]);
    let resumes = (0..5).map(|_| to_first_post(&rig)).collect();
    println!(
        "unsorted: {rows} rows in {parts} parts: first event after {:.1} s with a peak of {:.0} MiB \
         and a cache of {} MiB; then {:.0} MiB peak, {:.0} events/s; resume at 99 % reaches its \
         first post in {:.0} ms (median of 5)",
        first.used.seconds,
        first.used.peak_mib,
        cache >> 20,
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
