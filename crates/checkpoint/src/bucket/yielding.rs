//! How a holder lets go: it reads the claim object of its packs at every renewal, and writes
//! nothing while another's claim to one of its keys is open.
//!
//! The holder's leases are lost once the claim is closed as `taken`. A claim that is withdrawn, or
//! whose taker gives no sign of life, leaves the holder what it had.

use std::time::Duration;

use model::Clock as _;

use super::claim::{Claim, ClaimState, LOOK, Silence};
use super::object::{Found, Refusal};
use super::{Inner, Session};
use crate::error::Error;
use crate::key::{CursorKey, PackKey};
use crate::lease::LeaseRecord;

impl Inner {
    /// Reads the claim object of a pack if it was not read for a third of the period, and lets a
    /// take-over that it announces go first.
    pub(super) async fn heed_claim(&self, session: &Session, pack: &PackKey) {
        self.heed(session, pack, session.request.period / 3).await;
    }

    /// The same for all packs, however lately it was read.
    pub(super) async fn heed_claims(&self, session: &Session) {
        for pack in session.claims_read.keys() {
            self.heed(session, pack, Duration::ZERO).await;
        }
    }

    async fn heed(&self, session: &Session, pack: &PackKey, at_most: Duration) {
        let Some(read) = session.claims_read.get(pack) else {
            return;
        };
        // Held while a claim is open: so all writes of the pack wait for it.
        let mut read = read.lock().await;
        let now = self.observer.clock().now();
        if now.saturating_duration_since(*read) < at_most {
            return;
        }
        *read = now;
        if let Err(error) = self.settled_claim(session, pack).await {
            // The write that follows says what is wrong with the store.
            tracing::debug!(%error, "the claim object was not read");
        }
    }

    /// The claim of a pack, once it is closed or does not concern the lease.
    async fn settled_claim(
        &self,
        session: &Session,
        pack: &PackKey,
    ) -> Result<Option<Claim>, Error> {
        let mut silence = Silence::default();
        loop {
            let Some(found) = self.objects.claim(pack).await? else {
                return Ok(None);
            };
            let claim = found.open_to_others(&session.id).filter(|claim| {
                let keys = session.request.keys.iter();
                let mut keys = keys.filter(|key| key.pack_key() == pack);
                keys.any(|key| claim.names(key.output_id().as_str()))
            });
            let Some(claim) = claim else {
                return Ok(found.claim);
            };
            if silence.is_over(claim, self.objects.pace().now()) {
                tracing::warn!(taker = %claim.holder, "a take-over was begun and not finished; going on");
                let withdrawn = claim.closed(ClaimState::Withdrawn);
                let put = self.objects.put_claim(pack, &withdrawn, Some(&found));
                match put.await {
                    Ok(()) => return Ok(Some(withdrawn)),
                    // It was a sign of life after all, or the end of the take-over.
                    Err(Refusal::Conflict) => {}
                    Err(Refusal::Failed(error)) => return Err(error),
                }
            }
            self.objects.pace().sleep(LOOK).await;
        }
    }

    /// What the next write is made over: `found`, unless a take-over that is not finished wrote
    /// it; then what is there after its end, under `own` again if the take-over failed.
    pub(super) async fn unless_unfinished(
        &self,
        session: &Session,
        key: &CursorKey,
        found: Found,
        own: Option<&LeaseRecord>,
    ) -> Result<Found, Error> {
        let (taker, own) = match (&found.object.lease, own) {
            (Some(row), Some(own)) if row.session != own.session => (row.session.clone(), own),
            _ => return Ok(found),
        };
        let claim = self.settled_claim(session, key.pack_key()).await?;
        let is_withdrawn = claim
            .is_some_and(|claim| claim.session == taker && claim.state == ClaimState::Withdrawn);
        if !is_withdrawn {
            return Ok(found);
        }
        let Some(mut found) = self.objects.get(key).await? else {
            return Err(self.objects.gone("write the checkpoint object", key));
        };
        let row = found.object.lease.as_mut();
        if let Some(row) = row.filter(|row| row.session == taker) {
            *row = own.clone();
        }
        Ok(found)
    }
}
