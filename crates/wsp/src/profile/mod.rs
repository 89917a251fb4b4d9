//! The profile: one YAML file, read once, turned into checked settings.
//!
//! A profile is shared with other platform components. Keys that are not WSP's
//! are ignored; keys inside `wsp_*` blocks must be known. `${VAR}` and
//! `${VAR:-default}` are expanded in the keys that WSP reads; an unset one makes
//! the value absent, which is an error only where a command needs the value
//! ([`Profile::require`]). Files that a profile refers to are opened only when
//! needed ([`Profile::read_outputs`]): from the working directory first, then beside
//! the profile.

mod builder;
pub(crate) mod request;
mod environment;
mod rate_plan;
mod explain;
mod origins;
mod producer;
pub(crate) mod runs_root;
mod overrides;
mod settings;
mod shard;
mod digest;
mod blocks;
mod thresholds;
mod figure;
mod document;
mod node;
mod places;
mod secret;
mod expand;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use gates::VerificationMode;
use model::Hex64;
use oracle_store::{DataVerification, ObjectStoreConfig, Posture, TIME_COLUMN, read_named_file};

pub use blocks::{CheckpointBackend, CheckpointScope, PushClientKind, StreamSource};
use blocks::{PolicyBlock, ProfileBlock, Texts, Written};
pub use builder::StreamRequestBuilder;
use document::{Document, invalid};
pub use environment::{Environment, ProgressLines};
pub use expand::Env;
pub use explain::{ExplainedSetting, Explanation, explain};
pub use figure::{Figure, FigureUnit, LatenessEnd, Percentile};
use node::AsWritten;
pub use origins::Setting;
pub use overrides::Overrides;
pub use producer::Producer;
pub use replay::{
    Concurrency, GateQuarantineTerms, LaneOrdering, OnDisorder, OnGateQuarantine, OnReject,
    OrderSettings, RejectSettings, WhenLate,
};
pub use request::StreamRequest;
pub use runs_root::control_root;
use secret::Literals;
pub use secret::Secret;
pub use settings::{CheckpointSettings, OrderMode, ProducerSettings, PushSettings, RetrySettings};
pub use shard::ShardSettings;
pub use thresholds::{AbortCondition, Comparison, Condition, Thresholds};

use crate::{Error, ReasonCode};
use push::{PushEndpoint, clear_text_proxy};
use replay::{Pace, RateSteps};

/// The runs root of the platform where a profile names none.
const DEFAULT_RUNS_ROOT: &str = "runs/fraud-platform";
/// Where the catalogue may lie, the first that is there; a default in local posture only. The
/// second is its place in the platform's checkout.
const DEFAULT_CATALOGUES: [&str; 2] = [
    "contracts/engine_outputs.catalogue.yaml",
    "docs/model_spec/data-engine/interface_pack/engine_outputs.catalogue.yaml",
];
/// Where engine run roots lie; a default in local posture only.
const DEFAULT_ORACLE_ROOT: &str = "runs/local_full_run-5";
/// Where the ingestion gate listens; a default in local posture only.
const DEFAULT_INGEST_URL: &str = "http://localhost:8081";

/// Outputs whose rows have their event times in another column than `ts_utc`.
const KNOWN_TIME_COLUMNS: [(&str, &str); 1] = [("s1_session_index_6B", "session_start_utc")];

/// What some editors begin a file by; it is no part of the text.
const BYTE_ORDER_MARK: char = '\u{FEFF}';

/// A list of outputs, inline or in a file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputList {
    /// The profile lists the ids itself.
    Inline(Vec<String>),
    /// The profile names a file that lists the ids; the path is as written.
    Ref(String),
}

