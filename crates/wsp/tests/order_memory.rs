//! What the event-time order takes, measured in a process of its own.
#![allow(clippy::unwrap_used, dead_code)]
#![cfg(target_os = "linux")]

#[path = "order/disk.rs"]
mod disk;
#[path = "order/world.rs"]
mod world;

use std::fs;

use disk::{DiskWorld, TimeForm, Writing};
use oracle_store::PartFormat;
use replay::Ending;
use replay::{EventOrder, TimeWindow};
use world::World;

const PARTS: i64 = 64;
const ROWS: i64 = 9_000;

/// Megabytes that this process has taken at most, since the last reset.
fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

#[test]
fn sixty_four_parts_that_overlap_stay_within_the_memory_that_was_estimated() {
    let part = |part: i64| (0..ROWS).map(|row| row * PARTS + part).collect();
    let outputs = (0..4).map(|output| (0..16).map(|number| part(output * 16 + number)).collect());
    let world: World = outputs.collect();
    let writing = Writing {
        format: PartFormat::Parquet,
        time: TimeForm::MixedText,
        group_rows: 8_192,
        wide: true,
        keyed: false,
    };
    let disk = DiskWorld::write(&world, writing);
    drop(world);
    let request = disk.request("");
    let done = [None; 4];
    let mut source = disk.source(&request, &done, TimeWindow::default()).unwrap();
    let overlap = *source.survey(&Ending::default()).unwrap().overlap();
    assert_eq!(overlap.largest, PARTS as usize);
    // Writing took more than reading does.
    fs::write("/proc/self/clear_refs", "5").unwrap();

    let mut order = disk.order(&request, &done, TimeWindow::default());
    let mut events = 0;
    while let Some(event) = order.next().unwrap() {
        assert!(!event.body.is_empty());
        events += 1;
    }
    assert_eq!(events, PARTS * ROWS);
    let (peak, estimate) = (peak_mib(), overlap.memory_bytes >> 20);
    eprintln!("peak {peak} MiB, estimate {estimate} MiB");
    assert!(
        peak <= estimate,
        "{peak} MiB, above the estimate of {estimate} MiB"
    );
    assert!(peak <= 128, "{peak} MiB");
}
