//! Where an event stands, and its name for people.

use envelope::EventTime;

/// Where an event stands in its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The part's place in the output's parts, in name order.
    pub part: u32,
    /// The row in the part, from 0.
    pub row: u64,
    /// The row's event time.
    pub time: EventTime,
}

/// Names an event's output, part and row, for an operator.
pub trait NamePosition: Send + Sync {
    /// Like `row 7 of data/…/part-0.parquet (output s2_…)`.
    fn name(&self, output: usize, position: &Position) -> String;
}
