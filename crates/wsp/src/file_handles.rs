//! How many files the process may have open.
//!
//! Every open part of a local world is one, and every lane's connection. The soft limit of many
//! systems (1,024) is for programs that use `select`; the hard one is what the machine bears.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the process's soft limit of open files to its hard limit. For programs; the library
/// never changes a limit on its own.
///
/// # Errors
/// The system's, where it refuses.
pub fn raise_file_handles() -> std::io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(())
}

/// How many files the process may have open at once; `None` if there is no limit.
pub(crate) fn file_handles() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}
