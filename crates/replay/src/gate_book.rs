//! What the ingestion gate quarantined: counted, shown by examples, and judged.
//!
//! ```text
//! QUARANTINE ─► counts by output and reason ─► report, progress, audit (once a second and reason)
//!      │
//!      ├─► <run>/wsp/gate_quarantined.ndjson   one line an event: the different ones are bounded
//!      └─► the first 1,000, or all of a run of at least 20? ─► <run>/wsp/gate_verdict.json
//! ```
//!
//! Both files belong to the platform run, or to one shard of it, and outlive a run of this program. A verdict is repeated
//! by every later run that sees no ADMIT; an ADMIT and a reset of the cursors remove it. Lines are
//! written as events are heard of, before a cursor can pass them, and not synced: they survive the
//! death of this process, and a power cut may lose the last of them.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use model::OutputId;
use push::AnswerDetails;
use serde::{Deserialize, Serialize};

mod files;
mod told;

use files::BookFiles;

pub use files::{BookPlace, clear_verdict, gate_book_places, verdict_stays};
pub use told::{GateQuarantineReport, GateQuarantinedNote, QuarantinedFor, QuarantinedOne};

use crate::decisions::Decisions;
use crate::{Error, ReasonCode};

/// At most one note of a reason in this time.
const TELL: Duration = Duration::from_secs(1);
/// Events that are shown of each output and reason.
const EXAMPLES: usize = 3;
/// Outputs and reasons that are counted apart; further ones count as one reason, `OTHER`.
const MOST_REASONS: usize = 64;
/// So many events, all of them quarantined, are all that a stream needs to be judged.
const JUDGED_AFTER: u64 = 1_000;
/// A run that ended must have had so many events to be judged.
const JUDGED_AT_END: u64 = 20;

/// What becomes of an event that the gate quarantines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnGateQuarantine {
    /// The event counts as acknowledged, and the stream goes on.
    #[default]
    Continue,
    /// The event ends the stream, and a rerun begins with it.
    Stop,
}

/// How events that the gate quarantines are judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GateQuarantineTerms {
    /// What becomes of such an event.
    pub on_gate_quarantine: OnGateQuarantine,
    /// Different events of the platform run that the gate may quarantine before the stream ends;
    /// `None` sets no limit.
    pub at_most: Option<u64>,
}

/// The format of the list's lines and of the verdict. A line without a version is of the first one,
/// whose lines did not say so.
const FORMAT_VERSION: u32 = 1;

/// One line of the list of events that the gate quarantined.
#[derive(Serialize)]
struct Line<'a> {
    format_version: u32,
    event_id: &'a str,
    output_id: &'a str,
    reason_codes: &'a [String],
    receipt_ref: Option<&'a str>,
}

/// A line, read for its id alone.
#[derive(Deserialize)]
struct Listed {
    event_id: String,
}

/// The version of a line or a verdict; `None` for a line of the first format.
#[derive(Deserialize)]
struct Version {
    format_version: Option<u64>,
}

/// The verdict that everything was quarantined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Verdict {
    format_version: u32,
    reason: String,
    /// Events of the run that was judged.
    events: u64,
    /// Their most frequent reason code.
    reason_code: String,
}

struct Count {
    events: u64,
    untold: u64,
    told_at: Option<Instant>,
    first: Vec<QuarantinedOne>,
    /// The first event that no note was about.
    example: Option<QuarantinedOne>,
}

/// What the gate quarantined so far.
#[derive(Default)]
pub struct GateBook {
    terms: GateQuarantineTerms,
    events: u64,
    counts: BTreeMap<(OutputId, String), Count>,
    /// Where the book of the platform run is kept; `None` keeps none.
    place: Option<Box<dyn BookPlace>>,
    /// Whether anything was listed.
    has_listed: bool,
    /// The events of the list, where they are bounded.
    listed: HashSet<String>,
    verdict: Option<Verdict>,
}

impl std::fmt::Debug for GateBook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GateBook")
            .field("terms", &self.terms)
            .field("events", &self.events)
            .field("verdict", &self.verdict)
            .finish_non_exhaustive()
    }
}

impl GateBook {
    /// Opens the book in a folder of a platform run, on a thread that may block. Writes nothing.
    ///
    /// # Errors
    /// `GATE_QUARANTINE_LIMIT` if as many events are listed as may be; `QUARANTINE_UNREADABLE`.
    pub fn open(terms: GateQuarantineTerms, folder: &Path) -> Result<Self, Error> {
        Self::open_in(terms, Box::new(BookFiles::in_folder(folder)))
    }

    /// A book that is kept nowhere.
    pub fn unkept(terms: GateQuarantineTerms) -> Self {
        Self {
            terms,
            ..Self::default()
        }
    }

