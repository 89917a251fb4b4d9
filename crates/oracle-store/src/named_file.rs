//! Files that people name: read whole, if they are files.

use std::io;
use std::path::Path;

/// Refuses what may never answer when it is opened: a pipe, a socket, a device. What is not
/// there, and a folder, are left to whoever opens it.
///
/// # Errors
/// The file system's, and one of [`io::ErrorKind::InvalidInput`].
pub fn refuse_special_file(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() && !found.is_dir() => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is a pipe, a socket or a device, and a file is needed",
        )),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads a whole file, and refuses what is no regular file before it is opened.
///
/// # Errors
/// The file system's, and that of [`refuse_special_file`].
pub fn read_named_file(path: &Path) -> io::Result<Vec<u8>> {
    refuse_special_file(path)?;
    std::fs::read(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_a_socket_and_a_device_are_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, socket) = (folder.path().join("pipe"), folder.path().join("socket"));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        for special in [&*pipe, &*socket, &*link, Path::new("/dev/zero")] {
            let error = read_named_file(special).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{special:?}");
        }
    }

    #[test]
    fn a_file_is_read_and_what_is_not_there_is_named_so() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        assert_eq!(
            read_named_file(&file).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        std::fs::write(&file, "x").unwrap();
        assert_eq!(read_named_file(&file).unwrap(), b"x");
        assert!(read_named_file(folder.path()).is_err());
    }
}
