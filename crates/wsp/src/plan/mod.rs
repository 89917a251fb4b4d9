//! The plan: everything that is proven before the first row is opened.
//!
//! [`plan`] makes the checks in the order of the reason codes and stops at the first that does
//! not hold. What needs no profile is one list, [`gates::Check`], which [`verify`](mod@verify)
//! walks to the end; what the profile asks for stands between its entries:
//!
//! ```text
//! catalogue · gate map ─► engine run root, outside the runs root ─► receipt
//!   ─► outputs of the policy ─► scenario ─► pack and seal ─► gates
//!   ─► primary keys ─► producer ─► parts ─► data ─► stream views
//! ```
//!
//! It reads no payload and writes nothing.

pub mod data_evidence;
pub mod pack;
pub mod producer;
pub mod verify;
mod sources;
pub mod selection;

pub use sources::ViewReport;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use checkpoint::{PackKey, RowSource};
use gates::{AttestRequest, Clearance, GateMap, IdentifiedWorld};
use oracle_store::{
    Catalogue, OutputId, OutputLocator, PackEvidence, PackId, Part, RunReceipt, StreamView,
    TIME_COLUMN, WorldKey, WorldStore, refuse_platform_runs, resolve_engine_run_root,
};

use crate::Error;
use crate::blocking::blocking;
use crate::plan::data_evidence::DataProof;
use crate::plan::producer::AllowedProducer;
use crate::plan::selection::{Role, SelectedOutput, check_key, select};
use crate::profile::Profile;
use crate::profile::request::{GivenWorld, StreamRequest};
use replay::{PartProofs, read_memory};

/// One output of the plan.
#[derive(Debug, Clone)]
pub struct PlannedOutput {
    /// The role of the output on the platform.
    pub role: Role,
    /// The columns that identify a row of the output.
    pub primary_key: Vec<String>,
    /// The located parts that the rows are read from: those of the output, or of its view.
    pub locator: OutputLocator,
    /// The stream view that the rows are read from; `None` where they are read from the output.
    pub view: Option<StreamView>,
}

impl PlannedOutput {
    /// The output's id.
    pub fn id(&self) -> &OutputId {
        &self.locator.output_id
    }

    /// What cursors count the rows of.
    pub fn row_source(&self) -> RowSource {
        match self.view {
            Some(_) => RowSource::View,
            None => RowSource::Outputs,
        }
    }

    /// The column that holds the event times of the output's rows.
    pub fn time_column(&self) -> &str {
        let part = self.locator.parts.first();
        part.map_or(TIME_COLUMN, Part::time_column)
    }
}

/// A world that may be streamed, and how.
#[derive(Debug)]
#[non_exhaustive]
pub struct Plan {
    /// The world's store.
    pub store: WorldStore,
    /// Proves parts again whose inode or change time alone has changed.
    pub proofs: PartProofs,
    /// The run receipt.
    pub receipt: RunReceipt,
    /// The fingerprint, parameters, scenario and seed of the world.
    pub world_key: WorldKey,
    /// What manifest and seal show.
    pub pack: PackEvidence,
    /// The clearance that gives the grants which open rows.
    pub clearance: Clearance,
    /// The producer that envelopes name.
    pub producer: AllowedProducer,
    /// The outputs to stream, in list order.
    pub outputs: Vec<PlannedOutput>,
    /// Proves each part before its first row is used.
    pub data: DataProof,
    /// The key that cursors are kept under, before any scope.
    pub pack_key: PackKey,
}

/// A located world whose evidence has not been looked at: what `verify` starts from.
#[derive(Debug)]
pub struct LocatedWorld {
    /// Which world it is, and by which catalogue and gate map it is read.
    pub identified: IdentifiedWorld,
    /// Proves parts again whose inode or change time alone has changed.
    pub proofs: PartProofs,
    /// The outputs that the policy streams, in list order.
    pub outputs: Vec<SelectedOutput>,
}

/// Locates the world that a request names, up to its scenario.
///
/// # Errors
/// The codes from `PROFILE_*` to `SCENARIO_ID_AMBIGUOUS`.
pub async fn locate_world(request: &StreamRequest) -> Result<LocatedWorld, Error> {
    locate(request, None).await
}

async fn locate(
    request: &StreamRequest,
    oracle_pack_id: Option<PackId>,
) -> Result<LocatedWorld, Error> {
    let profile = &request.profile;
    let catalogue_path = profile.catalogue()?;
    let gate_map_path = gate_map_path(profile, &catalogue_path);
    let (catalogue, gate_map) = blocking(move || {
        let catalogue = Catalogue::load(&catalogue_path)?;
        let gate_map = GateMap::load(&gate_map_path)?;
        Ok((Arc::new(catalogue), gate_map))
    })
    .await?;
    check_time_columns(profile, &catalogue)?;
    let named = Profile::require(
        profile.engine_run_root.as_ref(),
        "wiring.oracle_engine_run_root",
        "--engine-run-root",
    )?;
    let root =
        resolve_engine_run_root(named, profile.oracle_root.as_deref(), &request.working_dir)?;
    let memory = read_memory(profile.ordering.memory_budget);
    let store = WorldStore::open(root, &profile.object_store)?.with_memory(memory);
    refuse_platform_runs(store.root(), &request.runs_location()?)?;
    request.refuse_writes_to_world(store.root())?;
    let store = sources::with_views(store, request)?;
    let receipt = RunReceipt::load(&store).await?;
    let (asked, lists) = (request.overrides.output_ids.clone(), profile.clone());
    let known = Arc::clone(&catalogue);
    let outputs = blocking(move || select(&lists, asked.as_deref(), &known)).await?;
    let output_ids = outputs.iter().map(|output| output.entry.output_id.clone());
    let asked = AttestRequest::new(store, catalogue, gate_map, output_ids)
        .receipt(receipt)
        .scenario_id(named_scenario(request))
        .oracle_pack_id(oracle_pack_id)
        .posture(profile.posture)
        .gate_verification(profile.gate_verification)
        .require_gate_pass(profile.require_gate_pass)
        .data_verification(profile.data_verification);
    let identified = asked.identify().await?;
    Ok(LocatedWorld {
        proofs: PartProofs::of(identified.store()),
        identified,
        outputs,
    })
}

