//! Time, chance and crew, injected, so that tests need not wait and simulations need no threads.

pub use durable::{BootClock, SystemRandom, TokioClock};
pub use model::{Clock, Random, SharedClock, SharedRandom};
pub use replay::{Crew, Steps};

/// The time and the chance that a run goes by, beside the clock of its schedule, and who does its
/// work. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The time of the audit, of ids, and of all limits and pauses.
    pub clock: SharedClock,
    /// The time that leases expire by: it must go on while the machine sleeps.
    pub lease_clock: SharedClock,
    /// The chance that jitter of retries and names of temporary files come from.
    pub random: SharedRandom,
    /// Who reads parts, sends, and renews leases; threads of the system by default.
    pub crew: Crew,
}

impl Surroundings {
    /// Surroundings of one clock, for simulations: the machine does not sleep there.
    pub fn of_one_clock(clock: impl Clock, random: impl Random + 'static) -> Self {
        let clock = SharedClock::new(clock);
        Self {
            lease_clock: clock.clone(),
            clock,
            random: SharedRandom::new(random),
            crew: Crew::default(),
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
            crew: Crew::default(),
        }
    }
}
