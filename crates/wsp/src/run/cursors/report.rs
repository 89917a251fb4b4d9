//! What `checkpoint show|reset|reshard` tell.

use checkpoint::ShardLayout;
use model::{OutputId, PackKey, ShardBy};
use serde::Serialize;

use crate::run::shown::{CursorFault, HolderReport, StoredCursorReport};

/// The cursors of a world.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CursorsReport {
    /// `OK`; `FAILED` if any cursor cannot be read.
    pub status: &'static str,
    /// The engine run root of the world.
    pub engine_run_root: String,
    /// The place of the store that holds the cursors.
    pub checkpoint_store: String,
    /// The pack key that the cursors are kept under.
    pub pack_key: PackKey,
    /// How the stream is divided into shards; absent for one that never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<ShardsReport>,
    /// The cursor of each output, in the order of the list.
    pub cursors: Vec<CursorReport>,
}

/// How a stream is divided into shards.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ShardsReport {
    /// The number of shards.
    pub count: u32,
    /// What decides which shard an event is of.
    pub by: ShardBy,
    /// How often the stream was divided; 1 for its first layout.
    pub generation: u64,
    /// The numbers of shards that it had before, the oldest first.
    pub before: Vec<u32>,
}

impl From<&ShardLayout> for ShardsReport {
    fn from(layout: &ShardLayout) -> Self {
        Self {
            count: layout.count,
            by: layout.by,
            generation: layout.generation,
            before: layout.frozen.iter().map(|frozen| frozen.count).collect(),
        }
    }
}

/// A stream that was divided anew.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ReshardReport {
    /// `OK`.
    pub status: &'static str,
    /// The engine run root of the world.
    pub engine_run_root: String,
    /// The place of the store that holds the cursors.
    pub checkpoint_store: String,
    /// The pack key of the whole stream.
    pub pack_key: PackKey,
    /// Whether anything was changed: not where the stream had that many shards.
    pub was_changed: bool,
    /// How the stream is divided now.
    pub shards: ShardsReport,
    /// How many cursors of the shards before were frozen.
    pub frozen_cursors: usize,
}

/// One output's cursor.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CursorReport {
    /// The id of the output.
    pub output_id: OutputId,
    /// The cursor; `None` where none is saved, or it cannot be read.
    pub cursor: Option<StoredCursorReport>,
    /// The share of the output's rows that it covers, from 0 to 100; absent where neither footers
    /// nor the time index tell.
    pub percent: Option<f64>,
    /// Whole seconds since the cursor was saved; `None` where its time says no past moment.
    pub age_s: Option<u64>,
    /// The place where the cursor was found, if that is the platform's and not the store that this
    /// profile saves in; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found_in: Option<String>,
    /// Why the cursor cannot be read; `None` where it can.
    pub error: Option<CursorFault>,
    /// The holder of the lease; `None` where nobody holds it.
    pub holder: Option<HolderReport>,
    /// Whether a reset gave this cursor up just now.
    pub was_reset: bool,
}
