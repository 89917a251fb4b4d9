//! Parts proven again by what a run knows of them.
//!
//! A part may change in nothing but its inode or change time while a run lasts: `chmod`, a
//! hard link for a backup. Where evidence has its digest, that proves it again (see
//! [`Proofs`](oracle_store::Proofs)). Else its time column does, in event time, where it is
//! known since before the first event; in `as_written`, a digest that is taken when the part
//! is opened. A part that nothing was read of yet has nothing to be compared with.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use oracle_store::{Part, Pin, Prover, WorldStore};

use crate::crew::{Crew, Once};
use crate::ending::Ending;
use crate::order::time_index::{PartTimes, read_times};

/// Parts up to this size are hashed where they are opened: that takes about as long as the
/// start of a thread.
const SMALL_PART_BYTES: u64 = 256 << 10;

/// What a run knows of its parts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PartProofs {
    crew: Crew,
    store: WorldStore,
    times: Arc<Mutex<HashMap<String, Known>>>,
}

#[derive(Debug)]
struct Known {
    part: Part,
    times: Arc<PartTimes>,
}

struct ByTimes {
    /// The same world, which knows nothing of these proofs: so neither keeps the other alive.
    store: WorldStore,
    times: Arc<Mutex<HashMap<String, Known>>>,
}

impl PartProofs {
    /// Proves the parts of a world from now on. Those in a bucket have no inode.
    pub fn of(store: &WorldStore) -> Self {
        let this = Self {
            crew: Crew::default(),
            store: store.clone(),
            times: Arc::default(),
        };
        let prover: Arc<dyn Prover> = Arc::new(ByTimes {
            store: store.without_proofs(),
            times: Arc::clone(&this.times),
        });
        store.set_prover(&prover);
        this
    }

    /// Has the workers of `crew` hash large parts; without it, threads of the system do.
    #[must_use]
    pub fn by_crew(mut self, crew: Crew) -> Self {
        self.crew = crew;
        self
    }

    /// Where the parts lie.
    pub(crate) fn location(&self) -> &str {
        self.store.root().as_str()
    }

    /// Keeps the time column of a part as proof of it.
    pub(crate) fn know(&self, part: &Part, times: &Arc<PartTimes>) {
        let known = Known {
            part: part.clone(),
            times: Arc::clone(times),
        };
        let mut all = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(part.path().to_owned(), known);
    }

    /// Takes a digest of a part that is being opened as proof of it, unless there is one; a
    /// large part is hashed by a thread of its own, until the stream ends.
    pub(crate) fn hash(&self, part: &Part, ending: &Ending) {
        let is_on_disk = self.store.is_on_disk(part.path());
        if !is_on_disk || self.store.has_digest(part.path(), part.pin()) {
            return;
        }
        let (store, part, ending) = (self.store.clone(), part.clone(), ending.clone());
        let is_small = part.pin().size <= SMALL_PART_BYTES;
        let hash = move || {
            let goes_on = || !ending.is_winding_down();
            // A part that cannot be read says so to its reader.
            let hashed = store.hash_as_proof(part.path(), part.pin(), &goes_on);
            if let Err(error) = hashed {
                tracing::debug!(%error, "a part was not hashed");
            }
        };
        if is_small {
            return hash();
        }
        let worker = Once(Some(hash));
        if let Err(error) = self.crew.start("wsp-proof".to_owned(), worker) {
            tracing::debug!(%error, "a part is not hashed: the system gave no thread");
        }
    }
}

impl Prover for ByTimes {
    fn is_same(&self, path: &str, pin: &Pin, has_read: bool) -> bool {
        let known = {
            let all = self.times.lock().unwrap_or_else(PoisonError::into_inner);
            let known = all.get(path);
            known.map(|known| (known.part.under(pin), Arc::clone(&known.times)))
        };
        match known {
            Some((part, times)) => {
                let found = read_times(&self.store, &part, &Ending::default());
                found.is_ok_and(|found| found == *times)
            }
            None => !has_read,
        }
    }
}
