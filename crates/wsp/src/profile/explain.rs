//! What a profile comes to, key by key, without a world: for people who write one.

use std::collections::BTreeSet;
use std::path::Path;

use oracle_store::Posture;
use serde::Serialize;

use super::origins::{name_of, shown};
use super::secret::without_credentials;
use super::{CheckpointBackend, Env, Profile, read_text};
use crate::Error;
use crate::ReasonCode;

/// What a profile comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// `VALID`.
    pub status: &'static str,
    /// The file.
    pub profile: String,
    /// The id of the profile; empty where it has none.
    pub profile_id: String,
    /// The posture that decides how much evidence must stand.
    pub posture: Posture,
    /// The variables without a default that the file names and the environment does not set: each
    /// value that names one is absent.
    pub unset_variables: Vec<String>,
    /// What is unwise and allowed, a sentence each.
    pub warnings: Vec<String>,
    /// Every setting, in the order of the file's blocks; left out by a check.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<ExplainedSetting>,
}

impl Explanation {
    /// The same without its settings.
    #[must_use]
    pub fn without_settings(mut self) -> Self {
        self.settings.clear();
        self
    }
}

/// One setting of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExplainedSetting {
    /// The key, with the blocks around it.
    pub key: &'static str,
    /// The value in force; `None` where there is none. A secret is `hidden`.
    pub value: Option<String>,
    /// `profile`, or `default` where the file has no value for it.
    pub from: &'static str,
    /// Why the default is what it is, or what its absence means; `None` for a value of the file.
    pub why: Option<&'static str>,
}

/// Reads and checks a profile, and explains it.
///
/// # Errors
/// As [`Profile::load`].
pub fn explain(path: &Path, env: Env<'_>) -> Result<Explanation, Error> {
    let profile = Profile::load(path, env)?;
    let text = read_text(path).map_err(|source| {
        let what = format!("The profile {} cannot be read", path.display());
        Error::caused(ReasonCode::ProfileUnreadable, what, "Name a file.", source)
    })?;
    let mut rows = of_policy(&profile);
    rows.extend(of_wiring(&profile));
    rows.extend(of_pushing(&profile));
    rows.extend(of_keeping(&profile));
    rows.extend(of_shard(&profile));
    let settings = rows.into_iter().map(|(key, value, why)| {
        let is_given = profile.has_key(key);
        ExplainedSetting {
            key,
            value: value.map(without_credentials),
            from: if is_given { "profile" } else { "default" },
            why: (!is_given && !why.is_empty()).then_some(why),
        }
    });
    Ok(Explanation {
        status: "VALID",
        profile: path.display().to_string(),
        profile_id: profile.profile_id.clone(),
        posture: profile.posture,
        unset_variables: unset_variables(&text, env).into_iter().collect(),
        warnings: profile.warnings.clone(),
        settings: settings.collect(),
    })
}

/// The variables that stand as `${NAME}`, without a default, and are not set.
fn unset_variables(text: &str, env: Env<'_>) -> BTreeSet<String> {
    let lines = text.lines().map(|line| {
        // What is commented out is asked for by nobody.
        line.split(" #").next().unwrap_or_default()
    });
    let lines = lines.filter(|line| !line.trim_start().starts_with('#'));
    let named = lines.flat_map(|line| line.split("${").skip(1));
    let named = named.filter_map(|behind| {
        let end = behind.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'))?;
        behind[end..].starts_with('}').then(|| &behind[..end])
    });
    let is_unset = |name: &&str| env(name).is_none_or(|value| value.is_empty());
    named.filter(is_unset).map(str::to_owned).collect()
}

/// A key, its value, and why the value is so where the file has none.
type Row = (&'static str, Option<String>, &'static str);

