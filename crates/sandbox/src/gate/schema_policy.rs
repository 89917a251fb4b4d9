//! Payloads judged by event type, as the platform's schema policy names their schemas.
//!
//! The file lists `policies`, each with `event_type`, `payload_schema_ref` (`file#/pointer`),
//! `schema_version_required` and `allowed_schema_versions`. A schema file is looked for where the
//! reference says (from the working directory), then by its name alone beside the policy and in
//! `schemas/` there; files that a schema refers to are looked for by their names in its folder.
//! `nullable: true` beside a type or a reference allows null, as the platform reads it.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use jsonschema::{Draft, Retrieve, Uri, Validator};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::dialect::Posted;
use crate::Error;

/// What the addresses of schema files begin with, once they are read.
const BASE: &str = "policy:///";

/// The schemas of payloads, by event type.
pub(super) struct SchemaPolicy {
    entries: HashMap<String, Entry>,
}

impl fmt::Debug for SchemaPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.entries.keys()).finish()
    }
}

struct Entry {
    version_required: bool,
    allowed_versions: Vec<String>,
    /// `None` where the policy names no schema.
    schema: Option<Schema>,
}

enum Schema {
    Compiled(Box<Validator>),
    /// The policy names a schema that is not there: the platform's gate would fail on it.
    Missing,
}

#[derive(Deserialize)]
struct Document {
    policies: Vec<Policy>,
}

#[derive(Deserialize)]
struct Policy {
    event_type: String,
    #[serde(default)]
    schema_version_required: bool,
    #[serde(default)]
    allowed_schema_versions: Vec<String>,
    #[serde(default)]
    payload_schema_ref: Option<String>,
}

impl SchemaPolicy {
    /// # Errors
    /// `SANDBOX_IO` if the file cannot be read, `SANDBOX_CONTRACT_INVALID` if it, or a schema that
    /// is there, cannot be understood.
    pub(super) fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read(path).map_err(Error::io("reading the schema policy", path))?;
        let document: Document =
            serde_yaml::from_slice(&text).map_err(|error| invalid(path, &error))?;
        let mut entries = HashMap::new();
        for policy in document.policies {
            let schema = policy.payload_schema_ref.as_deref();
            let entry = Entry {
                version_required: policy.schema_version_required,
                allowed_versions: policy.allowed_schema_versions,
                schema: schema.map(|named| compile(path, named)).transpose()?,
            };
            if matches!(entry.schema, Some(Schema::Missing)) {
                tracing::warn!(event_type = policy.event_type, "its schema is not there");
            }
            entries.insert(policy.event_type, entry);
        }
        Ok(Self { entries })
    }

    /// Why the gate would quarantine an envelope; `None` if it would not.
    pub(super) fn fault_of(&self, post: &Posted) -> Option<&'static str> {
        let Some(entry) = self.entries.get(post.text("event_type")) else {
            return Some("SCHEMA_POLICY_MISSING");
        };
        let version = post.text("schema_version");
        if entry.version_required && version.is_empty() {
            return Some("SCHEMA_VERSION_REQUIRED");
        }
        let allowed = &entry.allowed_versions;
        if !allowed.is_empty() && !allowed.iter().any(|one| one == version) {
            return Some("SCHEMA_VERSION_NOT_ALLOWED");
        }
        let empty = Value::Object(Map::new());
        let payload = post.envelope.get("payload").unwrap_or(&empty);
        match &entry.schema {
            Some(Schema::Compiled(validator)) if !validator.is_valid(payload) => {
                Some("SCHEMA_FAIL")
            }
            Some(Schema::Missing) => Some("INTERNAL_ERROR"),
            _ => None,
        }
    }
}

fn invalid(path: &Path, error: &dyn fmt::Display) -> Error {
    Error::ContractInvalid {
        file: path.display().to_string(),
        detail: error.to_string(),
    }
}

fn compile(policy: &Path, named: &str) -> Result<Schema, Error> {
    let (file, pointer) = named.split_once('#').unwrap_or((named, ""));
    let beside = policy.parent().unwrap_or(Path::new("."));
    let name = Path::new(file).file_name().unwrap_or_default();
    let places = [
        PathBuf::from(file),
        beside.join(file),
        beside.join(name),
        beside.join("schemas").join(name),
    ];
    let Some(path) = places.into_iter().find(|path| path.is_file()) else {
        return Ok(Schema::Missing);
    };
    let files = SchemaFiles {
        folder: path.parent().unwrap_or(Path::new(".")).to_owned(),
    };
    let name = name.to_string_lossy();
    let root = json!({ "$ref": format!("{BASE}{name}#{pointer}") });
    let validator = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_retriever(files)
        .build(&root)
        .map_err(|error| invalid(&path, &error))?;
    Ok(Schema::Compiled(Box::new(validator)))
}

