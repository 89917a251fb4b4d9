//! The blocks of a profile as the file spells them: keys, and types before defaults.
//!
//! `None` stands for a key that is not in the file, has no value, or names an unset variable.
//! WSP's own blocks deny unknown keys; blocks that are shared with other components pass them
//! over.

use std::collections::BTreeMap;
use std::fmt;

use checkpoint::OrderMode;
use gates::VerificationMode;
use model::ShardBy;
use oracle_store::{DataVerification, Posture};
use replay::OnDisorder;
use replay::WhenLate;
use replay::{Concurrency, LaneOrdering};
use replay::{OnGateQuarantine, OnReject};
use replay::{RateStep, RateSteps, Speedup};
use serde::de::{self, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::expand::Template;
use super::node::AsWritten;
use super::places::shown;
use super::thresholds::{AbortCondition, Condition};

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ProfileBlock {
    pub(super) profile_id: Option<String>,
    pub(super) policy: PolicyBlock,
    pub(super) wiring: WiringBlock,
}

/// `policy`, shared.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PolicyBlock {
    pub(super) posture: Option<Posture>,
    pub(super) policy_rev: Option<String>,
    pub(super) require_gate_pass: Option<bool>,
    pub(super) gate_verification: Option<VerificationMode>,
    pub(super) data_verification: Option<DataVerification>,
    pub(super) stream_speedup: Option<Factor>,
    pub(super) stream_rate: Option<Rate>,
    pub(super) max_rate: Option<Rate>,
    pub(super) stream_order: Option<OrderMode>,
    pub(super) stream_source: Option<StreamSource>,
    pub(super) trust_stream_views: Option<bool>,
    pub(super) traffic_output_ids: Texts,
    pub(super) traffic_output_ids_ref: Option<String>,
    pub(super) context_output_ids: Texts,
    pub(super) context_output_ids_ref: Option<String>,
    pub(super) context_output_ids_baseline_ref: Option<String>,
    pub(super) stream_context: Option<bool>,
    pub(super) time_columns: BTreeMap<String, String>,
}

/// `wiring`, shared.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WiringBlock {
    pub(super) oracle_root: Option<String>,
    pub(super) oracle_engine_run_root: Option<String>,
    pub(super) oracle_scenario_id: Option<String>,
    pub(super) oracle_stream_view_root: Option<String>,
    pub(super) engine_catalogue_path: Option<String>,
    pub(super) gate_map_path: Option<String>,
    pub(super) ig_ingest_url: Written,
    pub(super) object_store: ObjectStoreBlock,
    pub(super) security: SecurityBlock,
    pub(super) wsp_checkpoint: CheckpointBlock,
    pub(super) wsp_producer: ProducerBlock,
    pub(super) wsp_retry: RetryBlock,
    pub(super) wsp_push: PushBlock,
    pub(super) wsp_order: OrderBlock,
    pub(super) wsp_audit: AuditBlock,
    pub(super) wsp_shard: ShardBlock,
    pub(super) wsp_thresholds: ThresholdsBlock,
}

/// `wiring.object_store`, shared.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ObjectStoreBlock {
    pub(super) endpoint: Written,
    pub(super) region: Option<String>,
    pub(super) path_style: Option<bool>,
}

/// `wiring.security`, shared.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SecurityBlock {
    pub(super) api_key_header: Option<String>,
    pub(super) wsp_auth_token: Written,
}

/// `wiring.wsp_checkpoint`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CheckpointBlock {
    pub(super) backend: Option<CheckpointBackend>,
    pub(super) root: Option<String>,
    pub(super) dsn: Written,
    pub(super) flush_every: Option<AtLeastOne>,
    pub(super) scope: Option<CheckpointScope>,
    pub(super) lease_s: Option<AtLeastOne>,
    pub(super) save_timeout_s: Option<AtLeastOne>,
}

/// `wiring.wsp_producer`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ProducerBlock {
    pub(super) producer_id: Option<String>,
    pub(super) allowlist_ref: Option<String>,
}

/// `wiring.wsp_retry`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RetryBlock {
    pub(super) max_attempts: Option<AtLeastOne>,
    pub(super) base_delay_ms: Option<AtLeastOne>,
    pub(super) max_delay_ms: Option<AtLeastOne>,
    pub(super) give_up_after_s: Option<AtLeastOne>,
}

/// `wiring.wsp_push`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PushBlock {
    pub(super) lanes: Option<AtLeastOne>,
    pub(super) ordering: Option<LaneOrdering>,
    pub(super) timeout_ms: Option<AtLeastOne>,
    pub(super) drain_timeout_s: Option<u64>,
    pub(super) client: Option<PushClientKind>,
    pub(super) concurrency: Option<Concurrency>,
    pub(super) when_late: Option<WhenLate>,
    pub(super) on_reject: Option<OnReject>,
    pub(super) max_quarantined: Option<AtLeastOne>,
    pub(super) on_gate_quarantine: Option<OnGateQuarantine>,
    pub(super) max_gate_quarantined: Option<AtLeastOne>,
    pub(super) transient_errors: Texts,
    pub(super) max_event_bytes: Option<AtLeastOne>,
    pub(super) emitted_at_utc: Option<bool>,
}

