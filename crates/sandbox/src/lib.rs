//! Everything a stream can be tried on without an engine or a platform: sample
//! worlds of any size with real evidence, named corruptions of them, and a
//! stand-in ingestion gate that keeps its promises and can break each of them
//! on demand.
//!
//! Nothing here is needed by a production run. `wsp-cli gate`, `wsp-cli demo`
//! and the whole-system tests are its users.
//!
//! ```no_run
//! use sandbox::{Corruption, GateOptions, ProfileOptions, StandInGate, WorldOptions};
//!
//! # fn main() -> Result<(), sandbox::Error> {
//! # let folder = std::path::Path::new("scratch");
//! let world = WorldOptions::sample().build(folder)?;
//! let gate = StandInGate::start(GateOptions::default())?;
//! let profile = ProfileOptions::local(&world, &gate.url()).write()?;
//! // … stream `profile`, then see what the gate got:
//! println!("{} events", gate.stats().admitted);
//! Corruption::FlagMissing.apply(&world)?;
//! # Ok(())
//! # }
//! ```

mod corruption;
mod error;
mod gate;
mod sample;
mod world;
mod mix;

pub use corruption::{Corruption, SeenBy};
pub use error::{Error, ReasonCode};
pub use gate::{
    Arrival, Dialect, Fault, FaultRule, GateOptions, GateStats, OrderCheck, RetryAfter,
    StandInGate, Token, When,
};
pub use sample::{CATALOGUE, GATE_MAP};
pub use world::{
    Compression, Contracts, Disorder, Identity, OutputOptions, Pack, ProfileOptions, SampleOutput,
    TimeColumn, TimeText, TimeZoneForm, ViewOptions, World, WorldOptions,
};
