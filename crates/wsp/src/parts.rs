//! Parts as feeds: each opened, decoded and framed on a worker's thread.

use std::sync::Arc;

use envelope::{FrameSpec, Framer};
use oracle_store::{Part, ReadGrant, ReadOptions, RowBatch, RowReader, Rows, open_rows};

use crate::feed::{Chunk, ChunkSource, FeedPool, PartFeed, RowNumbers};
use crate::lane::NamePosition;
use crate::order::{OpenPart, PartId};
use crate::plan::Plan;
use crate::watermark::Position;
use crate::{Error, ReasonCode};

/// Rows decoded and framed at once: enough to keep a column's values in cache
/// and the cost of a batch small beside it.
const CHUNK_ROWS: usize = 1_024;

/// What it takes to read and frame one output.
#[derive(Debug)]
struct OutputSource {
    grant: ReadGrant,
    spec: FrameSpec,
    parts: Vec<Part>,
}

/// All parts of a plan, cleared to be read.
#[derive(Debug)]
pub struct ClearedParts {
    outputs: Vec<OutputSource>,
}

impl ClearedParts {
    /// The parts of a plan's outputs, each under its grant.
    ///
    /// # Errors
    /// `STREAM_INTERNAL` if the clearance does not cover an output of the plan.
    pub fn new(plan: &Plan, pins: &envelope::Pins) -> Result<Self, Error> {
        let outputs = plan.outputs.iter().map(|output| {
            let grant = plan
                .clearance
                .grant(&output.locator.output_id)
                .ok_or_else(|| {
                    Error::new(
                        ReasonCode::StreamInternal,
                        format!("The clearance does not cover the output {}.", output.id()),
                        "Report this; nothing was read.",
                    )
                })?;
            Ok(OutputSource {
                grant: grant.clone(),
                spec: FrameSpec {
                    output_id: output.id().to_owned(),
                    primary_key: output.primary_key.clone(),
                    pins: pins.clone(),
                },
                parts: output.locator.parts.clone(),
            })
        });
        Ok(Self {
            outputs: outputs.collect::<Result<_, Error>>()?,
        })
    }

    fn part(&self, id: PartId) -> (&OutputSource, &Part) {
        let output = &self.outputs[id.output];
        (output, &output.parts[id.part as usize])
    }
}

impl NamePosition for ClearedParts {
    fn name(&self, output: usize, position: &Position) -> String {
        let output = &self.outputs[output];
        format!(
            "row {} of {} (output {})",
            position.row,
            output.parts[position.part as usize].path(),
            output.spec.output_id
        )
    }
}

/// Opens the parts of a plan as feeds of a pool.
pub struct PartOpener {
    /// What may be read.
    pub parts: Arc<ClearedParts>,
    /// Who reads.
    pub pool: FeedPool,
}

impl OpenPart for PartOpener {
    fn open(&self, part: PartId, from_row: u64) -> PartFeed {
        self.pool.open(Box::new(PartRows {
            parts: Arc::clone(&self.parts),
            part,
            from_row,
            open: None,
        }))
    }
}

/// The rows of one part, in file order.
struct PartRows {
    parts: Arc<ClearedParts>,
    part: PartId,
    from_row: u64,
    open: Option<(RowReader, Framer)>,
}

impl PartRows {
    fn open(&mut self) -> Result<&mut (RowReader, Framer), Error> {
        if self.open.is_none() {
            let (output, part) = self.parts.part(self.part);
            let options = ReadOptions {
                from_row: self.from_row,
                batch_rows: CHUNK_ROWS,
            };
            let reader = open_rows(&output.grant, part, &options).map_err(Error::Oracle)?;
            let framer = Framer::new(&output.spec).map_err(Error::Envelope)?;
            self.open = Some((reader, framer));
        }
        self.open.as_mut().ok_or_else(|| unreachable!())
    }
}

impl ChunkSource for PartRows {
    fn next_chunk(&mut self) -> Option<Chunk> {
        let path = self.parts.part(self.part).1.path().to_owned();
        let (reader, framer) = match self.open() {
            Ok(open) => open,
            Err(failure) => return Some(Chunk::failed(failure)),
        };
        match reader.next()? {
            Ok(batch) => Some(frame(framer, &path, &batch)),
            Err(failure) => Some(Chunk::failed(Error::Oracle(failure))),
        }
    }
}

fn frame(framer: &mut Framer, part: &str, batch: &RowBatch) -> Chunk {
    let (framed, failure) = match &batch.rows {
        Rows::Arrow(rows) => framer.frame(part, batch.first_row, rows),
        Rows::JsonLines(lines) => framer.frame_json_lines(part, batch.first_row, lines.iter()),
    };
    Chunk {
        framed,
        rows: RowNumbers::From(batch.first_row),
        failure: failure.map(Error::Envelope),
    }
}
