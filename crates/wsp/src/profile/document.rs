//! The profile file as a tree of scalars that know their own key path.
//!
//! The only module of this crate that touches YAML. A profile is shared with
//! other platform components, so keys that are not WSP's are passed over; keys
//! inside WSP's own blocks must be known, since a misspelt one would silently
//! mean its default.

use std::path::Path;

use oracle_store::{edit_distance, from_yaml};
use serde::de::value::{self, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde_yaml::Value;

use super::expand::{Env, Template};
use super::places::shown;
use crate::{Error, ReasonCode};

/// A parsed profile file with the environment its `${VAR}` are taken from.
pub(super) struct Document<'a> {
    root: Value,
    env: Env<'a>,
}

/// A scalar as the file has it, and what it expands to.
pub(super) struct Scalar {
    pub(super) template: Template,
    pub(super) value: Option<String>,
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

    fn find(&self, key: &str) -> Option<&Value> {
        let mut value = &self.root;
        for step in key.split('.') {
            value = match value {
                Value::Sequence(items) => items.get(step.parse::<usize>().ok()?)?,
                block => block.get(step)?,
            };
        }
        (!value.is_null()).then_some(value)
    }

    /// How many items the list at a dotted key has; absent where no list stands. An item's
    /// key is the list's, a dot and its number.
    pub(super) fn items(&self, key: &str) -> Option<usize> {
        self.find(key)?.as_sequence().map(Vec::len)
    }

    /// The scalar at a dotted key, unexpanded and expanded.
    ///
    /// # Errors
    /// `PROFILE_INVALID` if a list or mapping stands there, or what is no whole `${VAR}`.
    pub(super) fn scalar(&self, key: &str) -> Result<Option<Scalar>, Error> {
        let Some(value) = self.find(key) else {
            return Ok(None);
        };
        let raw = match value {
            Value::String(text) => text.clone(),
            Value::Bool(flag) => flag.to_string(),
            Value::Number(number) => number.to_string(),
            _ => return Err(invalid(key, "is not a single value")),
        };
        let template = Template::parse(&raw).map_err(|problem| invalid(key, &problem))?;
        let value = template.expand(self.env);
        Ok(Some(Scalar { template, value }))
    }

    /// The expanded text at a dotted key; absent if unset.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, Error> {
        Ok(self.scalar(key)?.and_then(|scalar| scalar.value))
    }

    /// The value at a dotted key through `FromStr`.
    ///
    /// # Errors
    /// `PROFILE_INVALID` naming the key, what stands there and what may.
    pub(super) fn parsed<T: std::str::FromStr>(
        &self,
        key: &str,
        expected: &str,
    ) -> Result<Option<T>, Error> {
        match self.text(key)? {
            None => Ok(None),
            Some(text) => text
                .trim()
                .parse()
                .map(Some)
                .map_err(|_| invalid(key, &format!("is {}, not {expected}", shown(&text)))),
        }
    }

    /// The value at a dotted key, one of a closed list of names.
    ///
    /// # Errors
    /// `PROFILE_INVALID` naming the key, what stands there and what may.
    pub(super) fn choice<T: DeserializeOwned>(
        &self,
        key: &str,
        expected: &str,
    ) -> Result<Option<T>, Error> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        let name: StrDeserializer<'_, value::Error> = text.trim().into_deserializer();
        match T::deserialize(name) {
            Ok(chosen) => Ok(Some(chosen)),
            Err(_) => Err(invalid(
                key,
                &format!("is {}, not {expected}", shown(&text)),
            )),
        }
    }

    /// A list of texts at a dotted key.
    ///
    /// # Errors
    /// `PROFILE_INVALID` if anything but a list of single values stands there.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<String>>, Error> {
        match self.find(key) {
            None => Ok(None),
            Some(value) => list_of_texts(value)
                .map(Some)
                .ok_or_else(|| invalid(key, "is not a list of texts")),
        }
    }

    /// Refuses a key of one of WSP's own blocks that is not in `known`.
    ///
    /// # Errors
    /// `PROFILE_KEY_UNKNOWN` naming the key and the known ones.
    pub(super) fn only_known_keys(&self, block: &str, known: &[&str]) -> Result<(), Error> {
        let Some(value) = self.find(block) else {
            return Ok(());
        };
        let Some(mapping) = value.as_mapping() else {
            return Err(invalid(block, "is not a block of keys"));
        };
        for key in mapping.keys() {
            let name = key.as_str().unwrap_or_default();
            if !known.contains(&name) {
                return Err(Error::new(
                    ReasonCode::ProfileKeyUnknown,
                    format!("The profile's block `{block}` has an unknown key `{name}`"),
                    format!("Known here: {}.", known.join(", ")),
                ));
            }
        }
        Ok(())
    }

    /// Refuses a key of a shared block that is none of `known` and looks like one of them: up
    /// to [`MISSPELT`] letters are wrong, or it is written in capitals or with dashes.
    ///
    /// # Errors
    /// `PROFILE_KEY_UNKNOWN` naming the key and the one that is meant.
    pub(super) fn no_misspelt_keys(&self, block: &str, known: &[&str]) -> Result<(), Error> {
        let keys = self.find(block).and_then(Value::as_mapping);
        let names = keys.into_iter().flat_map(|keys| keys.keys());
        for name in names.filter_map(Value::as_str) {
            if known.contains(&name) {
                continue;
            }
            let plain = name.trim().to_ascii_lowercase().replace(['-', ' '], "_");
            let nearest = known.iter().map(|ours| (edit_distance(&plain, ours), ours));
            if let Some((distance, ours)) = nearest.min()
                && distance <= MISSPELT
            {
                return Err(Error::new(
                    ReasonCode::ProfileKeyUnknown,
                    format!("The profile's block `{block}` has an unknown key `{name}`"),
                    format!(
                        "Is `{ours}` meant? Write it so, or rename what is another component's."
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Refuses a block name that starts with `wsp_` and is none of ours.
    ///
    /// # Errors
    /// `PROFILE_KEY_UNKNOWN`.
    pub(super) fn only_known_blocks(&self, parent: &str, known: &[&str]) -> Result<(), Error> {
        let names = self
            .find(parent)
            .and_then(Value::as_mapping)
            .into_iter()
            .flat_map(|m| m.keys());
        for name in names.filter_map(Value::as_str) {
            if name.starts_with("wsp_") && !known.contains(&name) {
                return Err(Error::new(
                    ReasonCode::ProfileKeyUnknown,
                    format!("The profile has an unknown block `{parent}.{name}`"),
                    format!("Known here: {}.", known.join(", ")),
                ));
            }
        }
        Ok(())
    }
}

/// Wrong letters up to which a key of a shared block is taken for a misspelt one of ours.
const MISSPELT: usize = 2;

/// `PROFILE_INVALID` for one key.
pub(super) fn invalid(key: &str, problem: &str) -> Error {
    Error::new(
        ReasonCode::ProfileInvalid,
        format!("The profile's `{key}` {problem}"),
        "Mend it; config/platform/profiles/README.md lists every key.",
    )
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

fn list_of_texts(value: &Value) -> Option<Vec<String>> {
    value
        .as_sequence()?
        .iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect()
}
