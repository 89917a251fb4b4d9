//! A feed as the order consumes it: event by event.

use std::task::{Poll, ready};

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

    /// Where the next event stands; `None` at the end of the part, `Pending` while its chunk is
    /// being made.
    ///
    /// # Errors
    /// Why the part cannot go on: every event before was taken.
    pub(super) fn head(&mut self) -> Poll<Result<Option<TimeRow>, Error>> {
        loop {
            self.pass_over_done();
            if self.next < self.chunk.framed.len() {
                break;
            }
            if let Some(failure) = self.chunk.failure.take() {
                return Poll::Ready(Err(failure));
            }
            let Some(chunk) = ready!(self.feed.poll_chunk()) else {
                return Poll::Ready(Ok(None));
            };
            self.chunk = chunk;
            self.next = 0;
        }
        Poll::Ready(Ok(Some(TimeRow {
            time: self.chunk.framed.time(self.next),
            row: self.chunk.row(self.next),
        })))
    }

    /// Passes over events that were done under another division into shards.
    fn pass_over_done(&mut self) {
        let Some(done) = self.feed.done_before() else {
            return;
        };
        let framed = &self.chunk.framed;
        while self.next < framed.len() {
            let at = TimeRow {
                time: framed.time(self.next),
                row: self.chunk.row(self.next),
            };
            let (key, id) = (framed.ordering_key(self.next), framed.event_id(self.next));
            if !done.is_done(self.part, at, key, &id) {
                break;
            }
            self.next += 1;
        }
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

    /// Takes the next event; `None` at the end of the part, `Pending` while its chunk is being made.
    ///
    /// # Errors
    /// As [`OpenFeed::head`].
    pub(super) fn next_event(&mut self) -> Poll<Result<Option<Event>, Error>> {
        let head = ready!(self.head()?);
        Poll::Ready(Ok(head.map(|head| self.take(head))))
    }
}