    /// The same of a book that is kept elsewhere.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in(terms: GateQuarantineTerms, place: Box<dyn BookPlace>) -> Result<Self, Error> {
        let mut book = Self {
            terms,
            ..Self::default()
        };
        let verdict_place = place.verdict_place();
        let verdict = place.read_verdict();
        if let Some(bytes) = verdict.map_err(|error| unreadable(&verdict_place, error))? {
            check_version(&bytes, &verdict_place)?;
            let verdict = serde_json::from_slice(&bytes);
            book.verdict = Some(verdict.map_err(|error| unreadable(&verdict_place, error))?);
        }
        if terms.at_most.is_some() {
            let list = place.read_list();
            let list = list.map_err(|error| unreadable(&place.list_place(), error))?;
            let list = list.unwrap_or_default();
            let text = String::from_utf8_lossy(&list);
            for line in text.lines() {
                check_version(line.as_bytes(), &place.list_place())?;
            }
            // A line that cannot be read counts as an event of its own: a crash cuts one short, and
            // damage must not make the limit wider.
            let listed = text.lines().map(|line| match serde_json::from_str(line) {
                Ok(Listed { event_id }) => event_id,
                Err(_) => line.to_owned(),
            });
            book.listed = listed.collect();
        }
        book.place = Some(place);
        book.limit()?;
        Ok(book)
    }

    /// Whether an event that the gate quarantines ends the stream.
    pub(crate) fn stops(&self) -> bool {
        self.terms.on_gate_quarantine == OnGateQuarantine::Stop
    }

    /// Takes down an event that the gate quarantined.
    ///
    /// # Errors
    /// `GATE_QUARANTINE_LIMIT`; `QUARANTINE_UNWRITABLE` where the events are bounded and cannot be
    /// listed.
    pub(crate) fn note(
        &mut self,
        output: &OutputId,
        (file, row): (&str, u64),
        event_id: &str,
        details: &AnswerDetails,
    ) -> Result<(), Error> {
        self.events += 1;
        let one = || QuarantinedOne {
            event_id: event_id.to_owned(),
            receipt_ref: details.receipt_ref.clone(),
            file: file.to_owned(),
            row,
        };
        let codes = details.reason_codes.iter().map(String::as_str);
        let none = details.reason_codes.is_empty().then_some("NONE");
        for code in codes.chain(none) {
            let mut key = (output.clone(), code.to_owned());
            if self.counts.len() >= MOST_REASONS && !self.counts.contains_key(&key) {
                "OTHER".clone_into(&mut key.1);
            }
            let count = self.counts.entry(key).or_insert_with(|| Count {
                events: 0,
                untold: 0,
                told_at: None,
                first: Vec::new(),
                example: None,
            });
            count.events += 1;
            count.untold += 1;
            if count.first.len() < EXAMPLES {
                count.first.push(one());
            }
            if count.example.is_none() {
                count.example = Some(one());
            }
        }
        self.list(output, event_id, details)?;
        self.limit()
    }

    /// Lists an event, unless it is listed.
    fn list(
        &mut self,
        output: &OutputId,
        event_id: &str,
        details: &AnswerDetails,
    ) -> Result<(), Error> {
        let is_bounded = self.terms.at_most.is_some();
        if is_bounded && !self.listed.insert(event_id.to_owned()) {
            return Ok(());
        }
        let Some(place) = &mut self.place else {
            return Ok(());
        };
        let line = Line {
            format_version: FORMAT_VERSION,
            event_id,
            output_id: output.as_str(),
            reason_codes: &details.reason_codes,
            receipt_ref: details.receipt_ref.as_deref(),
        };
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        let path = place.list_place();
        match place.append(&text) {
            Ok(()) => {
                self.has_listed = true;
                Ok(())
            }
            Err(error) if is_bounded => Err(Error::caused(
                ReasonCode::QuarantineUnwritable,
                format!("The events that the gate quarantined cannot be listed in {path}"),
                "Mend the file or its disk; no cursor has passed the event, and a rerun resumes.",
                error,
            )),
            Err(error) => {
                tracing::warn!(path, %error, "what the gate quarantines cannot be listed; the run goes on without the list");
                (self.place, self.has_listed) = (None, false);
                Ok(())
            }
        }
    }

    fn limit(&self) -> Result<(), Error> {
        let listed = self.listed.len() as u64;
        match self.terms.at_most {
            Some(at_most) if listed >= at_most => Err(Error::new(
                ReasonCode::GateQuarantineLimit,
                format!(
                    "The ingestion gate quarantined {listed} different events of this platform run; \
                     `wsp_push.max_gate_quarantined` is {at_most}{}",
                    self.in_words()
                ),
                "Find out why, or raise the limit; a rerun resumes.",
            )),
            _ => Ok(()),
        }
    }

    /// Whether so many events were heard of, and all quarantined, that the stream may end for it.
    ///
    /// # Errors
    /// `GATE_QUARANTINED_ALL`.
    pub(crate) fn judge(&self, decisions: Decisions) -> Result<(), Error> {
        let after = match self.verdict {
            // It is known already what comes of this.
            Some(_) => JUDGED_AT_END,
            None => JUDGED_AFTER,
        };
        if is_all(decisions) && decisions.quarantine >= after {
            Err(self.all_quarantined(decisions.quarantine))
        } else {
            Ok(())
        }
    }

    /// Whether a verdict stands over the platform run.
    pub(crate) fn is_judged_all(&self) -> bool {
        self.verdict.is_some()
    }

    /// The gate took an event: no verdict stands any more.
    pub(crate) fn admitted(&mut self) {
        self.verdict = None;
        if let Some(place) = &self.place
            && let Err(error) = place.remove_verdict()
        {
            tracing::warn!(path = place.verdict_place(), %error, "the verdict that all was quarantined cannot be removed");
        }
    }

    /// Judges a stream that ended; a verdict is kept with the platform run.
    pub(crate) fn close(&mut self, decisions: Decisions) -> Option<Error> {
        if is_all(decisions) && decisions.quarantine >= JUDGED_AT_END {
            let error = self.all_quarantined(decisions.quarantine);
            let verdict = Verdict {
                format_version: FORMAT_VERSION,
                reason: ReasonCode::GateQuarantinedAll.as_str().to_owned(),
                events: decisions.quarantine,
                reason_code: self.most_frequent().unwrap_or("NONE").to_owned(),
            };
            if let Some(place) = &self.place {
                let text = serde_json::to_vec(&verdict).unwrap_or_default();
                if let Err(error) = place.keep_verdict(&text) {
                    tracing::warn!(path = place.verdict_place(), %error, "the verdict that all was quarantined cannot be kept");
                }
            }
            return Some(error);
        }
        self.verdict.as_ref().map(|verdict| {
            Error::new(
                ReasonCode::GateQuarantinedAll,
                format!(
                    "An earlier run of this platform run had all of its {} events quarantined by the \
                     ingestion gate ({}), and none was admitted since",
                    verdict.events, verdict.reason_code
                ),
                "Mend what it names, then `wsp-cli checkpoint reset --yes` streams them again.",
            )
        })
    }

    fn all_quarantined(&self, events: u64) -> Error {
        Error::new(
            ReasonCode::GateQuarantinedAll,
            format!(
                "The ingestion gate quarantined all {events} events{}",
                self.in_words()
            ),
            "Compare their payloads with its schema policy; then `wsp-cli checkpoint reset --yes` \
             streams them again.",
        )
    }

    fn most_frequent(&self) -> Option<&str> {
        let most = self.counts.iter().max_by_key(|(_, count)| count.events);
        most.map(|((_, code), _)| code.as_str())
    }

    /// The most frequent reason, with an example.
    fn in_words(&self) -> String {
        let most = self.counts.iter().max_by_key(|(_, count)| count.events);
        let Some(((output, code), count)) = most else {
            return String::new();
        };
        let example = count.first.first().map_or_else(String::new, |one| {
            let receipt = one.receipt_ref.as_deref().unwrap_or("none");
            format!(", such as {} with the receipt {receipt}", one.event_id)
        });
        format!("; {} of {output} for {code}{example}", count.events)
    }

    /// What is to be told by now, or at the `end`.
    pub(crate) fn tell(&mut self, now: Instant, end: bool) -> Vec<GateQuarantinedNote> {
        let mut notes = Vec::new();
        for ((output, code), count) in &mut self.counts {
            let is_recent = |at: Instant| now.saturating_duration_since(at) < TELL;
            if count.untold == 0 || !end && count.told_at.is_some_and(is_recent) {
                continue;
            }
            let Some(example) = count.example.take() else {
                continue;
            };
            notes.push(GateQuarantinedNote {
                output_id: output.clone(),
                reason_code: code.clone(),
                events: std::mem::take(&mut count.untold),
                in_all: count.events,
                example,
            });
            count.told_at = Some(now);
        }
        notes
    }

    /// What this run saw; `None` if that is nothing.
    pub(crate) fn report(&self) -> Option<GateQuarantineReport> {
        let by_reason = self
            .counts
            .iter()
            .map(|((output, code), count)| QuarantinedFor {
                output_id: output.clone(),
                event_type: output.clone(),
                reason_code: code.clone(),
                events: count.events,
                first: count.first.clone(),
            });
        (self.events > 0).then(|| GateQuarantineReport {
            events: self.events,
            place: self
                .place
                .as_ref()
                .filter(|_| self.has_listed)
                .map(|place| place.list_place()),
            by_reason: by_reason.collect(),
        })
    }
}

fn is_all(decisions: Decisions) -> bool {
    decisions.admit == 0 && decisions.duplicate == 0 && decisions.quarantine > 0
}

/// Refuses what a later release wrote in another format. What has no version that can be read is for
/// the caller to judge.
fn check_version(json: &[u8], place: &str) -> Result<(), Error> {
    let read: Result<Version, _> = serde_json::from_slice(json);
    match read.ok().and_then(|version| version.format_version) {
        Some(version) if version != u64::from(FORMAT_VERSION) => Err(Error::new(
            ReasonCode::QuarantineUnreadable,
            format!(
                "{place} is of format version {version}, and this release reads {FORMAT_VERSION}"
            ),
            "Go on with the release that wrote it, or a later one.",
        )),
        _ => Ok(()),
    }
}

fn unreadable(place: &str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::caused(
        ReasonCode::QuarantineUnreadable,
        format!("{place} cannot be read"),
        "Restore it, or remove it.",
        source,
    )
}

#[cfg(test)]
mod tests;
