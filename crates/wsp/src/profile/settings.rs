//! The blocks of a profile that are WSP's own, each with its defaults.

use std::path::PathBuf;
use std::time::Duration;

use oracle_store::Posture;
use replay::{
    Concurrency, LaneOrdering, LaneSettings, OnDisorder, OnReject, OrderSettings, RejectSettings,
    WhenLate,
};
use serde::{Deserialize, Serialize};

use super::document::{Document, invalid};
use super::secret::{Secret, holds_literal_password};
use super::{DEFAULT_RUNS_ROOT, literal_credential};
use crate::Error;
use push::{MAX_EVENT_BYTES, RetryPolicy};
use replay::{Pace, RateStep, RateSteps, Speedup};

pub use checkpoint::OrderMode;

const POLICY_KEYS: &[&str] = &[
    "posture",
    "policy_rev",
    "require_gate_pass",
    "gate_verification",
    "data_verification",
    "stream_speedup",
    "stream_rate",
    "stream_order",
    "traffic_output_ids",
    "traffic_output_ids_ref",
    "context_output_ids",
    "context_output_ids_ref",
    "stream_context",
];
const CHECKPOINT_KEYS: &[&str] = &[
    "backend",
    "root",
    "dsn",
    "flush_every",
    "scope",
    "lease_s",
    "save_timeout_s",
];
const PRODUCER_KEYS: &[&str] = &["producer_id", "allowlist_ref"];
const RETRY_KEYS: &[&str] = &[
    "max_attempts",
    "base_delay_ms",
    "max_delay_ms",
    "give_up_after_s",
];
const PUSH_KEYS: &[&str] = &[
    "lanes",
    "ordering",
    "timeout_ms",
    "drain_timeout_s",
    "client",
    "concurrency",
    "when_late",
    "on_reject",
    "max_quarantined",
    "transient_errors",
    "max_event_bytes",
];
const ORDER_KEYS: &[&str] = &[
    "on_disorder",
    "sort_budget_mib",
    "memory_budget_mib",
    "time_index",
];
const AUDIT_KEYS: &[&str] = &["root"];
const BLOCKS: &[&str] = &[
    "wsp_checkpoint",
    "wsp_producer",
    "wsp_retry",
    "wsp_push",
    "wsp_order",
    "wsp_audit",
];

/// Refuses unknown keys in WSP's own blocks, and misspelt ones in the shared policy.
pub(super) fn check_known_keys(document: &Document<'_>) -> Result<(), Error> {
    document.only_known_blocks("wiring", BLOCKS)?;
    document.only_known_blocks("policy", &[])?;
    document.no_misspelt_keys("policy", POLICY_KEYS)?;
    for (block, keys) in [
        ("wiring.wsp_checkpoint", CHECKPOINT_KEYS),
        ("wiring.wsp_producer", PRODUCER_KEYS),
        ("wiring.wsp_retry", RETRY_KEYS),
        ("wiring.wsp_push", PUSH_KEYS),
        ("wiring.wsp_order", ORDER_KEYS),
        ("wiring.wsp_audit", AUDIT_KEYS),
    ] {
        document.only_known_keys(block, keys)?;
    }
    Ok(())
}

/// `policy.stream_speedup`, or `policy.stream_rate`: a number, or a list of
/// `{offset_s, rate}`.
pub(super) fn pace(document: &Document<'_>) -> Result<Pace, Error> {
    const RATE: &str = "policy.stream_rate";
    let speedup: Option<Speedup> =
        document.parsed("policy.stream_speedup", "a number of at least 0")?;
    let unusable = |fault: String| invalid(RATE, &format!("is unusable: {fault}"));
    let steps = if let Some(count) = document.items(RATE) {
        let steps = (0..count).map(|number| rate_step(document, &format!("{RATE}.{number}")));
        let steps = steps.collect::<Result<Vec<_>, _>>()?;
        Some(RateSteps::new(steps).map_err(unusable)?)
    } else {
        let text = document.text(RATE)?;
        let steps = text.map(|text| text.parse::<RateSteps>().map_err(unusable));
        steps.transpose()?
    };
    match (speedup, steps) {
        (Some(_), Some(_)) => Err(invalid(
            RATE,
            "stands beside `policy.stream_speedup`: an event has one pace",
        )),
        (speedup, None) => Ok(speedup.unwrap_or_default().into()),
        (None, Some(steps)) => Ok(steps.into()),
    }
}

fn rate_step(document: &Document<'_>, step: &str) -> Result<RateStep, Error> {
    let field = |name: &str| {
        let key = format!("{step}.{name}");
        let value = document.parsed::<f64>(&key, "a number")?;
        value.ok_or_else(|| invalid(&key, "is missing"))
    };
    Ok(RateStep {
        offset_s: field("offset_s")?,
        rate: field("rate")?,
    })
}

