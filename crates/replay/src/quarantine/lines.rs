//! Whole lines of a file that is only ever appended to, each read once.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::{Error, ReasonCode};

/// How far a file has been read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LinesRead {
    /// Bytes of whole lines.
    pub(super) bytes: u64,
    /// Whole lines.
    pub(super) lines: u64,
}

impl LinesRead {
    /// Shows every whole line beyond what has been read, with its number (from 1), and
    /// answers how many bytes stand behind the last: a line that is being written, or one
    /// that a crash cut short.
    ///
    /// # Errors
    /// `QUARANTINE_UNREADABLE` with file and line, for a line that `see` refuses in words too.
    pub(super) fn catch_up(
        &mut self,
        file: &File,
        path: &Path,
        mut see: impl FnMut(u64, &[u8]) -> Result<(), String>,
    ) -> Result<u64, Error> {
        let failed = |error| unreadable(path, error);
        let length = file.metadata().map_err(failed)?.len();
        let Some(more) = length.checked_sub(self.bytes) else {
            return Err(damaged(path, self.lines, "the file is shorter than it was"));
        };
        let mut file = file;
        file.seek(SeekFrom::Start(self.bytes)).map_err(failed)?;
        let mut reader = BufReader::with_capacity(1 << 16, file.take(more));
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line).map_err(failed)?;
            if line.pop() != Some(b'\n') {
                return Ok(read as u64);
            }
            see(self.lines + 1, &line).map_err(|why| damaged(path, self.lines + 1, &why))?;
            self.bytes += read as u64;
            self.lines += 1;
        }
    }
}

/// `quarantine.redriven.ndjson` for `quarantine.ndjson`: beside the file itself, whatever
/// symlink names it, so that there is one record of what was redriven.
pub(super) fn redriven_beside(quarantine: &Path) -> PathBuf {
    let real = quarantine.canonicalize();
    real.as_deref()
        .unwrap_or(quarantine)
        .with_extension("redriven.ndjson")
}

/// A file that cannot be read.
pub(super) fn unreadable(path: &Path, source: std::io::Error) -> Error {
    Error::caused(
        ReasonCode::QuarantineUnreadable,
        format!("The quarantine file {} cannot be read.", path.display()),
        "Name one that is there (--file, --platform-run-id), and look at its permissions.",
        source,
    )
}

fn damaged(path: &Path, line: u64, why: &str) -> Error {
    Error::new(
        ReasonCode::QuarantineUnreadable,
        format!("Line {line} of {} is damaged: {why}.", path.display()),
        "Somebody changed the file: restore it, or move it away together with its redriven file and look after its events by hand.",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_symlink_to_a_quarantine_file_has_the_redriven_file_of_the_file_itself() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("quarantine.ndjson");
        std::fs::write(&file, "").unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let link = elsewhere.path().join("mine.ndjson");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(redriven_beside(&link), redriven_beside(&file));
    }
}
