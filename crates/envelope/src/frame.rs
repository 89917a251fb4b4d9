//! Framing: rows in, envelopes out.

use arrow_array::RecordBatch;

use crate::error::Error;
use crate::framed_batch::FramedBatch;
use crate::pins::Pins;

/// What all events of one output have in common.
#[derive(Debug, Clone)]
pub struct FrameSpec {
    /// The output, which is also the event type.
    pub output_id: String,
    /// The columns that name a row, in the order of the catalogue.
    pub primary_key: Vec<String>,
    /// The world and the run.
    pub pins: Pins,
}

/// Frames the rows of one output as envelopes.
///
/// Keeps only buffers between batches, never anything that an envelope depends on: how rows are cut
/// into batches changes no byte.
#[derive(Debug)]
pub struct Framer {}

impl Framer {
    /// Renders what is constant.
    ///
    /// # Errors
    /// `PRIMARY_KEY_UNDEFINED` without key columns, `ENVELOPE_FIELD_INVALID` if the output id does
    /// not fit `event_type`.
    pub fn new(spec: &FrameSpec) -> Result<Self, Error> {
        todo!("{spec:?}")
    }

    /// Frames the rows of a batch up to the first bad one.
    ///
    /// The batch holds every row before it, and the error names it, so that what is sent never
    /// depends on how rows are cut into batches. `first_row` is the index in the part of the
    /// batch's first row.
    pub fn frame(
        &mut self,
        part: &str,
        first_row: u64,
        batch: &RecordBatch,
    ) -> (FramedBatch, Option<Error>) {
        todo!("{part} {first_row} {}", batch.num_rows())
    }

    /// Frames the lines of a JSON Lines part up to the first bad one, as [`Framer::frame`] does.
    pub fn frame_json_lines<'a>(
        &mut self,
        part: &str,
        first_row: u64,
        lines: impl Iterator<Item = &'a [u8]>,
    ) -> (FramedBatch, Option<Error>) {
        todo!("{part} {first_row} {}", lines.count())
    }
}
