//! Time and chance, injected, so that tests need not wait.

pub use durable::{BootClock, SystemRandom, TokioClock};
pub use model::{Clock, Random, SharedClock, SharedRandom};

/// The time and the chance that a run goes by, beside the clock of its schedule. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The time of the audit, of ids, and of all limits and pauses.
    pub clock: SharedClock,
    /// The time that leases expire by: it must go on while the machine sleeps.
    pub lease_clock: SharedClock,
    /// The chance that names of temporary files come from.
    pub random: SharedRandom,
}

impl Surroundings {
    /// Surroundings of one clock, for simulations: the machine does not sleep there.
    pub fn of_one_clock(clock: impl Clock, random: impl Random + 'static) -> Self {
        let clock = SharedClock::new(clock);
        Self {
            lease_clock: clock.clone(),
            clock,
            random: SharedRandom::new(random),
        }
    }
}

/// What the machine gives.
impl Default for Surroundings {
    fn default() -> Self {
        Self {
            clock: SharedClock::new(TokioClock),
            lease_clock: SharedClock::new(BootClock),
            random: SharedRandom::new(SystemRandom::default()),
        }
    }
}
