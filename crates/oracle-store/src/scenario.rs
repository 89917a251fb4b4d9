//! Which scenario of a run is meant: the flag, else the profile, else the manifest,
//! else the one that the selected outputs' own paths hold.

use std::collections::BTreeSet;

use crate::catalogue::CatalogueEntry;
use crate::error::{Error, ReasonCode};
use crate::manifest::PackManifest;
use crate::store::WorldStore;
use crate::template::{Tokens, render};
use model::ScenarioId;

/// The folder of a path template that names the scenario.
const SCENARIO_FOLDER: &str = "scenario_id={scenario_id}";

/// Resolves the scenario id of a world.
///
/// `named` are the ids named by flag and profile, in that order; empty ones count as
/// not named. `tokens` are those of the run. Only where neither they nor the manifest
/// name one, the `scenario_id=` level of the selected outputs' own paths is listed.
///
/// # Errors
/// `SCENARIO_ID_MISSING`, `SCENARIO_ID_AMBIGUOUS`; `PACK_MANIFEST_INVALID` where the
/// manifest must be asked and cannot be; `TEMPLATE_TOKEN_MISSING`, `ORACLE_READ_FAILED`.
pub async fn resolve_scenario_id(
    store: &WorldStore,
    named: &[Option<&str>],
    selected: &[&CatalogueEntry],
    tokens: &Tokens,
) -> Result<ScenarioId, Error> {
    if let Some(id) = named.iter().flatten().find(|id| !id.is_empty()) {
        return parse(id);
    }
    if let Some(manifest) = PackManifest::load(store).await? {
        return Ok(manifest.world_key.scenario_id);
    }
    let mut found = BTreeSet::new();
    for entry in selected {
        if let Some(level) = scenario_level(entry) {
            let folders = store.list_folders(&render(&level, tokens)?).await?;
            let ids = folders
                .iter()
                .filter_map(|folder| folder.strip_prefix("scenario_id="));
            found.extend(ids.map(str::to_owned));
        }
    }
    let mut ids = found.iter();
    match (ids.next(), ids.next()) {
        (None, _) => Err(Error::new(
            ReasonCode::ScenarioIdMissing,
            "No scenario id is named, and the selected outputs' paths hold none",
        )
        .object(store.root().as_str())),
        (Some(id), None) => parse(id),
        (Some(_), Some(_)) => {
            let ids: Vec<_> = found.iter().map(String::as_str).collect();
            let what = format!(
                "The selected outputs hold several scenarios ({})",
                ids.join(", ")
            );
            Err(Error::new(ReasonCode::ScenarioIdAmbiguous, what).object(store.root().as_str()))
        }
    }
}

fn parse(id: &str) -> Result<ScenarioId, Error> {
    ScenarioId::parse(id).map_err(|invalid| {
        let what = "The scenario id cannot be used";
        Error::new(ReasonCode::ScenarioIdMissing, what).because(invalid)
    })
}

/// The template of the folder whose sub-folders are the scenarios, if the output has one.
fn scenario_level(entry: &CatalogueEntry) -> Option<String> {
    let template = entry.path_template.as_deref()?.trim();
    let folders: Vec<&str> = template.split('/').collect();
    let at = folders
        .iter()
        .position(|folder| *folder == SCENARIO_FOLDER)?;
    Some(folders[..at].join("/"))
}
