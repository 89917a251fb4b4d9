//! The control socket: how another process of this machine steers a stream.
//!
//! ```text
//!  <runs root>/<platform_run_id>/wsp/control-<pid>.sock        mode 0600, folder 0700
//!                                    control-<pid>-<n>.sock    a process's n-th stream
//!                                    control-<pid>-shard-<k>-of-<n>.sock    one of several shards
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
//! | `{"version":1,"act":"watch"}`, with `"every_ms":N` | a snapshot now and every so often, each in a line |
//! | `{"version":1,"act":"pause"}`, `"resume"`, `"stop"` | done, and a snapshot from behind it |
//! | `{"version":1,"act":"pause_at","event_time":"2026-01-28T08:00:00Z"}` | the same |
//! | `{"version":1,"act":"resume_at","wall_time":"2026-11-28T15:00:00Z"}` | the same |
//! | `{"version":1,"act":"step","events":N}`, `"pause_after"` | the same |
//! | `{"version":1,"act":"pace","speedup":X}` or `"rate":"500"`, `"rate":"0:100,60:500"` | the same |
//! | `{"version":1,"act":"tap","events":N}`, with `"payload":true` | the same, then a line for each of the next N events |
//!
//! Every act may carry `"on_behalf_of"`: for whom the client asks, in 1 to 128 characters. It is in the
//! audit beside the client, and proves nothing.
//!
//! | line of the stream | for |
//! |---|---|
//! | `{"version":1,"applied":BOOL,"refused":TEXT or null,"stream":SNAPSHOT}` | a status, an act, and a request that is none |
//! | `{"version":1,"watched":N,"dropped":N,"stream":SNAPSHOT}` | a watcher |
//! | `{"version":1,"tapped":{"event_id":…,"decision":…,…}}` | whoever taps: an event |
//! | `{"version":1,"tap_ended":true,"copies":N,"dropped":N}` | whoever taps: the end |
//!
//! Each side looks at `version` before anything else of a line, and refuses one that it does not
//! speak: a stream answers `"applied":false` with a text that begins with
//! [`VERSION_UNSUPPORTED`], a client reads no further. Within a version, fields are added to answers:
//! clients pass over those that they do not know. A new act, or a new field of a request, is refused
//! by a stream that does not know it.
//!
//! Nothing that a client sends stops or slows the stream but an act: requests are bounded
//! in length and number, and a slow client waits alone. A slow watcher misses snapshots, a slow tap
//! copies; both are told how many. A watch ends when the client says anything more, a tap when the
//! client goes. A new client is always let in: where there are too many, the one that came first
//! is let go.

mod client;
mod socket;
mod conversation;
mod answers;
mod protocol;
mod short_path;

pub use answers::{
    Answer, BorderTimesSnapshot, OutputSnapshot, Snapshot, TapCopy, TapEnd, Watched,
};
pub use client::{Found, Lines, ask, find, send};
pub use protocol::{Request, VERSION_UNSUPPORTED, WatchInterval};
pub use socket::ControlSocket;
