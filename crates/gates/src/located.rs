//! One output of a world: what the catalogue says of it, and where its parts lie.

use oracle_store::{CatalogueEntry, OutputId, OutputLocator};

/// One output of a world with its located parts.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LocatedOutput {
    /// The catalogue's entry of the output.
    pub entry: CatalogueEntry,
    /// The output's parts, each under the pin it was located with.
    pub locator: OutputLocator,
}

impl LocatedOutput {
    /// The output's id.
    pub fn id(&self) -> &OutputId {
        &self.entry.output_id
    }
}
