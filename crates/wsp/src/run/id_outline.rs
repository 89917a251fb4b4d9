//! What a stream will send, counted: events and the sum of their ids, by output and by shard.
//!
//! Only the columns of the primary key are read, under the clearance: `plan --ids`. A report that
//! counts the same has sent the same.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use envelope::arrow_array::RecordBatch;
use envelope::{FrameSpec, RowKeys};
use model::{IdTally, OutputId, PackKey, Shard, ShardBy};
use oracle_store::{KeepRows, Part, ReadGrant, ReadOptions, open_wanted_rows};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::blocking::blocking_as;
use crate::plan::Plan;
use crate::profile::ShardSettings;

/// The format of a plan.
pub(crate) const PLAN_FORMAT: u32 = 1;

/// What a stream will send, counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IdOutline {
    /// The pack key of the whole stream.
    pub pack_key: PackKey,
    /// Whether the shards are the platform's lanes, whose cursors have keys of their own.
    pub platform_lanes: bool,
    /// The number of shards; 1 for a stream in one piece.
    pub shards: u32,
    /// What decides which shard an event is of.
    pub by: ShardBy,
    /// All events, and the sum of their ids.
    #[serde(flatten)]
    pub all: IdTally,
    /// The events of each output, in the order of the list.
    pub outputs: Vec<OutputIds>,
    /// The events of each shard.
    pub of_shards: Vec<ShardIds>,
    /// The share of all events that the largest shard has, from 0 to 1: how long the stream takes is
    /// decided there.
    pub largest_share: f64,
}

/// The events of an output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutputIds {
    /// The id of the output.
    pub output_id: OutputId,
    /// Its events, and the sum of their ids.
    #[serde(flatten)]
    pub tally: IdTally,
}

/// The events of a shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ShardIds {
    /// The number of the shard, from 0.
    pub index: u32,
    /// Its events, and the sum of their ids.
    #[serde(flatten)]
    pub tally: IdTally,
    /// What its rows take of the parts, about, in bytes: a part of each output's, by rows.
    pub bytes: u64,
}

impl IdOutline {
    /// The pack key of a shard's cursors; `None` where this does not tell it.
    pub(crate) fn key_of(&self, shard: Shard) -> Option<PackKey> {
        (!self.platform_lanes).then(|| self.pack_key.scoped_to_shard(shard))
    }
}

/// Counts the rows of a plan. Reads the key columns of every part.
///
/// # Errors
/// `PRIMARY_KEY_*`, `ORACLE_READ_FAILED`, `DATA_MISMATCH`; `STREAM_INTERNAL` if the clearance does
/// not cover an output.
pub(crate) async fn count(
    plan: &Plan,
    settings: &ShardSettings,
    (pack_key, platform_lanes): (PackKey, bool),
    specs: Vec<FrameSpec>,
) -> Result<IdOutline, Error> {
    let mut to_count = Vec::with_capacity(specs.len());
    for (output, spec) in plan.outputs.iter().zip(specs) {
        let grant = plan.clearance.grant(&output.locator.output_id);
        let grant = grant.ok_or_else(|| {
            Error::new(
                replay::ReasonCode::StreamInternal,
                format!("The clearance does not cover the output {}", output.id()),
                "Report this; nothing was read.",
            )
        })?;
        to_count.push((grant.clone(), spec, output.locator.parts.clone()));
    }
    let (count, by) = (settings.count, settings.by);
    let what = "The thread that counts ids ended too early";
    let counted = blocking_as(what, move || {
        let outputs = to_count.into_iter();
        outputs
            .map(|(grant, spec, parts)| count_output(&grant, &spec, &parts, (count, by)))
            .collect::<Result<Vec<_>, Error>>()
    });
    let counted = counted.await?;
    let (mut all, mut outputs) = (IdTally::default(), Vec::new());
    let mut of_shards: Vec<ShardIds> = (0..count)
        .map(|index| ShardIds {
            index,
            tally: IdTally::default(),
            bytes: 0,
        })
        .collect();
    for (output, shards) in plan.outputs.iter().zip(counted) {
        let mut tally = IdTally::default();
        for shard in &shards {
            tally.add(*shard);
        }
        for (of_shard, shard) in of_shards.iter_mut().zip(shards) {
            of_shard.tally.add(shard);
            let share = u128::from(output.locator.bytes()) * u128::from(shard.events);
            of_shard.bytes += (share / u128::from(tally.events.max(1))) as u64;
        }
        all.add(tally);
        outputs.push(OutputIds {
            output_id: output.id().clone(),
            tally,
        });
    }
    let largest = of_shards.iter().map(|shard| shard.tally.events).max();
    Ok(IdOutline {
        pack_key,
        platform_lanes,
        shards: count,
        by,
        largest_share: largest.unwrap_or_default() as f64 / all.events.max(1) as f64,
        all,
        outputs,
        of_shards,
    })
}

