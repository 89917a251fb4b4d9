//! What the builder needs to know of a catalogue and a gate map, and the
//! rendering of their path templates.
//!
//! Read here by own code, like the digests in [`super::evidence`]: a world whose
//! builder and verifier share their rules proves nothing about either.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Identity;
use super::options::Contracts;
use crate::{CATALOGUE, Error, GATE_MAP};

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct OutputEntry {
    pub(crate) output_id: String,
    pub(crate) path_template: String,
    #[serde(default)]
    pub(crate) primary_key: Vec<String>,
    #[serde(default)]
    pub(crate) partitions: Vec<String>,
    #[serde(default)]
    pub(crate) read_requires_gates: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct GateEntry {
    pub(crate) gate_id: String,
    pub(crate) passed_flag_path_template: String,
    pub(crate) bundle_root_template: String,
    pub(crate) index_path_template: String,
    pub(crate) verification_method: Method,
    #[serde(default)]
    pub(crate) upstream_gate_dependencies: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Method {
    pub(crate) kind: MethodKind,
    pub(crate) digest_field: String,
    pub(crate) ordering: Ordering,
    #[serde(default)]
    pub(crate) path_base: PathBase,
    #[serde(default)]
    pub(crate) exclude_filenames: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum MethodKind {
    #[serde(rename = "sha256_bundle_digest")]
    BundleDigest,
    #[serde(rename = "sha256_index_json_ascii_lex_raw_bytes")]
    IndexedBytes,
    #[serde(rename = "sha256_member_digest_concat")]
    MemberDigests,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ordering {
    AsciiLex,
    IndexOrder,
    MembersArrayOrder,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PathBase {
    #[default]
    BundleRoot,
    RunRoot,
}

/// A catalogue and gate map, as bytes and as read.
#[derive(Debug, Clone)]
pub(crate) struct Contract {
    pub(crate) catalogue: Vec<u8>,
    pub(crate) gate_map: Vec<u8>,
    pub(crate) outputs: Vec<OutputEntry>,
    pub(crate) gates: Vec<GateEntry>,
}

impl Contract {
    pub(crate) fn read(contracts: &Contracts) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct CatalogueFile {
            outputs: Vec<OutputEntry>,
        }
        #[derive(Deserialize)]
        struct GateMapFile {
            gates: Vec<GateEntry>,
        }
        let (catalogue, gate_map, names) = match contracts {
            Contracts::Sample => (
                CATALOGUE.as_bytes().to_vec(),
                GATE_MAP.as_bytes().to_vec(),
                [
                    "the sample catalogue".to_owned(),
                    "the sample gate map".to_owned(),
                ],
            ),
            Contracts::Files {
                catalogue,
                gate_map,
            } => (
                std::fs::read(catalogue).map_err(Error::io("reading", catalogue))?,
                std::fs::read(gate_map).map_err(Error::io("reading", gate_map))?,
                [
                    catalogue.display().to_string(),
                    gate_map.display().to_string(),
                ],
            ),
        };
        let outputs = parse::<CatalogueFile>(&catalogue, &names[0])?.outputs;
        let gates = parse::<GateMapFile>(&gate_map, &names[1])?.gates;
        Ok(Self {
            catalogue,
            gate_map,
            outputs,
            gates,
        })
    }

    pub(crate) fn output(&self, output_id: &str) -> Result<&OutputEntry, Error> {
        let entry = self
            .outputs
            .iter()
            .find(|entry| entry.output_id == output_id);
        entry.ok_or_else(|| {
            Error::OptionsInvalid(format!("output '{output_id}' is not in the catalogue"))
        })
    }
}

fn parse<T: DeserializeOwned>(yaml: &[u8], file: &str) -> Result<T, Error> {
    serde_yaml::from_slice(yaml).map_err(|error| Error::ContractInvalid {
        file: file.to_owned(),
        detail: error.to_string(),
    })
}

/// Fills a path template's tokens.
pub(crate) fn render(template: &str, identity: &Identity, utc_day: &str) -> Result<String, Error> {
    let template = template.trim_end();
    let tokens = [
        ("{seed}", identity.seed.to_string()),
        (
            "{manifest_fingerprint}",
            identity.manifest_fingerprint.clone(),
        ),
        ("{parameter_hash}", identity.parameter_hash.clone()),
        ("{scenario_id}", identity.scenario_id.clone()),
        ("{run_id}", identity.run_id.clone()),
        ("{utc_day}", utc_day.to_owned()),
    ];
    let path = tokens
        .iter()
        .fold(template.to_owned(), |path, (token, value)| {
            path.replace(token, value)
        });
    if path.contains('{') {
        return Err(Error::ContractInvalid {
            file: template.to_owned(),
            detail: "the template has a token that the sandbox cannot fill".to_owned(),
        });
    }
    Ok(path)
}

/// The files that a rendered template names for so many parts, and whether they
/// hold JSON lines.
pub(crate) fn part_paths(rendered: &str, parts: usize) -> Result<(Vec<PathBuf>, bool), Error> {
    if rendered.ends_with('/') {
        let name = |part| Path::new(rendered).join(format!("part-{part:06}.parquet"));
        return Ok(((0..parts).map(name).collect(), false));
    }
    let json_lines = match Path::new(rendered)
        .extension()
        .and_then(|name| name.to_str())
    {
        Some("parquet") => false,
        Some("jsonl") => true,
        _ => {
            return Err(Error::OptionsInvalid(format!(
                "{rendered} is neither Parquet nor JSON lines"
            )));
        }
    };
    if rendered.contains('*') {
        let name = |part| PathBuf::from(rendered.replacen('*', &format!("{part:06}"), 1));
        return Ok(((0..parts).map(name).collect(), json_lines));
    }
    if parts != 1 {
        return Err(Error::OptionsInvalid(format!(
            "{rendered} names one file, so the output has 1 part and not {parts}"
        )));
    }
    Ok((vec![PathBuf::from(rendered)], json_lines))
}
