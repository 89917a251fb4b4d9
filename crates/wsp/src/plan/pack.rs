//! Packing the world of a request: contents index, manifest and seal, once.

use model::Clock;
use oracle_store::{DataPlaces, PackFacts, PackReport, PackRequest, SealStatus, pack};

use crate::Error;
use crate::plan::locate_world;
use crate::plan::selection::check_key;
use crate::profile::request::StreamRequest;

/// The facts and options to pack a world with.
#[derive(Debug, Clone)]
pub struct PackOptions {
    /// The release of the engine that made the world.
    pub engine_release: String,
    /// Whether the world may be used, or is kept for study.
    pub seal_status: SealStatus,
    /// Whether every object is hashed and listed.
    pub with_contents: bool,
    /// Whether to write nothing and only say what would be written.
    pub dry_run: bool,
}

/// Packs the world that a request names, with the catalogue and gate map it names.
///
/// # Errors
/// The world cannot be located; `UNSUPPORTED_OUTPUT_FORMAT` where a folder stands in the
/// place of a part; those of [`oracle_store::pack`].
pub async fn pack_world(
    request: &StreamRequest,
    options: PackOptions,
) -> Result<PackReport, Error> {
    let located = locate_world(request).await?;
    located
        .outputs
        .iter()
        .try_for_each(|output| check_key(&output.entry))?;
    let world = located.identified;
    DataPlaces::of(world.catalogue(), world.tokens())
        .refuse_folders(world.store())
        .await?;
    let facts = PackFacts {
        world_key: world.world_key().clone(),
        engine_release: options.engine_release,
        catalogue_digest: world.catalogue().digest().clone(),
        gate_map_digest: world.gate_map().digest().clone(),
    };
    let request = PackRequest {
        facts,
        seal_status: options.seal_status,
        with_contents: options.with_contents,
        dry_run: options.dry_run,
        now: world.store().clock().wall(),
    };
    pack(world.store(), &request).await.map_err(Error::from)
}
