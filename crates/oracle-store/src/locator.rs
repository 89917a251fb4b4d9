//! Where an output's parts lie: its template filled, its parts listed in name order
//! and pinned to the bytes that were there.

use serde::Serialize;

use crate::catalogue::{Catalogue, CatalogueEntry, OutputClass};
use crate::error::{Error, ReasonCode};
pub(crate) use crate::part::{Part, PartFormat, Pin};
use crate::store::{Entry, WorldStore};
use crate::template::{Tokens, render};
use model::OutputId;

/// The parts of one output, in the byte order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutputLocator {
    /// The output.
    pub output_id: OutputId,
    /// The output's path template, filled.
    pub path: String,
    /// What every part holds.
    pub format: PartFormat,
    /// The parts, at least one.
    pub parts: Vec<Part>,
}

impl OutputLocator {
    /// The length of all parts together.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.pin().size).sum()
    }

    /// The same output, whose rows have their event times in this column.
    #[must_use]
    pub fn timed_by(mut self, column: &str) -> Self {
        let column = column.into();
        let parts = self.parts.into_iter();
        self.parts = parts.map(|part| part.timed_by(&column)).collect();
        self
    }
}

/// Where the parts of an output may lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PartPattern {
    /// Every part directly inside a folder.
    Folder { folder: String },
    /// The objects of a folder whose names match, `*` standing for any text.
    Glob { folder: String, name: String },
    /// One object.
    File { key: String },
}

impl PartPattern {
    /// Reads a filled template.
    pub(crate) fn parse(path: &str) -> Result<Self, Error> {
        let unusable = |what| Error::new(ReasonCode::OutputTemplateMissing, what).field(path);
        if path.is_empty() {
            return Err(unusable("The path template is empty"));
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if folder.contains('*') {
            return Err(unusable(
                "Only the last component of a path template may be a pattern",
            ));
        }
        Ok(if name.is_empty() {
            Self::Folder {
                folder: folder.to_owned(),
            }
        } else if name.contains('*') {
            Self::Glob {
                folder: folder.to_owned(),
                name: name.to_owned(),
            }
        } else {
            Self::File {
                key: path.to_owned(),
            }
        })
    }

    /// Whether an object of the world would be a part of the output.
    pub(crate) fn matches(&self, key: &str) -> bool {
        let (in_folder, in_name) = key.rsplit_once('/').unwrap_or(("", key));
        match self {
            Self::Folder { folder } => in_folder == folder && !is_marker(in_name),
            Self::Glob { folder, name } => in_folder == folder && glob_matches(name, in_name),
            Self::File { key: file } => key == file,
        }
    }

    /// Whether a folder of the world stands where a part would: whoever wrote it meant its
    /// files to be read, and here nothing would. What merely lies beside the parts of a
    /// folder does not.
    fn matches_folder(&self, key: &str) -> bool {
        self.matches(key) && (!matches!(self, Self::Folder { .. }) || PartFormat::of(key).is_some())
    }
}

/// Names that start so are bookkeeping of whoever wrote the folder (`_SUCCESS`,
/// `.part-0.parquet.crc`), by the convention of every engine that writes Parquet.
fn is_marker(name: &str) -> bool {
    name.starts_with(['_', '.'])
}

fn glob_matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(head) else {
        return false;
    };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let tail = pieces.pop().unwrap_or_default();
    for piece in pieces {
        match name.find(piece) {
            Some(at) => name = &name[at + piece.len()..],
            None => return false,
        }
    }
    name.ends_with(tail)
}

/// The pattern of an output's parts in this world.
///
/// # Errors
/// `OUTPUT_TEMPLATE_MISSING`, `TEMPLATE_TOKEN_MISSING`.
fn part_pattern(entry: &CatalogueEntry, tokens: &Tokens) -> Result<(String, PartPattern), Error> {
    let template = entry
        .path_template
        .as_deref()
        .map(str::trim)
        .unwrap_or_default();
    let of_output = |error: Error| error.field(format!("{}.path_template", entry.output_id));
    let path = render(template, tokens).map_err(of_output)?;
    let pattern = PartPattern::parse(&path).map_err(of_output)?;
    Ok((path, pattern))
}