fn of_policy(profile: &Profile) -> Vec<Row> {
    vec![
        (
            "policy.posture",
            name_of(&profile.posture),
            "by profile_id: local, dev_local and local_parity are local, every other is strict",
        ),
        (
            "policy.policy_rev",
            profile.policy_rev.clone(),
            "audit and report name none",
        ),
        (
            "policy.require_gate_pass",
            Some(profile.require_gate_pass.to_string()),
            "no PASS, no read; false is honoured in local posture only",
        ),
        (
            "policy.gate_verification",
            name_of(&profile.gate_verification),
            "digest in strict posture, presence in local",
        ),
        (
            "policy.data_verification",
            profile.data_verification.as_ref().and_then(name_of),
            "size in strict posture where the pack has a contents index, none in local",
        ),
        (
            match profile.pace {
                replay::Pace::Speedup(_) => "policy.stream_speedup",
                replay::Pace::Rate(_) => "policy.stream_rate",
            },
            Some(profile.pace.to_string()),
            "one event second a wall second",
        ),
        (
            "policy.max_rate",
            profile.max_rate.as_ref().map(ToString::to_string),
            "nothing bounds the events a second beside the pace",
        ),
        (
            "policy.stream_order",
            profile.order.map(|order| order.as_str().to_owned()),
            "the order of the cursors being resumed, else event_time",
        ),
        (
            "policy.stream_source",
            name_of(&profile.stream_source),
            "rows of the outputs themselves",
        ),
        (
            "policy.trust_stream_views",
            Some(profile.trust_stream_views.to_string()),
            "strict posture refuses views whose bytes nothing proves",
        ),
        (
            "policy.traffic_output_ids",
            profile.traffic.as_ref().map(shown),
            "a stream needs some: NO_TRAFFIC_OUTPUTS",
        ),
        (
            "policy.context_output_ids",
            profile.context.as_ref().map(shown),
            "no context is streamed",
        ),
        (
            "policy.context_output_ids_baseline",
            profile.baseline_context.as_ref().map(shown),
            "one list of context is for all traffic",
        ),
        (
            "policy.stream_context",
            Some(profile.stream_context.to_string()),
            "context outputs are streamed behind the traffic in the list",
        ),
    ]
}

fn of_wiring(profile: &Profile) -> Vec<Row> {
    let store = &profile.object_store;
    let hidden = |is_set: bool| is_set.then(|| "hidden".to_owned());
    vec![
        (
            "wiring.object_store.endpoint",
            store.endpoint.clone(),
            "that of the object store's maker",
        ),
        (
            "wiring.object_store.region",
            store.region.clone(),
            "AWS_REGION, else us-east-1",
        ),
        (
            "wiring.object_store.path_style",
            store
                .path_style
                .map(|is_path_style| is_path_style.to_string()),
            "by endpoint",
        ),
        (
            "wiring.oracle_root",
            profile.oracle_root.clone(),
            "in local posture only; strict posture has none",
        ),
        (
            "wiring.oracle_engine_run_root",
            profile.engine_run_root.clone(),
            "--engine-run-root names it: a world is always named",
        ),
        (
            "wiring.oracle_scenario_id",
            profile.scenario_id.clone(),
            "--scenario-id, else the pack manifest, else the outputs' own paths",
        ),
        (
            "wiring.oracle_stream_view_root",
            profile.stream_view_root.clone(),
            "stream_view/ts_utc under the engine run root",
        ),
        (
            "wiring.engine_catalogue_path",
            profile.catalogue_path.clone(),
            "--catalogue names it; in local posture its usual places are looked at",
        ),
        (
            "wiring.gate_map_path",
            profile.gate_map_path.clone(),
            "engine_gates.map.yaml beside the catalogue",
        ),
        (
            "wiring.ig_ingest_url",
            profile.ig_ingest_url.clone(),
            "the stand-in gate, in local posture only; --ig-url names another",
        ),
        (
            "wiring.security.api_key_header",
            Some(profile.api_key_header.clone()),
            "the platform's usual header",
        ),
        (
            "wiring.security.wsp_auth_token",
            hidden(profile.auth_token.is_some()),
            "no token is shown to the gate",
        ),
        (
            "wiring.wsp_producer.producer_id",
            profile.producer.producer_id.clone(),
            "a stream needs one: PRODUCER_ID_MISSING",
        ),
        (
            "wiring.wsp_producer.allowlist_ref",
            profile.producer.allowlist_ref.clone(),
            "a stream needs one: PRODUCER_ALLOWLIST_MISSING",
        ),
    ]
}

