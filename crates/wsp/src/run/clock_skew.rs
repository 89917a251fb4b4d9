//! How far this machine's clock is from the checkpoint store's.
//!
//! All shards of a stream that is paced by event time have one schedule: which event time is due at
//! which wall time. Each goes by its own clock, so clocks that differ send the keys of one shard
//! before those of another. What the shards have in common is the store, and a store on a server has
//! a clock.
//!
//! A round trip bounds the difference to half of its time. The best of five counts.

use std::time::{Duration, SystemTime};

use checkpoint::CheckpointStore;
use model::{Clock as _, Shard, SharedClock};
use replay::Ending;
use serde::{Deserialize, Serialize};

use crate::profile::request::StreamRequest;
use crate::{Error, ReasonCode};

/// Round trips of one look at the server's clock.
const ROUND_TRIPS: usize = 5;
/// How often a run looks again.
const LOOK_EVERY: Duration = Duration::from_mins(10);

/// The difference of two clocks, as a round trip shows it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ClockSkew {
    /// Milliseconds by which this machine's clock is ahead of the store's.
    pub ahead_ms: f64,
    /// Milliseconds by which that may be wrong: half a round trip.
    pub within_ms: f64,
}

impl ClockSkew {
    /// What one round trip shows: `server` is what was answered between two looks at this clock.
    fn of(before: SystemTime, trip: Duration, server: SystemTime) -> Self {
        let half = trip / 2;
        let here = before + half;
        let millis = |span: Duration| span.as_secs_f64() * 1e3;
        let ahead_ms = match here.duration_since(server) {
            Ok(ahead) => millis(ahead),
            Err(behind) => -millis(behind.duration()),
        };
        Self {
            ahead_ms,
            within_ms: millis(half),
        }
    }

    /// Refuses clocks that differ by more than this for certain.
    ///
    /// # Errors
    /// `SHARD_CLOCK_SKEWED`.
    fn check(self, most: Duration) -> Result<(), Error> {
        if !self.exceeds(most) {
            return Ok(());
        }
        let (ahead, within) = (self.ahead_ms, self.within_ms);
        Err(Error::new(
            ReasonCode::ShardClockSkewed,
            format!(
                "This machine's clock is {ahead:.0} ms ahead of the checkpoint store's (to within \
                 {within:.0} ms), and {} ms is the most that a paced shard may differ",
                most.as_millis()
            ),
            "Set the clock (NTP), or raise `wsp_shard.max_clock_skew_ms`.",
        ))
    }

    /// Whether the clocks differ by more than this for certain.
    fn exceeds(self, most: Duration) -> bool {
        self.ahead_ms.abs() - self.within_ms > most.as_secs_f64() * 1e3
    }
}

/// The difference to the store's clock; `None` where the store has none.
///
/// # Errors
/// `CHECKPOINT_UNAVAILABLE`.
async fn measure(
    store: &dyn CheckpointStore,
    clock: &SharedClock,
) -> Result<Option<ClockSkew>, checkpoint::Error> {
    let mut best: Option<ClockSkew> = None;
    for _ in 0..ROUND_TRIPS {
        let (before, began) = (clock.wall(), clock.now());
        let Some(server) = store.server_time().await? else {
            return Ok(None);
        };
        let skew = ClockSkew::of(before, clock.since(began), server);
        if best.is_none_or(|best| skew.within_ms < best.within_ms) {
            best = Some(skew);
        }
    }
    Ok(best)
}

/// The difference to the store's clock at the start of a shard; `None` where it is not known.
///
/// # Errors
/// `SHARD_CLOCK_SKEWED` where a paced shard's clock differs by more than the profile allows;
/// `CHECKPOINT_UNAVAILABLE`.
pub(crate) async fn check(
    request: &StreamRequest,
    store: &dyn CheckpointStore,
    (shard, clock): (Shard, &SharedClock),
) -> Result<Option<ClockSkew>, Error> {
    if shard.is_whole() {
        return Ok(None);
    }
    let skew = measure(store, clock).await?;
    if let Some(skew) = skew
        && !request.profile.pace.is_unpaced()
    {
        skew.check(request.profile.shard.max_clock_skew)?;
    }
    Ok(skew)
}

/// Looks again every ten minutes, and warns where the clocks have come apart.
pub(crate) async fn look_regularly(
    request: StreamRequest,
    store: std::sync::Arc<dyn CheckpointStore>,
    ending: Ending,
) {
    let clock = ending.clock().clone();
    let most = request.profile.shard.max_clock_skew;
    loop {
        clock.sleep(LOOK_EVERY).await;
        match measure(&*store, &clock).await {
            Ok(None) => return,
            Ok(Some(skew)) if skew.exceeds(most) => tracing::warn!(
                ahead_ms = skew.ahead_ms,
                within_ms = skew.within_ms,
                "the clock differs from the checkpoint store's"
            ),
            Ok(Some(_)) => {}
            Err(error) => tracing::debug!(%error, "the store's clock is not known"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_bounds_the_difference_to_half_of_its_time() {
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        let trip = Duration::from_millis(40);
        let ahead = ClockSkew::of(at(10_000), trip, at(9_900));
        assert!((ahead.ahead_ms - 120.0).abs() < 1e-6, "{ahead:?}");
        assert!((ahead.within_ms - 20.0).abs() < 1e-6, "{ahead:?}");
        let behind = ClockSkew::of(at(10_000), trip, at(10_320));
        assert!((behind.ahead_ms + 300.0).abs() < 1e-6, "{behind:?}");
        let most = Duration::from_millis(100);
        let refused = behind.check(most).unwrap_err();
        assert_eq!(refused.code(), "SHARD_CLOCK_SKEWED");
        assert!(refused.to_string().contains("-300 ms ahead"), "{refused}");
        assert!(ahead.check(most).is_ok());
        assert!(!ahead.exceeds(most), "it may be 100 ms and no more");
    }
}
