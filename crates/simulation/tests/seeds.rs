//! Every law over many seeds, and the same trace from the same seed.

use std::thread;

use simulation::{Asked, simulate};

/// Seeds that CI runs.
const SEEDS: u64 = 800;

#[test]
fn every_law_holds_over_many_seeds() {
    let shares = (0..2).map(|share| {
        thread::spawn(move || {
            let seeds = (1..=SEEDS).filter(move |seed| seed % 2 == share);
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
fn another_seed_gives_another_trace() {
    assert_ne!(simulate(Asked::of(1)).digest, simulate(Asked::of(2)).digest);
}
