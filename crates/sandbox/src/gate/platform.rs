//! What a gate with a [`Dialect`] knows beyond which events it has: the states that the platform's
//! gate never leaves, its health, and where each receipt is.
//!
//! ```text
//!            publish fails ──► ambiguous ─┐
//!  new ──►   gate dies mid-way ► in flight ┴─► every repeat: retry required, over restarts too
//!            payload fails ──► quarantined ──► a repeat is judged again
//!            else ──────────► admitted ──────► DUPLICATE
//! ```
//!
//! After [`GateOptions::unhealthy_after`] failed publishes in a row the gate is unhealthy until it
//! is restarted. With a kept file, the states other than admitted are kept beside it, in
//! `<file>.states`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::GateOptions;
use super::dialect::{Dialect, Posted};
use super::schema_policy::SchemaPolicy;
use crate::Error;

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It is on the bus, at this offset.
    Admitted(u64),
    /// Its publish was begun and never ended.
    InFlight,
    /// Its publish failed, so that nobody knows whether it is on the bus.
    Ambiguous,
    /// The gate keeps it apart, for this reason.
    Quarantined(String),
}

/// An event of one platform run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Key {
    platform_run_id: String,
    event_id: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    key: Key,
    state: State,
}

#[derive(Debug, Default)]
struct Books {
    states: HashMap<Key, State>,
    admitted: u64,
    failed_publishes: u64,
    is_unhealthy: bool,
    file: Option<(File, PathBuf)>,
}

/// The platform's side of a gate.
#[derive(Debug)]
pub(super) struct Platform {
    pub(super) dialect: Dialect,
    pub(super) policy: Option<SchemaPolicy>,
    unhealthy_after: u64,
    books: Mutex<Books>,
}

impl Platform {
    /// # Errors
    /// `SANDBOX_IO`, `SANDBOX_CONTRACT_INVALID` if the kept states or the schema policy cannot be
    /// used.
    pub(super) fn open(options: &GateOptions, dialect: Dialect) -> Result<Self, Error> {
        let policy = options.schema_policy.as_deref();
        let mut books = Books::default();
        if let Some(kept) = &options.keep {
            books.open(kept)?;
        }
        Ok(Self {
            dialect,
            policy: policy.map(SchemaPolicy::load).transpose()?,
            unhealthy_after: options.unhealthy_after,
            books: Mutex::new(books),
        })
    }

    /// Starts again: what was unhealthy is well, and no event leaves its state.
    pub(super) fn restart(&self) {
        let mut books = self.books();
        (books.is_unhealthy, books.failed_publishes) = (false, 0);
    }

    pub(super) fn become_unhealthy(&self) {
        self.books().is_unhealthy = true;
    }

    pub(super) fn is_unhealthy(&self) -> bool {
        self.books().is_unhealthy
    }

    pub(super) fn state_of(&self, post: &Posted) -> Option<State> {
        self.books().states.get(&key_of(post)).cloned()
    }

    /// Notes that the event is on the bus; its offset there.
    pub(super) fn admit(&self, post: &Posted) -> u64 {
        let mut books = self.books();
        let offset = books.admitted;
        books.admitted += 1;
        books.failed_publishes = 0;
        books.states.insert(key_of(post), State::Admitted(offset));
        offset
    }

    /// Notes that the publish of an event failed.
    ///
    /// # Errors
    /// `SANDBOX_IO` if the state could not be kept.
    pub(super) fn publish_failed(&self, post: &Posted) -> Result<(), Error> {
        let mut books = self.books();
        books.failed_publishes += 1;
        let most = self.unhealthy_after;
        books.is_unhealthy |= most > 0 && books.failed_publishes >= most;
        books.keep(key_of(post), State::Ambiguous)
    }

    /// Notes a state that is not admitted.
    ///
    /// # Errors
    /// `SANDBOX_IO` if the state could not be kept.
    pub(super) fn keep(&self, post: &Posted, state: State) -> Result<(), Error> {
        self.books().keep(key_of(post), state)
    }

