//! What this machine gives: its clock, its chance, and a disk whose writes survive a crash.
//!
//! | file | idea |
//! |---|---|
//! | `run_log` | an append-only file of lines that several processes share |
//! | `objects` | objects by name, as a bucket has them, and logs of numbered ones |
//! | `lines` | whole lines of a file that others append to, each read once |
//! | `synced` | folders, replaced files and files written once, their names synced |
//! | `disk` | the few things done to a disk, as an interface |
//! | `os_lock` | OS locks on files, and who holds one |
//! | `simulated` | disks for tests: one that crashes, one that fails (feature `simulated-disk`) |
//! | `home` | a folder that may be made again after somebody deleted it |
//! | `clock`, `random`, `host` | the machine's clocks, chance and name |
//! | `runtime` | a tokio runtime for callers that have none |
//!
//! Everything here is synchronous but the sleeps of the clocks and `runtime`, which go under any
//! executor: outside of a tokio runtime they use one thread, `durable-runtime`, that stays until the
//! process ends. Nothing else here has a thread.
//!
//! Nothing is durable before its sync: a file's bytes once the file is synced, a name (made,
//! renamed, removed) once the folder that holds it is.
//!
//! ```
//! use std::sync::Arc;
//! use durable::{Access, OsDisk, RunLog};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("run/events.ndjson");
//! let mut log = RunLog::open(Arc::new(OsDisk), path.clone(), Access::OwnerOnly)?;
//! log.append_synced(b"{\"a\":1}\n")?;
//! assert_eq!(std::fs::read_to_string(path)?, "{\"a\":1}\n");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Cargo features
//! | feature | by default | gives |
//! |---|---|---|
//! | `simulated-disk` | off | disks for tests: one that crashes, one that fails (`simulated`) |

mod objects;
mod run_log;
mod lines;
mod synced;
#[cfg(any(test, feature = "simulated-disk"))]
pub mod simulated;
mod disk;
mod os_lock;
mod home;
mod clock;
mod runtime;
mod random;
mod host;

pub use clock::{BootClock, TokioClock};
pub use disk::{Access, Disk, DiskFile, ListedFile, OsDisk};
pub use home::{FileId, Home};
pub use host::host_name;
pub use lines::{LinesRead, LogFault};
pub use objects::{MemoryObjects, ObjectLog, Objects, PendingLines};
pub use os_lock::{OsLock, blame};
pub use random::SystemRandom;
pub use run_log::RunLog;
pub use runtime::{in_runtime, runtime, spawn_blocking, start_runtime};
pub use synced::{create_once, make_folders, replace};
