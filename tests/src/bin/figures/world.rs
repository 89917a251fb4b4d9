//! The worlds that figures are taken from.

use sandbox::{GateOptions, OutputOptions, SampleOutput, WorldOptions};
use system_tests::Rig;

/// One output of event-stream rows.
pub fn stream_of(parts: usize, rows_per_part: u64) -> WorldOptions {
    let output = OutputOptions {
        parts,
        rows_per_part,
        ..OutputOptions::of(SampleOutput::EventStreamBaseline)
    };
    WorldOptions::sample().with_outputs([output])
}

/// A rig over a world, saving cursors every 10,000 events, whose gate only counts.
pub fn rig(world: &WorldOptions) -> Rig {
    Rig::new(world, GateOptions::bench(), &[FLUSH_EVERY])
}

/// What figures are taken with where `flush_every` is not the question.
pub const FLUSH_EVERY: (&str, &str) = ("wiring.wsp_checkpoint.flush_every", "10000");
