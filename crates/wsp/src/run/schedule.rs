//! The schedule that a request asks for: of a run, and of a look ahead.

use replay::{Origin, Schedule, Start};

use crate::profile::request::StreamRequest;

/// The schedule of a request, anchored where it says; wall times count from `start`.
pub(crate) fn schedule_of(request: &StreamRequest, start: Start) -> Schedule {
    let (profile, overrides) = (&request.profile, &request.overrides);
    let not_before = overrides.not_before.map(|time| start.at_wall(time));
    let start_at = overrides.start_at.map(|time| start.at_wall(time));
    let origin = Origin {
        start_at: start_at.or(not_before.filter(|at| *at > 0)),
        time: overrides.time_origin,
    };
    Schedule::new(profile.pace.clone(), profile.push.when_late)
        .from_origin(origin)
        .with_max_gap(overrides.max_gap)
        .capped(profile.max_rate.clone())
        .cap_counts_from(overrides.max_rate_from.map(|time| start.at_wall(time)))
}
