//! A ready profile for a world.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::World;
use crate::Error;

const PRODUCER_ID: &str = "svc:world_stream_producer";

/// A profile YAML that points at a world and a gate: local posture, fast, and with
/// the settings that tests vary.
#[derive(Debug, Clone)]
pub struct ProfileOptions {
    /// The world that the profile names.
    pub world: World,
    /// The ingestion gate's URL.
    pub ig_ingest_url: String,
    /// The profile's file name under the world's folder `config`.
    pub file_name: String,
    /// The outputs that are traffic; all streamable ones of the world by default.
    pub traffic: Vec<String>,
    /// The outputs that give context to traffic; none by default.
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

    /// Writes the profile and the files that it refers to, and returns its path.
    ///
    /// # Errors
    /// `SANDBOX_IO`; `SANDBOX_OPTIONS_INVALID` if an override is not YAML.
    pub fn write(&self) -> Result<PathBuf, Error> {
        let config = self.world.folder().join("config");
        std::fs::create_dir_all(&config).map_err(Error::io("making the folder", &config))?;
        let allowlist = config.join("producer_allowlist.txt");
        let line = format!("# Who may push.\n{PRODUCER_ID}\n");
        std::fs::write(&allowlist, line).map_err(Error::io("writing", &allowlist))?;

        let mut profile = self.defaults(&allowlist);
        for (path, yaml) in &self.overrides {
            let value = serde_yaml::from_str(yaml).map_err(|error| {
                Error::OptionsInvalid(format!("the profile's {path} is not YAML: {error}"))
            })?;
            set(&mut profile, path, value);
        }
        let path = config.join(&self.file_name);
        // JSON is YAML, and serde_json's output never depends on a YAML emitter's taste.
        std::fs::write(&path, format!("{profile:#}\n")).map_err(Error::io("writing", &path))?;
        Ok(path)
    }

    fn defaults(&self, allowlist: &Path) -> Value {
        let (world, runs_root) = (&self.world, self.world.runs_root());
        let traffic = match self.traffic.as_slice() {
            [] => world.streamable_output_ids(),
            chosen => chosen.to_vec(),
        };
        let mut profile = json!({
            "profile_id": "sandbox",
            "policy": {
                "posture": "local",
                "policy_rev": "sandbox-v0",
                "stream_speedup": 0,
                "traffic_output_ids": traffic,
            },
            "wiring": {
                "oracle_root": world.engine_run_root().parent(),
                "oracle_engine_run_root": world.engine_run_root(),
                "oracle_scenario_id": world.identity().scenario_id,
                "engine_catalogue_path": world.catalogue(),
                "gate_map_path": world.gate_map(),
                "ig_ingest_url": self.ig_ingest_url,
                "wsp_checkpoint": {
                    "backend": "file",
                    "root": runs_root.join("wsp_checkpoints"),
                    "flush_every": 100,
                },
                "wsp_producer": { "producer_id": PRODUCER_ID, "allowlist_ref": allowlist },
                "wsp_retry": {
                    "max_attempts": 5,
                    "base_delay_ms": 10,
                    "max_delay_ms": 200,
                    "give_up_after_s": 30,
                },
                "wsp_audit": { "root": runs_root },
            },
        });
        if !self.context.is_empty() {
            profile["policy"]["context_output_ids"] = json!(self.context);
            profile["policy"]["stream_context"] = json!(true);
        }
        profile
    }
}

/// Sets or, with null, removes the value at a dotted path; blocks on the way are made.
fn set(block: &mut Value, path: &str, value: Value) {
    if !block.is_object() {
        *block = json!({});
    }
    let Some(block) = block.as_object_mut() else {
        return;
    };
    match path.split_once('.') {
        Some((head, rest)) => set(block.entry(head).or_insert(Value::Null), rest, value),
        None if value.is_null() => {
            block.remove(path);
        }
        None => {
            block.insert(path.to_owned(), value);
        }
    }
}
