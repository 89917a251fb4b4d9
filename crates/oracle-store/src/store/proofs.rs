//! Objects that are proven again, where a file changed in nothing but its inode or change
//! time.
//!
//! A pin holds size, inode, modification time and change time of a file. A program that
//! rewrites a file in place can set the modification time back, never the change time; but
//! `chmod`, a hard link for a backup, a rename or a copy put in its place change that or the
//! inode as well, and none of them the bytes. Where size and modification time are the same,
//! the file is therefore read again and compared with what is known of it:
//!
//! | known | compared |
//! |---|---|
//! | its sha256, by the contents index, a gate's index, or a hash taken under the same pin | the sha256 of its bytes |
//! | that evidence hashed it together with others | nothing: it is refused |
//! | what its reader knows ([`Prover`]), such as when its rows come | what that says |
//! | nothing else | nothing: it is refused |
//!
//! An object that is proven again is read on under its new pin, and a warning says so, once.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::part::Pin;
use model::Hex64;

/// Knows the sha256 of objects that evidence lists.
pub trait KnownDigests: Send + Sync {
    /// The sha256 of an object's bytes, if it is known.
    fn sha256_of(&self, path: &str) -> Option<&Hex64>;
}

/// Proves an object by what its reader knows of it.
pub trait Prover: Send + Sync {
    /// Whether the object under a new pin is what it was; `has_read` says that bytes of it
    /// were read since it was opened. Blocks.
    fn is_same(&self, path: &str, pin: &Pin, has_read: bool) -> bool;
}

/// What is known of a world's objects. Cheap to clone.
#[derive(Clone, Default)]
pub struct Proofs(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    lists: Vec<Arc<dyn KnownDigests>>,
    /// By path: the pin that an object was hashed under, and its sha256; none if it was
    /// hashed together with others.
    hashed: HashMap<String, (Pin, Option<Hex64>)>,
    prover: Option<Arc<dyn Prover>>,
    /// The pins that took the place of others.
    renewed: HashMap<(String, Pin), Pin>,
    told: HashSet<String>,
}

/// What proves an object again.
pub(super) enum Proof {
    /// Its bytes have this sha256.
    Digest(Hex64),
    /// It was hashed together with others, which cannot be repeated for it alone.
    Beyond,
    /// Its reader may know it.
    Reader(Arc<dyn Prover>),
    /// Nothing is known of it.
    Nothing,
}

impl std::fmt::Debug for Proofs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = self.known();
        f.debug_struct("Proofs")
            .field("hashed", &known.hashed.len())
            .field("renewed", &known.renewed.len())
            .finish_non_exhaustive()
    }
}

impl Proofs {
    /// Adds a list of digests that holds whatever the pin of an object is.
    pub fn add_list(&self, list: Arc<dyn KnownDigests>) {
        self.known().lists.push(list);
    }

    /// Says that an object was hashed under a pin, and the sha256 of its own bytes if that
    /// was taken.
    pub fn add_hashed(&self, path: &str, pin: &Pin, sha256: Option<Hex64>) {
        let mut known = self.known();
        let before = known.hashed.get(path);
        // A digest of its own says more than one that it was a part of.
        let says_more = before.is_none_or(|(before, own)| before != pin || own.is_none());
        if says_more {
            known.hashed.insert(path.to_owned(), (pin.clone(), sha256));
        }
    }

    /// Has objects that no digest is known of proven by their reader.
    pub fn set_prover(&self, prover: Arc<dyn Prover>) {
        self.known().prover = Some(prover);
    }

    /// Whether a digest proves an object that is read under a pin.
    pub fn have_digest(&self, path: &str, pin: &Pin) -> bool {
        matches!(self.proof_of(path, pin), Proof::Digest(_))
    }

    /// The pin that an object is read under in place of another, if it was proven again.
    pub(super) fn renewed(&self, path: &str, pin: &Pin) -> Option<Pin> {
        let key = (path.to_owned(), pin.clone());
        self.known().renewed.get(&key).cloned()
    }

    /// What proves an object that was read under a pin.
    pub(super) fn proof_of(&self, path: &str, pin: &Pin) -> Proof {
        let known = self.known();
        let listed = known.lists.iter().find_map(|list| list.sha256_of(path));
        if let Some(sha256) = listed {
            return Proof::Digest(sha256.clone());
        }
        match known.hashed.get(path) {
            Some((under, Some(sha256))) if under == pin => Proof::Digest(sha256.clone()),
            Some((_, None)) => Proof::Beyond,
            _ => match &known.prover {
                Some(prover) => Proof::Reader(Arc::clone(prover)),
                None => Proof::Nothing,
            },
        }
    }

    /// Takes a new pin for an object in place of the one it was read under.
    pub(super) fn renew(&self, path: &str, name: &str, pin: &Pin, new: &Pin, by: &str) {
        let mut known = self.known();
        known
            .renewed
            .insert((path.to_owned(), pin.clone()), new.clone());
        if known.told.insert(path.to_owned()) {
            tracing::warn!(
                object = name,
                proven_by = by,
                "the file's inode or change time is another, as after chmod, a hard link or a \
                 rename; its size and modification time are the same, and it is read on"
            );
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
