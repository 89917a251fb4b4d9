//! Which world a request is about: its catalogue and gate map, its run, its scenario.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oracle_store::{
    Catalogue, CatalogueEntry, DataVerification, OutputId, PackId, Posture, RunReceipt, Tokens,
    WorldKey, WorldStore, resolve_scenario_id,
};

use crate::attest_error::AttestError;
use crate::check::Check;
use crate::error::{Error, ReasonCode};
use crate::gate_map::GateMap;
use crate::receipt::VerificationMode;

/// A catalogue or a gate map: the value itself, or the file that it is read from.
#[derive(Debug)]
pub struct Source<T>(Given<T>);

#[derive(Debug)]
enum Given<T> {
    Value(Arc<T>),
    File(PathBuf),
}

impl<T> Clone for Source<T> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Given::Value(value) => Given::Value(Arc::clone(value)),
            Given::File(path) => Given::File(path.clone()),
        })
    }
}

impl<T> Source<T> {
    fn value(&self, load: impl FnOnce(&Path) -> Result<T, Error>) -> Result<Arc<T>, Error> {
        match &self.0 {
            Given::Value(value) => Ok(Arc::clone(value)),
            Given::File(path) => load(path).map(Arc::new),
        }
    }
}

impl<T> From<Arc<T>> for Source<T> {
    fn from(value: Arc<T>) -> Self {
        Self(Given::Value(value))
    }
}

impl From<Catalogue> for Source<Catalogue> {
    fn from(catalogue: Catalogue) -> Self {
        Arc::new(catalogue).into()
    }
}

impl From<GateMap> for Source<GateMap> {
    fn from(gate_map: GateMap) -> Self {
        Arc::new(gate_map).into()
    }
}

impl<T> From<PathBuf> for Source<T> {
    fn from(file: PathBuf) -> Self {
        Self(Given::File(file))
    }
}

impl<T> From<&Path> for Source<T> {
    fn from(file: &Path) -> Self {
        file.to_owned().into()
    }
}

impl<T> From<&str> for Source<T> {
    fn from(file: &str) -> Self {
        PathBuf::from(file).into()
    }
}

/// What is to be attested, and how much evidence must stand.
///
/// A request is for strict posture unless [`posture`](Self::posture) says otherwise: digests of
/// every gate, a sealed pack, and the sizes of its contents index where one stands.
#[derive(Debug, Clone)]
pub struct AttestRequest {
    pub(crate) store: WorldStore,
    catalogue: Source<Catalogue>,
    gate_map: Source<GateMap>,
    outputs: Vec<OutputId>,
    receipt: Option<RunReceipt>,
    scenario_id: Option<String>,
    pub(crate) oracle_pack_id: Option<PackId>,
    pub(crate) posture: Posture,
    mode: Option<VerificationMode>,
    pub(crate) require_gate_pass: bool,
    pub(crate) data_verification: Option<DataVerification>,
}

impl AttestRequest {
    /// Asks for outputs of the world that `store` holds, by a catalogue and a gate map.
    ///
    /// A file that is named by its path is read on the calling thread, when the world is
    /// identified.
    pub fn new<O: Into<OutputId>>(
        store: WorldStore,
        catalogue: impl Into<Source<Catalogue>>,
        gate_map: impl Into<Source<GateMap>>,
        outputs: impl IntoIterator<Item = O>,
    ) -> Self {
        Self {
            store,
            catalogue: catalogue.into(),
            gate_map: gate_map.into(),
            outputs: outputs.into_iter().map(Into::into).collect(),
            receipt: None,
            scenario_id: None,
            oracle_pack_id: None,
            posture: Posture::Strict,
            mode: None,
            require_gate_pass: true,
            data_verification: None,
        }
    }

    /// Sets how much evidence must stand; strict posture by default.
    #[must_use]
    pub fn posture(mut self, posture: Posture) -> Self {
        self.posture = posture;
        self
    }

    /// Names the scenario; `None`, the default, takes that of the pack manifest, else the only
    /// one that the outputs' own paths hold.
    #[must_use]
    pub fn scenario_id(mut self, id: Option<String>) -> Self {
        self.scenario_id = id;
        self
    }

    /// Names the pack that the world must be; `None`, the default, takes any.
    #[must_use]
    pub fn oracle_pack_id(mut self, id: Option<PackId>) -> Self {
        self.oracle_pack_id = id;
        self
    }