/// Where the parts of a catalogue's outputs lie in a world, by their templates alone:
/// tells data from the other objects of a pack. What is evidence itself (outputs of
/// class `gate`) is no data.
#[derive(Debug, Clone)]
pub struct DataPlaces {
    patterns: Vec<PartPattern>,
    /// What stands before the first token that this world has no value for.
    prefixes: Vec<String>,
}

impl DataPlaces {
    /// The places of a catalogue's outputs in the world of these tokens.
    pub fn of(catalogue: &Catalogue, tokens: &Tokens) -> Self {
        let (mut patterns, mut prefixes) = (Vec::new(), Vec::new());
        for entry in catalogue.outputs() {
            let Some(template) = entry.path_template.as_deref() else {
                continue;
            };
            if entry.class == OutputClass::Gate {
                continue;
            }
            if let Ok((_, pattern)) = part_pattern(entry, tokens) {
                patterns.push(pattern);
            } else {
                let heads = template.match_indices('{').map(|(at, _)| &template[..at]);
                prefixes.extend(heads.map_while(|head| render(head, tokens).ok()).last());
            }
        }
        Self { patterns, prefixes }
    }

    /// Refuses a world in which a folder stands where a part would, an empty one too. Lists
    /// the whole root.
    ///
    /// # Errors
    /// `UNSUPPORTED_OUTPUT_FORMAT`; `OBJECT_PATH_REFUSED`, `ORACLE_READ_FAILED` if the root
    /// cannot be listed.
    pub async fn refuse_folders(&self, store: &WorldStore) -> Result<(), Error> {
        let folders = store.list_tree("").await?.folders;
        let is_part = |folder: &&String| {
            let mut patterns = self.patterns.iter();
            patterns.any(|pattern| pattern.matches_folder(folder))
        };
        match folders.iter().find(is_part) {
            Some(folder) => Err(part_is_a_folder(store, folder, "An output")),
            None => Ok(()),
        }
    }

    /// Whether an object is, or may be, a part of an output.
    pub fn hold(&self, key: &str) -> bool {
        PartFormat::of(key).is_some()
            && (self.patterns.iter().any(|pattern| pattern.matches(key))
                || self.prefixes.iter().any(|prefix| key.starts_with(prefix)))
    }
}

fn part_is_a_folder(store: &WorldStore, folder: &str, of: &str) -> Error {
    let what = format!("{of} has a part that is a folder, and the files in it would not be read");
    Error::new(ReasonCode::UnsupportedOutputFormat, what).object(store.full_name(folder))
}