/// The settings of one profile, checked and with defaults applied.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Profile {
    /// The path of the profile; file references that are not found from the working directory
    /// resolve beside it.
    pub path: PathBuf,
    /// `profile_id`; empty if the profile has none.
    pub profile_id: String,
    /// How much evidence a run needs.
    pub posture: Posture,
    /// `policy.policy_rev`, which the audit repeats; `None` if the profile has none.
    pub policy_rev: Option<String>,
    /// Whether the gates must pass; `false` waives them and occurs in local posture only.
    pub require_gate_pass: bool,
    /// How gates are verified.
    pub gate_verification: VerificationMode,
    /// How data is verified against the contents index; `None` decides by posture.
    pub data_verification: Option<DataVerification>,
    /// What makes events due: `stream_speedup` or `stream_rate`.
    pub pace: Pace,
    /// The most events a second that leave, whatever the pace; `None` bounds nothing.
    pub max_rate: Option<RateSteps>,
    /// The order of events; `None` takes that of the cursors being resumed.
    pub order: Option<OrderMode>,
    /// What the rows of outputs are read from; the outputs themselves by default.
    pub stream_source: StreamSource,
    /// Whether strict posture reads stream views, whose bytes nothing proves; off by default.
    pub trust_stream_views: bool,
    /// The folder or prefix that the stream views lie in, one folder an output; `None` is
    /// `stream_view/ts_utc` under the engine run root.
    pub stream_view_root: Option<String>,
    /// Settings of the event-time order: disorder and memory budgets.
    pub ordering: OrderSettings,
    /// The folder of the rebuildable time index; `None` is one under the runs root.
    pub time_index: Option<PathBuf>,
    /// The folder of the sort cache; `None` is one under the runs root.
    pub sort_cache: Option<PathBuf>,
    /// The outputs that are traffic; `None` if the policy names none.
    pub traffic: Option<OutputList>,
    /// The outputs that give context to traffic; `None` if the policy names none.
    pub context: Option<OutputList>,
    /// The outputs that give context to baseline traffic (`s2_…` outputs without any `s3_…`);
    /// `None` takes `context` for it, too.
    pub baseline_context: Option<OutputList>,
    /// Whether the context outputs are streamed too; `true` by default.
    pub stream_context: bool,
    /// The columns of event times, by output, that are not the usual ones.
    pub time_columns: BTreeMap<String, String>,
    /// How the store of `s3://` locations is reached.
    pub object_store: ObjectStoreConfig,
    /// The folder or prefix that relative engine run roots lie in; `None` if the profile has none.
    pub oracle_root: Option<String>,
    /// The engine run root; `None` leaves it to a flag.
    pub engine_run_root: Option<String>,
    /// The scenario of the world; `None` leaves it to a flag or the pack manifest.
    pub scenario_id: Option<String>,
    /// The path of the catalogue; `None` leaves it to a flag, and in local posture to its usual
    /// places.
    pub catalogue_path: Option<String>,
    /// The path of the gate map; `None` is the one beside the catalogue.
    pub gate_map_path: Option<String>,
    /// The ingestion gate's URL; `None` leaves it to a flag.
    pub ig_ingest_url: Option<String>,
    /// The name of the header that carries the token; `X-IG-Api-Key` by default.
    pub api_key_header: String,
    /// The token shown to the ingestion gate; `None` shows none.
    pub auth_token: Option<Secret>,
    /// Where and how cursors are saved.
    pub checkpoint: CheckpointSettings,
    /// The producer of the events, and who may produce.
    pub producer: ProducerSettings,
    /// How failed pushes are retried.
    pub retry: RetrySettings,
    /// How events are pushed.
    pub push: PushSettings,
    /// What becomes of events that the gate refuses for good.
    pub rejects: RejectSettings,
    /// How events that the gate quarantines are judged.
    pub gate_quarantine: GateQuarantineTerms,
    /// The division of the stream into shards, and the shard of this process.
    pub shard: ShardSettings,
    /// The platform's runs root: audit, active run id, time index.
    pub runs_root: PathBuf,
    /// The conditions under which a run has failed, or is ended; none by default.
    pub thresholds: Thresholds,
    /// SHA-256 of the settings that the file has for WSP, secrets struck out; `None` without a file.
    pub digest: Option<Hex64>,
    /// What local posture allows and strict posture refuses, a sentence each, for the log.
    pub warnings: Vec<String>,
    /// The keys of `policy` and `wiring` that have a value, by their path.
    keys: BTreeSet<String>,
    /// The variables that the file names.
    variables: BTreeSet<String>,
}

impl Profile {
    /// Reads and checks a profile file.
    ///
    /// # Errors
    /// `PROFILE_UNREADABLE`, `PROFILE_INVALID`, `PROFILE_KEY_UNKNOWN`,
    /// `PROFILE_SECRET_LITERAL`.
    pub fn load(path: &Path, env: Env<'_>) -> Result<Self, Error> {
        let text = read_text(path).map_err(|source| {
            Error::caused(
                ReasonCode::ProfileUnreadable,
                format!("The profile {} cannot be read", path.display()),
                "Name a profile with --profile; config/platform/profiles/ holds four.",
                source,
            )
        })?;
        Self::parse(&text, path, env)
    }

