//! The whole streaming core on one thread, in simulated time, out of one seed.
//!
//! ```text
//!            seed
//!             │
//!   ┌─────────▼──────────── one thread, simulated time ───────────────────────┐
//!   │  producers (production code)          way            simulated           │
//!   │  lease ─ resume ─ order ─ dispatch ─ lanes ─ bytes ──► gate              │
//!   │                   keeper ─ saves ────────── requests ► checkpoint store  │
//!   │                   quarantine ───────────── writes ───► disk              │
//!   │                                                                          │
//!   │  mishaps: kills, lost power, suspended processes, hanging reads,         │
//!   │           rivals, stops, steering, a gate and a store that are unwell    │
//!   │  laws: looked at after every post, arrival and save, and at the end      │
//!   └──────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! One [`Asked::seed`] gives a world, settings, and a schedule of mishaps; [`simulate`] runs it to
//! its end, and says which laws were broken. The same seed gives the same trace, byte for byte.
//!
//! ```
//! use simulation::{Asked, simulate};
//!
//! let outcome = simulate(Asked { events: 50, ..Asked::of(7) });
//! assert!(outcome.broken.is_empty(), "{:?}", outcome.broken);
//! ```
//!
//! | file | idea |
//! |---|---|
//! | `run` | one seed to its end: who lives, and what befalls them (`run/mishaps`) |
//! | `producer` | one life of a producer, by the code of production |
//! | `gate`, `answers`, `store`, `disk`, `world` | what is simulated around it |
//! | `laws` | what must hold |
//! | `stage` | tasks and workers, driven one step after the other |
//! | `pipes`, `clock`, `dice` | bytes on their way, time, chance |
//!
//! # Cargo features
//! | feature | by default | gives |
//! |---|---|---|
//! | `planted-bugs` | off | bugs that can be planted, to show that the simulation finds them |

mod run;
mod producer;
mod gate;
mod store;
mod laws;
mod answers;
mod disk;
mod world;
mod stage;
mod pipes;
mod clock;
mod dice;

pub use run::{Asked, Outcome, simulate};
