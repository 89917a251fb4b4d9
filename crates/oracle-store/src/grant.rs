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
    /// The files of the output's stream view, by key, each under its pin; `None` unless the
    /// grant was extended to them.
    view: Option<Arc<HashMap<String, Pin>>>,
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
            view: None,
        }
    }

    /// Extends the grant to the files of the output's stream view, each under its pin. The key,
    /// which only `gates` holds, says that the view was checked and may be trusted.
    ///
    /// # Errors
    /// `READ_GRANT_MISMATCH` if a file is of another output.
    #[doc(hidden)]
    pub fn extended_to<'p>(
        self,
        _key: GrantKey,
        files: impl IntoIterator<Item = &'p Part>,
    ) -> Result<Self, Error> {
        let mut pins = HashMap::new();
        for file in files {
            if file.output_id() != &self.output_id || !file.is_view() {
                return Err(self.mismatch(file));
            }
            pins.insert(file.path().to_owned(), file.pin().clone());
        }
        let view = Some(Arc::new(pins));
        Ok(Self { view, ..self })
    }

    /// Checks that the grant covers a part, and covers the bytes that it was located with.
    ///
    /// # Errors
    /// `READ_GRANT_MISMATCH` if the part is of another output, or of a view that the grant was
    /// not extended to; `ORACLE_READ_FAILED` if it was
    /// replaced or rewritten between a gate's verification and its location.
    pub fn check(&self, part: &Part) -> Result<(), Error> {
        if part.output_id() != self.output_id() {
            return Err(self.mismatch(part));
        }
        let is_changed = |pin: &Pin| pin != part.pin();
        let pinned = if part.is_view() {
            let view = self.view.as_ref();
            let pin = view.and_then(|view| view.get(part.path()));
            Some(pin.ok_or_else(|| self.mismatch(part))?)
        } else {
            self.proven.get(part.path())
        };
        if pinned.is_some_and(is_changed) {
            return Err(changed(self.store.full_name(part.path())));
        }
        Ok(())
    }

    fn mismatch(&self, part: &Part) -> Error {
        let kind = if part.is_view() { "a view" } else { "output" };
        let what = format!(
            "The grant for output {} does not cover the part, which is of {kind} {}",
            self.output_id(),
            part.output_id()
        );
        let object = self.store.full_name(part.path());
        Error::new(ReasonCode::ReadGrantMismatch, what).object(object)
    }

    /// The output that may be read.
    pub fn output_id(&self) -> &OutputId {
        &self.output_id
    }

    pub(crate) fn store(&self) -> &WorldStore {
        &self.store
    }
}
