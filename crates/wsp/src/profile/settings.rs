//! The blocks of a profile that are WSP's own, each with its defaults.

use std::time::Duration;

use replay::WhenLate;
use replay::{Concurrency, LaneCount, LaneOrdering, LaneSettings};
use replay::{GateQuarantineTerms, OnReject, RejectSettings};
use replay::{OnDisorder, OrderSettings};

use super::DEFAULT_RUNS_ROOT;
use super::blocks::{
    AtLeastOne, CheckpointBackend, CheckpointBlock, CheckpointScope, Factor, OrderBlock,
    PolicyBlock, ProducerBlock, PushBlock, PushClientKind, Rate, RetryBlock, WiringBlock,
};
use super::document::{Document, invalid, refuse_misspelt_keys, refuse_unknown_blocks};
use super::expand::Env;
use super::node::{AsWritten, keys_of};
use super::secret::{Literals, Secret, holds_literal_password};
use crate::Error;
use push::{MAX_EVENT_BYTES, RetryPolicy};
use replay::{Pace, Speedup};

pub use checkpoint::OrderMode;

/// Refuses misspelt keys of the shared policy, and blocks named `wsp_…` that are none of WSP's.
pub(super) fn check_shared_blocks(document: &Document<'_>) -> Result<(), Error> {
    let keys = |name| document.keys(name);
    refuse_unknown_blocks("wiring", keys("wiring"), keys_of::<WiringBlock>())?;
    refuse_unknown_blocks("policy", keys("policy"), &[])?;
    refuse_misspelt_keys("policy", keys("policy"), keys_of::<PolicyBlock>())
}

/// What makes events due: `policy.stream_speedup` or `policy.stream_rate`.
pub(super) fn pace(speedup: Option<Factor>, rate: Option<Rate>) -> Result<Pace, Error> {
    match (speedup, rate) {
        (Some(_), Some(_)) => Err(invalid(
            "policy.stream_rate",
            "stands beside `policy.stream_speedup`: an event has one pace",
        )),
        (_, Some(Rate(steps))) => Ok(steps.into()),
        (speedup, None) => Ok(speedup
            .map_or(Speedup::default(), |Factor(speedup)| speedup)
            .into()),
    }
}

/// `wiring.wsp_checkpoint`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CheckpointSettings {
    /// The kind of store; files by default.
    pub backend: CheckpointBackend,
    /// The folder (file), the database file (sqlite) or the `s3://` prefix (object).
    pub root: String,
    /// The Postgres connection string; `None` unless the profile has one.
    pub dsn: Option<Secret>,
    /// The number of events between saves, over all outputs; 1 by default.
    pub flush_every: u64,
    /// What a cursor belongs to; the pack by default.
    pub scope: CheckpointScope,
    /// `WSP_CHECKPOINT_ATTEMPT_ID`, which keys cursors of `scope: scenario_run`; empty by default.
    pub attempt_id: String,
    /// How long a lease lasts without a renewal; 30 s by default.
    pub lease: Duration,
    /// How long the last save may take after a stop; 10 s by default.
    pub save_timeout: Duration,
}

impl CheckpointSettings {
    pub(super) fn new(
        block: CheckpointBlock,
        env: Env<'_>,
        literals: &mut Literals,
    ) -> Result<Self, Error> {
        let AsWritten(dsn) = block.dsn;
        if dsn.as_ref().is_some_and(holds_literal_password) {
            literals.found("wiring.wsp_checkpoint.dsn")?;
        }
        let root = block.root;
        Ok(Self {
            backend: block.backend.unwrap_or(CheckpointBackend::File),
            root: root.unwrap_or_else(|| format!("{DEFAULT_RUNS_ROOT}/wsp_checkpoints")),
            dsn: dsn.and_then(|dsn| dsn.expand(env)).map(Secret::new),
            flush_every: AtLeastOne::or(block.flush_every, 1),
            attempt_id: String::new(),
            scope: block.scope.unwrap_or(CheckpointScope::Pack),
            lease: Duration::from_secs(AtLeastOne::or(block.lease_s, 30)),
            save_timeout: Duration::from_secs(AtLeastOne::or(block.save_timeout_s, 10)),
        })
    }
}

/// `wiring.wsp_producer`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProducerSettings {
    /// The id of the producer; `None` is refused when events are produced.
    pub producer_id: Option<String>,
    /// The path of the file of allowed producers, as written; `None` is refused when events are produced.
    pub allowlist_ref: Option<String>,
}

impl From<ProducerBlock> for ProducerSettings {
    fn from(block: ProducerBlock) -> Self {
        Self {
            producer_id: block.producer_id,
            allowlist_ref: block.allowlist_ref,
        }
    }
}

/// `wiring.wsp_retry`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetrySettings {
    /// The number of attempts whose delays grow before the delay stays at its maximum; 5 by
    /// default.
    pub max_attempts: u32,
    /// The upper bound of the first delay; 250 ms by default.
    pub base_delay: Duration,
    /// The upper bound of every delay; 5 s by default.
    pub max_delay: Duration,
    /// How long the ingestion gate or the checkpoint store may be away; 15 minutes by default.
    pub give_up_after: Duration,
}

