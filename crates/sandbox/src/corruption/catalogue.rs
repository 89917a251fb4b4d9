//! Corruptions of what the catalogue says of the first output.

use std::fs;

use serde_json::{Value, json};

use super::Corruption;
use super::evidence::{edit_yaml, lacking, own};
use crate::{Error, World};

/// Applies the corruption if it is one of a catalogue entry; says whether it was.
pub(super) fn apply(corruption: Corruption, world: &World) -> Result<bool, Error> {
    let edit = |change: &dyn Fn(&mut Value)| edit_entry(world, change);
    match corruption {
        Corruption::OutputUnknown => edit(&|entry| entry["output_id"] = json!("renamed"))?,
        Corruption::PrimaryKeyEmpty => edit(&|entry| entry["primary_key"] = json!([]))?,
        Corruption::TemplateMissing => edit(&|entry| entry["path_template"] = json!(""))?,
        Corruption::TemplateTokenUnknown => edit(&|entry| {
            entry["path_template"] = json!("data/hour={hour}/part-*.parquet");
        })?,
        Corruption::FormatUnsupported => {
            edit(&|entry| {
                let template = entry["path_template"].as_str().unwrap_or_default();
                entry["path_template"] = json!(template.replace(".parquet", ".csv"));
            })?;
            for part in first_output(world)?.1 {
                let renamed = part.with_extension("csv");
                fs::rename(part, renamed).map_err(Error::io("renaming", part))?;
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn first_output(world: &World) -> Result<(&str, &[std::path::PathBuf]), Error> {
    let output = world
        .options()
        .outputs
        .first()
        .ok_or_else(|| lacking("an output"))?;
    Ok((&output.output_id, world.parts(&output.output_id)))
}

fn edit_entry(world: &World, change: &dyn Fn(&mut Value)) -> Result<(), Error> {
    let (id, _) = first_output(world)?;
    edit_yaml(own(world, world.catalogue())?, |catalogue| {
        let mut entries = catalogue["outputs"].as_array_mut().into_iter().flatten();
        entries.find(|entry| entry["output_id"] == id).map(change);
    })
}