/// Schema files of one folder, each by its name.
struct SchemaFiles {
    folder: PathBuf,
}

impl Retrieve for SchemaFiles {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let path = uri.path().as_str();
        let name = path.rsplit('/').next().unwrap_or_default();
        let text = std::fs::read(self.folder.join(name))?;
        let mut schema: Value = serde_yaml::from_slice(&text)?;
        if let Some(fields) = schema.as_object_mut() {
            // Its own name would send references to where it does not lie.
            fields.remove("$id");
        }
        allow_null(&mut schema);
        Ok(schema)
    }
}

/// Spells `nullable: true` as JSON Schema does.
fn allow_null(node: &mut Value) {
    match node {
        Value::Object(fields) => {
            if fields.get("nullable") == Some(&Value::Bool(true)) {
                fields.remove("nullable");
                if let Some(reference) = fields.remove("$ref") {
                    let either = json!([{ "$ref": reference }, { "type": "null" }]);
                    fields.insert("anyOf".to_owned(), either);
                } else {
                    let mut types = match fields.remove("type") {
                        Some(Value::Array(types)) => types,
                        Some(one) => vec![one],
                        None => Vec::new(),
                    };
                    types.push("null".into());
                    fields.insert("type".to_owned(), types.into());
                }
            }
            fields.values_mut().for_each(allow_null);
        }
        Value::Array(items) => items.iter_mut().for_each(allow_null),
        _ => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn policy(folder: &Path) -> SchemaPolicy {
        let at = |name: &str| folder.join(name);
        std::fs::create_dir(at("schemas")).unwrap();
        let policy = r#"
            policies:
              - {event_type: flow, payload_schema_ref: "docs/deep/flows.yaml#/s2/properties/flow"}
              - {event_type: plain}
              - {event_type: versioned, schema_version_required: true, allowed_schema_versions: [v1]}
              - {event_type: absent, payload_schema_ref: docs/absent.yaml}
        "#;
        let flows = r##"
            $id: flows.yaml
            s2:
              properties:
                flow:
                  type: object
                  required: [flow_id, kind]
                  properties:
                    flow_id: {$ref: "../layer1/ids.yaml#/$defs/id64"}
                    kind: {type: string, nullable: true}
                    site: {$ref: "ids.yaml#/$defs/id64", nullable: true}
        "##;
        let ids = "$id: ids.yaml\n$defs: {id64: {type: integer, minimum: 0}}";
        std::fs::write(at("policy.yaml"), policy).unwrap();
        std::fs::write(at("schemas/flows.yaml"), flows).unwrap();
        std::fs::write(at("schemas/ids.yaml"), ids).unwrap();
        SchemaPolicy::load(&at("policy.yaml")).unwrap()
    }

    #[test]
    fn a_payload_is_judged_by_the_schema_of_its_event_type() {
        let folder = tempfile::tempdir().unwrap();
        let policy = policy(folder.path());
        for (envelope, fault) in [
            (
                json!({"event_type": "flow", "payload": {"flow_id": 7, "kind": null}}),
                None,
            ),
            (
                json!({"event_type": "flow", "payload": {"flow_id": 7, "kind": "a", "site": null}}),
                None,
            ),
            (
                json!({"event_type": "flow", "payload": {"flow_id": -7, "kind": "a"}}),
                Some("SCHEMA_FAIL"),
            ),
            (
                json!({"event_type": "flow", "payload": {"flow_id": 7}}),
                Some("SCHEMA_FAIL"),
            ),
            (json!({"event_type": "flow"}), Some("SCHEMA_FAIL")),
            (json!({"event_type": "plain", "payload": {"x": 1}}), None),
            (
                json!({"event_type": "versioned"}),
                Some("SCHEMA_VERSION_REQUIRED"),
            ),
            (
                json!({"event_type": "versioned", "schema_version": "v2"}),
                Some("SCHEMA_VERSION_NOT_ALLOWED"),
            ),
            (
                json!({"event_type": "versioned", "schema_version": "v1"}),
                None,
            ),
            (json!({"event_type": "absent"}), Some("INTERNAL_ERROR")),
            (
                json!({"event_type": "other"}),
                Some("SCHEMA_POLICY_MISSING"),
            ),
        ] {
            let post = Posted { envelope, bytes: 0 };
            assert_eq!(policy.fault_of(&post), fault, "{}", post.envelope);
        }
    }

    #[test]
    fn a_policy_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        let refused = |path: &Path| SchemaPolicy::load(path).unwrap_err().code().as_str();
        assert_eq!(refused(&path), "SANDBOX_IO");
        std::fs::write(&path, "policies: 5").unwrap();
        assert_eq!(refused(&path), "SANDBOX_CONTRACT_INVALID");
    }
}
