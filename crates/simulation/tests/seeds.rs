//! Every law over many seeds, and the same trace from the same seed.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use simulation::{Asked, simulate};

/// Seeds that CI runs.
const SEEDS: u64 = 800;
/// Minutes of a soak, unless `WSP_SOAK_MINUTES` says otherwise.
const SOAK_MINUTES: u64 = 120;

/// How many seeds are run, and for how long at most: CI counts seeds, a soak minutes.
fn bounds() -> (u64, Duration) {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    if set("WSP_SOAK").is_none() {
        return (SEEDS, Duration::MAX);
    }
    let minutes = set("WSP_SOAK_MINUTES").and_then(|minutes| minutes.parse().ok());
    let minutes: u64 = minutes.unwrap_or(SOAK_MINUTES);
    (u64::MAX - 1, Duration::from_secs(60 * minutes))
}

#[test]
fn every_law_holds_over_many_seeds_of_a_soak_too() {
    let ((seeds, time), began) = (bounds(), Instant::now());
    let shares = (0..2).map(|share| {
        thread::spawn(move || {
            let seeds = (1..=seeds).filter(move |seed| seed % 2 == share);
            let seeds = seeds.take_while(move |_| began.elapsed() < time);
            let broken = seeds.flat_map(|seed| {
                let outcome = simulate(Asked::of(seed));
                let told = outcome.broken.into_iter();
                told.map(move |law| format!("seed {seed}: {law}"))
            });
            broken.collect::<Vec<_>>()
        })
    });
    let shares: Vec<_> = shares.collect();
    let broken = shares
        .into_iter()
        .flat_map(|share| share.join().expect("no seed panics"));
    let broken: Vec<_> = broken.collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for seed in 1..=12 {
        let asked = Asked {
            keeps_trace: true,
            ..Asked::of(seed)
        };
        let (first, second) = (simulate(asked), simulate(asked));
        assert!(!first.trace.is_empty());
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first.digest, simulate(Asked::of(seed)).digest);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_in_two_processes() {
    let traces = || {
        let run = Command::new(env!("CARGO_BIN_EXE_simulate"))
            .args(["--traces", "--seeds", "12"])
            .output()
            .expect("the simulation runs");
        assert!(run.status.success(), "{run:?}");
        run.stdout
    };
    let first = traces();
    assert!(first.len() > 100_000, "{} bytes", first.len());
    assert!(first == traces(), "the traces of two processes differ");
}

#[test]
fn another_seed_gives_another_trace() {
    assert_ne!(simulate(Asked::of(1)).digest, simulate(Asked::of(2)).digest);
}
