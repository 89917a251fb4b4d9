//! Where the book of a platform run is kept: in two files of its folder, or wherever a caller keeps
//! it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable::{Access, Disk as _, OsDisk, RunLog};

use crate::{Error, ReasonCode};

/// Where the book of a platform run is kept. Called from the keeper's task, a line an event: what
/// takes long is done behind its back.
///
/// # Errors
/// All methods fail with what disk or bucket say.
#[expect(
    clippy::missing_errors_doc,
    reason = "the trait says it once for all of them"
)]
pub trait BookPlace: Send {
    /// The place of the list of events, for people.
    fn list_place(&self) -> String;

    /// The place of the verdict, for people.
    fn verdict_place(&self) -> String;

    /// The lines of the list; `None` where there is none.
    fn read_list(&self) -> io::Result<Option<Vec<u8>>>;

    /// The verdict; `None` where none stands.
    fn read_verdict(&self) -> io::Result<Option<Vec<u8>>>;

    /// Adds a line to the list.
    fn append(&mut self, line: &[u8]) -> io::Result<()>;

    /// Keeps a verdict.
    fn keep_verdict(&self, verdict: &[u8]) -> io::Result<()>;

    /// Removes the verdict, if there is one.
    fn remove_verdict(&self) -> io::Result<()>;
}

/// A book in files of a platform run.
pub(super) struct BookFiles {
    places: Places,
    log: Option<RunLog>,
}

impl BookFiles {
    /// The files in a folder of a platform run; nothing is opened yet.
    pub(super) fn in_folder(folder: &Path) -> Self {
        let places = Places::in_folder(folder);
        Self { places, log: None }
    }
}

impl BookPlace for BookFiles {
    fn list_place(&self) -> String {
        self.places.list.display().to_string()
    }

    fn verdict_place(&self) -> String {
        self.places.verdict.display().to_string()
    }

    fn read_list(&self) -> io::Result<Option<Vec<u8>>> {
        read(&self.places.list)
    }

    fn read_verdict(&self) -> io::Result<Option<Vec<u8>>> {
        read(&self.places.verdict)
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let log = if let Some(log) = self.log.take() {
            log
        } else {
            let path = self.places.list.clone();
            let log = RunLog::open(Arc::new(OsDisk), path, Access::Default)?;
            log.end_torn_line()?;
            log
        };
        self.log.insert(log).append_shared(line, false)
    }

    fn keep_verdict(&self, verdict: &[u8]) -> io::Result<()> {
        durable::make_folders(&OsDisk, folder_of(&self.places.verdict), 0)?;
        durable::replace(&OsDisk, &self.places.verdict, verdict)
    }

    fn remove_verdict(&self) -> io::Result<()> {
        remove(&self.places.verdict)
    }
}

#[derive(Clone)]
struct Places {
    list: PathBuf,
    verdict: PathBuf,
}

impl Places {
    fn in_folder(folder: &Path) -> Self {
        Self {
            list: folder.join("gate_quarantined.ndjson"),
            verdict: folder.join("gate_verdict.json"),
        }
    }
}

/// The files that a book in a folder of a platform run may write.
pub fn gate_book_places(folder: &Path) -> [PathBuf; 2] {
    let Places { list, verdict } = Places::in_folder(folder);
    [list, verdict]
}

/// Forgets the verdict in a folder of a platform run, as a reset of its cursors does.
///
/// # Errors
/// `QUARANTINE_UNWRITABLE`.
pub fn clear_verdict(folder: &Path) -> Result<(), Error> {
    let path = Places::in_folder(folder).verdict;
    remove(&path).map_err(|source| verdict_stays(&path.display().to_string(), source))
}

/// A verdict that cannot be removed.
pub fn verdict_stays(place: &str, source: io::Error) -> Error {
    Error::caused(
        ReasonCode::QuarantineUnwritable,
        format!("The verdict {place} cannot be removed"),
        "Remove it, so that the next run is judged anew.",
        source,
    )
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match OsDisk.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // Where the runs root is no folder, nothing was kept; the audit says so.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
        Err(error) => Err(error),
    }
}
