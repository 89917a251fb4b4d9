//! The plan: everything that is proven before the first row is opened.
//!
//! [`plan`] walks the evidence in the order of the reason codes and stops at the
//! first that does not hold: catalogue and gate map, engine run root, receipt,
//! outputs, scenario, pack and seal, gates, producer, parts, data. It reads no payload
//! and writes nothing.

pub mod data_evidence;
pub mod pack;
pub mod producer;
pub mod verify;
pub mod selection;

use std::path::{Path, PathBuf};

use checkpoint::PackKey;
use gates::{Clearance, ClearanceRequest, GateMap};
use oracle_store::{
    Catalogue, OutputId, OutputLocator, PackEvidence, PackExpectation, PackId, RunReceipt, Tokens,
    WorldKey, WorldStore, check_pack, locate, refuse_platform_runs, resolve_engine_run_root,
    resolve_scenario_id,
};

use crate::Error;
use crate::blocking::blocking;
use crate::plan::data_evidence::{DataEvidence, DataQuestion};
use crate::plan::producer::AllowedProducer;
use crate::plan::selection::{Role, SelectedOutput, select};
use crate::profile::Profile;
use crate::profile::request::StreamRequest;
use replay::{PartProofs, read_memory};

/// One output of the plan.
#[derive(Debug, Clone)]
pub struct PlannedOutput {
    /// What it is to the platform.
    pub role: Role,
    /// The columns that identify a row.
    pub primary_key: Vec<String>,
    /// Its parts.
    pub locator: OutputLocator,
}

impl PlannedOutput {
    /// The output's id.
    pub fn id(&self) -> &OutputId {
        &self.locator.output_id
    }
}

/// A world that may be streamed, and how.
#[derive(Debug)]
pub struct Plan {
    /// The world's store.
    pub store: WorldStore,
    /// What proves its parts again.
    pub proofs: PartProofs,
    /// The run receipt.
    pub receipt: RunReceipt,
    /// Which world it is.
    pub world_key: WorldKey,
    /// What manifest and seal say.
    pub pack: PackEvidence,
    /// The permission to open rows.
    pub clearance: Clearance,
    /// Who produces.
    pub producer: AllowedProducer,
    /// What is streamed, in list order.
    pub outputs: Vec<PlannedOutput>,
    /// What proves the data itself.
    pub data: DataEvidence,
    /// What cursors are kept under, before any scope.
    pub pack_key: PackKey,
}

/// A located world whose evidence has not been looked at: what `verify` starts from.
#[derive(Debug)]
pub struct LocatedWorld {
    /// The catalogue.
    pub catalogue: Catalogue,
    /// The gate map.
    pub gate_map: GateMap,
    /// The world's store.
    pub store: WorldStore,
    /// What proves its parts again.
    pub proofs: PartProofs,
    /// The run receipt.
    pub receipt: RunReceipt,
    /// What the policy streams.
    pub outputs: Vec<SelectedOutput>,
    /// Which world it is.
    pub world_key: WorldKey,
    /// The values of its path templates.
    pub tokens: Tokens,
}

/// Locates the world that a request names, up to its scenario.
///
/// # Errors
/// The codes from `PROFILE_*` to `SCENARIO_ID_AMBIGUOUS`.
pub async fn locate_world(request: &StreamRequest) -> Result<LocatedWorld, Error> {
    let profile = &request.profile;
    let catalogue_path = catalogue_path(profile)?;
    let gate_map_path = gate_map_path(profile, &catalogue_path);
    let (catalogue, gate_map) = blocking(move || {
        let catalogue = Catalogue::load(&catalogue_path)?;
        let gate_map = GateMap::load(&gate_map_path)?;
        Ok((catalogue, gate_map))
    })
    .await?;
    let named = Profile::require(
        profile.engine_run_root.as_ref(),
        "wiring.oracle_engine_run_root",
        "--engine-run-root",
    )?;
    let root =
        resolve_engine_run_root(named, profile.oracle_root.as_deref(), &request.working_dir)?;
    let memory = read_memory(profile.ordering.memory_budget);
    let store = WorldStore::open(root, &profile.object_store)?.with_memory(memory);
    let runs_root = request.working_dir.join(&profile.runs_root);
    refuse_platform_runs(store.root(), &runs_root)?;
    request.refuse_writes_to_world(store.root())?;
    let receipt = RunReceipt::load(&store).await?;
    let (asked, lists) = (request.overrides.output_ids.clone(), profile.clone());
    let (outputs, catalogue) = blocking(move || {
        let outputs = select(&lists, asked.as_deref(), &catalogue)?;
        Ok((outputs, catalogue))
    })
    .await?;
    let tokens = Tokens::of_run(&receipt);
    let named = [
        request.overrides.scenario_id.as_deref(),
        profile.scenario_id.as_deref(),
    ];
    let entries: Vec<_> = outputs.iter().map(|output| &output.entry).collect();
    let scenario_id = resolve_scenario_id(&store, &named, &entries, &tokens).await?;
    let tokens = tokens.with_scenario(&scenario_id);
    let world_key = receipt.world_key(scenario_id);
    Ok(LocatedWorld {
        catalogue,
        gate_map,
        proofs: PartProofs::of(&store),
        store,
        receipt,
        outputs,
        world_key,
        tokens,
    })
}

