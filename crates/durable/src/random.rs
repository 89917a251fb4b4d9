//! The machine's randomness.

use model::Random;
use rand::rngs::SmallRng;
use rand::{Rng as _, make_rng};

/// The machine's chance: a fast generator that the system seeds. For ids and jitter, not for
/// secrets.
#[derive(Debug, Clone)]
pub struct SystemRandom(SmallRng);

impl Default for SystemRandom {
    fn default() -> Self {
        Self(make_rng())
    }
}

impl Random for SystemRandom {
    fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_generators_give_other_numbers() {
        let (mut one, mut other) = (SystemRandom::default(), SystemRandom::default());
        let numbers = |random: &mut SystemRandom| [random.bits(), random.bits(), random.bits()];
        assert_ne!(numbers(&mut one), numbers(&mut other));
    }
}
