//! How leases are taken: key by key where they are free (in what order, and what follows if one is
//! not, is the protocol's), all together where they are taken over.
//!
//! A holder that saves without a pause wins every race of conditional puts, since its put needs no
//! read before it. So a taker does not race it. The taker claims the packs of its keys first (see
//! [`claim`](super::claim)); a holder that reads the claim stops writing; then every lease is
//! taken, and the claim is closed as `taken`, which is the moment of the take-over. If anything
//! fails before, the old holder's leases are written back and the claim is closed as `withdrawn`.
//!
//! A request over several packs closes its claims one after the other: all or none holds a pack.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex as SyncMutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::FutureExt as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use model::{Backoff, Clock as _};

use super::claim::{BEAT, Claim, ClaimState, FoundClaim, LOOK, Silence};
use super::object::{Found, Refusal, TRIES};
use super::{CONCURRENCY, Inner, Session, all};
use crate::error::Error;
use crate::held::held;
use crate::key::{CursorKey, PackKey};
use crate::lease::{LeaseRecord, LeaseRequest, SessionId};
use crate::slots::{Change, Slot};

/// How long a taking goes on beyond the lease period, within which every holder reads the claim
/// once: time for the requests themselves.
const GRACE: Duration = Duration::from_secs(5);
/// The pauses after lost races, which differ between two that race.
const RACE_PAUSES: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(320));

/// What is asked about each slot.
pub(super) trait Decide<T>:
    Fn(&CursorKey, Slot) -> Result<(Change, T), Error> + Sync
{
}

impl<T, F: Fn(&CursorKey, Slot) -> Result<(Change, T), Error> + Sync> Decide<T> for F {}

/// The object of a key as it is once its lease was taken, and what was decided of it.
type Taken<T> = (Option<Found>, T);

/// One acquisition under way.
struct Taking<'a> {
    request: &'a LeaseRequest,
    session: &'a SessionId,
    began: Instant,
    /// Each key that this session may have written, with the lease to write back if the take-over
    /// fails; `None` leaves the key free.
    displaced: SyncMutex<BTreeMap<CursorKey, Option<LeaseRecord>>>,
}

impl<'a> Taking<'a> {
    fn new(session: &'a Session, now: Instant) -> Self {
        Self {
            request: &session.request,
            session: &session.id,
            began: now,
            displaced: SyncMutex::default(),
        }
    }

    fn packs(&self) -> BTreeSet<&'a PackKey> {
        self.request.keys.iter().map(CursorKey::pack_key).collect()
    }

    fn displaced(&self) -> std::sync::MutexGuard<'_, BTreeMap<CursorKey, Option<LeaseRecord>>> {
        self.displaced
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whose lease the next put of a key replaces.
    fn will_displace(&self, key: &CursorKey, old: Option<&LeaseRecord>) {
        // Only a take-over has a living holder to give anything back to.
        let old = old.filter(|_| self.request.take_over);
        self.displaced().insert(key.clone(), old.cloned());
    }

    /// The first of the keys that a claim names too.
    fn shared_with(&self, pack: &PackKey, claim: &Claim) -> Option<&'a CursorKey> {
        let mut keys = self.request.keys.iter();
        keys.find(|key| key.pack_key() == pack && claim.names(key.output_id().as_str()))
    }
}

impl Inner {
    /// Waits after so many lost races.
    async fn pause_after_races(&self, lost: u32) {
        let pause = RACE_PAUSES.jittered(lost, self.observer.chance());
        self.objects.pace().sleep(pause).await;
    }

    /// Whether a holder of that period had time enough to let go.
    fn is_over(&self, taking: &Taking<'_>, period: Duration) -> bool {
        self.objects.pace().since(taking.began) >= period.max(taking.request.period) + GRACE
    }

    /// Takes leases that a session asked for: all of a take-over together, others one by one. What
    /// was decided of each, in the order of the keys.
    pub(super) async fn take_all<T: Send>(
        &self,
        session: &Session,
        keys: &[CursorKey],
        decide: &impl Decide<T>,
    ) -> Result<Vec<T>, Error> {
        let taking = Taking::new(session, self.objects.pace().now());
        let taken = if taking.request.take_over {
            self.take_over(&taking, decide).await?
        } else {
            self.prove_conditional_puts().await?;
            let takes = keys
                .iter()
                .map(|key| self.take(key, &taking, decide).boxed());
            keys.iter().cloned().zip(all(takes).await?).collect()
        };
        let looked = self.observer.clock().now();
        for read in session.claims_read.values() {
            *read.lock().await = looked;
        }
        let mut told = Vec::with_capacity(taken.len());
        for (key, (found, said)) in taken {
            if let Some(known) = session.known.get(&key) {
                *known.lock().await = found;
            }
            told.push(said);
        }
        Ok(told)
    }