/// Proves that the world of a request may be streamed, and plans it.
///
/// # Errors
/// The first code of the checks, in their order; see the module.
pub async fn plan(request: &StreamRequest) -> Result<Plan, Error> {
    let profile = &request.profile;
    let world = locate_world(request).await?;
    let asked_pack = asked_pack_id(request)?;
    let expectation = PackExpectation {
        posture: profile.posture,
        world_key: &world.world_key,
        catalogue_digest: world.catalogue.digest(),
        gate_map_digest: world.gate_map.digest(),
        oracle_pack_id: asked_pack.as_ref(),
    };
    let pack = check_pack(&world.store, &expectation).await?;
    let output_ids: Vec<_> = world
        .outputs
        .iter()
        .map(|o| o.entry.output_id.clone())
        .collect();
    let clearance = gates::clear(&ClearanceRequest {
        store: &world.store,
        tokens: &world.tokens,
        catalogue: &world.catalogue,
        gate_map: &world.gate_map,
        outputs: &output_ids,
        mode: profile.gate_verification,
        posture: profile.posture,
        require_gate_pass: profile.require_gate_pass,
    })
    .await?;
    let allowlist = profile.clone();
    let producer = blocking(move || AllowedProducer::check(&allowlist)).await?;
    let mut located = Vec::with_capacity(world.outputs.len());
    let mut roles = Vec::with_capacity(world.outputs.len());
    for SelectedOutput { role, entry } in world.outputs {
        let locator = locate(&world.store, &entry, &world.tokens).await?;
        // A part that a gate hashed may have been replaced before it was located.
        if let Some(grant) = clearance.grant(&entry.output_id) {
            let checked = locator.parts.iter().try_for_each(|part| grant.check(part));
            checked?;
        }
        located.push((entry, locator));
        roles.push(role);
    }
    let data = DataEvidence::check(&DataQuestion {
        store: &world.store,
        pack: &pack,
        tokens: &world.tokens,
        catalogue: &world.catalogue,
        outputs: &located,
        asked: profile.data_verification,
        posture: profile.posture,
    })
    .await?;
    let outputs = roles
        .into_iter()
        .zip(located)
        .map(|(role, (entry, locator))| PlannedOutput {
            role,
            primary_key: entry.primary_key,
            locator,
        });
    Ok(Plan {
        pack_key: pack_key(pack.oracle_pack_id.as_ref(), &world.store),
        proofs: world.proofs,
        store: world.store,
        receipt: world.receipt,
        world_key: world.world_key,
        pack,
        clearance,
        producer,
        outputs: outputs.collect(),
        data,
    })
}

/// `oracle_pack_id`, else the digest of the engine run root's string.
pub(crate) fn pack_key(pack_id: Option<&PackId>, store: &WorldStore) -> PackKey {
    match pack_id {
        Some(id) => PackKey::from(id),
        None => PackKey::of_root(store.root().as_str()),
    }
}

fn asked_pack_id(request: &StreamRequest) -> Result<Option<PackId>, Error> {
    let Some(text) = request.overrides.oracle_pack_id.as_deref() else {
        return Ok(None);
    };
    PackId::parse(text).map(Some).ok_or_else(|| {
        Error::new(
            crate::ReasonCode::ProfileInvalid,
            format!("--oracle-pack-id is `{}`", text.escape_debug()),
            "A pack id is 64 lowercase hex digits.",
        )
    })
}

fn catalogue_path(profile: &Profile) -> Result<PathBuf, Error> {
    let named = Profile::require(
        profile.catalogue_path.as_ref(),
        "wiring.engine_catalogue_path",
        "--catalogue",
    )?;
    Ok(profile.resolve_ref(named))
}

/// The gate map named, else the one beside the catalogue.
fn gate_map_path(profile: &Profile, catalogue: &Path) -> PathBuf {
    match &profile.gate_map_path {
        Some(named) => profile.resolve_ref(named),
        None => catalogue.with_file_name("engine_gates.map.yaml"),
    }
}
