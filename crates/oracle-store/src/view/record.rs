//! Manifest and receipt of a stream view, and what each is checked for.

use model::{Hex64, OutputId, WorldKey};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{Error, ReasonCode};
use crate::json::from_json;

/// The fields of a record, and where it stands.
#[derive(Debug)]
struct Record {
    fields: Map<String, Value>,
    name: String,
}

impl Record {
    fn parse((bytes, name): &(Vec<u8>, String)) -> Result<Self, Error> {
        let fields = from_json(bytes).map_err(|source| {
            let what = format!("A stream view's record is no JSON object ({source})");
            let error = Error::new(ReasonCode::ViewInvalid, what);
            error.object(name).because(source)
        })?;
        let name = name.clone();
        Ok(Self { fields, name })
    }

    fn error(&self, code: ReasonCode, what: impl Into<String>) -> Error {
        Error::new(code, what).object(&self.name)
    }

    fn invalid(&self, field: &str, wants: &str) -> Error {
        let what = format!("`{field}` of a stream view's record is not {wants}");
        self.error(ReasonCode::ViewInvalid, what).field(field)
    }

    /// A text; `None` where the field is absent or null.
    fn text(&self, field: &str) -> Result<Option<&str>, Error> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.invalid(field, "a text")),
        }
    }

    /// Refuses a text field that has another value than it must have.
    fn expect(&self, code: ReasonCode, field: &str, expected: &str) -> Result<(), Error> {
        let found = self.text(field)?;
        if found == Some(expected) {
            return Ok(());
        }
        let what = format!("`{field}` is {}, not {expected:?}", shown(found));
        Err(self.error(code, what).field(field))
    }

    /// Refuses a list of outputs, where there is one, that does not have the output.
    fn check_listed(&self, output_id: &OutputId) -> Result<(), Error> {
        let listed = match self.fields.get("output_ids") {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Array(listed)) => listed,
            Some(_) => return Err(self.invalid("output_ids", "a list")),
        };
        if listed
            .iter()
            .any(|id| id.as_str() == Some(output_id.as_str()))
        {
            return Ok(());
        }
        let what = format!("`output_ids` does not have {output_id}");
        let error = self.error(ReasonCode::ViewOutputMismatch, what);
        Err(error.field("output_ids"))
    }
}

fn shown(found: Option<&str>) -> String {
    found.map_or_else(|| "absent".to_owned(), |text| format!("{text:?}"))
}

/// `_stream_view_manifest.json`.
#[derive(Debug)]
pub(super) struct Manifest(Record);

/// What a view's id is the digest of, keys in order.
#[derive(Serialize)]
struct Identity<'a> {
    engine_run_root: &'a str,
    output_id: &'a str,
    partition_granularity: &'a str,
    scenario_id: &'a str,
    sort_keys: Vec<&'a str>,
}

impl Manifest {
    pub(super) fn parse(record: &(Vec<u8>, String)) -> Result<Self, Error> {
        Record::parse(record).map(Self)
    }

    /// Checks that the view is of this output of this world.
    pub(super) fn check_world(&self, output_id: &OutputId, world: &WorldKey) -> Result<(), Error> {
        const CODE: ReasonCode = ReasonCode::ViewOutputMismatch;
        let Self(record) = self;
        record.expect(CODE, "output_id", output_id.as_str())?;
        record.check_listed(output_id)?;
        record.expect(CODE, "scenario_id", world.scenario_id.as_str())?;
        let Some(Value::Object(stated)) = record.fields.get("world_key") else {
            return Err(record.invalid("world_key", "an object"));
        };
        let stated_seed = stated.get("seed").and_then(Value::as_u64);
        let texts = [
            ("manifest_fingerprint", world.manifest_fingerprint.as_str()),
            ("parameter_hash", world.parameter_hash.as_str()),
            ("scenario_id", world.scenario_id.as_str()),
        ];
        let other = texts.iter().find(|(field, ours)| {
            let stated = stated.get(*field).and_then(Value::as_str);
            stated != Some(ours)
        });
        let other = match other {
            Some((field, _)) => field,
            None if stated_seed != Some(world.seed) => "seed",
            None => return Ok(()),
        };
        let what = format!("The view is of another world: its `world_key.{other}` is not ours");
        Err(record.error(CODE, what).field(format!("world_key.{other}")))
    }

