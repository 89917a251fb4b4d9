//! The order in which events leave: one stream out of many parts.
//!
//! An [`EventOrder`] is asked for one event after the other by the dispatching
//! thread. It owns the open feeds; decoding and framing run ahead of it on the
//! pool's threads. What it yields depends on the parts and the start positions
//! alone, never on chunk sizes, threads or backends.

pub(crate) mod parts;
mod as_written;
mod footers;
mod event_time;
mod view_order;
pub(crate) mod part_proofs;
mod overlap;
pub(crate) mod sort_cache;
pub(crate) mod chunk_budget;
mod merge;
mod row_times;
mod open_feed;
pub(crate) mod feed;
pub(crate) mod done_before;
mod span;
pub(crate) mod time_index;
mod part_readers;
mod time_column;

pub use as_written::AsWritten;
pub use event_time::{
    EventTimeOrder, EventTimeSource, OnDisorder, OrderSettings, ProcessRoom, Survey, readers_of,
};
pub use footers::FooterSurvey;
pub use merge::Merge;
pub use overlap::{Overlap, read_memory};
pub use row_times::TimesInOrder;
pub use span::first_open;
pub use span::{DoneThrough, PartSpan, TimeWindow, open_spans};
pub use time_column::check_time_column;
pub use view_order::check_view_order;

use std::task::Poll;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use envelope::EventId;

use crate::Error;
use crate::order::feed::PartFeed;
use crate::order::time_index::{Disorder, TimeRow};
use crate::place::Position;
use open_feed::OpenFeed;

/// How long a caller without an engine waits before it asks for an event again.
const SHORT_WAIT: Duration = Duration::from_micros(20);

/// Called with the number of open rows, once that is known.
pub type TellOpenRows = Box<dyn Fn(u64) + Send>;

/// One event, framed and placed.
#[derive(Debug, Clone)]
pub struct Event {
    /// The output's place in the list of the outputs streamed.
    pub output: usize,
    /// Where the event stands in its output, and its event time.
    pub position: Position,
    /// The event's identity.
    pub id: EventId,
    /// The number that decides the event's lane.
    pub ordering_key: u64,
    /// The envelope as it is pushed.
    pub body: Bytes,
    /// Whether the schedule takes this event as its new anchor.
    pub anchors: bool,
}

/// Yields all events of a stream in schedule order.
pub trait EventOrder: Send {
    /// The next event; `None` at the end. `Pending` while it is being made: whoever makes it wakes
    /// the dispatching thread ([`Ending::wake_dispatcher`](crate::ending::Ending::wake_dispatcher)).
    /// Never waits.
    ///
    /// # Errors
    /// What stops the stream here: every event before it was yielded.
    fn poll(&mut self) -> Poll<Result<Option<Event>, Error>>;

    /// Yields no further event of an output, and reads no more of it.
    fn leave_out(&mut self, output: usize);

    /// The next event, waited for on the calling thread; for callers without an engine.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            match self.poll() {
                Poll::Ready(next) => return next,
                Poll::Pending => thread::park_timeout(SHORT_WAIT),
            }
        }
    }
}

/// A part of an output, by its place in the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartId {
    /// The output's place in the list of outputs.
    pub output: usize,
    /// The part's place in the output's parts, in name order.
    pub part: u32,
}

/// Which rows of a part are read, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartStart {
    /// From a row on, in file order.
    Row(u64),
    /// In file order, which is time order: the rows from `from` on. None of them stands
    /// before `seek_row`.
    Time {
        /// The row in the part to begin to read at.
        seek_row: u64,
        /// The first row, in time, that is wanted.
        from: TimeRow,
    },
    /// Sorted by (time, row): the rows from `from` on, or all.
    Sorted {
        /// The first row, in time, that is wanted.
        from: Option<TimeRow>,
        /// Why the part must be sorted.
        disorder: Disorder,
        /// How many rows the part has, done ones included.
        rows: u64,
    },
}

/// Opens feeds over the parts of a plan.
pub trait OpenPart: Send {
    /// Starts reading a part. A part that cannot be opened says so in its first chunk,
    /// so that opening ahead never hides an earlier row.
    fn open(&self, part: PartId, start: PartStart) -> PartFeed;

    /// Goes on to bring those parts into time order that must be before any is opened; `Pending`
    /// while it does. Never waits. By default nothing must.
    ///
    /// # Errors
    /// Why a part cannot be sorted.
    fn poll_sorted(&self, spans: &[PartSpan]) -> Poll<Result<(), Error>> {
        let _ = spans;
        Poll::Ready(Ok(()))
    }
}
