//! The profile file: parsed, its values typed by serde, its refusals with the key's path.
//!
//! `serde_path_to_error` says where a refused value or key stands. A profile is shared with
//! other components, so keys of its shared blocks that are not WSP's are passed over, unless
//! they look like one of WSP's ([`refuse_misspelt_keys`]): a misspelt one would silently mean
//! its default.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use oracle_store::{edit_distance, from_yaml};
use serde::Deserialize;
use serde_path_to_error::Segment;
use serde_yaml::Value;

use super::expand::Env;
use super::node::{Fault, Node, list_of_texts};
use crate::{Error, ReasonCode};

/// A parsed profile file with the environment its `${VAR}` are taken from.
pub(super) struct Document<'a> {
    root: Value,
    env: Env<'a>,
}

impl<'a> Document<'a> {
    /// Parses the text of a profile.
    ///
    /// # Errors
    /// `PROFILE_UNREADABLE` if it is not a YAML mapping.
    pub(super) fn parse(text: &str, path: &Path, env: Env<'a>) -> Result<Self, Error> {
        let root: Value = from_yaml(text.as_bytes()).map_err(|source| {
            Error::caused(
                ReasonCode::ProfileUnreadable,
                format!("The profile {} is not valid YAML", path.display()),
                "Mend the file at the place named.",
                source,
            )
        })?;
        if !root.is_mapping() {
            return Err(Error::new(
                ReasonCode::ProfileUnreadable,
                format!("The profile {} is not a YAML mapping", path.display()),
                "Start from one of config/platform/profiles/.",
            ));
        }
        Ok(Self { root, env })
    }

    /// The keys of the file's block `name`; none if the file has no such block.
    pub(super) fn keys(&self, name: &str) -> impl Iterator<Item = &str> {
        let block = self.root.get(name).and_then(Value::as_mapping);
        let keys = block.into_iter().flat_map(|block| block.keys());
        keys.filter_map(Value::as_str)
    }

    /// The keys of `policy` and `wiring` that have a value once variables are expanded, each by
    /// its path.
    pub(super) fn present_keys(&self) -> BTreeSet<String> {
        let mut present = BTreeSet::new();
        for block in ["policy", "wiring"] {
            if let Some(value) = self.root.get(block) {
                self.note_present(block, value, &mut present);
            }
        }
        present
    }

    fn note_present(&self, path: &str, value: &Value, present: &mut BTreeSet<String>) {
        if let Some(block) = value.as_mapping() {
            for (key, value) in block {
                let key = key.as_str().unwrap_or_default();
                self.note_present(&format!("{path}.{key}"), value, present);
            }
        } else if Node::new(value, self.env).is_present() {
            present.insert(path.to_owned());
        }
    }

    /// The single values of `policy` and `wiring` by their paths, variables expanded; those without
    /// a value are left out.
    pub(super) fn settings(&self) -> BTreeMap<String, String> {
        let mut settings = BTreeMap::new();
        for block in ["policy", "wiring"] {
            if let Some(value) = self.root.get(block) {
                self.note_settings(block, value, &mut settings);
            }
        }
        settings
    }

    fn note_settings(&self, path: &str, value: &Value, settings: &mut BTreeMap<String, String>) {
        match value {
            Value::Mapping(block) => {
                for (key, value) in block {
                    let key = key.as_str().unwrap_or_default();
                    self.note_settings(&format!("{path}.{key}"), value, settings);
                }
            }
            Value::Sequence(items) => {
                for (index, value) in items.iter().enumerate() {
                    self.note_settings(&format!("{path}.{index}"), value, settings);
                }
            }
            value => {
                if let Ok(Some(text)) = Node::new(value, self.env).text() {
                    settings.insert(path.to_owned(), text);
                }
            }
        }
    }

    /// The values of the whole file, expanded and typed.
    ///
    /// # Errors
    /// `PROFILE_KEY_UNKNOWN` for a key that its block denies, and `PROFILE_INVALID` for a value
    /// of another type; both with the key's path.
    pub(super) fn values<'de, T: Deserialize<'de>>(&self) -> Result<T, Error> {
        let root = Node::new(&self.root, self.env);
        serde_path_to_error::deserialize(root).map_err(|fault| {
            let path = dotted(fault.path());
            refusal(&path, fault.into_inner())
        })
    }
}

