//! The permission to open rows. No PASS, no read.

use std::collections::HashMap;
use std::sync::Arc;

use grant::GrantKey;

use crate::error::{Error, ReasonCode};
use crate::part::{Part, Pin};
use crate::store::{WorldStore, changed};
use model::OutputId;

/// Permission to open the rows of one output of one world.
///
/// It carries the world's store, so that a grant cannot open another world.
#[derive(Debug, Clone)]
pub struct ReadGrant {
    store: WorldStore,
    output_id: OutputId,
    /// The objects that evidence hashed, by key, each with the pin that it had then.
    proven: Arc<HashMap<String, Pin>>,
}

impl ReadGrant {
    /// Grants the rows of one output. The key, which only `gates` holds, says that the output's
    /// gates were verified.
    ///
    /// `proven` holds the pins of the objects that evidence hashed, by key relative to the engine
    /// run root: such an object is read under the pin of that hash only.
    #[doc(hidden)]
    pub fn issue(
        _key: GrantKey,
        store: &WorldStore,
        output_id: &OutputId,
        proven: Arc<HashMap<String, Pin>>,
    ) -> Self {
        Self {
            store: store.clone(),
            output_id: output_id.clone(),
            proven,
        }
    }

    /// Checks that the grant covers a part, and covers the bytes that it was located with.
    ///
    /// # Errors
    /// `READ_GRANT_MISMATCH` if the part is of another output; `ORACLE_READ_FAILED` if it was
    /// replaced or rewritten between a gate's verification and its location.
    pub fn check(&self, part: &Part) -> Result<(), Error> {
        if part.output_id() != self.output_id() {
            let what = format!(
                "The grant is for output {}, the part is of {}",
                self.output_id(),
                part.output_id()
            );
            return Err(Error::new(ReasonCode::ReadGrantMismatch, what)
                .object(self.store.full_name(part.path())));
        }
        match self.proven.get(part.path()) {
            Some(pin) if pin != part.pin() => Err(changed(self.store.full_name(part.path()))),
            _ => Ok(()),
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
