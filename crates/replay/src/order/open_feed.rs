//! A feed as the order consumes it: event by event.

use super::{Event, PartId};
use crate::Error;
use crate::order::feed::{Chunk, PartFeed};
use crate::order::time_index::TimeRow;
use crate::place::Position;

/// A feed, the chunk being consumed and the place in it.
#[derive(Debug)]
pub(super) struct OpenFeed {
    part: PartId,
    feed: PartFeed,
    chunk: Chunk,
    next: usize,
}

impl OpenFeed {
    pub(super) fn new(part: PartId, feed: PartFeed) -> Self {
        Self {
            part,
            feed,
            chunk: Chunk::default(),
            next: 0,
        }
    }

    pub(super) fn part(&self) -> PartId {
        self.part
    }

    /// Where the next event stands, waiting for its chunk; `None` at the end of the part.
    ///
    /// # Errors
    /// Why the part cannot go on: every event before was taken.
    pub(super) fn head(&mut self) -> Result<Option<TimeRow>, Error> {
        while self.next == self.chunk.framed.len() {
            if let Some(failure) = self.chunk.failure.take() {
                return Err(failure);
            }
            let Some(chunk) = self.feed.next_chunk() else {
                return Ok(None);
            };
            self.chunk = chunk;
            self.next = 0;
        }
        Ok(Some(TimeRow {
            time: self.chunk.framed.time(self.next),
            row: self.chunk.row(self.next),
        }))
    }

    /// Takes the event at the head, which must be there.
    pub(super) fn take(&mut self, TimeRow { time, row }: TimeRow) -> Event {
        let (framed, index) = (&self.chunk.framed, self.next);
        self.next += 1;
        Event {
            output: self.part.output,
            position: Position {
                part: self.part.part,
                row,
                time,
            },
            id: framed.event_id(index),
            ordering_key: framed.ordering_key(index),
            body: framed.body(index),
            anchors: false,
        }
    }

    /// Takes the next event; `None` at the end of the part.
    ///
    /// # Errors
    /// As [`OpenFeed::head`].
    pub(super) fn next_event(&mut self) -> Result<Option<Event>, Error> {
        Ok(self.head()?.map(|head| self.take(head)))
    }
}
