//! The claim object of a pack: it announces a take-over, and decides it.
//!
//! A claim is written before the first lease is taken over, and closed by one conditional put when
//! all are taken. So the claim is what the taker, the old holder and a second taker agree on:
//!
//! | state | who may write it | what it means for the old holder |
//! |---|---|---|
//! | `open` | its taker, as a sign of life; anybody, once it was observed unchanged for [`SILENCE`] | writes nothing until the claim is closed |
//! | `taken` | the next taker | its leases are lost |
//! | `withdrawn` | the next taker | its leases are its own, also where the taker's fence is still written |

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use model::{Clock as _, json_strictly};
use object_store::UpdateVersion;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::object::{Objects, Refusal, TRIES};
use crate::count::{MOST, count};
use crate::error::{Error, unsupported};
use crate::key::PackKey;
use crate::lease::{Holder, LeaseRequest, SessionId};
use crate::record::{SLOT_VERSION, json};

/// How often a taker gives a sign of life.
pub(super) const BEAT: Duration = Duration::from_secs(1);
/// How long an open claim is observed unchanged before its taker counts as dead.
pub(super) const SILENCE: Duration = Duration::from_secs(5);
/// How often an open claim is read by those who wait for its end.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// A take-over of outputs of one pack, as JSON with sorted keys.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Claim {
    /// Counts the taker's signs of life, from `i64::MAX` on at 0.
    #[serde(deserialize_with = "count")]
    beats: u64,
    format_version: u32,
    pub(super) holder: Holder,
    /// The ids of the outputs to be taken.
    outputs: BTreeSet<String>,
    /// The acquisition that takes over.
    pub(super) session: SessionId,
    pub(super) state: ClaimState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ClaimState {
    /// The taker is at work.
    Open,
    /// All leases were taken.
    Taken,
    /// None was taken, or those taken go back to their old holder.
    Withdrawn,
}

impl Claim {
    /// The open claim to the outputs that a request names of one pack.
    pub(super) fn open(request: &LeaseRequest, pack: &PackKey, session: &SessionId) -> Self {
        let of_pack = request.keys.iter().filter(|key| key.pack_key() == pack);
        Self {
            beats: 0,
            format_version: SLOT_VERSION,
            holder: request.holder.clone(),
            outputs: of_pack.map(|key| key.output_id().to_string()).collect(),
            session: session.clone(),
            state: ClaimState::Open,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == ClaimState::Open
    }

    pub(super) fn names(&self, output_id: &str) -> bool {
        self.outputs.contains(output_id)
    }

    /// The same claim in another state.
    pub(super) fn closed(&self, state: ClaimState) -> Self {
        Self {
            state,
            ..self.clone()
        }
    }

    fn beaten(&self) -> Self {
        Self {
            beats: (self.beats + 1) & MOST,
            ..self.clone()
        }
    }
}

/// A claim as it was read, and the version that the next write must demand.
#[derive(Clone, Debug)]
pub(super) struct FoundClaim {
    /// `None` if the object is not one whole claim: it counts as withdrawn.
    pub(super) claim: Option<Claim>,
    version: UpdateVersion,
}

impl FoundClaim {
    /// The claim, if it is open and another session's.
    pub(super) fn open_to_others(&self, session: &SessionId) -> Option<&Claim> {
        let claim = self.claim.as_ref();
        claim.filter(|claim| claim.is_open() && claim.session != *session)
    }
}

/// How long an open claim was observed unchanged: no two machines' clocks are compared.
#[derive(Debug, Default)]
pub(super) struct Silence {
    last: Option<(SessionId, u64, Instant)>,
}

impl Silence {
    /// Notes the claim at `now`; true once its taker gave no sign of life for [`SILENCE`].
    pub(super) fn is_over(&mut self, claim: &Claim, now: Instant) -> bool {
        match &self.last {
            Some((session, beats, since)) if *session == claim.session && *beats == claim.beats => {
                now.saturating_duration_since(*since) >= SILENCE
            }
            _ => {
                self.last = Some((claim.session.clone(), claim.beats, now));
                false
            }
        }
    }
}

/// Refuses a claim that says that it is of another format; an object that says nothing is no whole
/// claim.
fn check_version(bytes: &[u8], place: &str) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Version {
        format_version: u64,
    }
    match json_strictly::<Version>(bytes) {
        Ok(Version { format_version }) if format_version != u64::from(SLOT_VERSION) => {
            Err(unsupported(place, format_version, SLOT_VERSION))
        }
        _ => Ok(()),
    }
}

