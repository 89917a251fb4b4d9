//! Which outputs are streamed: the policy's list, filtered, each with its role.

use oracle_store::{Catalogue, CatalogueEntry, OutputId};
use serde::{Deserialize, Serialize};

use crate::profile::{OutputList, Profile};
use crate::{Error, ReasonCode};

/// The role of an output on the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Traffic that the platform decides on.
    BusinessTraffic,
    /// Context of the traffic; streamed unless `stream_context: false`.
    BehaviouralContext,
}

/// One output to stream.
#[derive(Debug, Clone)]
pub struct SelectedOutput {
    /// The role of the output on the platform.
    pub role: Role,
    /// The catalogue's entry of the output.
    pub entry: CatalogueEntry,
}

/// The policy's outputs (traffic in its order, then context in its order), only
/// those of `filter` if one is given.
///
/// # Errors
/// `NO_TRAFFIC_OUTPUTS`, `OUTPUT_UNKNOWN`, `OUTPUT_NOT_IN_POLICY`;
/// `PROFILE_REF_UNREADABLE` for a list file.
pub fn select(
    profile: &Profile,
    filter: Option<&[String]>,
    catalogue: &Catalogue,
) -> Result<Vec<SelectedOutput>, Error> {
    let mut listed: Vec<(Role, String)> = Vec::new();
    let traffic = profile
        .traffic
        .as_ref()
        .map(|list| profile.read_outputs(list))
        .transpose()?;
    listed.extend(
        traffic
            .unwrap_or_default()
            .into_iter()
            .map(|id| (Role::BusinessTraffic, id)),
    );
    if listed.is_empty() {
        return Err(Error::new(
            ReasonCode::NoTrafficOutputs,
            "The policy lists no traffic outputs",
            "Set `policy.traffic_output_ids_ref` to a list with at least one id.",
        ));
    }
    if let (true, Some(context)) = (profile.stream_context, context_of(profile, &listed)) {
        let ids = profile.read_outputs(context)?;
        listed.extend(ids.into_iter().map(|id| (Role::BehaviouralContext, id)));
    }
    let mut seen = std::collections::HashSet::new();
    listed.retain(|(_, id)| seen.insert(id.clone()));
    if let Some(filter) = filter {
        check_filter(filter, &listed, catalogue)?;
        listed.retain(|(_, id)| filter.contains(id));
    }
    listed
        .into_iter()
        .map(|(role, id)| selected(role, id, catalogue))
        .collect()
}

/// The list that gives context to this traffic: baseline traffic has one of its own.
fn context_of<'p>(profile: &'p Profile, traffic: &[(Role, String)]) -> Option<&'p OutputList> {
    let has = |segment| traffic.iter().any(|(_, id)| id.starts_with(segment));
    let baseline = has("s2_") && !has("s3_");
    let own = profile.baseline_context.as_ref().filter(|_| baseline);
    own.or(profile.context.as_ref())
}

fn check_filter(
    filter: &[String],
    listed: &[(Role, String)],
    catalogue: &Catalogue,
) -> Result<(), Error> {
    if filter.is_empty() {
        return Err(Error::new(
            ReasonCode::NoTrafficOutputs,
            "--output-ids names no output",
            "Name at least one, or leave the flag out.",
        ));
    }
    for id in filter {
        if listed.iter().any(|(_, listed)| listed == id) {
            continue;
        }
        if catalogue.output(&OutputId::new(id.as_str())).is_none() {
            return Err(unknown(id));
        }
        return Err(Error::new(
            ReasonCode::OutputNotInPolicy,
            format!("The output {id} is not in the policy's list"),
            "Add it to the list of `traffic_output_ids` or `context_output_ids` (and no `stream_context: false`).",
        ));
    }
    Ok(())
}

fn selected(role: Role, id: String, catalogue: &Catalogue) -> Result<SelectedOutput, Error> {
    let entry = catalogue
        .output(&OutputId::new(id.as_str()))
        .ok_or_else(|| unknown(&id))?;
    Ok(SelectedOutput {
        role,
        entry: entry.clone(),
    })
}

/// Checks that the rows of an output have an identity.
///
/// # Errors
/// `PRIMARY_KEY_UNDEFINED`.
pub fn check_key(entry: &CatalogueEntry) -> Result<(), Error> {
    let CatalogueEntry {
        output_id,
        primary_key,
        ..
    } = entry;
    if !primary_key.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ReasonCode::PrimaryKeyUndefined,
        format!(
            "The output {output_id} has no primary key in the catalogue, so its rows have no \
             identity"
        ),
        "Stream another output, or have the catalogue define its key.",
    ))
}

fn unknown(id: &str) -> Error {
    Error::new(
        ReasonCode::OutputUnknown,
        format!("The output {id} is not in the catalogue"),
        "Check its spelling, and that catalogue and world are of one engine release.",
    )
}