    /// Hands in the run receipt of this world, where the caller has read it already.
    #[must_use]
    pub fn receipt(mut self, receipt: RunReceipt) -> Self {
        self.receipt = Some(receipt);
        self
    }

    /// Sets how hard gates are looked at. By default, digests in strict posture and presence in
    /// local posture; presence is refused in strict posture.
    #[must_use]
    pub fn gate_verification(mut self, mode: VerificationMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Says whether gates must pass; `true` by default. `false` waives them in local posture
    /// and is refused in strict posture.
    #[must_use]
    pub fn require_gate_pass(mut self, required: bool) -> Self {
        self.require_gate_pass = required;
        self
    }

    /// Sets how the data is compared with the contents index. `None`, the default, compares
    /// sizes in strict posture where an index stands, and nothing in local posture.
    #[must_use]
    pub fn data_verification(mut self, level: Option<DataVerification>) -> Self {
        self.data_verification = level;
        self
    }

    pub(crate) fn mode(&self) -> VerificationMode {
        self.mode.unwrap_or(match self.posture {
            Posture::Strict => VerificationMode::Digest,
            Posture::Local => VerificationMode::Presence,
        })
    }

    /// Finds out which world the request is about, and looks at no evidence yet.
    ///
    /// # Errors
    /// In this order: `CATALOGUE_UNREADABLE`, `GATE_MAP_UNREADABLE`, `RUN_RECEIPT_UNREADABLE`,
    /// `WORLD_KEY_MISSING`, `OUTPUT_UNKNOWN`, `SCENARIO_ID_MISSING`, `SCENARIO_ID_AMBIGUOUS`;
    /// `ORACLE_READ_FAILED` if the storage fails.
    pub async fn identify(self) -> Result<IdentifiedWorld, AttestError> {
        let store = &self.store;
        let catalogue = self
            .catalogue
            .value(|file| Catalogue::load(file).map_err(Error::oracle))
            .map_err(|error| AttestError::new(Check::Catalogue, error))?;
        let gate_map = self
            .gate_map
            .value(GateMap::load)
            .map_err(|error| AttestError::new(Check::GateMap, error))?;
        let receipt = match &self.receipt {
            Some(receipt) => receipt.clone(),
            None => RunReceipt::load(store)
                .await
                .map_err(AttestError::at(Check::Receipt))?,
        };
        let entry = |output_id: &OutputId| {
            catalogue.output(output_id).cloned().ok_or_else(|| {
                let what = format!("The catalogue has no output {output_id}");
                AttestError::new(Check::Outputs, Error::new(ReasonCode::OutputUnknown, what))
            })
        };
        let entries = self.outputs.iter().map(entry);
        let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
        let tokens = Tokens::of_run(&receipt);
        let selected: Vec<_> = entries.iter().collect();
        let named = [self.scenario_id.as_deref()];
        let scenario_id = resolve_scenario_id(store, &named, &selected, &tokens)
            .await
            .map_err(AttestError::at(Check::Scenario))?;
        Ok(IdentifiedWorld {
            tokens: tokens.with_scenario(&scenario_id),
            world_key: receipt.world_key(scenario_id),
            receipt,
            entries,
            catalogue,
            gate_map,
            request: self,
        })
    }
}

/// A world whose run and scenario are known, and of whose evidence nothing is.
#[derive(Debug, Clone)]
pub struct IdentifiedWorld {
    pub(crate) request: AttestRequest,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) gate_map: Arc<GateMap>,
    pub(crate) receipt: RunReceipt,
    pub(crate) entries: Vec<CatalogueEntry>,
    pub(crate) tokens: Tokens,
    pub(crate) world_key: WorldKey,
}

impl IdentifiedWorld {
    /// The world's store.
    pub fn store(&self) -> &WorldStore {
        &self.request.store
    }

    /// The catalogue in use.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The gate map in use.
    pub fn gate_map(&self) -> &GateMap {
        &self.gate_map
    }

    /// The run receipt.
    pub fn receipt(&self) -> &RunReceipt {
        &self.receipt
    }

    /// The fingerprint, parameters, scenario and seed that the receipt and the scenario name.
    pub fn world_key(&self) -> &WorldKey {
        &self.world_key
    }

    /// The values of the world's path templates.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }
}
