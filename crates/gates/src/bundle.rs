//! The files behind one gate: which there are, what binds each, and their digest.
//!
//! An object is *bound* if the gate's digest covers its bytes, or if an index item
//! states its sha256. Whatever the index names by the path of a file must exist.
//! What may rightly name no single object (a folder, a `key=value` partition, a
//! glob) and doesn't is reported as unbound, unless the gate's own digest needs it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures::{StreamExt, TryStreamExt, stream};
use oracle_store::{Hex64, Pin, WorldStore};

use crate::error::{Error, ReasonCode};
use crate::gate_map::{DigestKind, IndexOrdering, Method, PathBase};
use crate::hashing::{FileToHash, SMALL_FILE_BYTES, hash_each, hash_in_order};
use crate::index::{IndexItem, parse_index};
use crate::item_path;
use crate::receipt::{Artifact, ArtifactRole, BoundItem, GateReceipt, UnboundItem, UnboundReason};
use crate::record::{Record, refusal};

/// Objects of one gate that are looked up at one time.
const HEADS_IN_FLIGHT: usize = 8;

/// An index item, its path resolved to a key.
struct Item {
    key: String,
    may_name_several: bool,
    stated: Option<Hex64>,
    member: Option<Hex64>,
}

/// What the gate's digest is a digest of.
enum Covered {
    /// The bytes of these objects, in this order.
    Files(Vec<String>),
    /// These digests of members, as text, one after the other.
    MemberDigests(String),
}

/// Everything that a gate speaks of, looked up but not yet read.
pub(crate) struct Bundle<'a> {
    store: &'a WorldStore,
    items: Vec<Item>,
    covered: Covered,
    /// Every object that exists, and the bytes it must still have when it is read.
    pins: BTreeMap<String, Pin>,
}

impl<'a> Bundle<'a> {
    /// Finds the files of a gate. `root` ends in `/`; it is listed only if the method
    /// covers whatever is there.
    pub(crate) async fn look_up(
        store: &'a WorldStore,
        method: &Method,
        root: &str,
        flag: Record,
        index: Option<Record>,
    ) -> Result<Self, Error> {
        let items = match &index {
            Some(index) => items(store, method, root, index)?,
            None => Vec::new(),
        };
        let mut pins = BTreeMap::new();
        if let DigestKind::Bundle { .. } = method.digest {
            let listed = store.list_under(root).await.map_err(Error::oracle)?;
            pins.extend(listed.into_iter().map(|entry| (entry.path, entry.pin)));
        }
        // Where the digest covers flag or index too, what was parsed is what is hashed.
        let records = index.into_iter().chain([flag]);
        pins.extend(records.map(|record| (record.key, record.object.pin)));
        let covered = covered(method, root, &items, &pins).ok_or_else(|| {
            refusal(
                store,
                ReasonCode::GateBundleEmpty,
                "No file is left to take a digest of",
                root,
            )
        })?;
        let mut bundle = Self {
            store,
            items,
            covered,
            pins,
        };
        bundle.pin_items().await?;
        Ok(bundle)
    }

    /// Looks up what the index names and no listing has shown.
    async fn pin_items(&mut self) -> Result<(), Error> {
        let keys = self.items.iter().map(|item| item.key.as_str());
        let unseen: BTreeSet<_> = keys
            .filter(|key| !self.pins.contains_key(*key) && !key.ends_with('/'))
            .collect();
        let store = self.store;
        let head = |key: &str| {
            let key = key.to_owned();
            async move { Ok(store.head_if_exists(&key).await?.map(|pin| (key, pin))) }
        };
        let found = stream::iter(unseen).map(head).buffered(HEADS_IN_FLIGHT);
        let found: Vec<_> = found.try_collect().await.map_err(Error::oracle)?;
        self.pins.extend(found.into_iter().flatten());
        Ok(())
    }

    /// Sorts the items into bound and unbound.
    ///
    /// # Errors
    /// `GATE_FILE_MISSING` for the first that must exist and doesn't.
    pub(crate) fn bind_items(&self, receipt: &mut GateReceipt) -> Result<(), Error> {
        let covered = self.covered_keys();
        for item in &self.items {
            let by_gate_digest = covered.contains(item.key.as_str());
            let by_item_digest = item.stated.is_some();
            let path = item.key.clone();
            let reason = if self.pins.contains_key(&item.key) {
                UnboundReason::NoDigest
            } else if item.may_name_several && !by_gate_digest {
                UnboundReason::NotOneObject
            } else {
                let what = "A file that the index lists does not exist";
                return Err(refusal(
                    self.store,
                    ReasonCode::GateFileMissing,
                    what,
                    &path,
                ));
            };
            if reason == UnboundReason::NoDigest && (by_gate_digest || by_item_digest) {
                receipt.bound_items.push(BoundItem {
                    path,
                    by_gate_digest,
                    by_item_digest,
                });
            } else {
                receipt.unbound_items.push(UnboundItem { path, reason });
            }
        }
        Ok(())
    }

