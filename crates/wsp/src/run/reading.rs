//! What the streaming core reads of a plan: parts under their grants, and where their times are.

use std::path::PathBuf;
use std::sync::Arc;

use checkpoint::PackKey;
use durable::OsDisk;
use envelope::{FrameSpec, Pins};
use oracle_store::Location;
use replay::{
    ClearedParts, DoneThrough, EventTimeSource, OutputSource, SortCache, TimeIndex, TimeIndexCache,
    TimeWindow, readers_of,
};

use crate::Error;
use crate::plan::{Plan, PlannedOutput};
use crate::profile::request::StreamRequest;
use crate::run::process_limits::process_room;

/// The parts of a plan's outputs, each under its grant.
///
/// # Errors
/// `STREAM_INTERNAL` if the clearance does not cover an output of the plan.
pub fn cleared_parts(plan: &Plan, pins: &Pins) -> Result<ClearedParts, Error> {
    let outputs = plan.outputs.iter().map(|output| {
        let grant = plan.clearance.grant(&output.locator.output_id);
        let grant = grant.ok_or_else(|| {
            Error::new(
                replay::ReasonCode::StreamInternal,
                format!("The clearance does not cover the output {}", output.id()),
                "Report this; nothing was read.",
            )
        })?;
        Ok(OutputSource {
            grant: grant.clone(),
            spec: frame_spec(output, pins),
            parts: output.locator.parts.clone(),
        })
    });
    let outputs = outputs.collect::<Result<_, Error>>()?;
    Ok(ClearedParts::new(
        outputs,
        Arc::new(plan.data.clone()),
        plan.store.memory().clone(),
        plan.proofs.clone(),
    ))
}

/// How the rows of an output are framed.
pub(crate) fn frame_spec(output: &PlannedOutput, pins: &Pins) -> FrameSpec {
    let (id, key) = (output.id().clone(), output.primary_key.clone());
    FrameSpec::new(id, key, pins.clone()).timed_by(output.time_column())
}

/// What an event-time run reads of a plan, behind what is done.
pub fn event_time_source(
    request: &StreamRequest,
    plan: &Plan,
    done: Vec<DoneThrough>,
    window: TimeWindow,
) -> EventTimeSource {
    let readers = readers_of(&plan.store);
    let cache = TimeIndexCache::load(&index_folder(request, &plan.pack_key));
    let parts = plan
        .outputs
        .iter()
        .map(|output| output.locator.parts.clone());
    let lanes = match plan.store.root().location() {
        Location::Local(_) => Some(request.profile.push.lanes.count.get()),
        Location::S3 { .. } => None,
    };
    let index = TimeIndex::new(plan.store.clone(), cache, readers);
    let (settings, proofs) = (request.profile.ordering, plan.proofs.clone());
    EventTimeSource::new(parts.collect(), settings, index, proofs)
        .behind(done)
        .within(window)
        .beside_lanes(lanes)
        .in_room(process_room())
}

/// Where parts that are not in time order are sorted.
pub fn sort_cache(request: &StreamRequest) -> SortCache {
    let limit = request.profile.ordering.sort_cache;
    SortCache::new(Arc::new(OsDisk), request.sort_cache_root(), limit)
}

/// Where the times of a plan's parts are kept: in the folder that the profile names, else
/// under the runs root; one folder a pack.
pub(crate) fn index_folder(request: &StreamRequest, pack_key: &PackKey) -> PathBuf {
    request.time_index_root().join(pack_key.as_str())
}
