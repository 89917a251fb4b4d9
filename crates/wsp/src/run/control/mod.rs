//! The control socket: how another process of this machine steers a stream.
//!
//! ```text
//!  <runs root>/<platform_run_id>/wsp/control-<pid>.sock        mode 0600, folder 0700
//!                                    control-<pid>-<n>.sock    a process's n-th stream
//!
//!  client ── one line of JSON ──► stream
//!         ◄── one line of JSON ──
//! ```
//!
//! A Unix domain socket of the stream's own: who may open the file may steer. Every
//! request gets one answer, in order, on a connection that may be kept; every act is in
//! the audit, with the user and the process that asked. The socket is gone with its
//! stream; one that a killed stream left behind is removed by whoever finds it.
//!
//! | request | answer |
//! |---|---|
//! | `{"version":1,"act":"status"}` | a snapshot |
//! | `{"version":1,"act":"pause"}`, `"resume"`, `"stop"` | done, and a snapshot from behind it |
//! | `{"version":1,"act":"step","events":N}` | the same |
//! | `{"version":1,"act":"pace","speedup":X}` or `"rate":"500"`, `"rate":"0:100,60:500"` | the same |
//!
//! An answer is `{"version":1,"applied":BOOL,"refused":TEXT or null,"stream":SNAPSHOT}`.
//! Nothing that a client sends stops or slows the stream but an act: requests are bounded
//! in length and number, and a slow client waits alone. A new client is always let in: where
//! there are too many, the one that came first is let go.

mod client;
mod socket;
mod protocol;
mod short_path;

pub use client::{Found, find, send};
pub use protocol::{Answer, Request, Snapshot};
pub use socket::ControlSocket;
