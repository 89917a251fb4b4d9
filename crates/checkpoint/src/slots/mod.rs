//! A store of one's own: its reads and writes of slots, under the one protocol of leases and
//! records that all stores share.
//!
//! A **slot** is what a store keeps of one key: a lease, a record, and lines of history. What a
//! lease and a record are, and which of them may follow which, this crate decides, by functions of
//! one slot without effects; a store reads slots and writes what was decided. So every store
//! answers alike, and a store of one's own implements [`Slots`] and nothing more.
//!
//! A store that keeps all of a key as one text has its slots by [`StoredSlot`], and one of named
//! blobs needs no `Slots` of its own: see [`KeyedBlobStore`](crate::KeyedBlobStore).
//!
//! ```text
//! CheckpointStore          decides                             Slots
//! acquire ──► begin ──► take     (lease, record, life) ──┐
//! renew   ────────────► renewed  (lease)                 ├──► edit: lock, read, decide, write
//! save    ────────────► saved    (lease, record)         │
//! reset   ────────────► given up (lease, record)         │
//! release ────────────► released (lease)                 ┘
//! load, lease_state, history ────────────────────────────────► read, lines
//! ```
//!
//! Invariants:
//! - A slot is decided on as it is read under the lock, or in the transaction, that its write is
//!   made in; the evidence of the holder's life is of that moment too.
//! - A decision changes nothing and may be made again: a store that finds that the slot changed
//!   under it reads it anew and asks once more.
//! - All slots of an edit are decided on before one that refuses is told of: a taker watches all
//!   leases for their expiry from its first try on.
//! - All leases are taken, or none. A store that edits several slots together does that by one
//!   edit. Of another they are taken one by one, in the order of the keys, so that of several
//!   takers one has the first; where one refuses, those before it are given back.
//!
//! | act | may be done | writes | line of history |
//! |---|---|---|---|
//! | take | the table of [`Lease`](crate::Lease) | the lease with the next fence | |
//! | renew | lease shown is the one stored | the lease, one renewal more | |
//! | save | so, and the cursor follows the record | the record, if it is another | the record |
//! | reset | lease shown is the one stored | no record, if there is one | what was given up |
//! | release | | the lease as released, if it is the one shown | |

mod stored;
mod slot;

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use async_trait::async_trait;

pub use self::slot::{
    Act, Change, Life, Needs, NewRecord, RecordChange, Slot, StoredRecord, decide_all,
};
pub use self::stored::StoredSlot;
use crate::error::Error;
use crate::key::CursorKey;
use crate::lease::LeaseRequest;
pub use crate::lease::{LeaseRecord, SessionId};
pub use crate::observer::Observer;

/// A store of slots. Every implementation is a [`CheckpointStore`](crate::CheckpointStore) too.
///
/// # What a store promises
///
/// - **[`edit`](Self::edit) of a slot is one step.** Between the read of a slot and its write
///   nobody else writes it, whichever process: by a lock, a transaction, or a condition on the
///   write. What was written when it returns `Ok` survives a crash.
/// - **Several slots are edited together where it can be done.** A store that writes all slots of
///   an edit or none, whichever refuses, says so ([`all_or_none`](Self::all_or_none)). Of another
///   the protocol takes leases one by one, and gives back what it took where one refuses.
/// - **[`read`](Self::read) and [`lines`](Self::lines) make nothing**: no file, table or object.
/// - **A proof ends with its lease.** [`begin`](Self::begin) makes what shows that the session
///   lives; once the last share of it is dropped, as a crash does, [`Slot::life`] is
///   [`Life::Ended`], or [`Life::Unknown`] where the store cannot tell.
#[async_trait]
pub trait Slots: Debug + Send + Sync + 'static {
    /// What shows that a session lives: a lock, a connection, a counter.
    type Proof: Send + Sync + 'static;

    /// Where the store is, for people: never a secret.
    fn location(&self) -> String;

    /// Who watches leases for this store: one for all handles that share their leases' life.
    fn observer(&self) -> &Observer;

    /// The slot of a key, its default where there is none.
    ///
    /// # Errors
    /// `CHECKPOINT_UNAVAILABLE`, `CHECKPOINT_CONFIG_INVALID`.
    async fn read(&self, key: &CursorKey, needs: Needs) -> Result<Slot, Error>;

    /// The lines of history of a key, newest first, at least `limit` where there are so many.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    async fn lines(&self, key: &CursorKey, limit: usize) -> Result<Vec<String>, Error>;

    /// Starts a session that will take the leases of a request: makes what the store needs for
    /// them (folder, tables), and the session's proof.
    ///
    /// # Errors
    /// As [`read`](Self::read); `CHECKPOINT_KEY_MISMATCH` where two keys have one place.
    async fn begin(
        &self,
        session: &SessionId,
        request: &LeaseRequest,
    ) -> Result<Self::Proof, Error>;

    /// Whether an edit of several slots writes all or none; `proof` is that of the session that
    /// asks.
    fn all_or_none(&self, _proof: &Self::Proof) -> bool {
        true
    }

    /// Reads the slots of keys, asks `decide` about each ([`decide_all`]), and writes what it says.
    /// Gives what `decide` gave beside each change, in the order of the keys.
    ///
    /// A store may ask about the slot as it last wrote it, where its write is refused if the slot
    /// changed since; then it reads the slot and asks again.
    ///
    /// # Errors
    /// As [`read`](Self::read); what `decide` fails with.
    async fn edit<T, F>(
        &self,
        act: Act,
        proof: &Arc<Self::Proof>,
        keys: Vec<CursorKey>,
        decide: F,
    ) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        F: Fn(&CursorKey, Slot) -> Result<(Change, T), Error> + Send + Sync + 'static;

    /// The time by the store's own clock; see
    /// [`CheckpointStore::server_time`](crate::CheckpointStore::server_time).
    ///
    /// # Errors
    /// `CHECKPOINT_UNAVAILABLE`.
    async fn server_time(&self) -> Result<Option<SystemTime>, Error> {
        Ok(None)
    }

    /// Notes whether a stored lease may name the session of a proof from now on.
    fn set_named(&self, _proof: &Self::Proof, _is_named: bool) {}

    /// By how much the fences of a session are above those that it was granted, where the store may
    /// raise them: when it is made again after it was deleted.
    fn fences_raised(&self, _proof: &Self::Proof) -> Option<Arc<AtomicU64>> {
        None
    }

    /// How often the store was made again from memory after it was deleted; see
    /// [`CheckpointStore::times_remade`](crate::CheckpointStore::times_remade).
    fn remakes(&self) -> u64 {
        0
    }

    /// Notes that the leases of a session were renewed.
    fn renewed(&self, _proof: &Self::Proof) {}
}