    /// Checks the text of a profile that stands at `path`.
    ///
    /// # Errors
    /// As [`Profile::load`].
    pub fn parse(text: &str, path: &Path, env: Env<'_>) -> Result<Self, Error> {
        let document = Document::parse(text, path, env)?;
        settings::check_shared_blocks(&document)?;
        let ProfileBlock {
            profile_id,
            policy,
            wiring,
        } = document.values()?;
        let profile_id = profile_id.unwrap_or_default();
        let posture = posture(&policy, &profile_id);
        let mut literals = Literals::new(posture);
        let address = |written, key, literals: &mut _| address(written, key, env, literals);
        let ig_ingest_url = address(wiring.ig_ingest_url, "wiring.ig_ingest_url", &mut literals)?;
        let store = wiring.object_store;
        let endpoint = address(
            store.endpoint,
            "wiring.object_store.endpoint",
            &mut literals,
        )?;
        let require_gate_pass = require_gate_pass(&policy, posture, &mut literals.warnings);
        let auth_token = auth_token(wiring.security.wsp_auth_token, env, &mut literals)?;
        let checkpoint = CheckpointSettings::new(wiring.wsp_checkpoint, env, &mut literals)?;
        let ordering = settings::ordering(&wiring.wsp_order)?;
        let in_local = |default: &str| (posture == Posture::Local).then(|| default.to_owned());
        let api_key_header = wiring.security.api_key_header;
        let runs_root = wiring.wsp_audit.root;
        let profile = Self {
            path: path.to_owned(),
            profile_id,
            posture,
            require_gate_pass,
            gate_verification: gate_verification(&policy, posture)?,
            policy_rev: policy.policy_rev,
            data_verification: policy.data_verification,
            pace: settings::pace(policy.stream_speedup, policy.stream_rate)?,
            max_rate: policy.max_rate.map(|rate| rate.0),
            order: policy.stream_order,
            stream_source: policy.stream_source.unwrap_or(StreamSource::Outputs),
            trust_stream_views: policy.trust_stream_views.unwrap_or(false),
            stream_view_root: wiring
                .oracle_stream_view_root
                .filter(|root| !root.trim().is_empty()),
            time_index: wiring.wsp_order.time_index.map(PathBuf::from),
            sort_cache: wiring.wsp_order.sort_cache.map(PathBuf::from),
            traffic: output_list(policy.traffic_output_ids, policy.traffic_output_ids_ref),
            context: output_list(policy.context_output_ids, policy.context_output_ids_ref),
            baseline_context: policy.context_output_ids_baseline_ref.map(OutputList::Ref),
            stream_context: policy.stream_context.unwrap_or(true),
            time_columns: time_columns(policy.time_columns)?,
            object_store: ObjectStoreConfig {
                endpoint,
                region: store.region,
                path_style: store.path_style,
            },
            oracle_root: wiring.oracle_root.or_else(|| in_local(DEFAULT_ORACLE_ROOT)),
            engine_run_root: wiring.oracle_engine_run_root,
            scenario_id: wiring.oracle_scenario_id,
            catalogue_path: wiring.engine_catalogue_path,
            gate_map_path: wiring.gate_map_path,
            ig_ingest_url: ig_ingest_url.or_else(|| in_local(DEFAULT_INGEST_URL)),
            api_key_header: api_key_header.unwrap_or_else(|| "X-IG-Api-Key".to_owned()),
            auth_token,
            checkpoint,
            producer: wiring.wsp_producer.into(),
            retry: RetrySettings::new(&wiring.wsp_retry)?,
            rejects: settings::rejects(&wiring.wsp_push),
            gate_quarantine: settings::gate_quarantine(&wiring.wsp_push),
            push: PushSettings::new(wiring.wsp_push, ordering.memory_budget)?,
            shard: ShardSettings::new(&wiring.wsp_shard)?,
            ordering,
            runs_root: runs_root.map_or_else(|| DEFAULT_RUNS_ROOT.into(), PathBuf::from),
            thresholds: Thresholds {
                fail_if: wiring.wsp_thresholds.fail_if,
                abort_if: wiring.wsp_thresholds.abort_if,
            },
            digest: Some(digest::digest_of(&document.settings())),
            warnings: literals.warnings,
            keys: document.present_keys(),
            variables: variables_of(text),
        };
        profile.check_places()?;
        Ok(profile)
    }