    async fn prove_conditional_puts(&self) -> Result<(), Error> {
        let prove = || self.objects.prove_conditional_puts();
        self.proven.get_or_try_init(prove).await.map(drop)
    }

    /// Takes leases from living holders: all of them, or none.
    async fn take_over<T: Send>(
        &self,
        taking: &Taking<'_>,
        decide: &impl Decide<T>,
    ) -> Result<BTreeMap<CursorKey, Taken<T>>, Error> {
        // Read before all else, so that every take-over that ends from here on is noticed.
        let mut first = Vec::new();
        for pack in taking.packs() {
            first.push((pack, self.objects.claim(pack).await?));
        }
        self.prove_conditional_puts().await?;
        let taken = self.claim_and_take(taking, first, decide).await;
        if taken.is_err() {
            // An open claim tells the old holder, once it has stood for a while, to write its
            // own leases back.
            match self.give_back(taking).await {
                Ok(()) => self.withdraw(taking).await,
                Err(error) => tracing::debug!(%error, "leases were not given back"),
            }
        }
        taken
    }

    async fn claim_and_take<T: Send>(
        &self,
        taking: &Taking<'_>,
        first: Vec<(&PackKey, Option<FoundClaim>)>,
        decide: &impl Decide<T>,
    ) -> Result<BTreeMap<CursorKey, Taken<T>>, Error> {
        for (pack, found) in first {
            self.claim(taking, pack, found).await?;
        }
        let keys = taking.request.keys.iter();
        let takes = keys.map(|key| {
            let take = self.take(key, taking, decide);
            take.map(move |taken| Ok::<_, Error>((key.clone(), taken?)))
                .boxed()
        });
        let takes: Vec<_> = takes.collect();
        let take_all = stream::iter(takes)
            .buffer_unordered(CONCURRENCY)
            .try_collect::<BTreeMap<_, _>>();
        let taken = tokio::select! {
            biased;
            taken = take_all => taken?,
            pack = self.beat_while_claimed(taking) => return Err(self.beaten(taking, pack)),
        };
        for pack in taking.packs() {
            let state = ClaimState::Taken;
            let is_closed = self.objects.close_claim(pack, taking.session, state);
            if !is_closed.await? {
                return Err(self.beaten(taking, pack));
            }
        }
        Ok(taken)
    }

    /// Writes the claim to the keys of one pack, once no other take-over is under way there.
    async fn claim(
        &self,
        taking: &Taking<'_>,
        pack: &PackKey,
        mut found: Option<FoundClaim>,
    ) -> Result<(), Error> {
        let claim = Claim::open(taking.request, pack, taking.session);
        let closed_before = found
            .as_ref()
            .and_then(|found| found.claim.as_ref())
            .filter(|claim| !claim.is_open())
            .map(|claim| claim.session.clone());
        let (mut silence, mut attempts) = (Silence::default(), 0);
        loop {
            let open = found
                .as_ref()
                .and_then(|found| found.open_to_others(taking.session));
            match open.filter(|claim| !silence.is_over(claim, self.objects.pace().now())) {
                Some(open) if self.is_over(taking, Duration::ZERO) => {
                    let key = taking.shared_with(pack, open);
                    let held_by = |key| held(key, &open.holder);
                    return Err(key.map_or_else(|| self.objects.unsettled_claim(pack), held_by));
                }
                Some(_) => self.objects.pace().sleep(LOOK).await,
                None if attempts == TRIES || self.is_over(taking, Duration::ZERO) => {
                    return Err(self.objects.unsettled_claim(pack));
                }
                None => match self.objects.put_claim(pack, &claim, found.as_ref()).await {
                    Ok(()) => return Ok(()),
                    Err(Refusal::Conflict) => self.pause_after_races(1).await,
                    Err(refusal) => {
                        attempts += 1;
                        self.objects.pause_after(refusal, attempts).await?;
                    }
                },
            }
            found = self.objects.claim(pack).await?;
            let Some(now) = found.as_ref().and_then(|found| found.claim.as_ref()) else {
                continue;
            };
            if now.session == *taking.session && now.is_open() {
                return Ok(());
            }
            // Another take-over succeeded while this one was under way: to take the leases from
            // it in turn would end both producers.
            if now.state == ClaimState::Taken
                && Some(&now.session) != closed_before.as_ref()
                && let Some(key) = taking.shared_with(pack, now)
            {
                return Err(held(key, &now.holder));
            }
        }
    }

