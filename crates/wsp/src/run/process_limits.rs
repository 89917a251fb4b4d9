//! What the process may have: open files, threads, address space.
//!
//! | limit | what is done about it |
//! |---|---|
//! | open files | a program raises its soft limit to the hard one; parts that overlap too much are refused before the first push |
//! | threads | a program tries, before it starts any work, whether it gets as many as a stream needs |
//! | address space | a program refuses one that no command fits in; a stream refuses one that its estimate does not fit in |
//!
//! What fails later fails in the middle of something: an allocator that gets nothing ends the
//! process, and a runtime that gets no thread panics. So a program asks first.

use std::num::NonZero;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;

use replay::ProcessRoom;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Error;

/// Threads that a stream comes to with the store of cursors that needs most, a few of them idle, on
/// up to [`FEW_CORES`] cores.
const THREADS: usize = 24;
/// Cores up to which there are no more threads that push and decode.
const FEW_CORES: usize = 4;
/// Threads that push and decode beyond those of few cores, at most.
const MORE_THREADS: usize = 6;

/// Threads that a stream comes to on this machine.
fn threads_of_a_stream() -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    if cores > FEW_CORES {
        THREADS + MORE_THREADS
    } else {
        THREADS
    }
}

/// Address space that no command does with less of: program, libraries, and the threads' stacks.
const ADDRESS_SPACE: u64 = 192 << 20;

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

/// Refuses a process that may not have the address space that every command needs. For
/// programs, before they do anything else.
///
/// # Errors
/// `PROCESS_LIMIT_EXCEEDED` with the limit.
pub fn check_address_space() -> Result<(), Error> {
    match getrlimit(Resource::As).current {
        Some(limit) if limit < ADDRESS_SPACE => Err(small_address_space(ADDRESS_SPACE, limit)),
        _ => Ok(()),
    }
}

/// Refuses a process that the system does not give the threads of a stream. For programs,
/// before they start a runtime.
///
/// # Errors
/// `PROCESS_LIMIT_EXCEEDED` with the number of threads that it gave.
#[expect(
    clippy::disallowed_methods,
    reason = "it is the system that is asked, before anything runs"
)]
pub fn check_threads() -> Result<(), Error> {
    try_threads(threads_of_a_stream(), |thread| {
        thread::Builder::new()
            .name("wsp-try".to_owned())
            .spawn(thread)
    })
}

/// Starts so many threads at once, and ends them.
fn try_threads(
    needed: usize,
    spawn: impl Fn(Box<dyn FnOnce() + Send>) -> std::io::Result<thread::JoinHandle<()>>,
) -> Result<(), Error> {
    // Held until the last one has started, so that all of them live at once.
    let hold = Arc::new(RwLock::new(()));
    let held = hold.write().unwrap_or_else(PoisonError::into_inner);
    let mut threads = Vec::with_capacity(needed);
    let mut refused = None;
    for _ in 0..needed {
        let hold = Arc::clone(&hold);
        let waits = move || drop(hold.read());
        match spawn(Box::new(waits)) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    drop(held);
    let given = threads.len();
    for thread in threads {
        // One that only waits has nothing to panic at.
        let _ = thread.join();
    }
    refused.map_or(Ok(()), |source| {
        Err(Error::caused(
            replay::ReasonCode::ProcessLimitExceeded,
            format!("The system gave {given} threads, and a stream needs up to {needed}"),
            "Raise the limit of threads (`ulimit -u`, `pids.max` of the control group, `ulimit -v` \
             for their stacks).",
            source,
        ))
    })
}

/// What the process may have for a run.
pub(crate) fn process_room() -> ProcessRoom {
    let address_space = getrlimit(Resource::As).current;
    ProcessRoom {
        file_handles: getrlimit(Resource::Nofile).current,
        address_space: address_space.map(|limit| limit.saturating_sub(ADDRESS_SPACE)),
    }
}

fn small_address_space(needed: u64, limit: u64) -> Error {
    Error::new(
        replay::ReasonCode::ProcessLimitExceeded,
        format!(
            "The process may have {} MiB of address space, and this run needs about {}",
            limit >> 20,
            needed.div_ceil(1 << 20)
        ),
        "Raise the limit (`ulimit -v`).",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_system_that_gives_too_few_threads_is_refused_with_how_many_it_gave() {
        let given = AtomicUsize::new(0);
        let error = try_threads(9, |thread| {
            if given.fetch_add(1, Ordering::Relaxed) == 5 {
                return Err(std::io::ErrorKind::WouldBlock.into());
            }
            thread::Builder::new().spawn(thread)
        })
        .unwrap_err();
        assert_eq!(error.code(), "PROCESS_LIMIT_EXCEEDED");
        assert!(error.detail().contains("gave 5 threads"), "{error}");
    }

    #[test]
    fn all_threads_that_are_tried_run_at_once_and_end() {
        let tried = Arc::new(());
        try_threads(threads_of_a_stream(), |thread| {
            let one = Arc::clone(&tried);
            thread::Builder::new().spawn(move || {
                thread();
                drop(one);
            })
        })
        .unwrap();
        assert_eq!(Arc::strong_count(&tried), 1);
    }
}
