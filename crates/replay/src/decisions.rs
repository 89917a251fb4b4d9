//! Events counted by what the ingestion gate decided.

use push::Decision;

/// Events that the ingestion gate decided on, by its decision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decisions {
    /// Events answered `ADMIT`.
    pub admit: u64,
    /// Events answered `DUPLICATE`.
    pub duplicate: u64,
    /// Events answered `QUARANTINE`: the gate set them aside itself.
    pub quarantine: u64,
}

impl Decisions {
    /// Counts one decision.
    pub(crate) fn count(&mut self, decision: Decision) {
        *match decision {
            Decision::Admit => &mut self.admit,
            Decision::Duplicate => &mut self.duplicate,
            Decision::Quarantine => &mut self.quarantine,
        } += 1;
    }

    /// Events that the gate decided on, whatever it decided.
    pub fn total(&self) -> u64 {
        self.admit + self.duplicate + self.quarantine
    }
}
