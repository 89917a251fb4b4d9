//! Sample worlds: a valid engine run root of any size.
//!
//! ```text
//! <folder>/
//!   contracts/                 catalogue and gate map (sample ones only)
//!   oracle/<run id>/           the engine run root
//!     run_receipt.json
//!     data/layer3/6B/<output>/seed=…/…/part-000000.parquet
//!     data/layer3/6B/validation/manifest_fingerprint=…/{report.json,…,_passed.flag}
//!     stream_view/ts_utc/output_id=…/   on demand: the platform's sorted copies
//!     _oracle_pack_contents.json, _oracle_pack_manifest.json, _SEALED.json
//!   config/                    profile, output lists, producer allowlist
//!   runs/fraud-platform/       the platform's runs root: audit, checkpoints
//! ```

mod build;
mod views;
pub(crate) mod pack;
pub(crate) mod evidence;
pub(crate) mod contract;
mod parts;
mod profile;
mod rows;
mod shape;
mod time_text;
mod timeline;
mod options;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub use options::{
    Compression, Contracts, Disorder, OutputOptions, Pack, SampleOutput, TimeColumn, TimeText,
    TimeZoneForm, WorldOptions,
};
pub use profile::ProfileOptions;
pub use views::ViewOptions;

/// The ids of a world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The manifest fingerprint, hex64.
    pub manifest_fingerprint: String,
    /// The parameter hash, hex64.
    pub parameter_hash: String,
    /// The engine run, hex32.
    pub run_id: String,
    /// The scenario: 1 to 256 characters.
    pub scenario_id: String,
    /// The world key's seed.
    pub seed: u64,
    /// The pack id, hex64; `None` if the world has no manifest.
    pub oracle_pack_id: Option<String>,
}

/// One output of a world on disk.
#[derive(Debug, Clone)]
struct BuiltOutput {
    output_id: String,
    primary_key: Vec<String>,
    /// In name order.
    files: Vec<PathBuf>,
}

/// A world on disk.
#[derive(Debug, Clone)]
pub struct World {
    folder: PathBuf,
    engine_run_root: PathBuf,
    catalogue: PathBuf,
    gate_map: PathBuf,
    identity: Identity,
    options: WorldOptions,
    outputs: Vec<BuiltOutput>,
}

impl World {
    /// The folder that the world was built in, engine run root and configuration included.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The engine run root.
    pub fn engine_run_root(&self) -> &Path {
        &self.engine_run_root
    }

    /// The path of the catalogue that the world was built against.
    pub fn catalogue(&self) -> &Path {
        &self.catalogue
    }

    /// The path of the gate map that the world was built against.
    pub fn gate_map(&self) -> &Path {
        &self.gate_map
    }

    /// The platform's runs root: outside the engine run root.
    pub fn runs_root(&self) -> PathBuf {
        self.folder.join("runs/fraud-platform")
    }

    /// The ids of the world.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The options that the world was built with.
    pub fn options(&self) -> &WorldOptions {
        &self.options
    }

    /// The files of one output, in name order; empty if the world has no such output.
    pub fn parts(&self, output_id: &str) -> &[PathBuf] {
        let output = self
            .outputs
            .iter()
            .find(|output| output.output_id == output_id);
        output.map_or(&[], |output| &output.files)
    }

    /// The last column of the first output's primary key.
    pub(crate) fn last_key_column(&self) -> Option<&str> {
        self.outputs.first()?.primary_key.last().map(String::as_str)
    }

    /// The outputs that have a primary key, in the order they were asked for.
    pub fn streamable_output_ids(&self) -> Vec<String> {
        let streamable = self
            .outputs
            .iter()
            .filter(|output| !output.primary_key.is_empty());
        streamable.map(|output| output.output_id.clone()).collect()
    }

    /// The column that orders each output's events: the first of its primary key that
    /// is not a world pin. What [`crate::OrderCheck::PerKey`] wants to know.
    pub fn ordering_columns(&self) -> HashMap<String, String> {
        const PINS: [&str; 5] = [
            "manifest_fingerprint",
            "parameter_hash",
            "seed",
            "scenario_id",
            "run_id",
        ];
        let column = |output: &BuiltOutput| {
            output
                .primary_key
                .iter()
                .find(|name| !PINS.contains(&name.as_str()))
                .cloned()
        };
        let columns = self.outputs.iter();
        columns
            .filter_map(|output| Some((output.output_id.clone(), column(output)?)))
            .collect()
    }
}