fn of_pushing(profile: &Profile) -> Vec<Row> {
    let (push, retry) = (&profile.push, &profile.retry);
    let lanes = &push.lanes;
    vec![
        (
            "wiring.wsp_push.lanes",
            Some(lanes.count.get().to_string()),
            "32 requests in flight; one where ordering is strict",
        ),
        (
            "wiring.wsp_push.ordering",
            name_of(&lanes.ordering),
            "events of one key keep their order",
        ),
        (
            "wiring.wsp_push.concurrency",
            name_of(&lanes.concurrency),
            "all lanes may send at any time",
        ),
        (
            "wiring.wsp_push.timeout_ms",
            Some(push.timeout.as_millis().to_string()),
            "half a minute for a whole answer",
        ),
        (
            "wiring.wsp_push.drain_timeout_s",
            Some(lanes.drain_timeout.as_secs().to_string()),
            "what a stop waits for answers",
        ),
        (
            "wiring.wsp_push.client",
            name_of(&push.client),
            "the fast client; reqwest is for proxies",
        ),
        (
            "wiring.wsp_push.when_late",
            name_of(&push.when_late),
            "a late stream sends until it is on schedule again",
        ),
        (
            "wiring.wsp_push.on_reject",
            name_of(&profile.rejects.on_reject),
            "a refused event ends the stream",
        ),
        (
            "wiring.wsp_push.max_quarantined",
            Some(profile.rejects.max_quarantined.to_string()),
            "a bound for events that are set aside",
        ),
        (
            "wiring.wsp_push.on_gate_quarantine",
            name_of(&profile.gate_quarantine.on_gate_quarantine),
            "an event that the gate quarantines is done",
        ),
        (
            "wiring.wsp_push.max_gate_quarantined",
            profile.gate_quarantine.at_most.map(|most| most.to_string()),
            "the gate may quarantine as many as it wants",
        ),
        (
            "wiring.wsp_push.max_event_bytes",
            Some(lanes.max_event_bytes.to_string()),
            "the largest that gates take",
        ),
        (
            "wiring.wsp_push.emitted_at_utc",
            Some(lanes.stamps_emission.to_string()),
            "envelopes bear no time of sending",
        ),
        (
            "wiring.wsp_retry.max_attempts",
            Some(retry.max_attempts.to_string()),
            "attempts whose delays grow",
        ),
        (
            "wiring.wsp_retry.base_delay_ms",
            Some(retry.base_delay.as_millis().to_string()),
            "the bound of the first delay",
        ),
        (
            "wiring.wsp_retry.max_delay_ms",
            Some(retry.max_delay.as_millis().to_string()),
            "the bound of every delay",
        ),
        (
            "wiring.wsp_retry.give_up_after_s",
            Some(retry.give_up_after.as_secs().to_string()),
            "how long gate and store may be away",
        ),
    ]
}

fn of_keeping(profile: &Profile) -> Vec<Row> {
    let (checkpoint, order) = (&profile.checkpoint, &profile.ordering);
    let has_root = checkpoint.backend != CheckpointBackend::Postgres;
    let path = |path: &Path| path.display().to_string();
    let hidden = checkpoint.dsn.as_ref().map(|_| "hidden".to_owned());
    vec![
        (
            "wiring.wsp_checkpoint.backend",
            name_of(&checkpoint.backend),
            "cursors in files",
        ),
        (
            "wiring.wsp_checkpoint.root",
            has_root.then(|| checkpoint.root.clone()),
            "under the platform's runs root",
        ),
        (
            "wiring.wsp_checkpoint.dsn",
            hidden,
            "needed by the backend postgres alone",
        ),
        (
            "wiring.wsp_checkpoint.flush_every",
            Some(checkpoint.flush_every.to_string()),
            "a save for each event: the fewest repeats after a crash",
        ),
        (
            "wiring.wsp_checkpoint.scope",
            name_of(&checkpoint.scope),
            "one cursor an output for all platform runs",
        ),
        (
            "wiring.wsp_checkpoint.lease_s",
            Some(checkpoint.lease.as_secs().to_string()),
            "a dead producer's cursors wait this long",
        ),
        (
            "wiring.wsp_checkpoint.save_timeout_s",
            Some(checkpoint.save_timeout.as_secs().to_string()),
            "what a stop waits for the last save",
        ),
        (
            "wiring.wsp_order.on_disorder",
            name_of(&order.on_disorder),
            "parts out of order are sorted once",
        ),
        (
            "wiring.wsp_order.sort_cache_mib",
            Some((order.sort_cache >> 20).to_string()),
            "a hundred million rows of 250 bytes",
        ),
        (
            "wiring.wsp_order.sort_cache",
            profile.sort_cache.as_deref().map(path),
            "under the runs root, or the cache folder of this machine",
        ),
        (
            "wiring.wsp_order.memory_budget_mib",
            Some((order.memory_budget >> 20).to_string()),
            "what the whole process may take",
        ),
        (
            "wiring.wsp_order.time_index",
            profile.time_index.as_deref().map(path),
            "under the runs root, or the cache folder of this machine",
        ),
        (
            "wiring.wsp_audit.root",
            Some(path(&profile.runs_root)),
            "the platform's runs root",
        ),
    ]
}

