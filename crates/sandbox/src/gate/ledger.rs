//! The gate's books: which ids it has, what it kept, in which order things came.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use envelope::EnvelopeValidator;
use model::IdTally;
use sha2::{Digest, Sha256};

use super::kept_file::KeptFile;
use super::post::{Post, id_bytes};
use super::{Arrival, GateOptions, OrderCheck};
use crate::Error;

const SHARDS: usize = 64;

/// What the gate makes of a post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Stored for the first time.
    New,
    /// Stored before.
    Known,
    /// No envelope.
    Invalid(String),
}

/// An event's id folded to 16 bytes and mixed with its platform run: the same event of
/// two runs is two. Sixteen bytes of a SHA-256 hold tens of millions of ids apart.
type IdKey = u128;

#[derive(Debug)]
pub(super) struct Ledger {
    validator: Option<EnvelopeValidator>,
    dedupe: bool,
    ids: Vec<Mutex<HashSet<IdKey, BuildHasherDefault<TakeLow>>>>,
    /// What each platform run mixes into its ids.
    runs: RwLock<HashMap<String, IdKey>>,
    kept: Option<Mutex<KeptFile>>,
    order: OrderCheck,
    /// The latest event time of each ordering key.
    latest: Mutex<HashMap<u64, i64, BuildHasherDefault<TakeLow>>>,
    order_violations: AtomicU64,
    /// The events stored by this gate, with the sum of their ids.
    stored: Mutex<IdTally>,
    arrivals: Option<Mutex<Vec<Arrival>>>,
    epoch: Instant,
}

impl Ledger {
    /// # Errors
    /// `SANDBOX_IO` if the kept file cannot be used.
    pub(super) fn open(options: &GateOptions, epoch: Instant) -> Result<Self, Error> {
        let mut ledger = Self {
            validator: options.validate.then(EnvelopeValidator::new),
            dedupe: options.dedupe,
            ids: (0..SHARDS).map(|_| Mutex::default()).collect(),
            runs: RwLock::default(),
            kept: None,
            order: options.order.clone(),
            latest: Mutex::default(),
            order_violations: AtomicU64::new(0),
            stored: Mutex::default(),
            arrivals: options.record_arrivals.then(Mutex::default),
            epoch,
        };
        if let Some(path) = &options.keep {
            let kept = KeptFile::open(path, |line| ledger.remember(line))?;
            ledger.kept = Some(Mutex::new(kept));
        }
        Ok(ledger)
    }

    fn remember(&self, line: &[u8]) {
        if let Ok(post) = Post::parse(line) {
            let key = self.key(&post.id_bytes(), post.platform_run_id());
            lock(self.shard(key)).insert(key);
        }
    }

    /// Judges and, if it is new, stores a post that arrived at `arrived` and is one of
    /// `in_hand`.
    ///
    /// # Errors
    /// `SANDBOX_IO` if it could not be kept; it is not stored then.
    pub(super) fn judge(
        &self,
        body: &[u8],
        arrived: Instant,
        in_hand: u32,
    ) -> Result<Verdict, Error> {
        if let Some(validator) = &self.validator
            && let Err(fault) = validator.check(body)
        {
            return Ok(Verdict::Invalid(fault.to_string()));
        }
        if !self.dedupe {
            return Ok(Verdict::New);
        }
        let post = match Post::parse(body) {
            Ok(post) => post,
            Err(fault) => return Ok(Verdict::Invalid(format!("not an envelope: {fault}"))),
        };
        let id = post.id_bytes();
        let key = self.key(&id, post.platform_run_id());
        {
            // Held until the envelope is kept: a copy of it that comes meanwhile must not
            // be acknowledged before the first is safe.
            let mut shard = lock(self.shard(key));
            if shard.contains(&key) {
                return Ok(Verdict::Known);
            }
            if let Some(kept) = &self.kept {
                lock(kept).append(body)?;
            }
            shard.insert(key);
        }
        lock(&self.stored).count(&id);
        self.note(&post, id, arrived, in_hand);
        Ok(Verdict::New)
    }