    /// The value of a key that a command needs.
    ///
    /// # Errors
    /// `PROFILE_VALUE_MISSING` naming the key and the flag that stands for it.
    pub fn require<'a>(value: Option<&'a String>, key: &str, flag: &str) -> Result<&'a str, Error> {
        value
            .map(String::as_str)
            .filter(|text| !text.trim().is_empty())
            .ok_or_else(|| {
                let or_flag = if flag.is_empty() {
                    String::new()
                } else {
                    format!(" or give {flag}")
                };
                Error::new(
                    ReasonCode::ProfileValueMissing,
                    format!("The profile's `{key}` is not set, or its variable is not"),
                    format!("Set it{or_flag}."),
                )
            })
    }

    /// The path of the catalogue: what the profile or a flag names, else, in local posture, the
    /// first of its usual places that is there.
    ///
    /// # Errors
    /// `PROFILE_VALUE_MISSING` where nothing names it and posture is strict.
    pub fn catalogue(&self) -> Result<PathBuf, Error> {
        if self.catalogue_path.is_none() && self.posture == Posture::Local {
            let mut places = DEFAULT_CATALOGUES
                .map(|place| self.resolve_ref(place))
                .into_iter();
            let first = places.next().unwrap_or_default();
            let found = if first.exists() {
                None
            } else {
                places.find(|place| place.exists())
            };
            return Ok(found.unwrap_or(first));
        }
        let named = Self::require(
            self.catalogue_path.as_ref(),
            "wiring.engine_catalogue_path",
            "--catalogue",
        )?;
        Ok(self.resolve_ref(named))
    }

    /// The column that holds the event times of an output's rows: what `policy.time_columns` says,
    /// else what is known of the output, else `ts_utc`.
    pub fn time_column(&self, output_id: &str) -> &str {
        let known = KNOWN_TIME_COLUMNS
            .iter()
            .find(|(known, _)| *known == output_id);
        let named = self.time_columns.get(output_id).map(String::as_str);
        named.unwrap_or(known.map_or(TIME_COLUMN, |(_, column)| column))
    }

    /// Whether the file gives a key of `policy` or `wiring` a value.
    fn has_key(&self, path: &str) -> bool {
        self.keys.contains(path) || self.keys.contains(&format!("{path}_ref"))
    }

    /// Has one list give context to any traffic.
    fn set_context(&mut self, list: OutputList) {
        self.context = Some(list);
        self.baseline_context = None;
    }

    /// The path of a file that the profile refers to: as written if it is absolute or exists from
    /// the working directory, else beside the profile.
    pub fn resolve_ref(&self, reference: &str) -> PathBuf {
        let path = Path::new(reference);
        if path.is_absolute() || path.exists() {
            return path.to_owned();
        }
        let beside = self.path.parent().map(|folder| folder.join(path));
        beside
            .filter(|beside| beside.exists())
            .unwrap_or_else(|| path.to_owned())
    }

    /// The ids of an output list, read from its file if it has one.
    ///
    /// # Errors
    /// `PROFILE_REF_UNREADABLE` naming the file.
    pub fn read_outputs(&self, list: &OutputList) -> Result<Vec<String>, Error> {
        let reference = match list {
            OutputList::Inline(ids) => return Ok(ids.clone()),
            OutputList::Ref(reference) => reference,
        };
        let path = self.resolve_ref(reference);
        let unreadable = |why: String| {
            Error::new(
                ReasonCode::ProfileRefUnreadable,
                format!("The output list {} cannot be read: {why}", path.display()),
                "It is a YAML list of output ids, or a mapping with `output_ids`.",
            )
        };
        let text = read_text(&path).map_err(|error| unreadable(error.to_string()))?;
        document::parse_output_list(&text).map_err(unreadable)
    }

    /// Refuses (strict) or warns of (local) a token that would leave this host
    /// over plain http.
    ///
    /// # Errors
    /// `PROFILE_TOKEN_IN_CLEAR`.
    pub fn check_token_travels_safely(&self, endpoint: &PushEndpoint) -> Result<(), Error> {
        let follows_proxies = self.push.client == PushClientKind::Reqwest && !endpoint.is_https();
        let environment = |name: &str| std::env::var(name).ok();
        let proxy = follows_proxies
            .then(|| clear_text_proxy(endpoint.host(), &environment))
            .flatten();
        let reader = match proxy {
            _ if endpoint.sends_in_clear_to_other_host() => "to another host".to_owned(),
            Some(variable) => format!("to the proxy that `{variable}` names"),
            None => return Ok(()),
        };
        if self.posture == Posture::Strict {
            return Err(Error::new(
                ReasonCode::ProfileTokenInClear,
                format!(
                    "The token of `wiring.security.wsp_auth_token` would travel over plain http \
                     {reader}"
                ),
                "Use an https `ig_ingest_url`, or name the gate in `no_proxy`.",
            ));
        }
        tracing::warn!("the token travels over plain http {reader}; strict posture refuses this");
        Ok(())
    }
}