/// `wiring.wsp_order`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct OrderBlock {
    pub(super) on_disorder: Option<OnDisorder>,
    /// What was there before the sort cache.
    pub(super) sort_budget_mib: Option<IgnoredAny>,
    pub(super) sort_cache_mib: Option<AtLeastOne>,
    pub(super) sort_cache: Option<String>,
    pub(super) memory_budget_mib: Option<AtLeastOne>,
    pub(super) time_index: Option<String>,
}

/// `wiring.wsp_audit`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AuditBlock {
    pub(super) root: Option<String>,
}

/// `wiring.wsp_shard`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ShardBlock {
    pub(super) index: Option<String>,
    pub(super) count: Option<String>,
    pub(super) by: Option<ShardBy>,
    pub(super) max_clock_skew_ms: Option<AtLeastOne>,
}

/// `wiring.wsp_thresholds`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ThresholdsBlock {
    pub(super) fail_if: Vec<Condition>,
    pub(super) abort_if: Vec<AbortCondition>,
}

/// The kind of store that cursors are saved in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckpointBackend {
    /// Files under the folder `wsp_checkpoint.root`.
    File,
    /// The SQLite database file `wsp_checkpoint.root`.
    Sqlite,
    /// A table of the Postgres database `wsp_checkpoint.dsn`.
    Postgres,
    /// Objects under an `s3://` root, written by conditional put.
    Object,
}

/// What a cursor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckpointScope {
    /// The pack: each output has one cursor for all platform runs.
    Pack,
    /// The pack and the platform run: each output has a cursor for each run.
    PlatformRun,
    /// The pack, the platform run and the scenario run, as the platform's newest producer keys
    /// its cursors; they are kept where that producer looks for them.
    ScenarioRun,
}

/// What the rows of an output are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StreamSource {
    /// The outputs themselves, as the engine wrote them.
    Outputs,
    /// The platform's stream views of them, sorted by event time.
    View,
    /// Of each output the view, where its manifest and receipt are there; else the output.
    Auto,
}

impl std::str::FromStr for StreamSource {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "outputs" => Ok(Self::Outputs),
            "view" => Ok(Self::View),
            "auto" => Ok(Self::Auto),
            _ => Err(()),
        }
    }
}

/// The HTTP client that drives the lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PushClientKind {
    /// One connection a lane, the fast client; it uses no proxy.
    Direct,
    /// reqwest, for proxies.
    Reqwest,
}

/// A list of texts; no variable is expanded in it.
pub(super) type Texts = AsWritten<Option<Vec<String>>>;

/// A value that may hold a credential, unexpanded.
pub(super) type Written = AsWritten<Option<Template>>;

/// A whole number of at least 1.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct AtLeastOne(u64);

impl TryFrom<String> for AtLeastOne {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = text.trim().parse().ok().filter(|number| *number > 0);
        let number = number.map(Self);
        number.ok_or_else(|| format!("is {}, not a whole number of at least 1", shown(&text)))
    }
}

impl AtLeastOne {
    /// The number itself.
    pub(super) fn get(self) -> u64 {
        self.0
    }

    /// The number of a key, or its default.
    pub(super) fn or(number: Option<Self>, default: u64) -> u64 {
        number.map_or(default, |number| number.0)
    }
}

/// `policy.stream_speedup`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Factor(pub(super) Speedup);

impl TryFrom<String> for Factor {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let speedup = text.trim().parse().map(Self);
        speedup.map_err(|_| format!("is {}, not a number of at least 0", shown(&text)))
    }
}

/// `policy.stream_rate`: a number, steps as a text, or a list of `{offset_s, rate, ramp_to}`.
#[derive(Debug)]
pub(super) struct Rate(pub(super) RateSteps);

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Steps;

        impl<'de> Visitor<'de> for Steps {
            type Value = Rate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rate or a list of steps")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Rate, E> {
                text.parse().map(Rate).map_err(unusable)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Rate, A::Error> {
                let mut steps = Vec::new();
                while let Some(StepBlock {
                    offset_s,
                    rate,
                    ramp_to,
                }) = items.next_element()?
                {
                    steps.push(RateStep::new(offset_s, rate).ramping_to(ramp_to));
                }
                RateSteps::new(steps).map(Rate).map_err(unusable)
            }
        }

        fn unusable<E: de::Error>(fault: String) -> E {
            E::custom(format_args!("is unusable: {fault}"))
        }

        deserializer.deserialize_any(Steps)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepBlock {
    offset_s: f64,
    rate: f64,
    ramp_to: Option<f64>,
}
