//! The file of receipts: one line of JSON for each event that the gate acknowledged.
//!
//! | field | value |
//! |---|---|
//! | `event_id`, `output_id` | which event |
//! | `decision` | `ADMIT`, `DUPLICATE` or `QUARANTINE` |
//! | `receipt_id`, `receipt_ref` | the gate's receipt and where it is; null if the answer names none |
//! | `bus` | where the event is on the bus (`topic`, `partition`, `offset`, `offset_kind`); null if the answer does not say |
//! | `reason_codes` | those of the receipt |
//!
//! The lines of events are written to the system before a save starts that lets a cursor pass them,
//! and synced at the end of the run: they survive the death of this process at any moment, and a
//! power cut may lose the last of them. A repeated event has a line for each answer. An event that
//! was set aside here has none.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use model::OutputId;
use push::{AnswerDetails, Decision};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Error, ReasonCode};

/// An open file of receipts.
#[derive(Debug)]
pub struct Receipts {
    path: PathBuf,
    file: BufWriter<File>,
    /// The first fault; nothing is written after it.
    fault: Option<std::io::Error>,
}

#[derive(Serialize)]
struct Line<'a> {
    event_id: &'a str,
    output_id: &'a str,
    decision: &'static str,
    receipt_id: Option<&'a str>,
    receipt_ref: Option<&'a str>,
    bus: Option<&'a RawValue>,
    reason_codes: &'a [String],
}

#[derive(Deserialize, Default)]
struct Body<'a> {
    #[serde(borrow, default)]
    receipt: Option<Receipt<'a>>,
}

#[derive(Deserialize)]
struct Receipt<'a> {
    #[serde(borrow, default)]
    receipt_id: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    eb_ref: Option<&'a RawValue>,
}

impl Receipts {
    /// Opens, or makes, a file that lines are appended to.
    ///
    /// # Errors
    /// `RECEIPTS_UNWRITABLE`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let opened = File::options().create(true).append(true).open(path);
        let file = opened.map_err(|error| unwritable(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::with_capacity(1 << 16, file),
            fault: None,
        })
    }

    /// Takes down one answer.
    pub(crate) fn write(
        &mut self,
        output: &OutputId,
        decision: Decision,
        event_id: &str,
        details: &AnswerDetails,
    ) {
        let body: Body<'_> = serde_json::from_slice(&details.body).unwrap_or_default();
        let receipt = body.receipt.as_ref();
        let line = Line {
            event_id,
            output_id: output.as_str(),
            decision: decision.as_str(),
            receipt_id: receipt.and_then(|receipt| receipt.receipt_id.as_deref()),
            receipt_ref: details.receipt_ref.as_deref(),
            bus: receipt.and_then(|receipt| receipt.eb_ref),
            reason_codes: &details.reason_codes,
        };
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        if self.fault.is_none() {
            self.fault = self.file.write_all(&text).err();
        }
    }

    /// Gives all lines so far to the system.
    ///
    /// # Errors
    /// `RECEIPTS_UNWRITABLE`.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        if self.fault.is_none() {
            self.fault = self.file.flush().err();
        }
        match &self.fault {
            Some(fault) => Err(unwritable(&self.path, std::io::Error::from(fault.kind()))),
            None => Ok(()),
        }
    }

    /// Makes all lines durable.
    ///
    /// # Errors
    /// `RECEIPTS_UNWRITABLE`.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        self.flush()?;
        match self.file.get_ref().sync_data() {
            // A pipe or a terminal has nothing to sync.
            Err(error) if error.kind() != std::io::ErrorKind::InvalidInput => {
                Err(unwritable(&self.path, error))
            }
            _ => Ok(()),
        }
    }
}

fn unwritable(path: &Path, source: std::io::Error) -> Error {
    Error::caused(
        ReasonCode::ReceiptsUnwritable,
        format!("The receipts {} cannot be written", path.display()),
        "Mend the file or its disk; no cursor has passed an event without its line, and a rerun resumes.",
        source,
    )
}

#[cfg(test)]
mod tests {
    use push::Bytes;

    use super::*;

    #[test]
    fn a_line_says_where_receipt_and_event_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("receipts.ndjson");
        let output = OutputId::new("flows");
        let body = br#"{"decision":"ADMIT","receipt":{"receipt_id":"ab","eb_ref":{"topic":"t","partition":0,"offset":"7","offset_kind":"file_line"}},"receipt_ref":"r/ab"}"#;
        let details = AnswerDetails {
            receipt_ref: Some("r/ab".to_owned()),
            body: Bytes::from_static(body),
            ..AnswerDetails::default()
        };
        for _ in 0..2 {
            let mut receipts = Receipts::open(&path).unwrap();
            receipts.write(&output, Decision::Admit, "id", &details);
            receipts.sync().unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2, "appended");
        let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(line["bus"]["offset"], "7");
        assert_eq!(
            (&line["receipt_id"], &line["receipt_ref"], &line["decision"]),
            (&"ab".into(), &"r/ab".into(), &"ADMIT".into())
        );
    }

    #[test]
    fn a_full_disk_is_an_error_before_any_save() {
        let mut receipts = Receipts::open(Path::new("/dev/full")).unwrap();
        let output = OutputId::new("flows");
        receipts.write(&output, Decision::Admit, "id", &AnswerDetails::default());
        assert_eq!(receipts.flush().unwrap_err().code(), "RECEIPTS_UNWRITABLE");
        assert_eq!(receipts.flush().unwrap_err().code(), "RECEIPTS_UNWRITABLE");
    }
}
