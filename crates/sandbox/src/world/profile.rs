//! A ready profile for a world.

use std::path::PathBuf;

use super::World;
use crate::Error;

/// A profile YAML that points at a world and a gate: local posture, fast, and with
/// the settings that tests vary.
#[derive(Debug, Clone)]
pub struct ProfileOptions {
    /// The world it names.
    pub world: World,
    /// Where to push.
    pub ig_ingest_url: String,
    /// File name under the world's `config/`.
    pub file_name: String,
    /// Role `business_traffic`; default: all streamable outputs of the world.
    pub traffic: Vec<String>,
    /// Role `behavioural_context`.
    pub context: Vec<String>,
    /// Keys set or replaced after all else, by dotted path: `("policy.posture", "strict")`.
    /// Values are YAML; `null` removes the key.
    pub overrides: Vec<(String, String)>,
}

impl ProfileOptions {
    /// Local posture, all of the world's streamable outputs as traffic, unpaced.
    pub fn local(world: &World, ig_ingest_url: &str) -> Self {
        Self {
            world: world.clone(),
            ig_ingest_url: ig_ingest_url.to_owned(),
            file_name: "profile.yaml".to_owned(),
            traffic: Vec::new(),
            context: Vec::new(),
            overrides: Vec::new(),
        }
    }

    /// The profile with one key set, by dotted path; the value is YAML.
    #[must_use]
    pub fn set(mut self, path: &str, yaml: &str) -> Self {
        self.overrides.push((path.to_owned(), yaml.to_owned()));
        self
    }

    /// Writes the profile and the files that it refers to; answers its path.
    ///
    /// # Errors
    /// `SANDBOX_IO`; `SANDBOX_OPTIONS_INVALID` if an override is not YAML.
    pub fn write(&self) -> Result<PathBuf, Error> {
        todo!()
    }
}