    /// Checks that the view was built for this engine run root; gives its id.
    pub(super) fn check_id(
        &self,
        engine_run_root: &str,
        output_id: &OutputId,
        world: &WorldKey,
    ) -> Result<Hex64, Error> {
        const CODE: ReasonCode = ReasonCode::ViewIdMismatch;
        let Self(record) = self;
        record.expect(CODE, "engine_run_root", engine_run_root)?;
        let keys = record.fields.get("sort_keys").and_then(Value::as_array);
        let keys = keys.and_then(|keys| keys.iter().map(Value::as_str).collect());
        let granularity = record.text("partition_granularity")?;
        let identity = Identity {
            engine_run_root,
            output_id: output_id.as_str(),
            partition_granularity: granularity
                .ok_or_else(|| record.invalid("partition_granularity", "a text"))?,
            scenario_id: world.scenario_id.as_str(),
            sort_keys: keys.ok_or_else(|| record.invalid("sort_keys", "a list of texts"))?,
        };
        let text = serde_json::to_string(&identity).expect("plain texts are JSON");
        let id = Hex64::sha256_of(escaped(&text));
        record.expect(CODE, "stream_view_id", id.as_str())?;
        Ok(id)
    }
}

/// A JSON text whose characters beyond ASCII are escaped, as Python's `json.dumps` has it.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for unit in json.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte @ b' '..=b'~') => text.push(char::from(byte)),
            _ => text.extend(format!("\\u{unit:04x}").chars()),
        }
    }
    text
}

/// `_stream_sort_receipt.json`.
#[derive(Debug)]
pub(super) struct Receipt(Record);

impl Receipt {
    pub(super) fn parse(record: &(Vec<u8>, String)) -> Result<Self, Error> {
        Record::parse(record).map(Self)
    }

    /// Checks that sorting ended well and kept every row.
    pub(super) fn check_outcome(&self) -> Result<(), Error> {
        let Self(record) = self;
        record.expect(ReasonCode::ViewReceiptBad, "status", "OK")?;
        let stats = |field| match record.fields.get(field) {
            Some(Value::Object(stats)) if !stats.is_empty() => Some(stats),
            _ => None,
        };
        let (raw, sorted) = (stats("raw_stats"), stats("sorted_stats"));
        if raw.is_some() && raw == sorted {
            return Ok(());
        }
        let what = "`raw_stats` and `sorted_stats` are not equal";
        let error = record.error(ReasonCode::ViewReceiptBad, what);
        Err(error.field("sorted_stats"))
    }

    pub(super) fn check_output(&self, output_id: &OutputId) -> Result<(), Error> {
        let code = ReasonCode::ViewOutputMismatch;
        self.0.expect(code, "output_id", output_id.as_str())?;
        self.0.check_listed(output_id)
    }

    pub(super) fn check_id(&self, engine_run_root: &str, id: &Hex64) -> Result<(), Error> {
        let code = ReasonCode::ViewIdMismatch;
        self.0.expect(code, "engine_run_root", engine_run_root)?;
        self.0.expect(code, "stream_view_id", id.as_str())
    }

    /// Checks that the view was sorted from the parts of this digest.
    pub(super) fn check_source(&self, digest: &Hex64) -> Result<(), Error> {
        let code = ReasonCode::ViewStale;
        self.0
            .expect(code, "source_locator_digest", digest.as_str())
    }

    /// The rows that were sorted.
    pub(super) fn row_count(&self) -> Result<u64, Error> {
        let stats = self.0.fields.get("raw_stats");
        let count = stats.and_then(|stats| stats.get("row_count"));
        let count = count.and_then(Value::as_u64);
        count.ok_or_else(|| self.0.invalid("raw_stats.row_count", "a whole number"))
    }

    /// Checks a count of rows that was taken from footers; `None` if a part does not say it.
    pub(super) fn check_rows(&self, of: &str, found: Option<u64>) -> Result<(), Error> {
        let stated = self.row_count()?;
        match found {
            Some(found) if found == stated => Ok(()),
            Some(found) => Err(self.stale(format!(
                "The view was made of {stated} rows, and its {of} have {found}"
            ))),
            None => Err(self.stale(format!("The {of} of the view do not state their rows"))),
        }
    }

    pub(super) fn stale(&self, what: impl Into<String>) -> Error {
        self.0.error(ReasonCode::ViewStale, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The right side is what `json.dumps(text, ensure_ascii=True)` gives.
    #[test]
    fn texts_beyond_ascii_are_escaped_as_python_does() {
        let json = serde_json::to_string("ü \u{7f} \u{1F600} \"\\ \u{1} /").unwrap();
        let expected = "\"\\u00fc \\u007f \\ud83d\\ude00 \\\"\\\\ \\u0001 /\"";
        assert_eq!(escaped(&json), expected);
    }
}
