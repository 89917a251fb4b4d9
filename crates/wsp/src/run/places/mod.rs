//! Where the records of platform runs live: a folder of this machine, or a prefix of a bucket.
//!
//! ```text
//!                  folder                                     bucket
//! active run       ACTIVE_RUN_ID                              ACTIVE_RUN_ID
//! audit            <run>/session.jsonl, shared                <own>/audit/<session>-<n>.jsonl
//! quarantine       <own>/quarantine.ndjson                    <own>/quarantine/<session>-<n>.ndjson
//! redriven         <own>/quarantine.redriven.ndjson           <own>/redriven/<session>-<n>.ndjson
//! gate quarantined <own>/gate_quarantined.ndjson              <own>/gate_quarantined/<session>-<n>.ndjson
//! gate's verdict   <own>/gate_verdict.json                    <own>/gate_verdict.json
//! reports          <own>/reports/<session>.json               the same
//! latest report    <own>/wsp_summary.json                     the same
//! ```
//!
//! `<own>` is `<run>/wsp`, and of one of several shards `<run>/wsp/shard-K-of-N`, where its audit is
//! too (`<own>/session.jsonl`): shards run on many machines, and few file systems order what
//! several machines append to one file.
//!
//! A session is one run of this program. Objects of a bucket are written once and never replaced,
//! but for the latest report; so any number of sessions write beside each other.

mod bucket;
mod folder;
mod active_run;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use envelope::PlatformRunId;
use model::{Clock as _, Random as _, Shard, SharedRandom};
use oracle_store::{BucketFolder, Location, Posture};
use replay::{GateBook, GateQuarantineTerms, Quarantine};

#[cfg(test)]
pub(crate) use self::folder::open_lines;
pub(crate) use self::folder::{log_of_run, own_folder, reports_of_run};
use crate::Error;
use crate::clock::Surroundings;
use crate::profile::request::StreamRequest;
use crate::profile::runs_root::in_bucket;

/// The lines of an audit that is open.
pub(crate) trait AuditLines: Debug + Send + Sync {
    /// Appends a line. With `sync`, it is durable once [`flush`](Self::flush) returned: on a disk
    /// it is at once.
    ///
    /// # Errors
    /// What disk or bucket say, of this line or of one before it.
    fn append(&self, line: &[u8], sync: bool) -> io::Result<()>;

    /// Makes all lines durable that were appended; on a thread that may block.
    ///
    /// # Errors
    /// What disk or bucket say; a later flush tries again.
    fn flush(&self) -> io::Result<()>;

    /// How often the lines were begun again, after somebody deleted them with their folder.
    fn times_remade(&self) -> u64 {
        0
    }

    /// Another handle on the same lines.
    ///
    /// # Errors
    /// What the system says.
    fn another(&self) -> io::Result<Box<dyn AuditLines>>;
}

/// The records of all platform runs under one runs root. Its methods may block.
pub(crate) trait RunPlaces: Debug + Send + Sync {
    /// The place of the file or object that names the active run, for people.
    fn active_run_place(&self) -> String;

    /// The text that names the active run; `None` where there is none.
    ///
    /// # Errors
    /// What disk or bucket say.
    fn active_run(&self) -> io::Result<Option<String>>;

    /// Makes a run the active one unless one is; whether it is the active one now. `random` names
    /// what is written before the name is taken.
    ///
    /// # Errors
    /// What disk or bucket say.
    fn claim_active_run(&self, run: &PlatformRunId, random: &SharedRandom) -> io::Result<bool>;

    /// The place of a run's audit, for people.
    fn audit_place(&self, run: &PlatformRunId) -> String;

    /// Opens the audit of a run.
    ///
    /// # Errors
    /// What disk or bucket say.
    fn open_audit(&self, run: &PlatformRunId, session: &str) -> io::Result<Box<dyn AuditLines>>;

    /// Opens the quarantine of a run, and reads what waits in it.
    ///
    /// # Errors
    /// `QUARANTINE_UNWRITABLE`, `QUARANTINE_UNREADABLE`.
    fn open_quarantine(
        &self,
        run: &PlatformRunId,
        session: &str,
    ) -> Result<Box<dyn Quarantine>, replay::Error>;

