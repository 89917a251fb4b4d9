//! Where each value of a request comes from: flag, environment, profile or default.

use std::collections::BTreeMap;

use serde::Serialize;

use super::overrides::Overrides;
use super::secret::without_credentials;
use super::{OutputList, Profile};

/// One value of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Setting {
    /// The key of the profile, or the flag where no key stands for it.
    pub key: &'static str,
    /// The value as text; `None` where there is none, or where it may hold a credential.
    pub value: Option<String>,
    /// `flag`, `environment`, `profile` or `default`; with the flag or variable that set it.
    pub from: String,
}

/// What set values, beside the profile.
#[derive(Debug)]
pub(super) struct Origins {
    /// The overrides before the environment was applied to them.
    pub(super) flags: Overrides,
    /// The variable that set a key or flag.
    pub(super) variables: BTreeMap<&'static str, &'static str>,
}

/// A row of the list: a key, the flag that stands for it and whether it was given, the value.
struct Row {
    key: &'static str,
    flag: Option<&'static str>,
    value: Option<String>,
}

/// The values that may come from several places, each with the place it came from.
pub(super) fn settings_of(
    profile: &Profile,
    overrides: &Overrides,
    origins: &Origins,
) -> Vec<Setting> {
    let of_world = rows_of_the_world(profile, overrides, &origins.flags);
    let of_run = rows_of_the_run(profile, overrides, &origins.flags);
    let settings = of_world
        .into_iter()
        .chain(of_run)
        .map(|Row { key, flag, value }| {
            let from = match (flag, origins.variables.get(key)) {
                (Some(flag), _) => format!("flag {flag}"),
                (None, Some(variable)) => format!("environment {variable}"),
                (None, None) if profile.has_key(key) => "profile".to_owned(),
                (None, None) => "default".to_owned(),
            };
            let value = value.map(without_credentials);
            Setting { key, value, from }
        });
    settings.collect()
}

/// Shorthand of the lists below.
fn row(key: &'static str, flag: Option<&'static str>, value: Option<String>) -> Row {
    Row { key, flag, value }
}

fn given(flag: &'static str, is_given: bool) -> Option<&'static str> {
    is_given.then_some(flag)
}

/// Which world is read, which of it, and where it goes.
fn rows_of_the_world(profile: &Profile, overrides: &Overrides, flags: &Overrides) -> Vec<Row> {
    vec![
        row(
            "wiring.oracle_engine_run_root",
            given("--engine-run-root", flags.engine_run_root.is_some()),
            profile.engine_run_root.clone(),
        ),
        row("wiring.oracle_root", None, profile.oracle_root.clone()),
        row(
            "wiring.oracle_scenario_id",
            given("--scenario-id", flags.scenario_id.is_some()),
            overrides
                .scenario_id
                .clone()
                .or_else(|| profile.scenario_id.clone()),
        ),
        row(
            "wiring.engine_catalogue_path",
            given("--catalogue", flags.catalogue.is_some()),
            profile.catalogue_path.clone(),
        ),
        row(
            "wiring.gate_map_path",
            given("--gate-map", flags.gate_map.is_some()),
            profile.gate_map_path.clone(),
        ),
        row(
            "wiring.ig_ingest_url",
            given("--ig-url", flags.ig_url.is_some()),
            profile.ig_ingest_url.clone(),
        ),
        row(
            "policy.traffic_output_ids",
            None,
            profile.traffic.as_ref().map(shown),
        ),
        row(
            "policy.context_output_ids",
            None,
            profile.context.as_ref().map(shown),
        ),
        row(
            "policy.stream_source",
            given("--stream-source", flags.stream_source.is_some()),
            name_of(&profile.stream_source),
        ),
        row(
            "wiring.oracle_stream_view_root",
            None,
            profile.stream_view_root.clone(),
        ),
        row(
            "--output-ids",
            given("--output-ids", flags.output_ids.is_some()),
            overrides.output_ids.as_ref().map(|ids| ids.join(",")),
        ),
    ]
}

/// How it is streamed, and where its cursors are.
fn rows_of_the_run(profile: &Profile, overrides: &Overrides, flags: &Overrides) -> Vec<Row> {
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let time = |time: Option<envelope::EventTime>| time.map(|time| time.to_string());
    let checkpoint = &profile.checkpoint;
    let bounds = overrides.bounds;
    vec![
        row(
            "policy.stream_order",
            given("--order", flags.order.is_some()),
            profile.order.map(|order| order.as_str().to_owned()),
        ),
        row(
            match profile.pace {
                replay::Pace::Speedup(_) => "policy.stream_speedup",
                replay::Pace::Rate(_) => "policy.stream_rate",
            },
            given("--speedup or --rate", flags.pace.is_some()),
            Some(profile.pace.to_string()),
        ),
        row(
            "policy.max_rate",
            given("--max-rate", flags.max_rate.is_some()),
            profile.max_rate.as_ref().map(ToString::to_string),
        ),
        row(
            "--start-at",
            given("--start-at", flags.start_at.is_some()),
            time(overrides.start_at.or(overrides.not_before)),
        ),
        row(
            "--max-events",
            given("--max-events", flags.bounds.events.is_some()),
            number(bounds.events),
        ),
        row(
            "--max-events-per-output",
            given(
                "--max-events-per-output",
                flags.bounds.events_per_output.is_some(),
            ),
            number(bounds.events_per_output),
        ),
        row(
            "wiring.wsp_checkpoint.backend",
            None,
            name_of(&checkpoint.backend),
        ),
        row(
            "wiring.wsp_checkpoint.root",
            None,
            Some(checkpoint.root.clone()),
        ),
        row("wiring.wsp_checkpoint.dsn", None, None),
        row(
            "wiring.wsp_checkpoint.flush_every",
            None,
            number(Some(checkpoint.flush_every)),
        ),
        row(
            "wiring.wsp_push.lanes",
            None,
            Some(profile.push.lanes.count.get().to_string()),
        ),
        row(
            "wiring.wsp_push.on_reject",
            given("--on-reject", flags.on_reject.is_some()),
            name_of(&profile.rejects.on_reject),
        ),
    ]
}

/// A choice as the profile spells it.
pub(super) fn name_of(choice: &impl Serialize) -> Option<String> {
    let name = serde_json::to_value(choice).ok()?;
    name.as_str().map(str::to_owned)
}

pub(super) fn shown(list: &OutputList) -> String {
    match list {
        OutputList::Inline(ids) => ids.join(","),
        OutputList::Ref(path) => path.clone(),
    }
}
