//! The permission to open rows. No PASS, no read.

use crate::catalogue::OutputId;
use crate::store::WorldStore;

/// Permission to open the rows of one output of one world.
///
/// It carries the world's store, so that a grant cannot open another world.
#[derive(Debug, Clone)]
pub struct ReadGrant {
    store: WorldStore,
    output_id: OutputId,
}

impl ReadGrant {
    /// Grants the rows of one output. Only the `gates` crate may call this, after it
    /// has verified the output's gates: a lint and a test keep it so.
    #[doc(hidden)]
    pub fn issue(store: &WorldStore, output_id: &OutputId) -> Self {
        Self {
            store: store.clone(),
            output_id: output_id.clone(),
        }
    }

    /// The output that may be read.
    pub fn output_id(&self) -> &OutputId {
        &self.output_id
    }

    pub(crate) fn store(&self) -> &WorldStore {
        &self.store
    }
}