impl Objects {
    fn claim_path(&self, pack: &PackKey) -> Path {
        let prefix = self.prefix().clone();
        prefix.join(pack.as_str()).join("take-over.json")
    }

    /// The claim object of a pack, if there is one.
    ///
    /// # Errors
    /// `CHECKPOINT_VERSION_UNSUPPORTED` for the claim of a release with another format: what it wants
    /// is not known, so nothing may be saved beside it.
    pub(super) async fn claim(&self, pack: &PackKey) -> Result<Option<FoundClaim>, Error> {
        let path = self.claim_path(pack);
        let Some((bytes, version)) = self.fetch(&path).await? else {
            return Ok(None);
        };
        check_version(&bytes, path.as_ref())?;
        let claim = json_strictly(&bytes).ok();
        Ok(Some(FoundClaim { claim, version }))
    }

    /// Writes a claim over `before`, or as the pack's first.
    pub(super) async fn put_claim(
        &self,
        pack: &PackKey,
        claim: &Claim,
        before: Option<&FoundClaim>,
    ) -> Result<(), Refusal> {
        let version = before.map(|found| &found.version);
        let path = self.claim_path(pack);
        let put = self.put_over(&path, json(claim), version).await;
        put.map(drop)
    }

    /// The store gave no clear answer about a claim.
    pub(super) fn unsettled_claim(&self, pack: &PackKey) -> Error {
        self.unsettled_at("take the lease", &self.claim_path(pack))
    }

    /// Gives a sign of life; false if the session's claim is no longer open.
    pub(super) async fn beat(&self, pack: &PackKey, session: &SessionId) -> Result<bool, Error> {
        let found = self.claim(pack).await?;
        let claim = found.as_ref().and_then(|found| found.claim.as_ref());
        let Some(claim) = claim.filter(|claim| claim.is_open() && claim.session == *session) else {
            return Ok(false);
        };
        // A beat that is refused is followed by a look, which sees why.
        match self.put_claim(pack, &claim.beaten(), found.as_ref()).await {
            Ok(()) | Err(Refusal::Conflict) => Ok(true),
            Err(Refusal::Failed(error)) => Err(error),
        }
    }

    /// Closes the session's claim; false if another closed or replaced it first.
    pub(super) async fn close_claim(
        &self,
        pack: &PackKey,
        session: &SessionId,
        state: ClaimState,
    ) -> Result<bool, Error> {
        for failed in 1..=TRIES {
            let found = match self.claim(pack).await {
                Ok(found) => found,
                Err(error) => {
                    self.pause_after(Refusal::Failed(error), failed).await?;
                    continue;
                }
            };
            let claim = found.as_ref().and_then(|found| found.claim.as_ref());
            let Some(claim) = claim.filter(|claim| claim.session == *session) else {
                return Ok(false);
            };
            if !claim.is_open() {
                return Ok(claim.state == state);
            }
            let closed = claim.closed(state);
            match self.put_claim(pack, &closed, found.as_ref()).await {
                Ok(()) => return Ok(true),
                // The last sign of life may still be on its way.
                Err(Refusal::Conflict) => self.pace().sleep(LOOK).await,
                Err(refusal) => self.pause_after(refusal, failed).await?,
            }
        }
        Err(self.unsettled_claim(pack))
    }
}
