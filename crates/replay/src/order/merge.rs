//! The event-time order: one k-way merge over all parts of all outputs.
//!
//! Events leave by (time, output's place in the list, part's place in name order, row):
//! a total order, so what leaves does not depend on how parts are cut into row groups
//! or chunks, nor on who decodes them.
//!
//! ```text
//!   upcoming ──────────► ahead ──────────► heads ──────────► leader ──► events
//!   parts not open yet,  opened, their     heap of the open  the feed whose
//!   by their first row   first chunk is    feeds by their    head is the least,
//!                        in the making     next event        outside the heap
//! ```
//!
//! The leader yields for as long as its head comes before `rival`, the least of all
//! that could come instead: the heap's top and the first row of the next part that is
//! not merged yet. In a run of events of one part nothing is compared but that; a
//! change of leader costs one sift through the heap.
//!
//! A part's first row is known from the time index. Should an index be wrong, or a
//! part leave its order, then a row turns up that comes before one already yielded:
//! `EVENT_TIME_DISORDER`, never a silent misorder.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::task::{Poll, ready};

use envelope::EventTime;
use model::Bug;

use super::open_feed::OpenFeed;
use super::{Event, EventOrder, OpenPart, PartId, PartSpan, PartStart};
use crate::order::time_index::TimeRow;
use crate::place::NamePosition;
use crate::place::Position;
use crate::{Error, ReasonCode};

/// Parts opened before their first row is due, so that its chunk is ready by then.
pub(super) const AHEAD: usize = 4;

/// Where an event stands in the stream. The derived order is the stream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    time: EventTime,
    part: PartId,
    row: u64,
}

impl Key {
    fn new(part: PartId, TimeRow { time, row }: TimeRow) -> Self {
        Self { time, part, row }
    }
}

/// An open feed in the heap, by its next event; the heap's greatest is the earliest.
#[derive(Debug)]
struct Head {
    key: Key,
    feed: Box<OpenFeed>,
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        if Bug::TiesReversed.is_planted() && other.key.time == self.key.time {
            return self.key.cmp(&other.key);
        }
        other.key.cmp(&self.key)
    }
}

/// Merges the open rows of parts in event time.
pub struct Merge {
    open: Box<dyn OpenPart>,
    places: Arc<dyn NamePosition>,
    to: Option<EventTime>,
    /// Latest first: the next part stands at the end.
    upcoming: Vec<(Key, PartStart)>,
    ahead: VecDeque<(Key, Box<OpenFeed>)>,
    heads: BinaryHeap<Head>,
    leader: Option<Box<OpenFeed>>,
    rival: Option<Key>,
    last: Option<Key>,
}

impl Merge {
    /// Over some spans, up to `to` (exclusive). `places` names rows for errors.
    pub fn new(
        spans: &[PartSpan],
        to: Option<EventTime>,
        open: Box<dyn OpenPart>,
        places: Arc<dyn NamePosition>,
    ) -> Self {
        let mut upcoming: Vec<_> = spans
            .iter()
            .map(|span| (Key::new(span.part, span.first), span.start))
            .collect();
        upcoming.sort_unstable_by_key(|(key, _)| Reverse(*key));
        Self {
            open,
            places,
            to,
            upcoming,
            ahead: VecDeque::with_capacity(AHEAD),
            heads: BinaryHeap::new(),
            leader: None,
            rival: None,
            last: None,
        }
    }

    /// Makes the feed with the earliest head the leader, opening what may be earlier;
    /// false if nothing is left.
    fn choose(&mut self) -> Poll<Result<bool, Error>> {
        loop {
            self.open_ahead();
            if self.next_part_may_be_earliest() {
                let Some((_, feed)) = self.ahead.front_mut() else {
                    continue;
                };
                let head = ready!(feed.head()?);
                let opened = self.ahead.pop_front();
                if let (Some(at), Some((_, feed))) = (head, opened) {
                    let key = Key::new(feed.part(), at);
                    self.heads.push(Head { key, feed });
                }
                continue;
            }
            let Some(Head { feed, .. }) = self.heads.pop() else {
                return Poll::Ready(Ok(false));
            };
            self.lead(feed);
            return Poll::Ready(Ok(true));
        }
    }