/// The names of all variables that a text refers to.
fn variables_of(text: &str) -> BTreeSet<String> {
    let names = text.split("${").skip(1).map(|behind| {
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        behind.split(|c| !is_of_name(c)).next().unwrap_or_default()
    });
    names.map(str::to_owned).collect()
}

/// Reads a text file that people write (a pipe or a device is refused), without the byte order mark of some editors.
pub(crate) fn read_text(path: &Path) -> std::io::Result<String> {
    let bytes = read_named_file(path)?;
    let mut text = String::from_utf8(bytes).map_err(|error| {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error.utf8_error())
    })?;
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len_utf8());
    }
    Ok(text)
}

fn posture(policy: &PolicyBlock, profile_id: &str) -> Posture {
    policy.posture.unwrap_or(match profile_id {
        "local" | "dev_local" | "local_parity" => Posture::Local,
        _ => Posture::Strict,
    })
}

fn require_gate_pass(policy: &PolicyBlock, posture: Posture, warnings: &mut Vec<String>) -> bool {
    match (policy.require_gate_pass.unwrap_or(true), posture) {
        (true, _) => true,
        (false, Posture::Local) => {
            warnings.push("gates are waived (require_gate_pass: false)".to_owned());
            false
        }
        (false, Posture::Strict) => {
            warnings.push("require_gate_pass: false has no effect in strict posture".to_owned());
            true
        }
    }
}

fn gate_verification(policy: &PolicyBlock, posture: Posture) -> Result<VerificationMode, Error> {
    match (policy.gate_verification, posture) {
        (Some(VerificationMode::Presence), Posture::Strict) => Err(invalid(
            "policy.gate_verification",
            "is `presence`, which strict posture does not allow",
        )),
        (Some(asked), _) => Ok(asked),
        (None, Posture::Strict) => Ok(VerificationMode::Digest),
        (None, Posture::Local) => Ok(VerificationMode::Presence),
    }
}

fn time_columns(columns: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Error> {
    match columns.iter().find(|(_, column)| column.trim().is_empty()) {
        Some((output, _)) => {
            let key = format!("policy.time_columns.{output}");
            Err(invalid(&key, "names no column"))
        }
        None => Ok(columns),
    }
}

fn output_list(inline: Texts, reference: Option<String>) -> Option<OutputList> {
    let inline = inline.0.map(OutputList::Inline);
    inline.or_else(|| reference.map(OutputList::Ref))
}

fn auth_token(
    AsWritten(token): Written,
    env: Env<'_>,
    literals: &mut Literals,
) -> Result<Option<Secret>, Error> {
    if token.as_ref().is_some_and(secret::token_is_literal) {
        literals.found("wiring.security.wsp_auth_token")?;
    }
    let token = token.and_then(|token| token.expand(env));
    Ok(token.filter(|token| !token.is_empty()).map(Secret::new))
}

/// A URL, which has no business to hold a password.
fn address(
    AsWritten(url): Written,
    key: &str,
    env: Env<'_>,
    literals: &mut Literals,
) -> Result<Option<String>, Error> {
    let Some(url) = url else { return Ok(None) };
    let expanded = url.expand(env);
    if secret::holds_literal_password(&url) {
        literals.found(key)?;
    } else if expanded.as_deref().is_some_and(places::holds_credentials) {
        // Not repeated: it came from the environment, where nobody sees it.
        let problem = "holds a user and a password, and an address is needed; credentials have \
                       keys and variables of their own";
        return Err(invalid(key, problem));
    }
    Ok(expanded)
}

#[cfg(test)]
mod tests;
