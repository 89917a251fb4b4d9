//! Where a redrive finds what waits, and records what no longer does: a file, or objects of a bucket.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "object")]
use checkpoint::BucketStore;
use checkpoint::{CheckpointStore, CursorKey, Holder, LeaseRequest, PackKey};
use envelope::PlatformRunId;
use model::Shard;
#[cfg(feature = "object")]
use oracle_store::object_store_at;
use oracle_store::{BucketFolder, Location};
use tokio::sync::mpsc;

use crate::profile::request::StreamRequest;
use crate::run::places::{bucket_of, own_folder, places_of, unlisted};
use crate::run::written_places::refuse_redrive_in_world;
use crate::{Error, ReasonCode};
use replay::{
    Closed, Crew, Ending, HeldLease, ObjectPrefix, Prefix, RedrivenFile, RedrivenObjects, Waiting,
    quarantine_in,
};

/// Where a redrive's lease is kept in the folder of its run, beside what it delivers.
const LEASE: &str = "wsp/redrive";

/// What waits for a redrive, as it was when that began.
pub(super) trait Source: Send {
    /// The number of lines.
    fn lines(&self) -> u64;

    /// The number of different events.
    fn events(&self) -> u64;

    /// The number of events that wait.
    fn waiting(&self) -> u64;

    /// The platform run that the first event names; `None` where it names none.
    fn run(&self) -> Option<&PlatformRunId>;

    /// Every event that waits, once, in the order in which they were set aside.
    fn feed(
        self: Box<Self>,
    ) -> Result<mpsc::Receiver<Result<Waiting, replay::Error>>, replay::Error>;
}

/// Where events are recorded that no longer wait. Called on a thread that may block.
pub(super) trait Closings: Debug + Send {
    /// Records durably that events no longer wait.
    ///
    /// # Errors
    /// `QUARANTINE_UNWRITABLE`.
    fn record(&mut self, closed: &[Closed]) -> Result<(), replay::Error>;
}

/// What a redrive works on; without closings where it only looks.
pub(super) type Opened = (Box<dyn Source>, Option<Box<dyn Closings>>);

impl Source for Prefix {
    fn lines(&self) -> u64 {
        Self::lines(self)
    }

    fn events(&self) -> u64 {
        self.events.quarantined_events()
    }

    fn waiting(&self) -> u64 {
        self.events.waiting()
    }

    fn run(&self) -> Option<&PlatformRunId> {
        self.run.as_ref()
    }

    fn feed(
        self: Box<Self>,
    ) -> Result<mpsc::Receiver<Result<Waiting, replay::Error>>, replay::Error> {
        Self::feed(*self)
    }
}

impl Closings for RedrivenFile {
    fn record(&mut self, closed: &[Closed]) -> Result<(), replay::Error> {
        Self::record(self, closed)
    }
}

impl Source for ObjectPrefix {
    fn lines(&self) -> u64 {
        Self::lines(self)
    }

    fn events(&self) -> u64 {
        Self::events(self)
    }

    fn waiting(&self) -> u64 {
        Self::waiting(self)
    }

    fn run(&self) -> Option<&PlatformRunId> {
        Self::run(self)
    }

    fn feed(
        self: Box<Self>,
    ) -> Result<mpsc::Receiver<Result<Waiting, replay::Error>>, replay::Error> {
        Self::feed(*self)
    }
}

impl Closings for RedrivenObjects {
    fn record(&mut self, closed: &[Closed]) -> Result<(), replay::Error> {
        Self::record(self, closed)
    }
}

/// Opens a quarantine file.
///
/// # Errors
/// `QUARANTINE_UNREADABLE`, `REDRIVE_HELD`, `QUARANTINE_UNWRITABLE`; `PROFILE_INVALID` for a file
/// in a world.
pub(super) fn open_file(
    request: &StreamRequest,
    path: &Path,
    is_dry_run: bool,
) -> Result<Opened, Error> {
    let mut prefix = Prefix::read(path)?;
    if is_dry_run {
        RedrivenFile::look(path, &mut prefix.events)?;
        return Ok((Box::new(prefix), None));
    }
    refuse_redrive_in_world(request, path, prefix.run.as_ref())?;
    let redriven = RedrivenFile::open(path, &mut prefix.events)?;
    Ok((Box::new(prefix), Some(Box::new(redriven))))
}

