//! Whole lines of a file that is only ever appended to, each read once.

use std::io::{self, BufRead, BufReader, Read};

use crate::disk::DiskFile;

/// How far the lines of a file have been read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinesRead {
    /// The bytes of the whole lines that were read.
    pub bytes: u64,
    /// The number of whole lines that were read.
    pub lines: u64,
}

/// Why no further lines of a file can be read.
#[derive(Debug)]
pub enum LogFault {
    /// The file system failed the read with this error.
    Unreadable(io::Error),
    /// The file does not hold what was appended to it.
    Damaged {
        /// The line concerned, counted from 1.
        line: u64,
        /// What is wrong with it, in words.
        why: String,
    },
}

impl LinesRead {
    /// Shows every whole line beyond what has been read, with its number (from 1), and
    /// answers how many bytes stand behind the last: a line that is being written, or one
    /// that a crash cut short.
    ///
    /// # Errors
    /// [`LogFault::Damaged`] for a line that `see` refuses in words, and for a file that has
    /// become shorter; [`LogFault::Unreadable`].
    pub fn catch_up(
        &mut self,
        file: &dyn DiskFile,
        mut see: impl FnMut(u64, &[u8]) -> Result<(), String>,
    ) -> Result<u64, LogFault> {
        let length = file.length().map_err(LogFault::Unreadable)?;
        let Some(more) = length.checked_sub(self.bytes) else {
            return Err(LogFault::Damaged {
                line: self.lines,
                why: "the file is shorter than it was".to_owned(),
            });
        };
        let rest = file.read_from(self.bytes).map_err(LogFault::Unreadable)?;
        let mut reader = BufReader::with_capacity(1 << 16, rest.take(more));
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line);
            let read = read.map_err(LogFault::Unreadable)?;
            if line.pop() != Some(b'\n') {
                return Ok(read as u64);
            }
            let number = self.lines + 1;
            see(number, &line).map_err(|why| LogFault::Damaged { line: number, why })?;
            self.bytes += read as u64;
            self.lines = number;
        }
    }
}
