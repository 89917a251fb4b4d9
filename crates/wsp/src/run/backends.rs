//! What a profile names, made: the checkpoint store and the push client.

#[cfg(feature = "object")]
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "object")]
use checkpoint::BucketStore;
use checkpoint::CheckpointStore;
#[cfg(feature = "file")]
use checkpoint::FileStore;
#[cfg(feature = "postgres")]
use checkpoint::PostgresStore;
#[cfg(feature = "sqlite")]
use checkpoint::SqliteStore;
#[cfg(feature = "object")]
use oracle_store::object_store_at;
use oracle_store::{Location, Posture};

use crate::profile::request::StreamRequest;
use crate::profile::{CheckpointBackend, Profile, PushClientKind};
#[cfg(feature = "file")]
use crate::run::cursor_places::saved_in;
use crate::{Error, ReasonCode};
#[cfg(feature = "reqwest")]
use push::ReqwestClient;
use push::{ClientError, ClientOptions, DirectClient, PushEndpoint, PushToken};

/// The key of the profile that names a checkpoint backend.
#[cfg(not(all(
    feature = "file",
    feature = "sqlite",
    feature = "postgres",
    feature = "object"
)))]
const BACKEND_KEY: &str = "wiring.wsp_checkpoint.backend";

/// Opens the checkpoint store of a request; relative roots start at its working directory.
/// Nothing is made yet: that is for the one who takes leases.
///
/// # Errors
/// `PROFILE_VALUE_MISSING` for a DSN that is not set; the store's.
pub(crate) fn open_checkpoint_store(
    request: &StreamRequest,
) -> Result<Arc<dyn CheckpointStore>, Error> {
    let settings = &request.profile.checkpoint;
    Ok(match settings.backend {
        #[cfg(feature = "file")]
        CheckpointBackend::File => Arc::new(file_store(request)?),
        #[cfg(feature = "sqlite")]
        CheckpointBackend::Sqlite => {
            Arc::new(SqliteStore::new(request.working_dir.join(&settings.root)))
        }
        #[cfg(feature = "postgres")]
        CheckpointBackend::Postgres => {
            let dsn = settings.dsn.as_ref().map(|dsn| dsn.reveal().to_owned());
            let dsn = Profile::require(dsn.as_ref(), "wiring.wsp_checkpoint.dsn", "")?;
            Arc::new(PostgresStore::new(dsn)?)
        }
        #[cfg(feature = "object")]
        CheckpointBackend::Object => {
            Arc::new(bucket_store(&request.profile, &request.working_dir)?)
        }
        #[cfg(not(feature = "file"))]
        CheckpointBackend::File => return Err(not_built(BACKEND_KEY, "file")),
        #[cfg(not(feature = "sqlite"))]
        CheckpointBackend::Sqlite => return Err(not_built(BACKEND_KEY, "sqlite")),
        #[cfg(not(feature = "postgres"))]
        CheckpointBackend::Postgres => return Err(not_built(BACKEND_KEY, "postgres")),
        #[cfg(not(feature = "object"))]
        CheckpointBackend::Object => return Err(not_built(BACKEND_KEY, "object")),
    })
}

/// A value of the profile that stands for something this program was built without.
#[cfg(not(all(
    feature = "file",
    feature = "sqlite",
    feature = "postgres",
    feature = "object",
    feature = "reqwest"
)))]
fn not_built(key: &str, value: &str) -> Error {
    Error::new(
        ReasonCode::ProfileInvalid,
        format!("The profile's `{key}` is `{value}`, and this program was built without that"),
        format!("Name another, or build with the feature `{value}` of the crate `wsp`."),
    )
}

/// The store in a folder. One under the runs root is made again with it, in local posture.
#[cfg(feature = "file")]
fn file_store(request: &StreamRequest) -> Result<FileStore, Error> {
    let folder = saved_in(request)?;
    let store = FileStore::new(&folder);
    Ok(match request.runs_location()? {
        Location::Local(runs_root)
            if request.profile.posture == Posture::Local && folder.starts_with(&runs_root) =>
        {
            store.made_again_with(runs_root)
        }
        _ => store,
    })
}

/// The store in a bucket: only there can a write be made conditional.
#[cfg(feature = "object")]
fn bucket_store(profile: &Profile, working_dir: &Path) -> Result<BucketStore, Error> {
    let root = &profile.checkpoint.root;
    let location = Location::parse(root, working_dir)?;
    if matches!(location, Location::Local(_)) {
        return Err(Error::new(
            ReasonCode::ProfileInvalid,
            format!("The profile's `wiring.wsp_checkpoint.root` is `{root}`, a local folder"),
            "The backend `object` needs s3://bucket/prefix; for a folder use `file`.",
        ));
    }
    let (store, prefix) = object_store_at(&location, &profile.object_store)?;
    Ok(BucketStore::new(store, prefix))
}

/// The push client that a profile names.
pub(crate) enum ProfileClient {
    Direct(DirectClient),
    #[cfg(feature = "reqwest")]
    Reqwest(ReqwestClient),
}

/// What a profile pushes with, and where to.
///
/// # Errors
/// `PROFILE_VALUE_MISSING`, `PROFILE_INVALID`, `PROFILE_TOKEN_IN_CLEAR`.
pub(crate) fn push_client(profile: &Profile) -> Result<(ProfileClient, PushEndpoint), Error> {
    let (endpoint, options) = push_endpoint(profile)?;
    let client = match profile.push.client {
        PushClientKind::Direct => DirectClient::new(&endpoint, options).map(ProfileClient::Direct),
        #[cfg(feature = "reqwest")]
        PushClientKind::Reqwest => {
            ReqwestClient::new(&endpoint, options).map(ProfileClient::Reqwest)
        }
        #[cfg(not(feature = "reqwest"))]
        PushClientKind::Reqwest => return Err(not_built("wiring.wsp_push.client", "reqwest")),
    };
    let client = client.map_err(|error: ClientError| {
        let what = format!("No client can be made for {endpoint}");
        let fix = "Look at `ig_ingest_url` and at this machine's certificates.";
        Error::caused(ReasonCode::ProfileInvalid, what, fix, error)
    })?;
    Ok((client, endpoint))
}

pub(crate) fn push_endpoint(profile: &Profile) -> Result<(PushEndpoint, ClientOptions), Error> {
    let url = Profile::require(
        profile.ig_ingest_url.as_ref(),
        "wiring.ig_ingest_url",
        "--ig-url",
    )?;
    let invalid = |error: push::EndpointError| {
        let what =
            format!("The profile's `wiring.ig_ingest_url` or token cannot be used: {error}.");
        Error::new(ReasonCode::ProfileInvalid, what, "Mend it.")
    };
    let endpoint = PushEndpoint::parse(url).map_err(invalid)?;
    let token = match &profile.auth_token {
        Some(token) => {
            profile.check_token_travels_safely(&endpoint)?;
            Some(PushToken::new(&profile.api_key_header, token.reveal()).map_err(invalid)?)
        }
        None => None,
    };
    Ok((
        endpoint,
        ClientOptions {
            timeout: profile.push.timeout,
            token,
        },
    ))
}