    /// Reads every file that a digest binds, once, and returns the gate's digest.
    ///
    /// # Errors
    /// `GATE_DIGEST_MISMATCH` for the first item whose object is not the one it states;
    /// `ORACLE_READ_FAILED`.
    pub(crate) async fn digest(&self, receipt: &mut GateReceipt) -> Result<Hex64, Error> {
        let in_gate = self.covered_keys();
        let stated = self.items.iter().filter(|item| item.stated.is_some());
        let stated: BTreeSet<_> = stated.map(|item| item.key.as_str()).collect();
        let beside = stated.iter().copied().filter(|key| !in_gate.contains(key));
        let beside = self.to_hash(beside, |_, _| true);
        let (gate, hashed) = match &self.covered {
            Covered::Files(keys) => {
                // A large file is hashed a second time only where an item asks for it.
                let own =
                    |key: &str, pin: &Pin| pin.size <= SMALL_FILE_BYTES || stated.contains(key);
                let files = self.to_hash(keys.iter().map(String::as_str), own);
                let (digests, others) = futures::try_join!(
                    hash_in_order(self.store, &files),
                    hash_each(self.store, &beside),
                )?;
                let others = beside.into_iter().zip(others.into_iter().map(Some));
                let files = files.into_iter().zip(digests.own);
                (digests.whole, files.chain(others).collect::<Vec<_>>())
            }
            Covered::MemberDigests(text) => {
                let digests = hash_each(self.store, &beside).await?.into_iter().map(Some);
                (
                    Hex64::sha256_of(text),
                    beside.into_iter().zip(digests).collect(),
                )
            }
        };
        record(&hashed, receipt);
        self.compare(&hashed)?;
        for (file, own) in hashed {
            let proofs = self.store.proofs();
            proofs.add_hashed(&file.key, &file.pin, own);
        }
        Ok(gate)
    }

    fn compare(&self, hashed: &[(FileToHash, Option<Hex64>)]) -> Result<(), Error> {
        let own =
            |(file, own): &'_ (FileToHash, Option<Hex64>)| Some((file.key.clone(), own.clone()?));
        let found: HashMap<String, Hex64> = hashed.iter().filter_map(own).collect();
        for item in &self.items {
            if let (Some(stated), Some(found)) = (&item.stated, found.get(&item.key))
                && stated != found
            {
                let what = "A file is not the one that the index states";
                let error = refusal(self.store, ReasonCode::GateDigestMismatch, what, &item.key);
                return Err(error.digests(stated.clone(), found.clone()));
            }
        }
        Ok(())
    }

    fn covered_keys(&self) -> HashSet<&str> {
        match &self.covered {
            Covered::Files(keys) => keys.iter().map(String::as_str).collect(),
            Covered::MemberDigests(_) => HashSet::new(),
        }
    }

    /// Those of `keys` that exist, pinned; `own` says whose own digest is wanted.
    fn to_hash<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k str>,
        own: impl Fn(&str, &Pin) -> bool,
    ) -> Vec<FileToHash> {
        let pinned = |key: &str| {
            let pin = self.pins.get(key)?.clone();
            Some(FileToHash {
                key: key.to_owned(),
                own: own(key, &pin),
                pin,
            })
        };
        keys.into_iter().filter_map(pinned).collect()
    }
}

/// The index's items with their paths resolved.
fn items(
    store: &WorldStore,
    method: &Method,
    root: &str,
    index: &Record,
) -> Result<Vec<Item>, Error> {
    let base = match method.paths_from {
        PathBase::BundleRoot => root,
        PathBase::EngineRunRoot => "",
    };
    let invalid = |why: String| {
        let what = format!("The index is not understood: {why}");
        refusal(store, ReasonCode::GateIndexInvalid, what, &index.key)
    };
    let must_state = matches!(method.digest, DigestKind::MemberDigests { .. });
    let parsed = parse_index(&index.object.bytes, &method.digest_field).map_err(invalid)?;
    let resolve = |item: IndexItem| {
        let path = item_path::resolve(base, &item.path).map_err(|why| {
            let code = ReasonCode::Oracle(oracle_store::ReasonCode::ObjectPathRefused);
            refusal(
                store,
                code,
                format!("A path in the index is refused, {why}"),
                &index.key,
            )
        })?;
        if must_state && item.member_digest.is_none() {
            let why = format!("item `{}` has no `{}`", item.path, method.digest_field);
            return Err(invalid(why));
        }
        Ok(Item {
            key: path.key,
            may_name_several: path.may_name_several,
            stated: item.digest,
            member: item.member_digest,
        })
    };
    parsed.into_iter().map(resolve).collect()
}

/// What the gate's digest covers, unless that is nothing.
fn covered(
    method: &Method,
    root: &str,
    items: &[Item],
    pins: &BTreeMap<String, Pin>,
) -> Option<Covered> {
    let covered = match &method.digest {
        DigestKind::Bundle { .. } => {
            let below = pins
                .keys()
                .filter(|key| key.starts_with(root) && !method.excludes(key));
            Covered::Files(below.cloned().collect())
        }
        DigestKind::IndexedFiles { ordering, .. } => {
            let listed = items
                .iter()
                .map(|item| &item.key)
                .filter(|key| !method.excludes(key));
            let mut keys: Vec<_> = listed.cloned().collect();
            if *ordering == IndexOrdering::AsciiLex {
                keys.sort_unstable();
            }
            Covered::Files(keys)
        }
        DigestKind::MemberDigests { .. } => {
            let digests = items.iter().filter_map(|item| item.member.as_ref());
            Covered::MemberDigests(digests.map(Hex64::as_str).collect())
        }
    };
    match &covered {
        Covered::Files(keys) if keys.is_empty() => None,
        Covered::MemberDigests(text) if text.is_empty() => None,
        _ => Some(covered),
    }
}

/// Enters what was read, each object once; flag and index stand there already.
fn record(hashed: &[(FileToHash, Option<Hex64>)], receipt: &mut GateReceipt) {
    let known: Vec<_> = receipt
        .artifacts
        .iter()
        .map(|artifact| artifact.path.clone())
        .collect();
    let files: BTreeMap<_, _> = hashed
        .iter()
        .map(|(file, own)| (&file.key, (file, own)))
        .collect();
    for (key, (file, own)) in files {
        receipt.bytes_hashed += file.pin.size;
        if !known.contains(key) {
            let artifact = Artifact::new(key, ArtifactRole::File, &file.pin, own.clone());
            receipt.artifacts.push(artifact);
        }
    }
}
