//! Standard output, one JSON object and nothing else; and messages on standard error.

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde::Serialize;

use crate::indented::to_vec_indented;

/// Whether a JSON object could not be written to standard output.
static LOST: AtomicBool = AtomicBool::new(false);

/// The progress line that stands on the terminal: messages are written above it.
static LINE: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Has messages written above a progress line from now on; `None` if there is no line any more.
pub fn write_above(line: Option<ProgressBar>) {
    *LINE.lock().unwrap_or_else(PoisonError::into_inner) = line;
}

/// Prints one JSON object on standard output, indented if that is a terminal.
///
/// A report that cannot be written, since the disk is full or the reader has gone away, is a
/// failure of the command: standard error says so, and [`was_lost`] from then on.
pub fn print(value: &impl Serialize) {
    print_object(value, true);
}

/// Prints one JSON object of many, each in a line of its own. As [`print()`] otherwise.
pub fn print_line(value: &impl Serialize) {
    print_object(value, false);
}

fn print_object(value: &impl Serialize, may_indent: bool) {
    // Not through `io::stdout()`, which takes a descriptor that cannot be written for success.
    let written = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .and_then(|stdout| {
            let is_indented = may_indent && stdout.is_terminal();
            write_object(&mut File::from(stdout), value, is_indented)
        });
    if let Err(error) = written {
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

fn write_object(out: &mut impl Write, value: &impl Serialize, is_indented: bool) -> io::Result<()> {
    let mut text = if is_indented {
        to_vec_indented(value)?
    } else {
        serde_json::to_vec(value)?
    };
    text.push(b'\n');
    out.write_all(&text)?;
    out.flush()
}

/// Messages that may wait for a reader of standard error; more are dropped.
const WAITING_MESSAGES: usize = 1_024;
/// How long the end of the process waits for a reader of standard error.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The thread that writes messages, once there is one: whoever reads standard error may stop
/// reading, and a stop must be answered all the same.
static MESSAGES: OnceLock<Option<SyncSender<Vec<u8>>>> = OnceLock::new();
/// Messages that the thread has not written yet.
static UNWRITTEN: AtomicUsize = AtomicUsize::new(0);

fn start_writing() -> Option<SyncSender<Vec<u8>>> {
    let (messages, waiting) = mpsc::sync_channel::<Vec<u8>>(WAITING_MESSAGES);
    let write_all = move || {
        for message in waiting {
            write_one(&message);
            UNWRITTEN.fetch_sub(1, Ordering::AcqRel);
        }
    };
    let thread = thread::Builder::new().name("wsp-messages".to_owned());
    thread.spawn(write_all).is_ok().then_some(messages)
}

fn write_one(message: &[u8]) {
    // `tracing` reports a failed write with `eprintln!`, which panics.
    let write = || {
        let _ = io::stderr().lock().write_all(message);
    };
    let line = LINE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match line {
        Some(line) => line.suspend(write),
        None => write(),
    }
}

/// Waits until all messages are written, or nobody reads them: the last thing before the process
/// ends.
pub fn finish_messages() {
    let began = Instant::now();
    while UNWRITTEN.load(Ordering::Acquire) > 0 && began.elapsed() < LAST_WORDS {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Standard error, for logs and messages; a write to it neither fails nor waits.
#[derive(Debug, Clone, Copy)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let messages = MESSAGES.get_or_init(start_writing);
        // Counted first, or the thread could be done with it before.
        UNWRITTEN.fetch_add(1, Ordering::AcqRel);
        let sent = messages
            .as_ref()
            .is_some_and(|messages| messages.try_send(bytes.to_vec()).is_ok());
        if !sent {
            UNWRITTEN.fetch_sub(1, Ordering::AcqRel);
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
        let error = write_object(&mut full, &[1], false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
