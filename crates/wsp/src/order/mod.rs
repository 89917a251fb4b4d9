//! The order in which events leave: one stream out of many parts.
//!
//! An [`EventOrder`] is asked for one event after the other by the dispatching
//! thread. It owns the open feeds; decoding and framing run ahead of it on the
//! pool's threads. What it yields depends on the parts and the start positions
//! alone, never on chunk sizes, threads or backends.

mod as_written;

pub use as_written::AsWritten;

use bytes::Bytes;
use envelope::EventId;

use crate::Error;
use crate::feed::{Chunk, PartFeed};
use crate::watermark::Position;

/// One event, framed and placed.
#[derive(Debug, Clone)]
pub struct Event {
    /// The output's place in the list of the outputs streamed.
    pub output: usize,
    /// Where in the output it stands, and its time.
    pub position: Position,
    /// Its identity.
    pub id: EventId,
    /// What decides its lane.
    pub ordering_key: u64,
    /// The envelope.
    pub body: Bytes,
    /// The schedule starts anew with this event.
    pub anchors: bool,
}

/// Yields all events of a stream in schedule order.
pub trait EventOrder: Send {
    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// What stops the stream here: every event before it was yielded.
    fn next(&mut self) -> Result<Option<Event>, Error>;
}

/// A part of an output, by its place in the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartId {
    /// The output's place in the list of outputs.
    pub output: usize,
    /// The part's place in the output's parts, in name order.
    pub part: u32,
}

/// Opens feeds over the parts of a plan.
pub trait OpenPart: Send {
    /// Starts reading a part from a row on. A part that cannot be opened says so
    /// in its first chunk, so that opening ahead never hides an earlier row.
    fn open(&self, part: PartId, from_row: u64) -> PartFeed;
}

/// A feed being consumed event by event.
#[derive(Debug)]
struct OpenFeed {
    part: PartId,
    feed: PartFeed,
    chunk: Option<Chunk>,
    next: usize,
}

impl OpenFeed {
    fn new(part: PartId, feed: PartFeed) -> Self {
        Self {
            part,
            feed,
            chunk: None,
            next: 0,
        }
    }

    /// The next event of the part; `None` at its end.
    fn next_event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(chunk) = &mut self.chunk {
                if self.next < chunk.framed.len() {
                    let event = event_at(self.part, chunk, self.next);
                    self.next += 1;
                    return Ok(Some(event));
                }
                if let Some(failure) = chunk.failure.take() {
                    return Err(failure);
                }
            }
            self.next = 0;
            self.chunk = self.feed.next();
            if self.chunk.is_none() {
                return Ok(None);
            }
        }
    }
}

fn event_at(part: PartId, chunk: &Chunk, index: usize) -> Event {
    let framed = &chunk.framed;
    Event {
        output: part.output,
        position: Position {
            part: part.part,
            row: chunk.row(index),
            time: framed.time(index),
        },
        id: framed.event_id(index),
        ordering_key: framed.ordering_key(index),
        body: framed.body(index),
        anchors: false,
    }
}