/// The refusal of what is at a path; the path of an unknown key ends with the key.
fn refusal(path: &str, fault: Fault) -> Error {
    match fault {
        Fault::Unknown { key, known } => {
            let block = path.strip_suffix(&key).unwrap_or(path);
            unknown_key(block.trim_end_matches('.'), &key, known_here(known))
        }
        Fault::Missing(key) => invalid(&format!("{path}.{key}"), "is missing"),
        Fault::Problem(problem) => invalid(path, &problem),
    }
}

/// A path as messages write it: `policy.stream_rate.0.rate`.
fn dotted(path: &serde_path_to_error::Path) -> String {
    let steps = path.iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        // The variant is the value, not a step on the way to it.
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    steps.collect::<Vec<_>>().join(".")
}

/// `PROFILE_INVALID` for one key.
pub(super) fn invalid(key: &str, problem: &str) -> Error {
    Error::new(
        ReasonCode::ProfileInvalid,
        format!("The profile's `{key}` {problem}"),
        "Mend it; docs/reference/profile.md lists every key.",
    )
}

/// `PROFILE_KEY_UNKNOWN` for one key of a block.
fn unknown_key(block: &str, key: &str, advice: String) -> Error {
    Error::new(
        ReasonCode::ProfileKeyUnknown,
        format!("The profile's block `{block}` has an unknown key `{key}`"),
        advice,
    )
}

/// Wrong letters up to which a key of a shared block counts as a misspelt one of WSP's.
const MISSPELT: usize = 2;

/// Refuses a key of a shared block that is none of WSP's `known` ones and looks like one: up to
/// [`MISSPELT`] letters are wrong, or it is written in capitals or with dashes.
///
/// # Errors
/// `PROFILE_KEY_UNKNOWN` naming the key and the one that is meant.
pub(super) fn refuse_misspelt_keys<'k>(
    block: &str,
    keys: impl Iterator<Item = &'k str>,
    known: &[&str],
) -> Result<(), Error> {
    for name in keys.filter(|name| !known.contains(name)) {
        let plain = name.trim().to_ascii_lowercase().replace(['-', ' '], "_");
        let nearest = known.iter().map(|ours| (edit_distance(&plain, ours), ours));
        if let Some((distance, ours)) = nearest.min()
            && distance <= MISSPELT
        {
            let advice =
                format!("Is `{ours}` meant? Write it so, or rename what is another component's.");
            return Err(unknown_key(block, name, advice));
        }
    }
    Ok(())
}

/// Refuses a block of a shared one whose name starts with `wsp_` and is none of `known`.
///
/// # Errors
/// `PROFILE_KEY_UNKNOWN`.
pub(super) fn refuse_unknown_blocks<'k>(
    parent: &str,
    mut keys: impl Iterator<Item = &'k str>,
    known: &[&str],
) -> Result<(), Error> {
    let unknown = keys.find(|name| name.starts_with("wsp_") && !known.contains(name));
    unknown.map_or(Ok(()), |name| {
        Err(Error::new(
            ReasonCode::ProfileKeyUnknown,
            format!("The profile has an unknown block `{parent}.{name}`"),
            known_here(known.iter().filter(|name| name.starts_with("wsp_"))),
        ))
    })
}

fn known_here<'k>(known: impl IntoIterator<Item = &'k &'k str>) -> String {
    let known: Vec<&str> = known.into_iter().copied().collect();
    format!("Known here: {}.", known.join(", "))
}

/// The ids of an output list file: `{version, output_ids: [...]}` or a bare list.
pub(super) fn parse_output_list(text: &str) -> Result<Vec<String>, String> {
    let value: Value = from_yaml(text.as_bytes()).map_err(|error| error.to_string())?;
    let list = if value.is_sequence() {
        Some(&value)
    } else {
        value.get("output_ids")
    };
    match list {
        Some(Value::Null) | None => Ok(Vec::new()),
        Some(list) => {
            list_of_texts(list).ok_or_else(|| "`output_ids` is not a list of ids".to_owned())
        }
    }
}
