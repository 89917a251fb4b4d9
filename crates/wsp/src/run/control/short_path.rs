//! Paths of sockets that are longer than the system takes.
//!
//! A Unix socket's address holds about a hundred bytes; runs roots in CI workspaces are longer.
//! On Linux the socket's folder is opened and the socket named through the open handle.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Bytes that every system's socket address takes, with room to spare.
const SHORT: usize = 90;

/// A path that names the same socket and is short; it does so for as long as it is kept.
pub(super) struct ShortPath {
    path: PathBuf,
    /// What the path leads through.
    _folder: Option<File>,
}

impl ShortPath {
    /// The path itself if it is short enough.
    ///
    /// # Errors
    /// The folder is not there or cannot be opened.
    pub(super) fn of(socket: &Path) -> io::Result<Self> {
        let too_long = socket.as_os_str().len() > SHORT;
        let (Some(folder), Some(name), true) = (socket.parent(), socket.file_name(), too_long)
        else {
            return Ok(Self {
                path: socket.to_owned(),
                _folder: None,
            });
        };
        let folder = File::open(folder)?;
        let through = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
        Ok(Self {
            path: through.join(name),
            _folder: Some(folder),
        })
    }

    /// The path to bind or connect to.
    pub(super) fn as_path(&self) -> &Path {
        &self.path
    }
}
