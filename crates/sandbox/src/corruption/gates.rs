//! Corruptions of gates: their entry in the gate map, their flag, index and bundle.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::Corruption;
use super::evidence::{
    GARBAGE, edit, edit_text, edit_yaml, flip_middle_byte, lacking, link_outside, own, remove_file,
    write,
};
use crate::world::contract::{Contract, GateEntry, render};
use crate::{Contracts, Error, World};

/// Applies the corruption if it is one of a gate; says whether it was.
pub(super) fn apply(corruption: Corruption, world: &World) -> Result<bool, Error> {
    let gates = || Gates::of(world);
    match corruption {
        Corruption::GateUnknown => gates()?.edit_map(world, |gate| {
            gate["gate_id"] = json!("gate.renamed");
        })?,
        Corruption::GateMethodUnknown => gates()?.edit_map(world, |gate| {
            gate["verification_method"]["kind"] = json!("crc32_of_everything");
        })?,
        Corruption::FlagMissing => remove_file(&gates()?.first.flag)?,
        Corruption::UpstreamFlagMissing => remove_file(&gates()?.upstream()?.flag)?,
        Corruption::FlagFieldWrong => {
            let renamed = |text: String| text.replacen("sha", "md", 1);
            edit_text(&gates()?.first.flag, renamed)?;
        }
        Corruption::FlagUpperCase => edit_text(&gates()?.first.flag, |text| {
            let (name, digest) = text.split_once(" = ").unwrap_or(("", &text));
            format!("{name} = {}", digest.to_uppercase())
        })?,
        Corruption::FlagDigestWrong => edit_text(&gates()?.first.flag, |text| {
            let swap = |c| if c == '0' { '1' } else { '0' };
            let place = text.trim_end().len() - 2;
            let old = text[place..].chars().next().unwrap_or('0');
            format!("{}{}{}", &text[..place], swap(old), &text[place + 1..])
        })?,
        Corruption::BundleByteFlipped => flip_middle_byte(&gates()?.first.member())?,
        Corruption::UpstreamByteFlipped => flip_middle_byte(&gates()?.upstream()?.member())?,
        Corruption::BundleFileMissing => remove_file(&gates()?.first.member())?,
        Corruption::IndexMissing => remove_file(&gates()?.first.index)?,
        Corruption::IndexGarbage => write(&gates()?.first.index, GARBAGE)?,
        Corruption::IndexEmpty => edit(&gates()?.first.index, |index| items(index).clear())?,
        Corruption::IndexPathEscapes => edit(&gates()?.first.index, |index| {
            if let Some(item) = items(index).first_mut() {
                item["path"] = json!("../".repeat(40) + "etc/hostname");
            }
        })?,
        Corruption::BundleFileLinkedOutside => link_outside(&gates()?.first.member(), world)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// The files of one gate.
struct GateFiles {
    gate_id: String,
    flag: PathBuf,
    index: PathBuf,
    bundle: PathBuf,
}

impl GateFiles {
    /// A member that every bundle of the sandbox has.
    fn member(&self) -> PathBuf {
        self.bundle.join("report.json")
    }
}

struct Gates {
    first: GateFiles,
    upstream: Option<GateFiles>,
}

impl Gates {
    fn of(world: &World) -> Result<Self, Error> {
        let contract = Contract::read(&Contracts::Files {
            catalogue: world.catalogue().to_owned(),
            gate_map: world.gate_map().to_owned(),
        })?;
        let gate = |id: &str| contract.gates.iter().find(|gate| gate.gate_id == id);
        let output = world.options().outputs.first();
        let required = match output {
            Some(output) => contract
                .output(&output.output_id)?
                .read_requires_gates
                .first(),
            None => None,
        };
        let first = required
            .and_then(|id| gate(id))
            .ok_or_else(|| lacking("a gate that its first output requires"))?;
        let upstream = first
            .upstream_gate_dependencies
            .first()
            .and_then(|id| gate(id));
        let utc_day = world.options().start_utc().format("%Y-%m-%d").to_string();
        let files = |gate: &GateEntry| {
            let place = |template: &str| {
                let path = render(template, world.identity(), &utc_day)?;
                Ok::<_, Error>(world.engine_run_root().join(path))
            };
            Ok::<_, Error>(GateFiles {
                gate_id: gate.gate_id.clone(),
                flag: place(&gate.passed_flag_path_template)?,
                index: place(&gate.index_path_template)?,
                bundle: place(&gate.bundle_root_template)?,
            })
        };
        Ok(Self {
            first: files(first)?,
            upstream: upstream.map(files).transpose()?,
        })
    }

    fn upstream(&self) -> Result<&GateFiles, Error> {
        self.upstream
            .as_ref()
            .ok_or_else(|| lacking("a gate upstream of the first"))
    }

    /// Edits the first gate's entry in the gate map.
    fn edit_map(&self, world: &World, change: impl FnOnce(&mut Value)) -> Result<(), Error> {
        edit_yaml(own(world, world.gate_map())?, |map| {
            let mut entries = map["gates"].as_array_mut().into_iter().flatten();
            let first = entries.find(|gate| gate["gate_id"] == self.first.gate_id);
            first.map(change);
        })
    }
}

fn items(index: &mut Value) -> &mut Vec<Value> {
    match index {
        Value::Object(fields) => match fields.values_mut().next() {
            Some(Value::Array(items)) => items,
            _ => unreachable!("the sandbox writes an index of one list"),
        },
        Value::Array(items) => items,
        _ => unreachable!("the sandbox writes an index of one list"),
    }
}