    /// Gives signs of life. Returns the first pack whose claim is no longer this session's.
    async fn beat_while_claimed<'t>(&self, taking: &Taking<'t>) -> &'t PackKey {
        loop {
            self.objects.pace().sleep(BEAT).await;
            for pack in taking.packs() {
                match self.objects.beat(pack, taking.session).await {
                    Ok(true) => {}
                    Ok(false) => return pack,
                    Err(error) => tracing::debug!(%error, "no sign of life was given"),
                }
            }
        }
    }

    /// Why a take-over failed whose claim on a pack was replaced: the old holder goes on.
    fn beaten(&self, taking: &Taking<'_>, pack: &PackKey) -> Error {
        let displaced = taking.displaced();
        let mut rows = displaced.iter();
        let old = rows.find_map(|(key, row)| Some(held(key, &row.as_ref()?.holder)));
        old.unwrap_or_else(|| self.objects.unsettled_claim(pack))
    }

    async fn withdraw(&self, taking: &Taking<'_>) {
        for pack in taking.packs() {
            let state = ClaimState::Withdrawn;
            let closing = self.objects.close_claim(pack, taking.session, state);
            if let Err(error) = closing.await {
                tracing::debug!(%error, "the claim was not withdrawn");
            }
        }
    }

    /// Takes the lease of one key, by writing its fence into the key's object.
    async fn take<T>(
        &self,
        key: &CursorKey,
        taking: &Taking<'_>,
        decide: &impl Decide<T>,
    ) -> Result<Taken<T>, Error> {
        let (mut failures, mut conflicts) = (0, 0);
        let mut written = None;
        while failures < TRIES {
            let found = self.objects.get_even_damaged(key).await?;
            let row = found.as_ref().and_then(|found| found.object.lease.as_ref());
            if row.is_some_and(|row| row.session == *taking.session)
                && let Some(told) = written.take()
            {
                // One of the writes below arrived, whichever it was: all since the object was
                // another's say the same of it.
                return Ok((found, told));
            }
            let (change, told) = decide(key, self.objects.slot(key, found.as_ref()))?;
            let row = found.as_ref().and_then(|found| found.object.lease.as_ref());
            let object = found.as_ref().map(|found| found.object.clone());
            let mut next = object.unwrap_or_default();
            if !next.apply(change) {
                // It was only looked at.
                return Ok((found, told));
            }
            next.count_on(self.observer.new_session());
            let old = row.filter(|row| !row.released);
            let period = old.map_or(0, |row| row.period_ms);
            if self.is_over(taking, Duration::from_millis(period)) {
                let unsettled = || self.objects.unsettled("take the lease", key);
                return Err(old.map_or_else(unsettled, |row| held(key, &row.holder)));
            }
            taking.will_displace(key, old);
            written = Some(told);
            // Whatever came of it, the next round reads it back.
            match self.objects.put(key, &next, found.as_ref()).await {
                Ok(_) => {}
                Err(Refusal::Conflict) => {
                    conflicts += 1;
                    self.pause_after_races(conflicts).await;
                }
                Err(refusal) => {
                    failures += 1;
                    self.objects.pause_after(refusal, failures).await?;
                }
            }
        }
        Err(self.objects.unsettled("take the lease", key))
    }

    /// Writes back what stood in the place of this session's leases.
    async fn give_back(&self, taking: &Taking<'_>) -> Result<(), Error> {
        let displaced = taking.displaced().clone();
        let session = taking.session;
        let backs = displaced
            .into_iter()
            .map(|(key, row)| async move { self.give_back_one(&key, row, session).await }.boxed());
        all(backs).await.map(drop)
    }

    async fn give_back_one(
        &self,
        key: &CursorKey,
        displaced: Option<LeaseRecord>,
        session: &SessionId,
    ) -> Result<(), Error> {
        for failed in 1..=TRIES {
            let found = self.objects.get_even_damaged(key).await?;
            let Some(found) = found else { return Ok(()) };
            let mut next = found.object.clone();
            let Some(mine) = next.lease.as_mut().filter(|row| row.session == *session) else {
                return Ok(());
            };
            match &displaced {
                Some(row) => *mine = row.clone(),
                None if mine.released => return Ok(()),
                None => mine.released = true,
            }
            next.count_on(self.observer.new_session());
            match self.objects.put(key, &next, Some(&found)).await {
                Ok(_) => return Ok(()),
                Err(refusal) => self.objects.pause_after(refusal, failed).await?,
            }
        }
        Err(self.objects.unsettled("give the lease back", key))
    }
}