    /// Opens the book of what the gate quarantined in a run.
    ///
    /// # Errors
    /// As [`GateBook::open`].
    fn open_gate_book(
        &self,
        terms: GateQuarantineTerms,
        run: &PlatformRunId,
        session: &str,
    ) -> Result<GateBook, replay::Error>;

    /// Forgets the verdict on a run.
    ///
    /// # Errors
    /// `QUARANTINE_UNWRITABLE`.
    fn clear_verdict(&self, run: &PlatformRunId) -> Result<(), replay::Error>;

    /// The shards that a run has records of, by number of shards and number; without the whole
    /// stream.
    ///
    /// # Errors
    /// What disk or bucket say.
    fn shards(&self, run: &PlatformRunId) -> io::Result<Vec<Shard>>;

    /// Keeps the report of a session, and as the latest one of its run.
    ///
    /// # Errors
    /// What disk or bucket say.
    fn keep_report(&self, run: &PlatformRunId, session: &str, report: &[u8]) -> io::Result<()>;

    /// Has the list of what the gate quarantined, where it waits in memory, made durable.
    ///
    /// # Errors
    /// What disk or bucket say; a later flush tries again.
    fn flush_lists(&self) -> io::Result<()>;
}

/// The places of a request's runs: those of its shard, where it names one of several.
///
/// # Errors
/// `OBJECT_STORE_INVALID`, `ENGINE_ROOT_MISSING` for a bucket that cannot be addressed.
pub(crate) fn places_of(request: &StreamRequest) -> Result<Arc<dyn RunPlaces>, Error> {
    places_of_shard(request, shard_of(request))
}

/// The shard that a request names; the whole stream where it names none.
pub(crate) fn shard_of(request: &StreamRequest) -> Shard {
    request.profile.shard.shard().unwrap_or(Shard::WHOLE)
}

/// The places of a shard of a request's runs.
///
/// # Errors
/// As [`places_of`].
pub(crate) fn places_of_shard(
    request: &StreamRequest,
    shard: Shard,
) -> Result<Arc<dyn RunPlaces>, Error> {
    Ok(match bucket_of(request)? {
        None => {
            let root = request.working_dir.join(&request.profile.runs_root);
            let is_local = request.profile.posture == Posture::Local;
            Arc::new(folder::RunFolders::new(root, shard, is_local))
        }
        Some(objects) => Arc::new(bucket::RunObjects::new(Arc::new(objects), shard)),
    })
}

/// The records of a run's shards that cannot be listed.
pub(crate) fn unlisted(source: io::Error) -> Error {
    let error = replay::Error::caused(
        replay::ReasonCode::QuarantineUnreadable,
        "The shards that the platform run has records of cannot be listed",
        "Have `wiring.wsp_audit.root` be a folder or a bucket that can be read.",
        source,
    );
    error.into()
}

/// The places of runs under a folder.
#[cfg(test)]
pub(crate) fn folder_places(root: &std::path::Path) -> Arc<dyn RunPlaces> {
    Arc::new(folder::RunFolders::new(
        root.to_owned(),
        Shard::WHOLE,
        false,
    ))
}

/// The bucket that a request's runs lie in; `None` for a folder.
///
/// # Errors
/// `OBJECT_STORE_INVALID`, `ENGINE_ROOT_MISSING` for a bucket that cannot be addressed.
pub(crate) fn bucket_of(request: &StreamRequest) -> Result<Option<BucketFolder>, Error> {
    let Some(text) = in_bucket(&request.profile.runs_root) else {
        return Ok(None);
    };
    let location = Location::parse(text, &request.working_dir)?;
    let folder = BucketFolder::open(location, &request.profile.object_store)?;
    Ok(Some(folder))
}

/// The name of a session: the second it begins in, so that names sort by time, and 64 bits of
/// chance.
pub(crate) fn new_session(surroundings: &Surroundings) -> String {
    let began = DateTime::<Utc>::from(surroundings.clock.wall());
    let began = began.format("%Y%m%dT%H%M%SZ");
    format!("{began}-{:016x}", surroundings.random.clone().bits())
}