fn of_shard(profile: &Profile) -> Vec<Row> {
    let shard = &profile.shard;
    vec![
        (
            "wiring.wsp_shard.index",
            shard.index.map(|index| index.to_string()),
            "a stream in one piece has none; what streams one of several shards needs it",
        ),
        (
            "wiring.wsp_shard.count",
            Some(shard.count.to_string()),
            "one process streams everything",
        ),
        (
            "wiring.wsp_shard.by",
            name_of(&shard.by),
            "a key's events stay in one shard and in order",
        ),
        (
            "wiring.wsp_shard.max_clock_skew_ms",
            Some(shard.max_clock_skew.as_millis().to_string()),
            "what shards of one schedule may be apart",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(text: &str, env: Env<'_>) -> Result<Explanation, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile.yaml");
        std::fs::write(&path, text).unwrap();
        explain(&path, env)
    }

    #[test]
    fn each_setting_says_where_it_is_from_and_a_default_says_why() {
        let text = "profile_id: local\npolicy:\n  stream_speedup: 600\nwiring:\n  wsp_push:\n    lanes: ${LANES:-8}\n";
        let explanation = explained(text, &|_| None).unwrap();
        let of = |key: &str| {
            let mut settings = explanation.settings.iter();
            settings.find(|setting| setting.key == key).unwrap()
        };
        let lanes = of("wiring.wsp_push.lanes");
        assert_eq!(
            (lanes.value.as_deref(), lanes.from, lanes.why),
            (Some("8"), "profile", None)
        );
        let verification = of("policy.gate_verification");
        assert_eq!(
            (verification.value.as_deref(), verification.from),
            (Some("presence"), "default")
        );
        assert!(verification.why.unwrap().contains("strict"));
        let keys: BTreeSet<&str> = explanation
            .settings
            .iter()
            .map(|setting| setting.key)
            .collect();
        assert_eq!(keys.len(), explanation.settings.len(), "each key once");
        assert!(explanation.without_settings().settings.is_empty());
    }

    #[test]
    fn no_secret_is_explained() {
        let env = |name: &str| Some(format!("hunter2-{name}"));
        let text = "profile_id: prod\nwiring:\n  wsp_checkpoint:\n    backend: postgres\n    dsn: ${DSN}\n  security:\n    wsp_auth_token: ${TOKEN}\n";
        let explanation = explained(text, &env).unwrap();
        let written = serde_json::to_string(&explanation).unwrap();
        assert!(!written.contains("hunter2"), "{written}");
        assert_eq!(written.matches("\"hidden\"").count(), 2);
    }

    #[test]
    fn variables_without_a_value_and_a_default_are_named() {
        let env = |name: &str| (name == "SET").then(|| "x".to_owned());
        let text = "profile_id: local # ${COMMENT}\n# ${OUT}\nwiring:\n  oracle_root: ${SET}/${UNSET}\n  gate_map_path: ${OTHER:-${INNER}}\n";
        let explanation = explained(text, &env).unwrap();
        assert_eq!(explanation.unset_variables, ["INNER", "UNSET"]);
    }

    #[test]
    fn a_profile_that_no_command_takes_is_refused_with_the_same_code() {
        for (text, code) in [
            ("wiring: {wsp_push: {lane: 3}}", "PROFILE_KEY_UNKNOWN"),
            (
                "policy: {stream_speedup: 1, stream_rate: 5}",
                "PROFILE_INVALID",
            ),
            ("[1]", "PROFILE_UNREADABLE"),
        ] {
            assert_eq!(explained(text, &|_| None).unwrap_err().code(), code);
        }
    }
}
