//! What is counted and seen in one bucket of a timeline.

use std::mem;

use push::RetryCause;

use crate::tell::counters::Counters;

/// Outputs that have counts of their own; those behind them are counted together.
pub(crate) const MOST_OUTPUTS: usize = 64;

/// What is counted in a bucket, beside lateness.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) acknowledged: u64,
    pub(crate) duplicates: u64,
    pub(crate) gate_quarantined: u64,
    pub(crate) refused: u64,
    pub(crate) quarantined: u64,
    pub(crate) saves: u64,
    pub(crate) save_retries: u64,
    pub(crate) retries: [u64; RetryCause::ALL.len()],
    /// Events acknowledged by output; those behind the first [`MOST_OUTPUTS`] are one entry more.
    pub(crate) outputs: Box<[u64]>,
}

impl Tally {
    pub(crate) fn of(counters: &Counters) -> Self {
        let (own, others) = counters
            .outputs
            .split_at(counters.outputs.len().min(MOST_OUTPUTS));
        let own = own.iter().map(|output| output.acknowledged);
        let others = others
            .iter()
            .map(|output| output.acknowledged)
            .reduce(|sum, of| sum + of);
        Self {
            acknowledged: counters.all_acknowledged(),
            duplicates: counters.acknowledged.duplicate,
            gate_quarantined: counters.acknowledged.quarantine,
            refused: counters.refused,
            quarantined: counters.quarantined(),
            saves: counters.checkpoints.saves,
            save_retries: counters.checkpoints.retried,
            retries: RetryCause::ALL.map(|cause| counters.retries.get(cause)),
            outputs: own.chain(others).collect(),
        }
    }

    /// Joins each count with the same count of another tally.
    fn join(&mut self, other: &Self, with: impl Fn(&mut u64, u64)) {
        with(&mut self.acknowledged, other.acknowledged);
        with(&mut self.duplicates, other.duplicates);
        with(&mut self.gate_quarantined, other.gate_quarantined);
        with(&mut self.refused, other.refused);
        with(&mut self.quarantined, other.quarantined);
        with(&mut self.saves, other.saves);
        with(&mut self.save_retries, other.save_retries);
        if self.outputs.len() < other.outputs.len() {
            let mut outputs = mem::take(&mut self.outputs).into_vec();
            outputs.resize(other.outputs.len(), 0);
            self.outputs = outputs.into();
        }
        let counts = self.retries.iter_mut().zip(&other.retries);
        let counts = counts.chain(self.outputs.iter_mut().zip(&other.outputs));
        counts.for_each(|(count, other)| with(count, *other));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.join(other, |count, other| *count += other);
    }

    /// What the counts have grown by since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut grown = self.clone();
        grown.join(earlier, |count, earlier| {
            *count = count.saturating_sub(earlier);
        });
        grown
    }
}

/// What was seen at each record of a bucket, to be shown as the mean.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gauges {
    pub(crate) records: u64,
    pub(crate) permits_in_use: u64,
    pub(crate) permits_allowed: u64,
    pub(crate) buffered: u64,
}

impl Gauges {
    pub(crate) fn add(&mut self, other: Self) {
        self.records += other.records;
        self.permits_in_use += other.permits_in_use;
        self.permits_allowed += other.permits_allowed;
        self.buffered += other.buffered;
    }
}
