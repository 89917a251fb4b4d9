//! Cursors, leases and the stores that keep them.
//!
//! A stream is only as trustworthy as its cursor. This crate owns what a cursor means
//! ([`Cursor`]), when a stream may go on from one ([`resume_check`]), how one is written
//! ([`Record`]), who may write it ([`Lease`]) and where it is kept ([`CheckpointStore`] and its
//! backends). It knows no Parquet, no HTTP and no catalogue.
//!
//! The life of a stream's checkpoints:
//!
//! ```text
//! LeaseKeeper::acquire ─► load each key ─► resume_check ─► stream … save_many … ─► release
//!        │                                                    ▲
//!        └─► renews, and its LeaseWatch says whether the lease is held
//! ```

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests go by the machine's clock, and run beside each other"
    )
)]

#[cfg(all(
    test,
    feature = "file",
    feature = "sqlite",
    feature = "postgres",
    feature = "object"
))]
mod soak;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
#[cfg(all(test, feature = "postgres"))]
#[path = "../../../tests/src/postgres.rs"]
#[allow(dead_code, unreachable_pub, reason = "the test crate has it in common")]
mod test_server;
mod keeper;
mod resume;
mod schema;
#[cfg(feature = "object")]
mod bucket;
#[cfg(feature = "file")]
mod file;
#[cfg(any(feature = "file", feature = "object"))]
mod layout;
mod keyed_blobs;
mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "file", feature = "sqlite"))]
mod blocking;
#[cfg(any(feature = "file", feature = "sqlite"))]
mod path_fault;
#[cfg(any(feature = "file", feature = "sqlite"))]
mod sessions;
mod protocol;
mod store;
pub mod slots;
mod observer;
pub mod record;
pub mod lease;
mod cursor;
mod held;
mod key;
mod holder;
mod error;

#[cfg(feature = "object")]
pub use bucket::BucketStore;
pub use cursor::{Cursor, ForeignCursor, OrderMode, OrderPosition, StoredCursor};
pub use error::{Error, ReasonCode, unavailable};
#[cfg(feature = "file")]
pub use file::FileStore;
pub use held::Held;
pub use keeper::{LeaseKeeper, LeaseStatus, LeaseWatch, Renewal};
pub use key::{CursorKey, MAX_OUTPUT_ID_CHARS, PackKey};
pub use keyed_blobs::{KeyedBlobStore, KeyedBlobs};
pub use lease::{DEFAULT_PERIOD, Holder, Lease, LeaseRequest, LeaseState};
pub use memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
pub use record::{HistoryEntry, HistoryEvent, Record};
pub use resume::{Adoption, Resume, ResumePlan, position_check, relative_part, resume_check};
pub use schema::CURSOR_SCHEMA;
pub use slots::Slots;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
pub use store::{CheckpointStore, acquire_or_wait};