/// The tallies of one output's rows, by shard.
fn count_output(
    grant: &ReadGrant,
    spec: &FrameSpec,
    parts: &[Part],
    (count, by): (u32, ShardBy),
) -> Result<Vec<IdTally>, Error> {
    let counted = Arc::new(Mutex::new(Counted {
        keys: RowKeys::new(spec).map_err(Error::from)?,
        by,
        shards: vec![IdTally::default(); count as usize],
        failure: None,
    }));
    for part in parts {
        let columns = spec.primary_key.clone();
        let counting = Counting {
            counted: Arc::clone(&counted),
            columns,
        };
        // No row is wanted: all that is read are the columns that would decide.
        let options = ReadOptions::default();
        let mut rows = open_wanted_rows(grant, part, &options, Box::new(counting))?;
        let first = rows.next().transpose()?;
        let mut counted = locked(&counted);
        if let Some(failure) = counted.failure.take() {
            return Err(Error::from(failure.object(part.path())));
        }
        if let Some(batch) = first {
            // Of a part without any of the key's columns every row comes.
            let missing = envelope::Error::new(
                envelope::ReasonCode::PrimaryKeyMissing,
                "A primary-key column is not among the row's columns",
            );
            return Err(missing.object(part.path()).row(batch.first_row).into());
        }
    }
    let shards = std::mem::take(&mut locked(&counted).shards);
    Ok(shards)
}

#[derive(Debug)]
struct Counted {
    keys: RowKeys,
    by: ShardBy,
    shards: Vec<IdTally>,
    failure: Option<envelope::Error>,
}

/// Counts the rows that it is asked about, and wants none.
#[derive(Debug)]
struct Counting {
    counted: Arc<Mutex<Counted>>,
    columns: Vec<String>,
}

fn locked(counted: &Mutex<Counted>) -> MutexGuard<'_, Counted> {
    counted.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KeepRows for Counting {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn rows(&mut self, batch: &RecordBatch, say: &mut dyn FnMut(bool)) {
        let mut counted = locked(&self.counted);
        let Counted {
            keys,
            by,
            shards,
            failure,
        } = &mut *counted;
        let counted = keys.rows(batch, &mut |key_hash, id| {
            let number = envelope::shard_number(*by, key_hash, id) % shards.len() as u64;
            shards[number as usize].count(id.as_bytes());
        });
        *failure = failure.take().or(counted.err());
        (0..batch.num_rows()).for_each(|_| say(false));
    }

    fn line(&mut self, line: &[u8]) -> bool {
        let mut counted = locked(&self.counted);
        let Counted {
            keys,
            by,
            shards,
            failure,
        } = &mut *counted;
        match keys.line(line) {
            Ok((key_hash, id)) => {
                let number = envelope::shard_number(*by, key_hash, &id) % shards.len() as u64;
                shards[number as usize].count(id.as_bytes());
            }
            Err(fault) => *failure = failure.take().or(Some(fault)),
        }
        false
    }
}