    /// Opens the next parts, so that the first of them is known wherever one is left.
    fn open_ahead(&mut self) {
        while self.ahead.len() < AHEAD
            && let Some((key, start)) = self.upcoming.pop()
        {
            let feed = self.open.open(key.part, start);
            let feed = Box::new(OpenFeed::new(key.part, feed));
            self.ahead.push_back((key, feed));
        }
    }

    fn next_part_may_be_earliest(&self) -> bool {
        let next = self.ahead.front().map(|(key, _)| key);
        let top = self.heads.peek().map(|head| &head.key);
        next.is_some_and(|next| top.is_none_or(|top| next < top))
    }

    fn lead(&mut self, feed: Box<OpenFeed>) {
        self.leader = Some(feed);
        let next = self.ahead.front().map(|(key, _)| *key);
        let top = self.heads.peek().map(|head| head.key);
        self.rival = match (next, top) {
            (Some(next), Some(top)) => Some(next.min(top)),
            (next, top) => next.or(top),
        };
    }

    /// The leader, at `key`, steps back behind an earlier head.
    fn step_back(&mut self, key: Key) {
        let Some(feed) = self.leader.take() else {
            return;
        };
        if self.next_part_may_be_earliest() {
            self.heads.push(Head { key, feed });
        } else {
            let head = Head { key, feed };
            let earlier = match self.heads.peek_mut() {
                // In the place of the one that takes over: one sift, not two.
                Some(mut top) => mem::replace(&mut *top, head),
                None => head,
            };
            self.lead(earlier.feed);
        }
    }

    fn disorder(&self, key: Key, last: Key) -> Error {
        let name = |key: &Key| {
            let position = Position {
                part: key.part.part,
                row: key.row,
                time: key.time,
            };
            self.places.name(key.part.output, &position)
        };
        Error::new(
            ReasonCode::EventTimeDisorder,
            format!(
                "The {} is at {}, before {} at {}, which was already sent",
                name(&key),
                key.time,
                name(&last),
                last.time
            ),
            "Delete the time index (`wsp_order.time_index`) and run again: the part is not what \
             it was when its times were read.",
        )
    }
}

impl EventOrder for Merge {
    fn poll(&mut self) -> Poll<Result<Option<Event>, Error>> {
        loop {
            let Some(leader) = &mut self.leader else {
                if ready!(self.choose()?) {
                    continue;
                }
                return Poll::Ready(Ok(None));
            };
            let Some(at) = ready!(leader.head()?) else {
                self.leader = None;
                continue;
            };
            let key = Key::new(leader.part(), at);
            if self.rival.is_some_and(|rival| rival < key) {
                self.step_back(key);
                continue;
            }
            if let Some(last) = self.last
                && key <= last
            {
                return Poll::Ready(Err(self.disorder(key, last)));
            }
            if self.to.is_some_and(|to| to <= key.time) {
                self.upcoming.clear();
                self.ahead.clear();
                self.heads.clear();
                self.leader = None;
                return Poll::Ready(Ok(None));
            }
            self.last = Some(key);
            return Poll::Ready(Ok(Some(leader.take(at))));
        }
    }

    fn leave_out(&mut self, output: usize) {
        self.upcoming.retain(|(key, _)| key.part.output != output);
        self.ahead.retain(|(key, _)| key.part.output != output);
        self.heads.retain(|head| head.key.part.output != output);
        self.open_ahead();
        let leader = self.leader.take();
        if let Some(leader) = leader.filter(|feed| feed.part().output != output) {
            // Its rival may be gone.
            self.lead(leader);
        }
    }
}
