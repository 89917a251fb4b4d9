//! Which world this is: the four facts that identify it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, ReasonCode};
use model::Hex64;

/// The name of a scenario: 1 to 256 characters that can stand in a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ScenarioId(String);

impl ScenarioId {
    /// Takes a name.
    ///
    /// # Errors
    /// `SCENARIO_ID_MISSING` if it is empty, longer than 256 characters, or has a `/`
    /// or a control character, and so could not name one folder.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::new(
                ReasonCode::ScenarioIdMissing,
                "The scenario id is empty",
            ));
        }
        if text.chars().count() > 256 || text.contains(|c: char| c == '/' || c.is_control()) {
            let what = "The scenario id is not 1 to 256 characters without slashes and controls";
            return Err(Error::new(ReasonCode::ScenarioIdMissing, what));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ScenarioId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ScenarioId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|_| serde::de::Error::custom("not a usable scenario id"))
    }
}

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
