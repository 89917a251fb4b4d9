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
//!
//! One key, saved and found again:
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use checkpoint::{
//!     CheckpointStore, Cursor, CursorKey, Error, Holder, LeaseRequest, MemoryStore, OrderPosition,
//!     PackKey, RowSource,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! let store = MemoryStore::default();
//! let key = CursorKey::new(PackKey::of_root("runs/world"), "arrivals")?;
//! let request = LeaseRequest::new([key.clone()], Holder::this_process("svc:example"));
//! let lease = store.acquire(&request).await?;
//! let cursor = Cursor {
//!     last_part: "data/part-0.parquet".to_owned(),
//!     last_file: "runs/w1/data/part-0.parquet".to_owned(),
//!     source: RowSource::Outputs,
//!     last_row_index: 41,
//!     last_ts_utc: None,
//!     order: OrderPosition::AsWritten,
//!     platform_run_id: "platform_20260128T090000Z".to_owned(),
//!     plan_digest: "ab".repeat(32),
//!     done: None,
//! };
//! store.save_many(&lease, &BTreeMap::from([(key.clone(), cursor)])).await?;
//!
//! let record = store.load(&key).await?.expect("it was saved");
//! assert_eq!(record.cursor.last_row_index(), 41);
//! store.release(&lease).await
//! # }
//! ```
//!
//! | for | look at |
//! |---|---|
//! | where am I? | [`CheckpointStore::load`], [`Record`], [`Cursor`] |
//! | may I go on from there? | [`resume_check`] |
//! | into which shards is the stream divided? | [`shard_layout`], [`agree_on_shards`], [`reshard`] |
//! | who else is at work? | [`CheckpointStore::lease_state`], [`Held`] |
//! | the right to save | [`LeaseKeeper`], [`LeaseWatch`], [`acquire_or_wait`] |
//! | a store | [`MemoryStore`], [`FileStore`], [`SqliteStore`], [`PostgresStore`], [`BucketStore`] |
//! | a store of one's own | [`KeyedBlobStore`], [`slots`], `conformance` (a feature) |
//! | what went wrong, and does a retry help? | [`Refusal`], [`Error`], [`ReasonCode`] |
//!
//! # Threads and runtimes
//! All stores go under any executor. The file and SQLite stores work on the blocking threads of the
//! caller's tokio runtime; outside of one, on those of the crate `durable` (a thread
//! `durable-runtime` that stays until the process ends, and up to 8 that end after 10 s without
//! work). The Postgres store has a runtime of its own, which ends when the store is dropped. A
//! [`LeaseKeeper`] has a thread of its own, which ends when the keeper is dropped; it does not give
//! the lease back, which [`CheckpointStore::release`] does.
//!
//! # Cargo features
//! | feature | by default | gives |
//! |---|---|---|
//! | `file` | on | cursors in a folder: `FileStore` |
//! | `sqlite` | on | cursors in a SQLite file, which is compiled in: `SqliteStore` |
//! | `postgres` | on | cursors in PostgreSQL: `PostgresStore` |
//! | `object` | on | cursors in a bucket: `BucketStore` |
//! | `conformance` | off | the contract of a store as tests, for a store of one's own |

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
mod shards;
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
mod record;
mod lease;
mod cursor;
mod held;
mod count;
mod key;
mod holder;
mod error;

#[cfg(feature = "object")]
pub use bucket::BucketStore;
pub use cursor::{Cursor, ForeignCursor, OrderMode, OrderPosition, RowSource, StoredCursor};
pub use error::{Error, ReasonCode, ambiguous, unavailable};
#[cfg(feature = "file")]
pub use file::FileStore;
pub use held::Held;
pub use keeper::{LeaseKeeper, LeaseStatus, LeaseWatch, Renewal};
pub use key::{CursorKey, MAX_OUTPUT_ID_CHARS, PackKey};
pub use keyed_blobs::{KeyedBlobStore, KeyedBlobs};
pub use lease::{DEFAULT_PERIOD, Holder, Lease, LeaseRequest, LeaseState, SHORTEST_PERIOD};
pub use memory::MemoryStore;
pub use model::{Class, DoneTally, IdTally, IdsSum, Place, Refusal, Shard, ShardBy};
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
pub use record::{HistoryEntry, HistoryEvent, Record};
pub use resume::{
    Adoption, Resume, ResumePlan, part_under, position_check, relative_part, resume_check,
};
pub use schema::CURSOR_SCHEMA;
pub use shards::{
    FrozenShards, ShardLayout, ShardRequest, agree_on_shards, forget_frozen, keys_of_all_shards,
    reshard, shard_layout,
};
pub use slots::Slots;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
pub use store::{CheckpointStore, acquire_or_wait};
