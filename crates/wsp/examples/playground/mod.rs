//! A sample world and a stand-in gate in a temporary folder, for the examples.

use std::error::Error;

use sandbox::{GateOptions, ProfileOptions, StandInGate, World, WorldOptions};
use tempfile::TempDir;
use wsp::profile::Profile;
use wsp::{Overrides, StreamRequest};

/// What the examples' results may fail with.
pub(crate) type Anything = Box<dyn Error>;

/// The folder, the world in it, and the gate. All end with this value.
pub(crate) struct Playground {
    _folder: TempDir,
    world: World,
    /// The gate.
    pub(crate) gate: StandInGate,
}

impl Playground {
    /// The sample world: five outputs, an hour of event time.
    pub(crate) fn new() -> Result<Self, Anything> {
        let folder = tempfile::tempdir()?;
        let world = WorldOptions::sample().build(&folder.path().join("world"))?;
        let gate = StandInGate::start(GateOptions::default())?;
        Ok(Self {
            _folder: folder,
            world,
            gate,
        })
    }

    /// A request to stream it, as a service would make one.
    pub(crate) fn request(&self, overrides: Overrides) -> Result<StreamRequest, Anything> {
        let profile = ProfileOptions::local(&self.world, &self.gate.url()).write()?;
        let profile = Profile::load(&profile, &|name| std::env::var(name).ok())?;
        Ok(StreamRequest::of_process(profile, overrides)?)
    }
}