impl RetrySettings {
    pub(super) fn new(block: &RetryBlock) -> Result<Self, Error> {
        let max_attempts = AtLeastOne::or(block.max_attempts, 5);
        let settings = Self {
            max_attempts: u32::try_from(max_attempts).unwrap_or(u32::MAX),
            base_delay: Duration::from_millis(AtLeastOne::or(block.base_delay_ms, 250)),
            max_delay: Duration::from_millis(AtLeastOne::or(block.max_delay_ms, 5_000)),
            give_up_after: Duration::from_secs(AtLeastOne::or(block.give_up_after_s, 900)),
        };
        if settings.max_delay < settings.base_delay {
            return Err(invalid(
                "wiring.wsp_retry.max_delay_ms",
                "is below base_delay_ms",
            ));
        }
        Ok(settings)
    }

    /// The retry policy of these settings, under which no event is singled out.
    pub fn policy(&self) -> RetryPolicy {
        RetryPolicy {
            max_attempts: self.max_attempts,
            base_delay: self.base_delay,
            max_delay: self.max_delay,
            give_up_after: self.give_up_after,
            single_out: false,
        }
    }
}

/// `wiring.wsp_push`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushSettings {
    /// The number of lanes, and how events are spread over them.
    pub lanes: LaneSettings,
    /// The time of a post from connecting to the last byte of its answer; 30 s by default.
    pub timeout: Duration,
    /// The HTTP client; the direct one by default.
    pub client: PushClientKind,
    /// What a late stream does; it catches up by default.
    pub when_late: WhenLate,
}

impl PushSettings {
    /// Has this many lanes, or one where all events stay in order.
    pub(super) fn set_lanes(&mut self, lanes: LaneCount) {
        if self.lanes.ordering != LaneOrdering::Strict {
            self.lanes.count = lanes;
        }
    }

    pub(super) fn new(block: PushBlock, memory_budget: u64) -> Result<Self, Error> {
        let ordering = block.ordering.unwrap_or(LaneOrdering::Key);
        let lanes = AtLeastOne::or(block.lanes, 32);
        let count = usize::try_from(lanes).ok().and_then(LaneCount::new);
        let count = count.ok_or_else(|| {
            let problem = format!("is above {}", LaneCount::MAX);
            invalid("wiring.wsp_push.lanes", &problem)
        })?;
        let max_event_bytes = AtLeastOne::or(block.max_event_bytes, MAX_EVENT_BYTES as u64);
        let stamps_emission = block.emitted_at_utc.unwrap_or(false);
        // A lane stamps a copy, while other events keep the memory of the first in use.
        let copies = 1 + u64::from(stamps_emission);
        Ok(Self {
            lanes: LaneSettings {
                count: if ordering == LaneOrdering::Strict {
                    LaneCount::ONE
                } else {
                    count
                },
                ordering,
                concurrency: block.concurrency.unwrap_or(Concurrency::Fixed),
                drain_timeout: Duration::from_secs(block.drain_timeout_s.unwrap_or(10)),
                in_flight_bytes: memory_budget / IN_FLIGHT_SHARE / copies,
                transient_errors: block.transient_errors.0.unwrap_or_default(),
                max_event_bytes: max_event_bytes as usize,
                stamps_emission,
            },
            timeout: Duration::from_millis(AtLeastOne::or(block.timeout_ms, 30_000)),
            client: block.client.unwrap_or(PushClientKind::Direct),
            when_late: block.when_late.unwrap_or(WhenLate::CatchUp),
        })
    }
}

/// What of `wiring.wsp_push` is about rejected events.
pub(super) fn rejects(block: &PushBlock) -> RejectSettings {
    RejectSettings {
        on_reject: block.on_reject.unwrap_or(OnReject::Stop),
        max_quarantined: AtLeastOne::or(block.max_quarantined, 1_000),
    }
}

/// What of `wiring.wsp_push` is about events that the gate quarantines.
pub(super) fn gate_quarantine(block: &PushBlock) -> GateQuarantineTerms {
    GateQuarantineTerms {
        on_gate_quarantine: block.on_gate_quarantine.unwrap_or_default(),
        at_most: block.max_gate_quarantined.map(AtLeastOne::get),
    }
}

/// What the sort cache may take on its disk where the profile does not say: a hundred million rows
/// of 250 bytes.
const SORT_CACHE_MIB: u64 = 32_768;

/// `wiring.wsp_order`.
pub(super) fn ordering(block: &OrderBlock) -> Result<OrderSettings, Error> {
    let bytes = |mib: u64| mib.saturating_mul(1 << 20);
    if block.sort_budget_mib.is_some() {
        return Err(Error::new(
            crate::ReasonCode::ProfileKeyUnknown,
            "The profile's block `wiring.wsp_order` has an unknown key `sort_budget_mib`",
            "Write `sort_cache_mib`: parts that are not in time order are sorted on disk, and it \
             bounds what they take there.",
        ));
    }
    Ok(OrderSettings {
        on_disorder: block.on_disorder.unwrap_or(OnDisorder::Sort),
        sort_cache: bytes(AtLeastOne::or(block.sort_cache_mib, SORT_CACHE_MIB)),
        memory_budget: bytes(AtLeastOne::or(block.memory_budget_mib, 512)),
    })
}

/// The share of the memory budget that events in flight may take, if they are large: its
/// reciprocal.
const IN_FLIGHT_SHARE: u64 = 8;