/// Finds and pins the parts of an output. Lists one folder, or none for a single file.
///
/// # Errors
/// `OUTPUT_TEMPLATE_MISSING`, `TEMPLATE_TOKEN_MISSING`, `OUTPUT_EMPTY`,
/// `UNSUPPORTED_OUTPUT_FORMAT` (also where one output mixes formats, or a folder stands
/// where a part would),
/// `OBJECT_PATH_REFUSED`, `ORACLE_READ_FAILED`.
pub async fn locate(
    store: &WorldStore,
    entry: &CatalogueEntry,
    tokens: &Tokens,
) -> Result<OutputLocator, Error> {
    let (path, pattern) = part_pattern(entry, tokens)?;
    let entries: Vec<Entry> = match &pattern {
        PartPattern::File { key } => store
            .head_if_exists(key)
            .await?
            .map(|pin| Entry {
                path: key.clone(),
                pin,
            })
            .into_iter()
            .collect(),
        PartPattern::Folder { folder } | PartPattern::Glob { folder, .. } => {
            let listed = store.list_level(folder).await?;
            let keys = listed.folders.iter().map(|name| match folder.as_str() {
                "" => name.clone(),
                folder => format!("{folder}/{name}"),
            });
            if let Some(key) = keys.into_iter().find(|key| pattern.matches_folder(key)) {
                let of = format!("Output {}", entry.output_id);
                return Err(part_is_a_folder(store, &key, &of));
            }
            let objects = listed.objects.into_iter();
            objects
                .filter(|object| pattern.matches(&object.path))
                .collect()
        }
    };
    let mut parts = Vec::with_capacity(entries.len());
    for Entry { path, pin } in entries {
        let unsupported = |what: &str| {
            Error::new(
                ReasonCode::UnsupportedOutputFormat,
                format!("Output {} {what}", entry.output_id),
            )
            .object(store.full_name(&path))
        };
        let format = PartFormat::of(&path)
            .ok_or_else(|| unsupported("has a part that is neither Parquet nor JSON lines"))?;
        if parts
            .first()
            .is_some_and(|first: &Part| first.format() != format)
        {
            return Err(unsupported("mixes Parquet and JSON lines"));
        }
        parts.push(Part::new(path, pin, format, entry.output_id.clone()));
    }
    let Some(first) = parts.first() else {
        return Err(Error::new(
            ReasonCode::OutputEmpty,
            format!("Output {} has no part", entry.output_id),
        )
        .object(store.full_name(&path)));
    };
    Ok(OutputLocator {
        output_id: entry.output_id.clone(),
        path,
        format: first.format(),
        parts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_in_the_last_component() {
        for (pattern, name, fits) in [
            ("part-*.parquet", "part-000.parquet", true),
            ("part-*.parquet", "part-.parquet", true),
            ("part-*.parquet", "part.parquet", false),
            ("part-*.parquet", "part-0.parquet.crc", false),
            ("part-*.parquet", ".part-0.parquet", false),
            ("*", "anything", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "aXbYc", true),
            ("a*bc*c", "abc", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(glob_matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn a_filled_template_is_a_folder_a_pattern_or_a_file() {
        let parse = |path| PartPattern::parse(path).unwrap();
        assert!(parse("d/x/").matches("d/x/part.parquet"));
        assert!(
            !parse("d/x/").matches("d/x/y/part.parquet"),
            "directly inside"
        );
        assert!(!parse("d/x/").matches("d/x/_SUCCESS"));
        assert!(parse("d/part-*.jsonl").matches("d/part-1.jsonl"));
        assert!(!parse("d/part-*.jsonl").matches("d/e/part-1.jsonl"));
        assert!(parse("d/one.parquet").matches("d/one.parquet"));
        assert!(!parse("d/one.parquet").matches("d/two.parquet"));
        for unusable in ["", "d/*/part-*.parquet", "d*/"] {
            let error = PartPattern::parse(unusable).unwrap_err();
            assert_eq!(
                error.code(),
                ReasonCode::OutputTemplateMissing,
                "{unusable}"
            );
        }
    }

    #[test]
    fn data_is_told_from_evidence_by_the_catalogues_templates() {
        let catalogue = "outputs:\n\
            - {output_id: a, class: stream, path_template: 'd/seed={seed}/part-*.jsonl', read_requires_gates: []}\n\
            - {output_id: b, class: surface, path_template: 'd/seed={seed}/{utc_day}/x.parquet', read_requires_gates: []}\n\
            - {output_id: g, class: gate, path_template: 'd/validation/', read_requires_gates: []}\n\
            - {output_id: n, class: surface, read_requires_gates: []}\n";
        let catalogue = Catalogue::parse(catalogue.as_bytes()).unwrap();
        let places = DataPlaces::of(&catalogue, &crate::template::tests::tokens());
        for (key, is_data) in [
            ("d/seed=7/part-1.jsonl", true),
            ("d/seed=8/part-1.jsonl", false),
            ("d/seed=7/2026-01-28/x.parquet", true),
            ("d/seed=7/notes.txt", false),
            ("d/validation/checks.jsonl", false),
        ] {
            assert_eq!(places.hold(key), is_data, "{key}");
        }
    }
}
