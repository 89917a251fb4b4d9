//! Framing: rows in, envelopes out.
//!
//! A batch is framed in passes over its columns, each of which may only shorten what the next one
//! looks at: event times, then identities, then the JSON of all envelopes, into one buffer. So the
//! error of a batch is that of its earliest bad row, and of a row that is bad in several ways it is
//! the time's before the key's before the payload's, columns in order: never a matter of where
//! batches begin and end.

use std::convert::Infallible;

use arrow_array::RecordBatch;
use bytes::Bytes;

use crate::bad_row::{BadRow, unless_bad};
use crate::batch_identity::Identities;
use crate::constant_column::is_constant;
use crate::error::{Error, RowPlace};
use crate::event_id::EventId;
use crate::event_times::event_times;
use crate::framed_batch::FramedBatch;
use crate::head::EnvelopeHead;
use crate::identity::Identity;
use crate::json_lines::{LineReader, payload_of};
use crate::payload::{PayloadEncoder, Unsupported};
use crate::pins::{Pins, bounded};
use crate::time_fault::{TIME_COLUMN, TimeFault};
use model::{EventTime, OutputId};

/// How the rows of one output are framed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FrameSpec {
    /// The output's id, which is also the event type.
    pub output_id: OutputId,
    /// The primary-key columns in the order of the catalogue; at least one.
    pub primary_key: Vec<String>,
    /// The column of event times; `ts_utc` unless another is named.
    pub time_column: String,
    /// The constant fields of all envelopes: world, run and producer.
    pub pins: Pins,
}

impl FrameSpec {
    /// Frames the rows of an output with their event times in `ts_utc`.
    pub fn new(
        output_id: impl Into<OutputId>,
        primary_key: impl IntoIterator<Item = impl Into<String>>,
        pins: Pins,
    ) -> Self {
        Self {
            output_id: output_id.into(),
            primary_key: primary_key.into_iter().map(Into::into).collect(),
            time_column: TIME_COLUMN.to_owned(),
            pins,
        }
    }

    /// The same rows, with their event times in another column.
    #[must_use]
    pub fn timed_by(self, column: impl Into<String>) -> Self {
        Self {
            time_column: column.into(),
            ..self
        }
    }
}

/// Frames the rows of one output as envelopes.
///
/// Between batches it keeps only memory, never anything that an envelope depends on: how rows are
/// cut into batches changes no byte.
#[derive(Debug)]
pub struct Framer {
    pub(crate) head: EnvelopeHead,
    identity: Identity,
    lines: LineReader,
    time_column: String,
}

impl Framer {
    /// A framer that has rendered and hashed what all envelopes of the output share.
    ///
    /// # Errors
    /// `PRIMARY_KEY_UNDEFINED` without key columns, `ENVELOPE_FIELD_INVALID` if the output id does
    /// not fit `event_type`.
    pub fn new(spec: &FrameSpec) -> Result<Self, Error> {
        let FrameSpec {
            output_id,
            primary_key,
            time_column,
            pins,
        } = spec;
        let output_id = output_id.as_str();
        bounded("event_type", output_id, 256)?;
        Ok(Self {
            head: EnvelopeHead::new(output_id, pins),
            identity: Identity::new(output_id, primary_key, pins.id_tail())?,
            lines: LineReader::new(time_column, primary_key),
            time_column: time_column.clone(),
        })
    }

    /// Frames the rows of a batch.
    ///
    /// `part` and `first_row`, the index in the part of the batch's first row, say where an error
    /// is. An empty batch is framed without a look at its columns.
    ///
    /// # Errors
    /// [`BadRow`] with the envelopes of the rows before the first bad one:
    /// `MISSING_EVENT_TIME`, `EVENT_TIME_INVALID`, `PRIMARY_KEY_MISSING`,
    /// `PRIMARY_KEY_TYPE_UNSUPPORTED`, `PAYLOAD_VALUE_UNSUPPORTED`.
    pub fn frame(
        &mut self,
        part: &str,
        first_row: u64,
        batch: &RecordBatch,
    ) -> Result<FramedBatch, BadRow<FramedBatch>> {
        if batch.num_rows() == 0 {
            return Ok(FramedBatch::default());
        }
        let at = |row: usize| RowPlace {
            part: part.to_owned(),
            row: first_row + row as u64,
        };
        let (times, mut error) = match batch.column_by_name(&self.time_column) {
            Some(column) => match event_times(part, first_row, &self.time_column, column) {
                Ok(times) => (times, None),
                Err(bad) => {
                    let (times, error) = bad.into_parts();
                    (times, Some(error))
                }
            },
            None => (
                Vec::new(),
                Some(at(0).of(TimeFault::NoColumn.error(&self.time_column))),
            ),
        };
        let constant: Vec<bool> = batch.columns().iter().map(|c| is_constant(c)).collect();
        let (identities, fault) = self.identity.of_batch(batch, &constant, times.len());
        if let Some(fault) = fault {
            error = Some(fault.error(at));
        }
        let Identities {
            event_ids,
            ordering_keys,
        } = identities;
        let mut bodies = Bodies::new(event_ids.len());
        let events = times.iter().zip(&event_ids);
        if let Err(fault) = self.append_bodies(batch, &constant, events, &mut bodies) {
            error = Some(fault.at(at(bodies.len())));
        }
        let (buffer, ends) = bodies.finish();
        let framed = FramedBatch::new(buffer, ends, event_ids, times, ordering_keys);
        unless_bad(framed, error)
    }

