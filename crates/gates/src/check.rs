//! The list of checks that a world's evidence is put to, in the order in which they refuse.

use std::fmt;

use serde::Serialize;

/// One check of a world's evidence. Checks compare in the order in which they refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Check {
    /// The catalogue is read and understood.
    Catalogue,
    /// The gate map is read and understood.
    GateMap,
    /// The run receipt names the run, its fingerprint, parameters and seed.
    Receipt,
    /// The catalogue has every output that is asked for.
    Outputs,
    /// One scenario is meant.
    Scenario,
    /// Manifest and seal belong to this world, this catalogue and this gate map.
    Pack,
    /// Every gate that an output needs is in the gate map, and no gates need each other.
    Closure,
    /// Catalogue and gate map restrict the same outputs by the same gates.
    Agreement,
    /// The evidence of every gate holds.
    Gates,
    /// Every output has parts, which are those that a gate hashed.
    Parts,
    /// The data is what the contents index and the instance receipts state.
    Data,
}

impl Check {
    /// Every check, in the order in which they refuse.
    pub const ALL: [Self; 11] = [
        Self::Catalogue,
        Self::GateMap,
        Self::Receipt,
        Self::Outputs,
        Self::Scenario,
        Self::Pack,
        Self::Closure,
        Self::Agreement,
        Self::Gates,
        Self::Parts,
        Self::Data,
    ];

    /// The check's name, for example `gate_map`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Catalogue => "catalogue",
            Self::GateMap => "gate_map",
            Self::Receipt => "receipt",
            Self::Outputs => "outputs",
            Self::Scenario => "scenario",
            Self::Pack => "pack",
            Self::Closure => "closure",
            Self::Agreement => "agreement",
            Self::Gates => "gates",
            Self::Parts => "parts",
            Self::Data => "data",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
