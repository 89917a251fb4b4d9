//! The gate map: which gates there are, where their evidence stands, and how it
//! is verified.
//!
//! Fields that other components of the platform read are passed over. What
//! concerns verification is not: a method, ordering, path base or key of
//! `verification_method` that is not understood makes that gate unverifiable
//! (`GATE_METHOD_UNSUPPORTED` when it is asked for), while the gates beside it
//! stay usable.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use oracle_store::{Hex64, OutputId, edit_distance, from_yaml, read_named_file};
use serde::{Deserialize, Deserializer};

use crate::error::{Error, ReasonCode};
pub use crate::gate_id::GateId;

/// All gates of an engine, and the digest of the file that named them.
#[derive(Debug)]
pub struct GateMap {
    digest: Hex64,
    gates: BTreeMap<GateId, Gate>,
}

/// One gate of the map.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) id: GateId,
    pub(crate) scope: Option<String>,
    pub(crate) flag_template: String,
    /// The gates that must hold before it; `None` where the map does not spell the key out.
    pub(crate) upstream: Option<Vec<GateId>>,
    /// The outputs that it authorizes; `None` where the map does not spell the key out.
    pub(crate) authorizes: Option<BTreeSet<OutputId>>,
    /// How to verify its digest, or in a sentence why this crate can't.
    pub(crate) method: Result<Method, String>,
}

/// How the digest of a gate is verified: everything that digest mode needs.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) digest: DigestKind,
    pub(crate) digest_field: String,
    pub(crate) bundle_root_template: String,
    pub(crate) paths_from: PathBase,
    pub(crate) exclude_filenames: BTreeSet<String>,
    /// `kind` and `ordering` as the map spells them, for the receipt.
    pub(crate) kind: String,
    pub(crate) ordering: String,
}

/// What the digest in the flag is a digest of.
#[derive(Debug)]
pub(crate) enum DigestKind {
    /// Every file under the bundle root, by relative path in byte order.
    Bundle { index_template: Option<String> },
    /// The files that the index lists.
    IndexedFiles {
        index_template: String,
        ordering: IndexOrdering,
    },
    /// The digest strings that the index states, in its order.
    MemberDigests { index_template: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IndexOrdering {
    AsciiLex,
    AsListed,
}

/// What the paths in an index are relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathBase {
    BundleRoot,
    EngineRunRoot,
}

impl Method {
    /// Whether the object's file name keeps it out of the digest.
    pub(crate) fn excludes(&self, key: &str) -> bool {
        self.exclude_filenames
            .contains(key.rsplit('/').next().unwrap_or(key))
    }
}

impl Gate {
    /// A key that every gate of an engine's map spells out and this one does not.
    pub(crate) fn missing_key(&self) -> Option<(&GateId, &'static str)> {
        let key = match (&self.upstream, &self.authorizes) {
            (None, _) => UPSTREAM,
            (_, None) => AUTHORIZES,
            _ => return None,
        };
        Some((&self.id, key))
    }
}

impl GateMap {
    /// Reads the gate map file at `path`.
    ///
    /// # Errors
    /// `GATE_MAP_UNREADABLE`
    pub fn load(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let bytes = read_named_file(path).map_err(|cause| {
            unreadable("The gate map cannot be opened")
                .object(&name)
                .because(cause)
        })?;
        Self::parse(&name, &bytes)
    }

    /// Parses the bytes of a gate map; `name` stands for it in errors.
    ///
    /// # Errors
    /// `GATE_MAP_UNREADABLE`
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, Error> {
        let file: MapFile = from_yaml(bytes).map_err(|cause| {
            unreadable("This is no gate map")
                .object(name)
                .because(cause)
        })?;
        // Where one gate of a map spells a key out, one that does not has lost it.
        for (key, is_missing) in GateEntry::RESTRICTING {
            let lost = file.gates.iter().find(|gate| is_missing(gate));
            if let Some(gate) = lost
                && !file.gates.iter().all(is_missing)
            {
                let what = format!("The gate {} has no `{key}`, and others have", gate.gate_id);
                return Err(unreadable(what).object(name));
            }
        }
        let mut gates = BTreeMap::new();
        for entry in file.gates {
            if let Some((missing, present)) = entry.lost_one() {
                let what = format!(
                    "The gate {} has `{present}` and no `{missing}`",
                    entry.gate_id
                );
                return Err(unreadable(what).object(name));
            }
            if let Some((wrong, key)) = entry.misspelt() {
                let what = format!(
                    "The gate {} has a key `{wrong}` and no `{key}`: is it misspelt?",
                    entry.gate_id
                );
                return Err(unreadable(what).object(name));
            }
            let gate = entry.into_gate();
            if gates.contains_key(&gate.id) {
                let what = format!("The gate map names {} twice", gate.id);
                return Err(unreadable(what).object(name));
            }
            gates.insert(gate.id.clone(), gate);
        }
        Ok(Self {
            digest: Hex64::sha256_of(bytes),
            gates,
        })
    }

    /// sha256 of the file's bytes, as pack manifests record it.
    pub fn digest(&self) -> &Hex64 {
        &self.digest
    }

    /// The gates' names, in byte order.
    pub fn gate_ids(&self) -> impl Iterator<Item = &GateId> {
        self.gates.keys()
    }

    pub(crate) fn gate(&self, id: &GateId) -> Option<&Gate> {
        self.gates.get(id)
    }

