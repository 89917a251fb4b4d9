//! The vocabulary of the World Stream Producer. Nothing here does IO.
//!
//! | file | idea |
//! |---|---|
//! | `failure`, `refusal` | one design of errors: is it worth a retry ([`Refusal::is_retryable`]), what to tell the operator ([`Refusal::advice`], [`RefusalRecord`]) |
//! | `world_key`, `ids`, `hex` | names and digests, well-formed by construction |
//! | `shard` | which events one of several producers sends |
//! | `ids_sum` | sums of event ids, the same however events are divided |
//! | `strict` | files read by a form without a second spelling |
//! | `event_time`, `calendar` | an event's time, and its text |
//! | `backoff`, `random`, `clock` | waits, chance and time, injected |
//! | `planted` | bugs that the simulation must find; none without the feature `planted-bugs` |
//!
//! ```
//! use model::{EventTime, PackKey, PlatformRunId};
//!
//! let time = EventTime::parse("2026-01-28 09:55:40+01:00").unwrap();
//! assert_eq!(time.to_string(), "2026-01-28T08:55:40.000000Z");
//!
//! let run: PlatformRunId = "platform_20260128T090000Z".parse().unwrap();
//! let key = PackKey::of_root("runs/world").scoped_to_run(&run);
//! assert_eq!(key.as_str().len(), 64);
//! ```
//!
//! # Cargo features
//! | feature | by default | gives |
//! |---|---|---|
//! | `planted-bugs` | off | bugs that can be planted, to show that the simulation finds them; for tests alone |

mod refusal;
mod failure;
mod world_key;
mod ids_sum;
mod ids;
mod hex;
mod shard;
mod strict;
mod event_time;
mod calendar;
mod backoff;
mod random;
mod clock;
mod planted;

pub use backoff::Backoff;
pub use calendar::{DAYS, Date, clock_text, date_and_clock, digits};
pub use clock::{Beat, Clock, Elapsed, SharedClock};
pub use event_time::{EventTime, UnreadableTime};
pub use failure::{Cause, Class, Code, Failure, Place, chain, with_causes};
pub use hex::{EngineRunId, Hex64, PackId};
pub use ids::{InvalidId, OutputId, PackKey, PlatformRunId, ScenarioId, ScenarioRunKey};
pub use ids_sum::{DoneTally, IdTally, IdsSum};
pub use planted::Bug;
#[cfg(feature = "planted-bugs")]
pub use planted::plant;
pub use random::{Random, SharedRandom};
pub use refusal::{Refusal, RefusalRecord};
pub use shard::{InvalidShard, KEY_HASH_VERSION, Shard, ShardBy};
pub use strict::{json_strictly, read_strictly};
pub use world_key::WorldKey;
