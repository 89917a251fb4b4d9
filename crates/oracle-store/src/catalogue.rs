//! The engine's output catalogue: which outputs exist, where they lie, what keys
//! and gates they have.
//!
//! It is strict about the types it needs and indifferent to what else an entry holds.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ReasonCode};
use crate::named_file::read_named_file;
use crate::yaml::from_yaml;
use model::{Hex64, OutputId};

/// The catalogue's class of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OutputClass {
    /// A table.
    Surface,
    /// A log of events.
    Stream,
    /// Validation evidence.
    Gate,
}

/// One output of the catalogue.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct CatalogueEntry {
    /// The output's name.
    pub output_id: OutputId,
    /// The class of the output.
    pub class: OutputClass,
    /// Where its parts lie, as written; see [`render`](crate::template::render).
    #[serde(default)]
    pub path_template: Option<String>,
    /// The columns that identify a row, in order; empty where none are known.
    #[serde(default)]
    pub primary_key: Vec<String>,
    /// The gates that must have passed before the output may be read. The file must spell
    /// the key out, since a restriction that is missing would be none.
    pub read_requires_gates: Vec<String>,
    /// The partition tokens, in order.
    #[serde(default)]
    pub partitions: Vec<String>,
    /// What the output is specific to, in the catalogue's words; `None` if it does not say.
    #[serde(default)]
    pub scope: Option<String>,
    /// Whether every world has the output, in the catalogue's words; `None` if it does not say.
    #[serde(default)]
    pub availability: Option<String>,
}

/// The catalogue of one engine release.
#[derive(Debug, Clone)]
pub struct Catalogue {
    digest: Hex64,
    outputs: Vec<CatalogueEntry>,
    by_id: HashMap<OutputId, usize>,
}

#[derive(Deserialize)]
struct CatalogueFile {
    outputs: Vec<CatalogueEntry>,
}

impl Catalogue {
    /// Reads a catalogue file.
    ///
    /// # Errors
    /// `CATALOGUE_UNREADABLE`, with the file and, where YAML says so, line and column.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let bytes = read_named_file(path).map_err(|source| {
            Error::new(
                ReasonCode::CatalogueUnreadable,
                "The catalogue cannot be read",
            )
            .object(&name)
            .because(source)
        })?;
        Self::parse(&bytes).map_err(|error| error.object(name))
    }

    /// Parses a catalogue from the bytes of its file.
    ///
    /// # Errors
    /// `CATALOGUE_UNREADABLE` if it is not YAML, an entry lacks what is needed, or two
    /// entries share an id.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let refuse = |what: String| Error::new(ReasonCode::CatalogueUnreadable, what);
        let file: CatalogueFile = from_yaml(bytes).map_err(|source| {
            refuse(format!("The catalogue is not understood ({source})")).because(source)
        })?;
        let mut by_id = HashMap::with_capacity(file.outputs.len());
        for (index, entry) in file.outputs.iter().enumerate() {
            if by_id.insert(entry.output_id.clone(), index).is_some() {
                return Err(refuse(format!(
                    "The catalogue has output {} twice",
                    entry.output_id
                )));
            }
        }
        Ok(Self {
            digest: Hex64::sha256_of(bytes),
            outputs: file.outputs,
            by_id,
        })
    }

    /// The sha256 of the file's bytes.
    pub fn digest(&self) -> &Hex64 {
        &self.digest
    }

    /// The entry of an output, if the catalogue knows it.
    pub fn output(&self, id: &OutputId) -> Option<&CatalogueEntry> {
        self.by_id.get(id).map(|&index| &self.outputs[index])
    }

    /// Every entry, in the order of the file.
    pub fn outputs(&self) -> &[CatalogueEntry] {
        &self.outputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "version: '1.0'\noutputs:\n- output_id: a\n  class: stream\n  \
                       path_template: |\n    data/a/part-*.parquet\n  primary_key: [seed, id]\n  \
                       read_requires_gates: [g]\n  exposure: {anything: [1]}\n";

    #[test]
    fn extra_keys_are_ignored_and_what_is_needed_is_kept() {
        let catalogue = Catalogue::parse(ONE.as_bytes()).unwrap();
        let entry = catalogue.output(&OutputId::new("a")).unwrap();
        assert_eq!(
            entry.path_template.as_deref(),
            Some("data/a/part-*.parquet\n")
        );
        assert_eq!(entry.primary_key, ["seed", "id"]);
        assert_eq!(entry.read_requires_gates, ["g"]);
        assert_eq!(entry.class, OutputClass::Stream);
        assert_eq!(catalogue.digest(), &Hex64::sha256_of(ONE));
        assert!(catalogue.output(&OutputId::new("b")).is_none());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (wrong, why) in [
            ("outputs: [", "cut short"),
            ("version: 1", "no outputs"),
            ("outputs: {a: 1}", "not a list"),
            ("outputs:\n- {output_id: a}", "no class"),
            ("outputs:\n- {output_id: a, class: heap}", "unknown class"),
            ("outputs:\n- {output_id: a, class: gate}", "no gates"),
            (
                "outputs:\n- {output_id: a, class: gate, read_requires_gates: null}",
                "gates are null",
            ),
            (
                "outputs:\n- output_id: a\n  class: gate\n  read_requires_gates:\n",
                "the items of the gates are lost",
            ),
            (
                "x: &x {class: gate}\noutputs:\n- {<<: *x, output_id: a, read_requires_gates: null}",
                "gates are null beside a merge key",
            ),
            ("outputs:\n", "the outputs are lost"),
            (
                "outputs: [[a, gate, null, [], [], [], null, null]]",
                "a list in place of an output",
            ),
            (
                "- [{output_id: a, class: gate, read_requires_gates: []}]",
                "a list in place of the file",
            ),
            (
                "outputs:\n- {output_id: a, class: gate, Read_Requires_Gates: [g]}",
                "gates in capitals",
            ),
            (
                "outputs:\n- {output_id: a, class: gate, primary_key: id, read_requires_gates: []}",
                "key is no list",
            ),
            (
                "outputs:\n- {output_id: a, class: gate, read_requires_gates: []}\n\
                 - {output_id: a, class: gate, read_requires_gates: []}",
                "twice",
            ),
        ] {
            let error = Catalogue::parse(wrong.as_bytes()).unwrap_err();
            assert_eq!(error.code(), ReasonCode::CatalogueUnreadable, "{why}");
        }
        let gone = Catalogue::load(Path::new("/nowhere/catalogue.yaml")).unwrap_err();
        assert_eq!(gone.code(), ReasonCode::CatalogueUnreadable);
        assert!(gone.to_string().contains("/nowhere/catalogue.yaml"));
    }
}
