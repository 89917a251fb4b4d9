//! The shard of a run: what all shards of the stream agree on, and what was done before they were
//! these.

use std::time::Duration;

use checkpoint::{
    CheckpointStore, CursorKey, Holder, OrderMode, PackKey, Record, ShardLayout, ShardRequest,
    StoredCursor, agree_on_shards, shard_layout,
};
use model::{OutputId, Shard, SharedClock};
use replay::{Division, DoneBefore, Pace};

use crate::plan::Plan;
use crate::profile::request::StreamRequest;
use crate::run::clock_skew::ClockSkew;
use crate::run::cursor_places::is_platform_lane;
use crate::run::report::{OutputDoneBefore, ShardReport};
use crate::run::resume::{self, ResumeTerms};
use crate::{Error, ReasonCode};

/// The shard that a run streams, and where its stream's layout is.
#[derive(Debug, Clone)]
pub(crate) struct ShardPlace {
    /// The shard.
    pub shard: Shard,
    /// The key of the whole stream's cursors; `None` for one of the platform's lanes, which know
    /// no layout.
    pub unsharded: Option<PackKey>,
}

impl ShardPlace {
    pub(crate) fn new(request: &StreamRequest, shard: Shard, unsharded: PackKey) -> Self {
        let unsharded = (!is_platform_lane(request, shard)).then_some(unsharded);
        Self { shard, unsharded }
    }

    /// The layout as it is stored.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn layout(
        &self,
        store: &dyn CheckpointStore,
    ) -> Result<Option<ShardLayout>, Error> {
        match &self.unsharded {
            Some(key) => Ok(shard_layout(store, key).await?),
            None => Ok(None),
        }
    }

    /// The layout that all shards agree on, made if it is absent.
    ///
    /// # Errors
    /// `CHECKPOINT_SHARDS_MISMATCH`, `LEASE_HELD`; the store's.
    pub(crate) async fn agree(
        &self,
        store: &dyn CheckpointStore,
        plan: &Plan,
        (period, clock): (Duration, &SharedClock),
    ) -> Result<Option<ShardLayout>, Error> {
        let Some(pack_key) = &self.unsharded else {
            return Ok(None);
        };
        let outputs: Vec<OutputId> = plan.outputs.iter().map(|o| o.id().clone()).collect();
        let request = ShardRequest {
            pack_key,
            outputs: &outputs,
            shard: self.shard,
            holder: Holder::this_process(plan.producer.as_str()),
            period,
        };
        Ok(agree_on_shards(store, &request, clock).await?)
    }
}

/// The shard as its report shows it.
pub(crate) fn shard_report(
    shard: Shard,
    layout: Option<&ShardLayout>,
    clock_skew: Option<ClockSkew>,
) -> ShardReport {
    let mut before: Vec<OutputDoneBefore> = Vec::new();
    for record in layout.iter().flat_map(|layout| frozen_records(layout)) {
        let done = match &record.cursor {
            StoredCursor::Ours(cursor) => cursor.done,
            StoredCursor::Foreign(_) => None,
        };
        let output_id = record.key.output_id();
        match before
            .iter_mut()
            .find(|before| before.output_id == *output_id)
        {
            Some(before) => {
                before.done = before.done.zip(done).map(|(mut sum, done)| {
                    sum.add(done);
                    sum
                });
            }
            None => before.push(OutputDoneBefore {
                output_id: output_id.clone(),
                done,
            }),
        }
    }
    ShardReport {
        index: shard.index(),
        count: shard.count(),
        by: shard.by(),
        generation: layout.map_or(0, |layout| layout.generation),
        before,
        clock_skew,
        rate_part: 1.0 / f64::from(shard.count()),
    }
}

/// All cursors that a layout froze.
pub(crate) fn frozen_records(layout: &ShardLayout) -> impl Iterator<Item = &Record> {
    let frozen = layout.frozen.iter().flat_map(|frozen| &frozen.records);
    frozen.map(|(_, record)| record)
}

/// What the divisions before a layout did of a plan; `None` if it is the first.
///
/// # Errors
/// `CHECKPOINT_*` where a frozen cursor does not fit the plan.
pub(crate) async fn done_before(
    plan: &Plan,
    layout: &ShardLayout,
    pack_key: &PackKey,
    terms: &ResumeTerms<'_>,
) -> Result<Option<DoneBefore>, Error> {
    if layout.frozen.is_empty() {
        return Ok(None);
    }
    let mut divisions = Vec::with_capacity(layout.frozen.len());
    for frozen in &layout.frozen {
        let mut done = Vec::with_capacity(frozen.count as usize);
        for index in 0..frozen.count {
            let (mut keys, mut records) = (Vec::new(), Vec::new());
            for output in &plan.outputs {
                let mut of_shard = frozen.records_of(index);
                let record = of_shard.find(|record| record.key.output_id() == output.id());
                keys.push(match record {
                    Some(record) => record.key.clone(),
                    None => CursorKey::new(pack_key.clone(), output.id().clone())?,
                });
                records.push(record.cloned());
            }
            let starts = resume::starts(plan, &keys, &records, terms).await?;
            done.push(resume::done_positions(plan, &starts)?);
        }
        let by = frozen.by;
        divisions.push(Division { by, done });
    }
    Ok(Some(DoneBefore::new(terms.order, divisions)))
}

/// Refuses a schedule that shards do not have in common.
///
/// # Errors
/// `SHARD_SCHEDULE_UNFIXED`.
pub(crate) fn check_schedule(
    request: &StreamRequest,
    shard: Shard,
    order: OrderMode,
) -> Result<(), Error> {
    let pace = &request.profile.pace;
    if shard.is_whole() || pace.is_unpaced() || matches!(pace, Pace::Rate(_)) {
        return Ok(());
    }
    let what = if order == OrderMode::AsWritten {
        "In as_written order the schedule begins anew with each output, at another time in each shard"
    } else if request.overrides.start_at.is_none() || request.overrides.time_origin.is_none() {
        "Shards that are paced by event time have one schedule in common, and nothing fixes it"
    } else {
        return Ok(());
    };
    let advice = if order == OrderMode::AsWritten {
        "Stream shards in event_time, or unpaced (--speedup 0)."
    } else {
        "Give all shards the same --start-at and --time-origin; `wsp-cli plan` proposes both."
    };
    Err(Error::new(ReasonCode::ShardScheduleUnfixed, what, advice))
}
