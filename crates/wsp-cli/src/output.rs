//! Standard output, one JSON object and nothing else; and messages on standard error.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;
use serde::Serialize;

/// Whether a JSON object could not be written to standard output.
static LOST: AtomicBool = AtomicBool::new(false);

/// The progress line that stands on the terminal: messages are written above it.
static LINE: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Has messages written above a progress line from now on; `None` if there is no line any more.
pub fn write_above(line: Option<ProgressBar>) {
    *LINE.lock().unwrap_or_else(PoisonError::into_inner) = line;
}

/// Prints one JSON object on standard output.
///
/// A report that cannot be written, since the disk is full or the reader has gone away, is a
/// failure of the command: standard error says so, and [`was_lost`] from then on.
pub fn print(value: &impl Serialize) {
    if let Err(error) = write_object(&mut io::stdout().lock(), value) {
        LOST.store(true, Ordering::Relaxed);
        tell(format_args!(
            "wsp-cli: the report cannot be written to standard output: {error}\n"
        ));
    }
}

/// Says whether [`print()`] failed, so that the process ends with a status that is not 0.
pub fn was_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// Writes a message to standard error; one that cannot be written is dropped, because
/// `eprintln!` panics where the reader has gone away.
pub fn tell(message: fmt::Arguments<'_>) {
    let _ = Stderr.write_fmt(message);
}

fn write_object(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}

/// Standard error, for logs and messages; a write to it never fails.
#[derive(Debug, Clone, Copy)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // `tracing` reports a failed write with `eprintln!`, which panics.
        let write = || {
            let _ = io::stderr().lock().write_all(bytes);
        };
        let line = LINE.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match line {
            Some(line) => line.suspend(write),
            None => write(),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_a_full_disk_does_not_take_is_an_error() {
        let mut full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let error = write_object(&mut full, &[1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