    /// Every gate, in byte order of their names.
    pub(crate) fn gates(&self) -> impl Iterator<Item = &Gate> {
        self.gates.values()
    }
}

fn unreadable(what: impl Into<String>) -> Error {
    Error::new(ReasonCode::GateMapUnreadable, what)
}

/// The keys of a gate that restrict what may be read.
const UPSTREAM: &str = "upstream_gate_dependencies";
pub(crate) const AUTHORIZES: &str = "authorizes_outputs";

#[derive(Deserialize)]
struct MapFile {
    gates: Vec<GateEntry>,
}

#[derive(Deserialize)]
struct GateEntry {
    gate_id: GateId,
    scope: Option<String>,
    passed_flag_path_template: String,
    bundle_root_template: Option<String>,
    index_path_template: Option<String>,
    verification_method: Option<serde_yaml::Value>,
    #[serde(default, deserialize_with = "spelled_out")]
    upstream_gate_dependencies: Option<Vec<GateId>>,
    #[serde(default, deserialize_with = "spelled_out")]
    authorizes_outputs: Option<BTreeSet<OutputId>>,
    /// Keys of other components, among which a misspelt one of ours may be.
    #[serde(flatten)]
    #[expect(
        clippy::zero_sized_map_values,
        reason = "serde flattens into maps only"
    )]
    others: BTreeMap<String, serde::de::IgnoredAny>,
}

/// A list that may be empty but not null.
fn spelled_out<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    list: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(list).map(Some)
}

/// Closed: a key that is not here could change what the digest means.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MethodEntry {
    kind: String,
    digest_field: String,
    ordering: String,
    path_base: Option<String>,
    exclude_filenames: Option<BTreeSet<String>>,
}

/// Says whether a gate does not spell a key out.
type IsMissing = fn(&GateEntry) -> bool;

impl GateEntry {
    /// The keys that restrict reading, and whether a gate does not spell them out.
    const RESTRICTING: [(&str, IsMissing); 2] = [
        (UPSTREAM, |gate| gate.upstream_gate_dependencies.is_none()),
        (AUTHORIZES, |gate| gate.authorizes_outputs.is_none()),
    ];

    /// The key that restricts reading which is missing, and the one which is there, where the
    /// gate has just one of the two.
    fn lost_one(&self) -> Option<(&'static str, &'static str)> {
        match (&self.upstream_gate_dependencies, &self.authorizes_outputs) {
            (None, Some(_)) => Some((UPSTREAM, AUTHORIZES)),
            (Some(_), None) => Some((AUTHORIZES, UPSTREAM)),
            _ => None,
        }
    }

    /// A key that looks like one that restricts reading, where that one is missing.
    fn misspelt(&self) -> Option<(&str, &'static str)> {
        let missing = Self::RESTRICTING
            .into_iter()
            .filter(|(_, is_missing)| is_missing(self));
        missing
            .flat_map(|(key, _)| self.others.keys().map(move |other| (other.as_str(), key)))
            .find(|(other, key)| looks_like(other, key))
    }

    fn into_gate(self) -> Gate {
        let method = self.method();
        Gate {
            id: self.gate_id,
            scope: self.scope,
            flag_template: self.passed_flag_path_template,
            upstream: self.upstream_gate_dependencies,
            authorizes: self.authorizes_outputs,
            method,
        }
    }

    fn method(&self) -> Result<Method, String> {
        let entry = self
            .verification_method
            .clone()
            .ok_or("it has no `verification_method`")?;
        let entry: MethodEntry = model::read_strictly(entry)
            .map_err(|error| format!("its `verification_method` is not understood ({error})"))?;
        let root = self
            .bundle_root_template
            .clone()
            .ok_or("it has no `bundle_root_template`")?;
        let index = self.index_path_template.clone();
        let needed = index.clone().ok_or("it has no `index_path_template`");
        let digest = match (entry.kind.as_str(), entry.ordering.as_str()) {
            ("sha256_bundle_digest", "ascii_lex") => DigestKind::Bundle {
                index_template: index,
            },
            ("sha256_index_json_ascii_lex_raw_bytes", "ascii_lex") => DigestKind::IndexedFiles {
                index_template: needed?,
                ordering: IndexOrdering::AsciiLex,
            },
            ("sha256_index_json_ascii_lex_raw_bytes", "index_order") => DigestKind::IndexedFiles {
                index_template: needed?,
                ordering: IndexOrdering::AsListed,
            },
            ("sha256_member_digest_concat", "members_array_order") => DigestKind::MemberDigests {
                index_template: needed?,
            },
            (kind, ordering) => {
                return Err(format!(
                    "kind `{kind}` with ordering `{ordering}` is unknown"
                ));
            }
        };
        let paths_from = match entry.path_base.as_deref() {
            None => PathBase::BundleRoot,
            Some("run_root") => PathBase::EngineRunRoot,
            Some(other) => return Err(format!("path base `{other}` is unknown")),
        };
        Ok(Method {
            digest,
            digest_field: entry.digest_field,
            bundle_root_template: root,
            paths_from,
            exclude_filenames: entry.exclude_filenames.unwrap_or_default(),
            kind: entry.kind,
            ordering: entry.ordering,
        })
    }
}

/// Whether a key is another one misspelt: a few letters added, lost or changed, other case, or a
/// word of it, begun alike.
fn looks_like(key: &str, other: &str) -> bool {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', ' ', '.'], "_");
    let (key, other) = (plain(key), plain(other));
    let words = |text: &str| -> BTreeSet<String> {
        text.split('_')
            .filter(|word| word.len() >= 6)
            .map(|word| word.chars().take(5).collect())
            .collect()
    };
    edit_distance(&key, &other) <= other.len() / 4 || !words(&key).is_disjoint(&words(&other))
}
