//! Which world this is: the four facts that identify it.

use serde::{Deserialize, Serialize};

use crate::hex::Hex64;
use crate::ids::ScenarioId;

/// The identity of a world.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldKey {
    /// What the engine's inputs come to.
    pub manifest_fingerprint: Hex64,
    /// What the engine's parameters come to.
    pub parameter_hash: Hex64,
    /// The scenario within the run.
    pub scenario_id: ScenarioId,
    /// The master seed.
    pub seed: u64,
}