    /// Whether a body keeps the envelope's schema.
    pub(super) fn is_envelope(&self, body: &[u8]) -> bool {
        let validator = self.validator.as_ref();
        validator.is_none_or(|validator| validator.check(body).is_ok())
    }

    fn note(&self, post: &Post<'_>, event_id: [u8; 32], arrived: Instant, in_hand: u32) {
        if self.arrivals.is_none() && self.order == OrderCheck::Off {
            return;
        }
        let event_time_ns = post.event_time_ns().unwrap_or(i64::MIN);
        if let Some(key) = post.ordering_key(&self.order) {
            let mut latest = lock(&self.latest);
            let last = latest.entry(key).or_insert(event_time_ns);
            if event_time_ns < *last {
                self.order_violations.fetch_add(1, Relaxed);
            }
            *last = event_time_ns.max(*last);
        }
        if let Some(arrivals) = &self.arrivals {
            let arrived_ns = arrived.saturating_duration_since(self.epoch).as_nanos() as u64;
            lock(arrivals).push(Arrival {
                event_id,
                event_time_ns,
                arrived_ns,
                in_hand,
            });
        }
    }

    fn key(&self, id: &[u8; 32], platform_run_id: &str) -> IdKey {
        let known = self.runs.read().unwrap_or_else(PoisonError::into_inner);
        let salt = known.get(platform_run_id).copied();
        drop(known);
        let salt = salt.unwrap_or_else(|| {
            let salt = fold(&Sha256::digest(platform_run_id).into());
            let mut runs = self.runs.write().unwrap_or_else(PoisonError::into_inner);
            *runs.entry(platform_run_id.to_owned()).or_insert(salt)
        });
        fold(id) ^ salt
    }

    fn shard(&self, key: IdKey) -> &Mutex<HashSet<IdKey, BuildHasherDefault<TakeLow>>> {
        &self.ids[(key >> 64) as usize % SHARDS]
    }

    /// Whether an event is stored, under any platform run.
    pub(super) fn has(&self, event_id: &str) -> bool {
        let id = fold(&id_bytes(event_id));
        let runs = self.runs.read().unwrap_or_else(PoisonError::into_inner);
        runs.values()
            .any(|salt| lock(self.shard(id ^ salt)).contains(&(id ^ salt)))
    }

    /// Events stored, those of a kept file included.
    pub(super) fn unique(&self) -> u64 {
        self.ids.iter().map(|shard| lock(shard).len() as u64).sum()
    }

    /// The distinct events stored since the gate started, with the sum of their ids.
    pub(super) fn stored(&self) -> IdTally {
        *lock(&self.stored)
    }

    pub(super) fn order_violations(&self) -> u64 {
        self.order_violations.load(Relaxed)
    }

    pub(super) fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals
            .as_ref()
            .map(|arrivals| lock(arrivals).clone())
            .unwrap_or_default()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fold(digest: &[u8; 32]) -> IdKey {
    let half = |bytes: Option<&[u8; 16]>| bytes.map_or(0, |bytes| IdKey::from_be_bytes(*bytes));
    half(digest.first_chunk()) ^ half(digest.last_chunk())
}

/// The hasher of keys that are digests already: it takes their low 64 bits.
#[derive(Debug, Default)]
struct TakeLow(u64);

impl Hasher for TakeLow {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }

    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_cannot_be_kept_is_not_remembered_either() {
        let folder = tempfile::tempdir().unwrap();
        let options = GateOptions {
            validate: false,
            ..GateOptions::default()
        };
        let mut ledger = Ledger::open(&options, Instant::now()).unwrap();
        ledger.kept = Some(Mutex::new(KeptFile::broken(&folder.path().join("kept"))));
        let body = br#"{"event_id":"x","event_type":"a","ts_utc":"2026-01-28T08:00:00Z"}"#;
        let error = ledger.judge(body, Instant::now(), 1).unwrap_err();
        assert_eq!(error.code().as_str(), "SANDBOX_IO");
        assert!(!ledger.has("x"));
        ledger.kept = None;
        assert_eq!(ledger.judge(body, Instant::now(), 1).unwrap(), Verdict::New);
    }
}