    fn append_bodies<'a>(
        &self,
        batch: &RecordBatch,
        constant: &[bool],
        events: impl ExactSizeIterator<Item = (&'a EventTime, &'a EventId)>,
        bodies: &mut Bodies,
    ) -> Result<(), Box<Unsupported>> {
        if events.len() == 0 {
            return Ok(());
        }
        let payload = PayloadEncoder::new(batch, constant)?;
        for (row, (&time, &id)) in events.enumerate() {
            bodies.append(|out| {
                self.head.append(id, time, out);
                payload.append(row, out).map(|()| out.push(b'}'))
            })?;
        }
        Ok(())
    }

    /// Frames the lines of a JSON Lines part, as [`Framer::frame`] does.
    ///
    /// # Errors
    /// As [`Framer::frame`]. Of a line that is bad in several ways the error is that it is not one
    /// JSON object, else the time's, else the key's.
    pub fn frame_json_lines<'a>(
        &mut self,
        part: &str,
        first_row: u64,
        lines: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<FramedBatch, BadRow<FramedBatch>> {
        let lines = lines.into_iter();
        self.frame_lines(part, first_row, lines.map(|line| (line, None)))
    }

    /// Frames rows whose payloads are JSON objects and whose event times stand beside them, as
    /// [`Framer::frame_json_lines`] does.
    ///
    /// # Errors
    /// As [`Framer::frame_json_lines`], without those of the time.
    pub fn frame_payloads<'a>(
        &mut self,
        part: &str,
        first_row: u64,
        rows: impl IntoIterator<Item = (&'a [u8], EventTime)>,
    ) -> Result<FramedBatch, BadRow<FramedBatch>> {
        let rows = rows.into_iter();
        self.frame_lines(part, first_row, rows.map(|(line, time)| (line, Some(time))))
    }

    /// Frames lines, each with its event time where that is no field of the line.
    fn frame_lines<'a>(
        &mut self,
        part: &str,
        first_row: u64,
        lines: impl Iterator<Item = (&'a [u8], Option<EventTime>)>,
    ) -> Result<FramedBatch, BadRow<FramedBatch>> {
        let mut batch = FramedBatch::default();
        let mut bodies = Bodies::new(lines.size_hint().0);
        let mut error = None;
        for (line, time) in lines {
            match self.read_line(line, time) {
                Ok((time, id, ordering_key)) => {
                    let Ok(()) = bodies.append::<Infallible>(|out| {
                        self.head.append(id, time, out);
                        out.extend_from_slice(payload_of(line));
                        out.push(b'}');
                        Ok(())
                    });
                    batch.times.push(time);
                    batch.event_ids.push(id);
                    batch.ordering_keys.push(ordering_key);
                }
                Err(fault) => {
                    let place = RowPlace {
                        part: part.to_owned(),
                        row: first_row + bodies.len() as u64,
                    };
                    error = Some(place.of(fault));
                    break;
                }
            }
        }
        (batch.buffer, batch.ends) = bodies.finish();
        unless_bad(batch, error)
    }

    /// The time, id and ordering key of one line; an error has no place. A time that is given
    /// stands for the line's own.
    fn read_line(
        &mut self,
        line: &[u8],
        time: Option<EventTime>,
    ) -> Result<(EventTime, EventId, u64), Error> {
        let row = self.lines.read(line)?;
        let time = match time {
            Some(time) => time,
            None => row.time().map_err(|fault| fault.error(&self.time_column))?,
        };
        let key = self.identity.of_texts(row.key_texts());
        let (id, ordering_key) = key.map_err(|(column, fault)| fault.error(column))?;
        Ok((time, id, ordering_key))
    }
}

/// The bodies of one batch, as they are written.
struct Bodies {
    buffer: Vec<u8>,
    ends: Vec<usize>,
    /// How many are expected.
    rows: usize,
}

impl Bodies {
    fn new(rows: usize) -> Self {
        Self {
            buffer: Vec::new(),
            ends: Vec::with_capacity(rows),
            rows,
        }
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    /// Appends one body, or nothing on an error.
    fn append<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let start = self.buffer.len();
        let written = write(&mut self.buffer);
        if written.is_err() {
            self.buffer.truncate(start);
            return written;
        }
        self.ends.push(self.buffer.len());
        if start == 0 {
            // The first body tells how long the others may be; growing by doubling would copy, and
            // keep up to twice the memory. One huge first row must not reserve for all of them.
            let expected = self.buffer.len().min(4_096);
            self.buffer
                .reserve_exact(self.rows.saturating_sub(1) * (expected + expected / 8));
        }
        Ok(())
    }

    fn finish(self) -> (Bytes, Vec<usize>) {
        (Bytes::from(self.buffer), self.ends)
    }
}
