//! The blocks of a profile that are WSP's own, each with its defaults.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use oracle_store::Posture;

use super::document::{Document, invalid};
use super::secret::{Secret, holds_literal_password};
use super::{DEFAULT_RUNS_ROOT, literal_credential};
use crate::Error;
use crate::lead::pace::{Pace, RateStep, RateSteps, Speedup};
use crate::push::{MAX_EVENT_BYTES, RetryPolicy};

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

macro_rules! choices {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// As written in a profile.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl FromStr for $name {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(()),
                }
            }
        }
    };
}

choices! {
    /// Where cursors are kept.
    CheckpointBackend {
        /// Files under `wsp_checkpoint.root`.
        File = "file",
        /// One SQLite file.
        Sqlite = "sqlite",
        /// A Postgres table.
        Postgres = "postgres",
        /// Objects under an `s3://` root, written by conditional put.
        Object = "object",
    }
}

choices! {
    /// What one cursor belongs to.
    CheckpointScope {
        /// The pack: one cursor an output, whatever the platform run.
        Pack = "pack",
        /// The pack and the platform run.
        PlatformRun = "platform_run",
    }
}

choices! {
    /// Which events keep their order on the way to the ingestion gate.
    LaneOrdering {
        /// Events of one ordering key arrive in order.
        Key = "key",
        /// All events arrive in order: one lane.
        Strict = "strict",
        /// Any free lane takes the next event.
        None = "none",
    }
}

choices! {
    /// The HTTP client that drives the lanes.
    PushClientKind {
        /// One connection a lane, without a layer between: the fast one.
        Direct = "direct",
        /// reqwest: for proxies and the system's trust settings.
        Reqwest = "reqwest",
    }
}

choices! {
    /// How many of the lanes may have a request in flight.
    Concurrency {
        /// All of them, always.
        Fixed = "fixed",
        /// Fewer on 429, 503 and rising latency; more when it goes well.
        Adaptive = "adaptive",
    }
}

choices! {
    /// What a late stream does.
    WhenLate {
        /// Sends without waiting until it is on schedule again.
        CatchUp = "catch_up",
        /// Moves the schedule by what was lost.
        Slip = "slip",
    }
}

choices! {
    /// What becomes of an event that the ingestion gate will not have.
    OnReject {
        /// It ends the stream, and a rerun begins with it.
        Stop = "stop",
        /// It is set aside durably, and the stream goes on.
        Quarantine = "quarantine",
    }
}

choices! {
    /// What becomes of a part that is not in time order.
    OnDisorder {
        /// It is sorted in memory, up to `sort_budget_mib`.
        Sort = "sort",
        /// It is refused: `EVENT_TIME_DISORDER`.
        Refuse = "refuse",
    }
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
                .parsed(
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
                .parsed("wiring.wsp_checkpoint.scope", "pack or platform_run")?
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
    /// Requests in flight at once, 1 to 4,096.
    pub lanes: usize,
    /// Which events keep their order.
    pub ordering: LaneOrdering,
    /// From connecting to the last byte of the answer.
    pub timeout: Duration,
    /// How long a stop waits for answers.
    pub drain_timeout: Duration,
    /// How many lanes may be busy at once.
    pub concurrency: Concurrency,
    /// The HTTP client.
    pub client: PushClientKind,
    /// What a late stream does.
    pub when_late: WhenLate,
    /// Bytes of large events that all lanes may hold together.
    pub in_flight_bytes: u64,
    /// Names of `error` in the gate's answers by which it says that it is away, beside the
    /// known ones.
    pub transient_errors: Vec<String>,
    /// An envelope with more bytes is refused before it is sent; at least 1.
    pub max_event_bytes: usize,
}

impl PushSettings {
    pub(super) fn read(document: &Document<'_>) -> Result<Self, Error> {
        const LANES: &str = "wiring.wsp_push.lanes";
        let ordering = document
            .parsed("wiring.wsp_push.ordering", "key, strict or none")?
            .unwrap_or(LaneOrdering::Key);
        let lanes = at_least_one(document, LANES, 32)?;
        if lanes > 4_096 {
            return Err(invalid(LANES, "is above 4096"));
        }
        Ok(Self {
            lanes: if ordering == LaneOrdering::Strict {
                1
            } else {
                lanes as usize
            },
            ordering,
            timeout: Duration::from_millis(at_least_one(
                document,
                "wiring.wsp_push.timeout_ms",
                30_000,
            )?),
            drain_timeout: Duration::from_secs(
                document
                    .parsed(
                        "wiring.wsp_push.drain_timeout_s",
                        "a whole number of seconds",
                    )?
                    .unwrap_or(10),
            ),
            concurrency: document
                .parsed("wiring.wsp_push.concurrency", "fixed or adaptive")?
                .unwrap_or(Concurrency::Fixed),
            client: document
                .parsed("wiring.wsp_push.client", "direct or reqwest")?
                .unwrap_or(PushClientKind::Direct),
            when_late: document
                .parsed("wiring.wsp_push.when_late", "catch_up or slip")?
                .unwrap_or(WhenLate::CatchUp),
            in_flight_bytes: memory_budget(document)? / IN_FLIGHT_SHARE,
            transient_errors: document
                .texts("wiring.wsp_push.transient_errors")?
                .unwrap_or_default(),
            max_event_bytes: at_least_one(
                document,
                "wiring.wsp_push.max_event_bytes",
                MAX_EVENT_BYTES as u64,
            )? as usize,
        })
    }
}

/// What of `wiring.wsp_push` is about rejected events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RejectSettings {
    /// What becomes of one.
    pub on_reject: OnReject,
    /// Events that may lie in the quarantine before the stream ends; at least 1.
    pub max_quarantined: u64,
}

impl RejectSettings {
    pub(super) fn read(document: &Document<'_>) -> Result<Self, Error> {
        Ok(Self {
            on_reject: document
                .parsed("wiring.wsp_push.on_reject", "stop or quarantine")?
                .unwrap_or(OnReject::Stop),
            max_quarantined: at_least_one(document, "wiring.wsp_push.max_quarantined", 1_000)?,
        })
    }
}

/// `wiring.wsp_order`: the event-time order's own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderSettings {
    /// What becomes of a part that is not in time order.
    pub on_disorder: OnDisorder,
    /// Bytes of rows that a disordered part may hold to be sorted in memory.
    pub sort_budget: u64,
    /// Bytes that the stream's buffers may take, by estimate.
    pub memory_budget: u64,
    /// Where the rebuildable time index is kept; absent: under the runs root.
    pub time_index: Option<PathBuf>,
}

impl OrderSettings {
    pub(super) fn read(document: &Document<'_>) -> Result<Self, Error> {
        let mib = |key: &str, default| {
            at_least_one(document, &format!("wiring.wsp_order.{key}"), default)
                .map(|mib| mib.saturating_mul(1 << 20))
        };
        Ok(Self {
            on_disorder: document
                .parsed("wiring.wsp_order.on_disorder", "sort or refuse")?
                .unwrap_or(OnDisorder::Sort),
            sort_budget: mib("sort_budget_mib", 64)?,
            memory_budget: memory_budget(document)?,
            time_index: document
                .text("wiring.wsp_order.time_index")?
                .map(PathBuf::from),
        })
    }
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
