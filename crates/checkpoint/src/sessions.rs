//! Which lease sessions live: one OS lock a session, in a folder beside the data.

use std::io;
use std::path::{Path, PathBuf};

use crate::lease::SessionId;
use crate::os_lock::OsLock;

/// The folder of the session locks.
#[derive(Debug)]
pub(crate) struct Sessions {
    folder: PathBuf,
}

impl Sessions {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, session: &SessionId) -> PathBuf {
        self.folder.join(format!("{}.lock", session.0))
    }

    /// Locks a new session. Do it before its id is written anywhere: from then on it is alive.
    pub(crate) fn start(&self, session: &SessionId) -> io::Result<SessionLock> {
        std::fs::create_dir_all(&self.folder)?;
        let path = self.path(session);
        let lock = OsLock::try_take(&path)?.ok_or(io::ErrorKind::AlreadyExists)?;
        Ok(SessionLock { path, _lock: lock })
    }

    /// Whether the process that started the session still has it.
    pub(crate) fn is_alive(&self, session: &SessionId) -> io::Result<bool> {
        OsLock::is_held(&self.path(session))
    }

    /// Removes what a dead session left.
    pub(crate) fn bury(&self, session: &SessionId) {
        // What stays is one empty file.
        let _ = std::fs::remove_file(self.path(session));
    }
}

/// The OS lock of a living session; its file goes with it.
#[derive(Debug)]
pub(crate) struct SessionLock {
    path: PathBuf,
    _lock: OsLock,
}

impl Drop for SessionLock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