/// The scenario that the flag names, else the profile; an empty name is none.
fn named_scenario(request: &StreamRequest) -> Option<String> {
    let named = [&request.overrides.scenario_id, &request.profile.scenario_id];
    let mut named = named.into_iter().flatten().filter(|id| !id.is_empty());
    named.next().cloned()
}

/// Proves that the world of a request may be streamed, and plans it.
///
/// # Errors
/// The first code of the checks, in their order; see the module.
pub async fn plan(request: &StreamRequest) -> Result<Plan, Error> {
    if let Some(given) = &request.world {
        return given_plan(request, given);
    }
    let LocatedWorld {
        identified,
        proofs,
        outputs: selected,
    } = locate(request, asked_pack_id(request)?).await?;
    let cleared = identified.clear().await?;
    selected
        .iter()
        .try_for_each(|output| check_key(&output.entry))?;
    let profile = request.profile.clone();
    let producer = blocking(move || AllowedProducer::check(&profile)).await?;
    let mut attested = cleared.attest().await?;
    let located = std::mem::take(&mut attested.outputs);
    let mut outputs = Vec::with_capacity(located.len());
    for (SelectedOutput { role, .. }, output) in selected.into_iter().zip(located) {
        // On the heap: few runs read views, and every run would carry its future.
        let view = Box::pin(sources::view_of(&mut attested, &output, request)).await?;
        let read_from = view.as_ref().map(|view| view.locator().clone());
        outputs.push(PlannedOutput {
            role,
            primary_key: output.entry.primary_key,
            locator: timed(&request.profile, read_from.unwrap_or(output.locator)),
            view,
        });
    }
    Ok(Plan {
        pack_key: pack_key(attested.pack.oracle_pack_id.as_ref(), &attested.store),
        proofs,
        store: attested.store,
        receipt: attested.receipt,
        world_key: attested.world_key,
        pack: attested.pack,
        clearance: attested.clearance,
        producer,
        outputs,
        data: DataProof::new(attested.data)?,
    })
}

/// The parts of an output, with the column of their event times.
pub(crate) fn timed(profile: &Profile, locator: OutputLocator) -> OutputLocator {
    let column = profile.time_column(locator.output_id.as_str());
    locator.timed_by(column)
}

/// Refuses a column of event times for an output that nobody knows.
fn check_time_columns(profile: &Profile, catalogue: &Catalogue) -> Result<(), Error> {
    let mut named = profile.time_columns.keys();
    let unknown = named.find(|id| catalogue.output(&OutputId::new(id.as_str())).is_none());
    unknown.map_or(Ok(()), |id| {
        Err(Error::new(
            crate::ReasonCode::ProfileInvalid,
            format!(
                "The profile's `policy.time_columns` names {id}, which is not in the catalogue"
            ),
            "Check its spelling, and that catalogue and world are of one engine release.",
        ))
    })
}

/// The plan of a world that a program attested: what is left to check is the program's own.
fn given_plan(request: &StreamRequest, given: &GivenWorld) -> Result<Plan, Error> {
    let world = &given.world;
    refuse_platform_runs(world.store.root(), &request.runs_location()?)?;
    request.refuse_writes_to_world(world.store.root())?;
    let asked = request.overrides.output_ids.as_deref();
    for id in asked.unwrap_or_default() {
        if !world
            .outputs
            .iter()
            .any(|output| output.id().as_str() == id)
        {
            return Err(Error::new(
                crate::ReasonCode::OutputNotInPolicy,
                format!("The output {id} is none of those that the world was attested for"),
                "Attest the world for it, or ask for another.",
            ));
        }
    }
    let is_asked = |id: &str| asked.is_none_or(|asked| asked.iter().any(|named| named == id));
    let outputs = world.outputs.iter();
    let outputs = outputs.filter(|output| is_asked(output.id().as_str()));
    let outputs = outputs.map(|output| {
        check_key(&output.entry)?;
        Ok(PlannedOutput {
            role: Role::BusinessTraffic,
            primary_key: output.entry.primary_key.clone(),
            locator: timed(&request.profile, output.locator.clone()),
            view: None,
        })
    });
    let outputs: Vec<PlannedOutput> = outputs.collect::<Result<_, Error>>()?;
    if outputs.is_empty() {
        return Err(Error::new(
            crate::ReasonCode::NoTrafficOutputs,
            "The request names no output",
            "Name at least one, or none to stream them all.",
        ));
    }
    Ok(Plan {
        pack_key: pack_key(world.pack.oracle_pack_id.as_ref(), &world.store),
        proofs: PartProofs::of(&world.store),
        store: world.store.clone(),
        receipt: world.receipt.clone(),
        world_key: world.world_key.clone(),
        pack: world.pack.clone(),
        clearance: world.clearance.clone(),
        producer: AllowedProducer::trusted(&given.producer),
        outputs,
        data: DataProof::new(world.data.clone())?,
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

/// The gate map named, else the one beside the catalogue.
fn gate_map_path(profile: &Profile, catalogue: &Path) -> PathBuf {
    match &profile.gate_map_path {
        Some(named) => profile.resolve_ref(named),
        None => catalogue.with_file_name("engine_gates.map.yaml"),
    }
}
