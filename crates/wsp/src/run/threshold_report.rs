//! What became of each threshold of a run, for its report.

use serde::{Deserialize, Serialize};

/// One threshold of a run, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThresholdReport {
    /// Whether it judges the finished run, or ends a run that goes on.
    pub kind: ThresholdKind,
    /// The condition, as it is written.
    pub condition: String,
    /// The value of its figure, in the unit of the figure: of the whole run, or, of a run that goes
    /// on, of the stretch that was worst; `None` where there is none.
    pub value: Option<f64>,
    /// What became of it.
    pub verdict: Verdict,
}

/// What a threshold does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdKind {
    /// It judges a finished run.
    FailIf,
    /// It ends a run that goes on.
    AbortIf,
}

/// What became of a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// What is bad did not occur.
    Held,
    /// It did: the streamed run has failed by it.
    Failed,
    /// It did: the run was ended by it.
    Aborted,
    /// The run did not stream to its end, or not for as long as the first stretch.
    NotJudged,
    /// The run streamed no event that has the figure.
    NoValue,
}

impl ThresholdReport {
    /// A condition and what became of it, without a value.
    pub fn new(kind: ThresholdKind, condition: impl Into<String>, verdict: Verdict) -> Self {
        Self {
            kind,
            condition: condition.into(),
            value: None,
            verdict,
        }
    }
}
