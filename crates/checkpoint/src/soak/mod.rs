//! Kills, pauses and races in numbers. `WSP_SOAK_ROUNDS` says how many rounds each takes; unless it
//! is set, 20, and 4 of those that take seconds. Each prints what it counted.

#![allow(clippy::unwrap_used, reason = "tests")]

mod figures;
mod processes;
mod races;

use std::time::{Duration, SystemTime};

/// Rounds of each soak: `short` unless it is to be a long one.
fn rounds(short: u64) -> u64 {
    let set = std::env::var("WSP_SOAK_ROUNDS").ok();
    set.map_or(short, |rounds| rounds.parse().expect("a number of rounds"))
}

/// Numbers that differ from run to run: a soak looks for moments, not for one moment again.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        Self(now.as_nanos() as u64 | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn millis(&mut self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }
}