/// Where cursors are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointBackend {
    /// Files under `wsp_checkpoint.root`.
    File,
    /// One SQLite file.
    Sqlite,
    /// A Postgres table.
    Postgres,
    /// Objects under an `s3://` root, written by conditional put.
    Object,
}

/// What one cursor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointScope {
    /// The pack: one cursor an output, whatever the platform run.
    Pack,
    /// The pack and the platform run.
    PlatformRun,
}

/// The HTTP client that drives the lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushClientKind {
    /// One connection a lane, without a layer between: the fast one.
    Direct,
    /// reqwest: for proxies and the system's trust settings.
    Reqwest,
}

/// `wiring.wsp_checkpoint`.
#[derive(Debug, Clone)]
pub struct CheckpointSettings {
    /// Which store.
    pub backend: CheckpointBackend,
    /// The folder (file), the database file (sqlite) or the `s3://` prefix (object).
    pub root: String,
    /// The Postgres connection string.
    pub dsn: Option<Secret>,
    /// Events between saves, all outputs together; at least 1.
    pub flush_every: u64,
    /// What a cursor belongs to.
    pub scope: CheckpointScope,
    /// How long a lease lives without a renewal.
    pub lease: Duration,
    /// How long a save may take once the stream is asked to stop.
    pub save_timeout: Duration,
}

impl CheckpointSettings {
    pub(super) fn read(
        document: &Document<'_>,
        posture: Posture,
        warnings: &mut Vec<String>,
    ) -> Result<Self, Error> {
        const DSN: &str = "wiring.wsp_checkpoint.dsn";
        let dsn = document.scalar(DSN)?;
        if dsn
            .as_ref()
            .is_some_and(|dsn| holds_literal_password(&dsn.template))
        {
            literal_credential(DSN, posture, warnings)?;
        }
        Ok(Self {
            backend: document
                .choice(
                    "wiring.wsp_checkpoint.backend",
                    "file, sqlite, postgres or object",
                )?
                .unwrap_or(CheckpointBackend::File),
            root: document
                .text("wiring.wsp_checkpoint.root")?
                .unwrap_or_else(|| format!("{DEFAULT_RUNS_ROOT}/wsp_checkpoints")),
            dsn: dsn.and_then(|dsn| dsn.value).map(Secret::new),
            flush_every: at_least_one(document, "wiring.wsp_checkpoint.flush_every", 1)?,
            scope: document
                .choice("wiring.wsp_checkpoint.scope", "pack or platform_run")?
                .unwrap_or(CheckpointScope::Pack),
            lease: Duration::from_secs(at_least_one(
                document,
                "wiring.wsp_checkpoint.lease_s",
                30,
            )?),
            save_timeout: Duration::from_secs(at_least_one(
                document,
                "wiring.wsp_checkpoint.save_timeout_s",
                10,
            )?),
        })
    }
}

/// `wiring.wsp_producer`.
#[derive(Debug, Clone)]
pub struct ProducerSettings {
    /// Who produces.
    pub producer_id: Option<String>,
    /// The file of those who may, as written.
    pub allowlist_ref: Option<String>,
}

impl ProducerSettings {
    pub(super) fn read(document: &Document<'_>) -> Result<Self, Error> {
        Ok(Self {
            producer_id: document.text("wiring.wsp_producer.producer_id")?,
            allowlist_ref: document.text("wiring.wsp_producer.allowlist_ref")?,
        })
    }
}

/// `wiring.wsp_retry`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// Attempts with growing delays before the delay stays at its maximum.
    pub max_attempts: u32,
    /// The first delay's bound.
    pub base_delay: Duration,
    /// The largest delay's bound.
    pub max_delay: Duration,
    /// How long the ingestion gate, or the checkpoint store, may be away.
    pub give_up_after: Duration,
}

impl RetrySettings {
    pub(super) fn read(document: &Document<'_>) -> Result<Self, Error> {
        let number = |key: &str, default| {
            at_least_one(document, &format!("wiring.wsp_retry.{key}"), default)
        };
        let settings = Self {
            max_attempts: u32::try_from(number("max_attempts", 5)?).unwrap_or(u32::MAX),
            base_delay: Duration::from_millis(number("base_delay_ms", 250)?),
            max_delay: Duration::from_millis(number("max_delay_ms", 5_000)?),
            give_up_after: Duration::from_secs(number("give_up_after_s", 900)?),
        };
        if settings.max_delay < settings.base_delay {
            return Err(invalid(
                "wiring.wsp_retry.max_delay_ms",
                "is below base_delay_ms",
            ));
        }
        Ok(settings)
    }
}

