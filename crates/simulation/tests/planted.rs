//! The simulation is tested too: bugs are planted in the production code, and each must be found.
//!
//! `cargo test -p simulation --features planted-bugs --test planted -- --nocapture` prints how many
//! seeds each took; `WSP_BUG=…` plants those alone whose names contain that.

use std::panic::catch_unwind;

use model::{Bug, plant};
use simulation::{Asked, simulate};

/// Seeds within which every bug is found.
const SEEDS: u64 = 2_000;

#[test]
fn every_planted_bug_is_found() {
    let mut hidden = Vec::new();
    let wanted = std::env::var("WSP_BUG").unwrap_or_default();
    let is_wanted = |bug: &Bug| format!("{bug:?}").contains(&wanted);
    for bug in Bug::ALL.into_iter().filter(is_wanted) {
        plant(Some(bug));
        let found = (1..=SEEDS).find_map(|seed| {
            let broken = catch_unwind(|| simulate(Asked::of(seed)).broken);
            let broken = broken.unwrap_or_else(|_| vec!["it panics".to_owned()]);
            Some((seed, broken.into_iter().next()?))
        });
        plant(None);
        match found {
            Some((seed, law)) => println!("| {bug:?} | {seed} | {law} |"),
            None => hidden.push(bug),
        }
    }
    assert!(hidden.is_empty(), "within {SEEDS} seeds: {hidden:?}");
}
