//! What is wrong with a quarantine file, as the errors that end a stream.

use std::io;
use std::path::Path;

use durable::LogFault;

use crate::{Error, ReasonCode};

/// A quarantine file that cannot be written.
pub(super) fn unwritable(path: &Path, source: io::Error) -> Error {
    let full = source.kind() == io::ErrorKind::StorageFull;
    let place = path.display();
    let why = if full { ": the disk is full" } else { "" };
    cannot_be_written(
        format!("The quarantine file {place} cannot be written{why}"),
        source,
    )
}

/// A quarantine in a bucket that cannot be written.
pub(super) fn unwritable_at(place: &str, source: io::Error) -> Error {
    cannot_be_written(format!("The quarantine {place} cannot be written"), source)
}

fn cannot_be_written(what: String, source: io::Error) -> Error {
    Error::caused(
        ReasonCode::QuarantineUnwritable,
        what,
        "Mend it; no cursor has passed an event that is not in it, and a rerun resumes.",
        source,
    )
}

/// A file whose lines cannot be read.
pub(super) fn faulty(path: &Path, fault: LogFault) -> Error {
    match fault {
        LogFault::Unreadable(error) => unreadable(path, error),
        LogFault::Damaged { line, why } => damaged(path, line, &why),
    }
}

/// A file that cannot be read.
pub(super) fn unreadable(path: &Path, source: io::Error) -> Error {
    unreadable_at(&path.display().to_string(), source)
}

/// The same of a quarantine in a bucket.
pub(super) fn unreadable_at(place: &str, source: io::Error) -> Error {
    Error::caused(
        ReasonCode::QuarantineUnreadable,
        format!("The quarantine file {place} cannot be read"),
        "Name one that is there (--file, --platform-run-id), and look at its permissions.",
        source,
    )
}

fn damaged(path: &Path, line: u64, why: &str) -> Error {
    damaged_object(&path.display().to_string(), line, why)
}

/// A line of a file or an object that is not what was written.
pub(super) fn damaged_object(place: &str, line: u64, why: &str) -> Error {
    Error::new(
        ReasonCode::QuarantineUnreadable,
        format!("Line {line} of {place} is damaged: {why}"),
        "Somebody changed the file: restore it, or move it away together with its redriven file and look after its events by hand.",
    )
}

/// Refuses a pipe, which might never open.
pub(super) fn refuse_pipe(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if path.metadata().is_ok_and(|found| {
        let kind = found.file_type();
        std::os::unix::fs::FileTypeExt::is_fifo(&kind)
    }) {
        let what = "it is a pipe, and a file is needed";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(())
}
