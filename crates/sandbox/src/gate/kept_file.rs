//! The file of kept envelopes: one a line, each written before it is answered.
//!
//! A write that has returned survives the death of this process. A line that was cut
//! by it was never answered, so it is dropped when the file is opened again.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::Error;

#[derive(Debug)]
pub(super) struct KeptFile {
    file: File,
    path: PathBuf,
    line: Vec<u8>,
    /// Where the last whole line ends.
    end: u64,
}

impl KeptFile {
    /// Opens or makes the file, and shows every whole line that it has.
    pub(super) fn open(path: &Path, mut line: impl FnMut(&[u8])) -> Result<Self, Error> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(Error::io("opening the kept file", path))?;
        let mut reader = BufReader::with_capacity(1 << 18, &mut file);
        let (mut text, mut end) = (Vec::new(), 0);
        loop {
            text.clear();
            let length = reader
                .read_until(b'\n', &mut text)
                .map_err(Error::io("reading the kept file", path))?;
            if text.pop() != Some(b'\n') {
                break;
            }
            line(&text);
            end += length as u64;
        }
        let kept = Self {
            file,
            path: path.to_owned(),
            line: Vec::new(),
            end,
        };
        kept.cut()
            .map_err(Error::io("cutting the last line of", path))?;
        Ok(kept)
    }

    /// Appends an envelope as one line. After a failure the file is as it was.
    pub(super) fn append(&mut self, body: &[u8]) -> Result<(), Error> {
        self.line.clear();
        // Line breaks can only stand between the tokens of a JSON text.
        self.line.extend(body.iter().map(|byte| {
            if matches!(byte, b'\n' | b'\r') {
                b' '
            } else {
                *byte
            }
        }));
        self.line.push(b'\n');
        if let Err(error) = self.file.write_all(&self.line) {
            let failure = Error::io("writing the kept file", &self.path)(error);
            return self
                .cut()
                .map_err(Error::io("cutting", &self.path))
                .and(Err(failure));
        }
        self.end += self.line.len() as u64;
        Ok(())
    }

    fn cut(&self) -> std::io::Result<()> {
        self.file.set_len(self.end)?;
        (&self.file).seek(SeekFrom::Start(self.end)).map(drop)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
impl KeptFile {
    /// A file that no write reaches.
    pub(super) fn broken(path: &Path) -> Self {
        std::fs::write(path, b"").unwrap();
        let file = File::open(path).unwrap();
        Self {
            file,
            path: path.to_owned(),
            line: Vec::new(),
            end: 0,
        }
    }
}
