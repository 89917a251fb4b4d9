//! Building a world: options and contracts in, an engine run root out.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::contract::{Contract, OutputEntry, part_paths, render};
use super::evidence::EvidenceWriter;
use super::options::{Contracts, OutputOptions, TimeColumn, WorldOptions};
use super::parts::{self, OutputPlan};
use super::rows::RowSource;
use super::shape::Shape;
use super::timeline::Timeline;
use super::{BuiltOutput, Identity, World, pack};
use crate::Error;

impl WorldOptions {
    /// Builds the world in `folder`, which is made where it is missing.
    ///
    /// # Errors
    /// `SANDBOX_OPTIONS_INVALID` if the options contradict each other or the folder
    /// already holds this world, `SANDBOX_CONTRACT_INVALID` if the catalogue or gate map
    /// cannot be built against, `SANDBOX_IO`.
    pub fn build(&self, folder: &Path) -> Result<World, Error> {
        self.check()?;
        let contract = Contract::read(&self.contracts)?;
        let identity = Identity::of(self, &contract);
        let folder = std::path::absolute(folder).map_err(Error::io("resolving", folder))?;
        let root = folder.join("oracle").join(&identity.run_id);
        if root.exists() {
            return Err(Error::OptionsInvalid(format!(
                "{} is there already; build in a fresh folder",
                root.display()
            )));
        }
        std::fs::create_dir_all(&root).map_err(Error::io("making the folder", &root))?;
        let (catalogue, gate_map) = place_contracts(&folder, &self.contracts, &contract)?;

        let utc_day = self.start_utc().format("%Y-%m-%d").to_string();
        let outputs = self.build_outputs(&root, &identity, &contract, &utc_day)?;
        let evidence = EvidenceWriter {
            root: &root,
            identity: &identity,
            utc_day: &utc_day,
            filler_bytes: self.bundle_filler_bytes,
        };
        for gate in &contract.gates {
            evidence.write_gate(gate)?;
        }
        if self.instance_proofs {
            for output in &outputs {
                let entry = contract.output(&output.output_id)?;
                let rendered = render(&entry.path_template, &identity, &utc_day)?;
                evidence.write_instance_proof(entry, &rendered, &output.files)?;
            }
        }
        pack::write_receipt(&root, self, &identity)?;
        pack::write_pack(&root, self, &identity, &contract)?;
        Ok(World {
            engine_run_root: root,
            catalogue,
            gate_map,
            identity,
            options: self.clone(),
            outputs,
            folder,
        })
    }

    fn build_outputs(
        &self,
        root: &Path,
        identity: &Identity,
        contract: &Contract,
        utc_day: &str,
    ) -> Result<Vec<BuiltOutput>, Error> {
        let chosen: Vec<(&OutputOptions, &OutputEntry, Shape)> = self
            .outputs
            .iter()
            .map(|options| {
                let entry = contract.output(&options.output_id)?;
                Ok((
                    options,
                    entry,
                    Shape::of(&entry.output_id, &entry.primary_key),
                ))
            })
            .collect::<Result<_, Error>>()?;
        let mut plans = Vec::with_capacity(chosen.len());
        for (options, entry, shape) in &chosen {
            let rendered = render(&entry.path_template, identity, utc_day)?;
            let (files, json_lines) = part_paths(&rendered, options.parts)?;
            let source = RowSource {
                identity,
                shape,
                schema: shape.schema(&options.time),
                time: &options.time,
                timeline: Timeline::new(self, options),
                salt: options.salt(self.seed),
            };
            let files = files.into_iter().map(|file| root.join(file)).collect();
            plans.push(OutputPlan {
                options,
                source,
                files,
                json_lines,
            });
        }
        parts::write_all(&plans, self.threads)?;
        let built = plans
            .into_iter()
            .zip(&chosen)
            .map(|(plan, (options, entry, _))| BuiltOutput {
                output_id: options.output_id.clone(),
                primary_key: entry.primary_key.clone(),
                files: plan.files,
            });
        Ok(built.collect())
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |what: String| Err(Error::OptionsInvalid(what));
        if !(1..=256).contains(&self.scenario_id.chars().count()) {
            return refuse("a scenario id has 1 to 256 characters".to_owned());
        }
        if i64::try_from(self.seed).is_err() {
            return refuse(
                "the seed stands in signed columns too; it is at most 2^63 - 1".to_owned(),
            );
        }
        let mut seen = HashSet::new();
        for output in &self.outputs {
            let id = &output.output_id;
            if !seen.insert(id) {
                return refuse(format!("output '{id}' is asked for twice"));
            }
            if output.parts == 0 || output.overlap == 0 || output.overlap > output.parts {
                return refuse(format!(
                    "output '{id}' has {} parts of which {} overlap; \
                     at least 1 overlaps, and no more than there are",
                    output.parts, output.overlap
                ));
            }
            if output
                .disorder
                .is_some_and(|d| d.every_nth_part == 0 || d.window_rows < 2)
            {
                return refuse(format!(
                    "output '{id}' has a disorder that disorders nothing"
                ));
            }
            if output.time == TimeColumn::MixedText(Vec::new()) {
                return refuse(format!("output '{id}' mixes no time forms"));
            }
        }
        Ok(())
    }
}

/// The sample contracts are written beside the world; a caller's stay where they are.
fn place_contracts(
    folder: &Path,
    contracts: &Contracts,
    contract: &Contract,
) -> Result<(PathBuf, PathBuf), Error> {
    match contracts {
        Contracts::Files {
            catalogue,
            gate_map,
        } => {
            let resolve =
                |path: &PathBuf| std::path::absolute(path).map_err(Error::io("resolving", path));
            Ok((resolve(catalogue)?, resolve(gate_map)?))
        }
        Contracts::Sample => {
            let place = |name: &str, bytes: &[u8]| {
                let path = folder.join("contracts").join(name);
                parts::make_folder_of(&path)?;
                std::fs::write(&path, bytes).map_err(Error::io("writing", &path))?;
                Ok(path)
            };
            Ok((
                place("engine_outputs.catalogue.yaml", &contract.catalogue)?,
                place("engine_gates.map.yaml", &contract.gate_map)?,
            ))
        }
    }
}
