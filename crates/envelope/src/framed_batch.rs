//! A batch of framed envelopes: one buffer, and what the stream needs to know of each.

use bytes::Bytes;

use crate::event_id::EventId;
use model::EventTime;

/// The envelopes of consecutive rows, in the order of the rows.
#[derive(Debug, Default)]
pub struct FramedBatch {
    pub(crate) buffer: Bytes,
    /// Where each body ends in the buffer; it begins where the one before it ends.
    pub(crate) ends: Vec<usize>,
    pub(crate) event_ids: Vec<EventId>,
    pub(crate) times: Vec<EventTime>,
    pub(crate) ordering_keys: Vec<u64>,
}

impl FramedBatch {
    /// The envelopes whose bodies were written; ids, times and keys of later rows are dropped.
    pub(crate) fn new(
        buffer: Bytes,
        ends: Vec<usize>,
        mut event_ids: Vec<EventId>,
        mut times: Vec<EventTime>,
        mut ordering_keys: Vec<u64>,
    ) -> Self {
        event_ids.truncate(ends.len());
        times.truncate(ends.len());
        ordering_keys.truncate(ends.len());
        Self {
            buffer,
            ends,
            event_ids,
            times,
            ordering_keys,
        }
    }

    /// The number of envelopes.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether the batch holds no envelope.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The JSON of the envelope at `index`: a slice of the batch's buffer, not a copy.
    ///
    /// # Panics
    /// If `index` is not below [`FramedBatch::len`].
    pub fn body(&self, index: usize) -> Bytes {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.buffer.slice(start..self.ends[index])
    }

    /// The id of the event at `index`; panics if there is none.
    pub fn event_id(&self, index: usize) -> EventId {
        self.event_ids[index]
    }

    /// The time of the event at `index`; panics if there is none.
    pub fn time(&self, index: usize) -> EventTime {
        self.times[index]
    }

    /// The same envelopes, which are ordered by whole microseconds of their event times. Their
    /// bytes have no finer times anyway.
    #[must_use]
    pub fn in_whole_micros(mut self) -> Self {
        for time in &mut self.times {
            *time = time.in_whole_micros();
        }
        self
    }

    /// The ordering key of the event at `index`, a [`crate::ordering_key`]; panics if there is none.
    pub fn ordering_key(&self, index: usize) -> u64 {
        self.ordering_keys[index]
    }

    /// The number of bytes of all envelopes together.
    pub fn body_bytes(&self) -> usize {
        self.buffer.len()
    }
}