impl RetrySettings {
    /// The policy that they make; no event is singled out.
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
pub struct PushSettings {
    /// How events are sent.
    pub lanes: LaneSettings,
    /// From connecting to the last byte of the answer.
    pub timeout: Duration,
    /// The HTTP client.
    pub client: PushClientKind,
    /// What a late stream does.
    pub when_late: WhenLate,
}

impl PushSettings {
    pub(super) fn read(document: &Document<'_>) -> Result<Self, Error> {
        const LANES: &str = "wiring.wsp_push.lanes";
        let ordering = document
            .choice("wiring.wsp_push.ordering", "key, strict or none")?
            .unwrap_or(LaneOrdering::Key);
        let lanes = at_least_one(document, LANES, 32)?;
        if lanes > 4_096 {
            return Err(invalid(LANES, "is above 4096"));
        }
        let drain_timeout_s = document.parsed(
            "wiring.wsp_push.drain_timeout_s",
            "a whole number of seconds",
        )?;
        let max_event_bytes = at_least_one(
            document,
            "wiring.wsp_push.max_event_bytes",
            MAX_EVENT_BYTES as u64,
        )?;
        let timeout_ms = at_least_one(document, "wiring.wsp_push.timeout_ms", 30_000)?;
        Ok(Self {
            lanes: LaneSettings {
                count: if ordering == LaneOrdering::Strict {
                    1
                } else {
                    lanes as usize
                },
                ordering,
                concurrency: document
                    .choice("wiring.wsp_push.concurrency", "fixed or adaptive")?
                    .unwrap_or(Concurrency::Fixed),
                drain_timeout: Duration::from_secs(drain_timeout_s.unwrap_or(10)),
                in_flight_bytes: memory_budget(document)? / IN_FLIGHT_SHARE,
                transient_errors: document
                    .texts("wiring.wsp_push.transient_errors")?
                    .unwrap_or_default(),
                max_event_bytes: max_event_bytes as usize,
            },
            timeout: Duration::from_millis(timeout_ms),
            client: document
                .choice("wiring.wsp_push.client", "direct or reqwest")?
                .unwrap_or(PushClientKind::Direct),
            when_late: document
                .choice("wiring.wsp_push.when_late", "catch_up or slip")?
                .unwrap_or(WhenLate::CatchUp),
        })
    }
}

/// What of `wiring.wsp_push` is about rejected events.
///
/// # Errors
/// `PROFILE_INVALID` with the key.
pub(super) fn rejects(document: &Document<'_>) -> Result<RejectSettings, Error> {
    Ok(RejectSettings {
        on_reject: document
            .choice("wiring.wsp_push.on_reject", "stop or quarantine")?
            .unwrap_or(OnReject::Stop),
        max_quarantined: at_least_one(document, "wiring.wsp_push.max_quarantined", 1_000)?,
    })
}

/// `wiring.wsp_order`.
///
/// # Errors
/// `PROFILE_INVALID` with the key.
pub(super) fn ordering(document: &Document<'_>) -> Result<OrderSettings, Error> {
    let sort_budget_mib = at_least_one(document, "wiring.wsp_order.sort_budget_mib", 64)?;
    Ok(OrderSettings {
        on_disorder: document
            .choice("wiring.wsp_order.on_disorder", "sort or refuse")?
            .unwrap_or(OnDisorder::Sort),
        sort_budget: sort_budget_mib.saturating_mul(1 << 20),
        memory_budget: memory_budget(document)?,
    })
}

/// Where the rebuildable time index is kept; `None`: under the runs root.
///
/// # Errors
/// `PROFILE_INVALID` with the key.
pub(super) fn time_index(document: &Document<'_>) -> Result<Option<PathBuf>, Error> {
    Ok(document
        .text("wiring.wsp_order.time_index")?
        .map(PathBuf::from))
}

/// The share of the memory budget that events in flight may take, if they are large: its
/// reciprocal.
const IN_FLIGHT_SHARE: u64 = 8;

fn memory_budget(document: &Document<'_>) -> Result<u64, Error> {
    let mib = at_least_one(document, "wiring.wsp_order.memory_budget_mib", 512)?;
    Ok(mib.saturating_mul(1 << 20))
}

fn at_least_one(document: &Document<'_>, key: &str, default: u64) -> Result<u64, Error> {
    match document
        .parsed(key, "a whole number of at least 1")?
        .unwrap_or(default)
    {
        0 => Err(invalid(key, "is 0, not a whole number of at least 1")),
        number => Ok(number),
    }
}