    /// What the gate says of an event by its id alone; null if it does not know it.
    pub(super) fn look_up(&self, event_id: &str) -> Value {
        let books = self.books();
        let mut known = books.states.iter();
        let found = known.find(|(key, _)| key.event_id == event_id);
        found.map_or(Value::Null, |(key, state)| {
            let decision = match state {
                State::Admitted(_) => "ADMIT",
                _ => "QUARANTINE",
            };
            json!({
                "event_id": event_id,
                "platform_run_id": key.platform_run_id,
                "decision": decision,
                "state": state,
                "receipt_ref": receipt_ref(key, decision),
            })
        })
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// Reads what an earlier gate kept.
    fn open(&mut self, kept: &Path) -> Result<(), Error> {
        for line in lines_of(kept)? {
            let post = Posted::of(line.as_bytes());
            let offset = self.admitted;
            self.states.insert(key_of(&post), State::Admitted(offset));
            self.admitted += 1;
        }
        let mut path = kept.as_os_str().to_owned();
        path.push(".states");
        let path = PathBuf::from(path);
        for line in lines_of(&path)? {
            // A last line that was cut was never answered.
            if let Ok(Line { key, state }) = serde_json::from_str(&line) {
                self.states.insert(key, state);
            }
        }
        let mut opening = File::options();
        let file = opening.create(true).append(true).open(&path);
        let file = file.map_err(Error::io("opening the kept states", &path))?;
        self.file = Some((file, path));
        Ok(())
    }

    fn keep(&mut self, key: Key, state: State) -> Result<(), Error> {
        if let Some((file, path)) = &mut self.file {
            let line = Line {
                key: key.clone(),
                state: state.clone(),
            };
            let mut text = serde_json::to_string(&line).unwrap_or_default();
            text.push('\n');
            let written = file.write_all(text.as_bytes());
            written.map_err(Error::io("writing the kept states", path))?;
        }
        self.states.insert(key, state);
        Ok(())
    }
}

fn lines_of(path: &Path) -> Result<Vec<String>, Error> {
    match File::open(path) {
        Ok(file) => {
            let lines: Result<_, _> = BufReader::new(file).lines().collect();
            lines.map_err(Error::io("reading", path))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io("opening", path)(error)),
    }
}

/// The receipt of a decision, and where it is.
pub(super) fn receipt(
    decision: &str,
    code: Option<&str>,
    offset: Option<u64>,
    post: &Posted,
) -> (Value, String) {
    let key = key_of(post);
    let fingerprint = post.field("manifest_fingerprint");
    let mut receipt = json!({
        "receipt_id": receipt_id(&key, decision),
        "decision": decision,
        "event_id": key.event_id,
        "event_type": post.text("event_type"),
        "event_class": "stand_in",
        "ts_utc": post.field("ts_utc"),
        "manifest_fingerprint": fingerprint,
        "platform_run_id": key.platform_run_id,
        "run_config_digest": "0".repeat(64),
        "policy_rev": {"policy_id": "ig_policy", "revision": "stand-in"},
        "pins": {"manifest_fingerprint": fingerprint, "platform_run_id": key.platform_run_id},
        "dedupe_key": digest(&[&key.platform_run_id, "stand_in", &key.event_id]),
    });
    if let Some(offset) = offset {
        receipt["eb_ref"] = json!({
            "topic": "fp.bus.traffic.v1",
            "partition": 0,
            "offset": offset.to_string(),
            "offset_kind": "file_line",
        });
        receipt["scenario_run_id"] = post.field("scenario_run_id");
    }
    if let Some(code) = code {
        receipt["reason_codes"] = json!([code]);
        let quarantined = digest(&["quarantine", &key.event_id]);
        let record = format!(
            "{}/ig/quarantine/{quarantined:.32}.json",
            key.platform_run_id
        );
        receipt["evidence_refs"] = json!([{"kind": "quarantine_record", "ref": record}]);
    }
    (receipt, receipt_ref(&key, decision))
}

fn key_of(post: &Posted) -> Key {
    Key {
        platform_run_id: post.text("platform_run_id").to_owned(),
        event_id: post.text("event_id").to_owned(),
    }
}

fn receipt_id(key: &Key, decision: &str) -> String {
    let digest = digest(&[&key.platform_run_id, &key.event_id, decision]);
    digest[..32].to_owned()
}

fn receipt_ref(key: &Key, decision: &str) -> String {
    let (run, id) = (&key.platform_run_id, receipt_id(key, decision));
    format!("{run}/ig/receipts/{id}.json")
}

fn digest(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("|"));
    digest.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _: Result<(), _> = write!(text, "{byte:02x}");
        text
    })
}
