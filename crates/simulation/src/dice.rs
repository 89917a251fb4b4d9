//! The one source of chance of a simulated world.

use std::time::Duration;

use model::Random;

/// Chance out of a seed, the same on every machine: SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The dice of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// Other dice, for a part of the world whose chance must not depend on how often others are
    /// thrown.
    pub(crate) fn apart(&mut self) -> Self {
        Self(self.bits())
    }

    /// A number in `0..below`; 0 if `below` is 0.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        match below {
            0 => 0,
            below => self.bits() % below,
        }
    }

    /// A number in `from..=to`.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// `true` in so many of a thousand cases.
    pub(crate) fn permille(&mut self, chance: u64) -> bool {
        self.below(1_000) < chance
    }

    /// All of some bytes, or, in so many of a thousand cases, some of them.
    pub(crate) fn some_of(&mut self, bytes: usize, chance: u64) -> usize {
        if bytes > 1 && self.permille(chance) {
            self.between(1, bytes as u64) as usize
        } else {
            bytes
        }
    }

    /// One of some values.
    pub(crate) fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }

    /// A time up to `most` that is short more often than long.
    pub(crate) fn time(&mut self, most: Duration) -> Duration {
        let nanos = most.as_nanos() as u64;
        let most = nanos >> self.below(8);
        Duration::from_nanos(self.below(most.max(1)))
    }
}

impl Random for Dice {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
