//! `CHECKPOINT_UNAVAILABLE` for a path: what to do, by what the system said.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::error::{Error, unavailable};

/// The error of an operation on a path.
pub(crate) fn at_path(operation: &'static str, path: &Path, source: io::Error) -> Error {
    unavailable(operation, path.display().to_string(), advice(source.kind())).because(source)
}

/// What to do where another process keeps a lock for longer than its work takes.
pub(crate) const LOCKED: &str = "Another process keeps it locked in the middle of a save: continue it \
                                 if it is stopped, or end it, and nothing that it saved is lost";

/// The error of a lock on one of some files that another process keeps, which is named where the
/// system tells.
pub(crate) fn locked(operation: &'static str, path: &Path, files: &[&Path]) -> Error {
    let failure = unavailable(operation, path.display().to_string(), LOCKED);
    match durable::blame(files) {
        Some(holder) => failure.because(holder),
        None => failure,
    }
}

/// What to do about it.
pub(crate) fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "The disk is full: free some space on it"
        }
        ErrorKind::PermissionDenied => "Let this user read and write there",
        ErrorKind::ReadOnlyFilesystem => "The file system is read-only: mount it for writing",
        ErrorKind::NotFound => {
            "The checkpoint folder is gone: bring it back, or start the stream anew"
        }
        _ => "Look after the disk and the folder",
    }
}