/// What a redrive is asked to work on.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    /// A quarantine file.
    File(PathBuf),
    /// A quarantine in a bucket, by its folder there.
    Objects(BucketFolder, String),
}

/// The quarantines of a platform run: of the stream in one piece, and of each shard that has
/// records. May block.
///
/// # Errors
/// `OBJECT_STORE_INVALID`, `ENGINE_ROOT_MISSING` for a bucket that cannot be addressed;
/// `QUARANTINE_UNREADABLE` where the shards cannot be listed.
pub(super) fn quarantines_of(
    request: &StreamRequest,
    run: &PlatformRunId,
) -> Result<Vec<Asked>, Error> {
    let mut shards = vec![Shard::WHOLE];
    shards.extend(places_of(request)?.shards(run).map_err(unlisted)?);
    let shards = shards.into_iter();
    if let Some(bucket) = bucket_of(request)? {
        let folder = |shard: Shard| format!("{run}/{}", shard.folder());
        let asked = shards.map(|shard| Asked::Objects(bucket.clone(), folder(shard)));
        return Ok(asked.collect());
    }
    let runs_root = request.working_dir.join(&request.profile.runs_root);
    let asked = shards.map(|shard| quarantine_in(&own_folder(&runs_root, run, shard)));
    Ok(asked.map(Asked::File).collect())
}

/// Opens a quarantine in a bucket, for a session. The lease must be held, unless it is a
/// dry run.
///
/// # Errors
/// `QUARANTINE_UNREADABLE`.
pub(super) fn open_objects(
    bucket: &BucketFolder,
    folder: &str,
    session: &str,
    is_dry_run: bool,
) -> Result<(String, Opened), Error> {
    let prefix = ObjectPrefix::read(Arc::new(bucket.clone()), folder)?;
    let place = prefix.place();
    let redriven: Option<Box<dyn Closings>> = if is_dry_run {
        None
    } else {
        Some(Box::new(prefix.redriven(session)))
    };
    Ok((place, (Box::new(prefix), redriven)))
}

/// Takes the lease of a run's redrive, which one redrive holds at a time: a lease as cursors have
/// them, in a place of its own.
///
/// # Errors
/// `REDRIVE_HELD` while another redrive works; the store's.
pub(super) async fn take_lease(
    request: &StreamRequest,
    run: &PlatformRunId,
    (clock, crew): (&model::SharedClock, &Crew),
    ending: &Ending,
    patience: Duration,
) -> Result<HeldLease, Error> {
    let folder = match request.runs_location()? {
        Location::S3 { bucket, prefix } => Location::S3 {
            bucket,
            prefix: format!("{prefix}/{run}/{LEASE}")
                .trim_start_matches('/')
                .to_owned(),
        },
        local @ Location::Local(_) => local,
    };
    let store = lease_store(&folder, request)?;
    let key = CursorKey::new(PackKey::of_root(run.as_str()), "redrive")?;
    let holder = Holder::this_process("wsp-cli redrive");
    let wanted = LeaseRequest::new([key], holder).lasting(request.profile.checkpoint.lease);
    match HeldLease::take(&store, &wanted, clock, ending, patience, crew).await {
        Err(replay::Error::Checkpoint(error))
            if error.code() == checkpoint::ReasonCode::LeaseHeld =>
        {
            Err(Error::caused(
                ReasonCode::from(replay::ReasonCode::RedriveHeld),
                format!("Another redrive works on the quarantine of {run}"),
                "Wait for it, or end it; what it delivered is not pushed again.",
                error,
            ))
        }
        taken => Ok(taken?),
    }
}

/// The store of a redrive's lease.
#[cfg(feature = "object")]
fn lease_store(
    folder: &Location,
    request: &StreamRequest,
) -> Result<Arc<dyn CheckpointStore>, Error> {
    let (objects, prefix) = object_store_at(folder, &request.profile.object_store)?;
    Ok(Arc::new(BucketStore::new(objects, prefix)))
}

/// Nothing lies in a bucket where this program was built without one.
#[cfg(not(feature = "object"))]
fn lease_store(
    folder: &Location,
    _request: &StreamRequest,
) -> Result<Arc<dyn CheckpointStore>, Error> {
    Err(Error::new(
        ReasonCode::ProfileInvalid,
        format!("{} needs a bucket", folder.full_name("")),
        "Build with the feature `object` of the crate `wsp`.",
    ))
}
