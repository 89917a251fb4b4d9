//! The quarantine: rejected events, set aside durably, so that a stream may go on without
//! them and nothing is lost.
//!
//! ```text
//! lane ─ Rejected ─► keeper ─ a batch at a time ─► Quarantine::set_aside ─► quarantine.ndjson
//!                      │        (a blocking thread)          │ synced
//!                      └── mark done, count ◄────────────────┘
//!
//! redrive ─ reads quarantine.ndjson ─► gate ─ acknowledged ─► quarantine.redriven.ndjson
//! ```
//!
//! | file | idea | kind |
//! |---|---|---|
//! | `record` | one line of the file, written and read | pure |
//! | `open_events` | which events still wait for a redrive | pure |
//! | `file` | the file of a platform run | IO |
//! | `redriven` | what a redrive delivered | IO |
//! | `prefix` | what a file holds when a redrive begins | IO |
//! | `objects` | all of this in a bucket: numbered objects | IO |
//! | `aside` | the keeper's side: batches, the limit, what is told | |
//!
//! Invariants:
//! - An event is marked done only after [`Quarantine::set_aside`] returned for it, and that
//!   returns only once the event survives the loss of power.
//! - A line is written whole or cut off again: whoever opens the file after a crash cuts what
//!   the crash left of a last line. No cursor has passed that event, so it comes again.
//! - Nothing is ever taken out of either file. An event *waits* while its last line in
//!   `quarantine.ndjson` is behind the one that `quarantine.redriven.ndjson` names for it.
//! - One file a platform run, whatever its outputs: several producers append to it, each line
//!   under the file's OS lock.

pub(crate) mod aside;
pub(crate) mod objects;
pub(crate) mod file;
pub(crate) mod prefix;
pub(crate) mod redriven;
mod fault;
pub(crate) mod open_events;
pub(crate) mod record;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use aside::{QuarantineReport, QuarantinedEventNote, QuarantinedNote};
pub use file::QuarantineFile;
pub use record::{QuarantinedEvent, RejectReason, RejectedEvent};

use crate::{Error, ReasonCode};

/// The JSON Schema of one line of a quarantine file.
pub const QUARANTINE_RECORD_SCHEMA: &str =
    include_str!("../../../../contracts/quarantine_record.schema.yaml");

/// What becomes of an event that the ingestion gate will not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnReject {
    /// The event ends the stream, and a rerun begins with it.
    Stop,
    /// The event is set aside durably, and the stream goes on.
    Quarantine,
}

/// What becomes of rejected events, and how many may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RejectSettings {
    /// What becomes of a rejected event.
    pub on_reject: OnReject,
    /// Events that may lie in the quarantine before the stream ends; at least 1.
    pub max_quarantined: u64,
}

/// Where rejected events are set aside. Implemented by [`QuarantineFile`] and, in a bucket, by
/// [`QuarantineObjects`](crate::QuarantineObjects); called by the keeper,
/// one batch at a time, on a thread that may block.
pub trait Quarantine: Send {
    /// Makes these events durable: once it returns, they survive the loss of power, and cursors
    /// may pass them. An event that waits there already need not be kept twice. On an error
    /// none of them counts as kept, and the stream ends.
    ///
    /// # Errors
    /// `QUARANTINE_UNWRITABLE`; whatever else ends the stream.
    fn set_aside(&mut self, events: &[RejectedEvent]) -> Result<(), Error>;

    /// The number of events that wait in the quarantine, those of earlier runs included.
    fn waiting(&self) -> u64;

    /// Whether what was set aside is still there: somebody may have deleted it.
    ///
    /// # Errors
    /// `QUARANTINE_UNWRITABLE` where events waited there and are gone.
    fn check_in_place(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The place of the quarantine, shown to operators.
    fn place(&self) -> String;
}

/// A quarantine, and how much it may hold.
pub struct SetAside {
    /// Where rejected events go.
    pub quarantine: Box<dyn Quarantine>,
    /// Events that may wait in the quarantine before the stream ends with `QUARANTINE_LIMIT`.
    pub at_most: u64,
}

/// The path of the quarantine file in a folder of a platform run.
pub fn quarantine_in(folder: &Path) -> PathBuf {
    folder.join("quarantine.ndjson")
}

/// The path of the file beside a quarantine file that lists the events that no longer wait.
pub fn redriven_of(quarantine: &Path) -> PathBuf {
    redriven::redriven_beside(quarantine)
}

/// Opens the quarantine of a platform run by `open`, if rejected events are to be set aside; on a
/// thread that may block, since another producer may hold the file's lock.
///
/// # Errors
/// `QUARANTINE_LIMIT` if it is full already; `QUARANTINE_UNREADABLE`, `QUARANTINE_UNWRITABLE`.
pub async fn open_quarantine(
    settings: RejectSettings,
    open: impl FnOnce() -> Result<Box<dyn Quarantine>, Error> + Send + 'static,
) -> Result<Option<SetAside>, Error> {
    if settings.on_reject == OnReject::Stop {
        return Ok(None);
    }
    let opening = durable::spawn_blocking(open);
    let opening =
        opening.map_err(|source| Error::no_thread("The quarantine cannot be opened", source))?;
    let quarantine = opening
        .await
        .map_err(|panic| Error::died("The quarantine was not opened to the end", panic))??;
    if quarantine.waiting() >= settings.max_quarantined {
        return Err(limit_reached(&*quarantine, settings.max_quarantined));
    }
    Ok(Some(SetAside {
        quarantine,
        at_most: settings.max_quarantined,
    }))
}

fn limit_reached(quarantine: &dyn Quarantine, at_most: u64) -> Error {
    let (waiting, place) = (quarantine.waiting(), quarantine.place());
    Error::new(
        ReasonCode::QuarantineLimit,
        format!(
            "{waiting} rejected events wait in {place}; `wsp_push.max_quarantined` is {at_most}"
        ),
        "Find out why the ingestion gate rejects them, then `wsp-cli redrive`, or raise the limit; a rerun resumes.",
    )
}
