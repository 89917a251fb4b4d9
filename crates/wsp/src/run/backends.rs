//! What a profile names, made: the checkpoint store and the push client.

use std::path::Path;
use std::sync::Arc;

use checkpoint::{BucketStore, CheckpointStore, FileStore, PostgresStore, SqliteStore};
use oracle_store::{Location, Posture, object_store_at};

use crate::profile::request::StreamRequest;
use crate::profile::{CheckpointBackend, Profile, PushClientKind};
use crate::run::cursor_places::saved_in;
use crate::{Error, ReasonCode};
use push::{ClientError, ClientOptions, DirectClient, PushEndpoint, PushToken, ReqwestClient};

/// Opens the checkpoint store of a request; relative roots start at its working directory.
/// Nothing is made yet: that is for the one who takes leases.
///
/// # Errors
/// `PROFILE_VALUE_MISSING` for a DSN that is not set; the store's.
pub(crate) fn open_checkpoint_store(
    request: &StreamRequest,
) -> Result<Arc<dyn CheckpointStore>, Error> {
    let (profile, working_dir) = (&request.profile, request.working_dir.as_path());
    let settings = &profile.checkpoint;
    Ok(match settings.backend {
        CheckpointBackend::File => Arc::new(file_store(request)?),
        CheckpointBackend::Sqlite => Arc::new(SqliteStore::new(working_dir.join(&settings.root))),
        CheckpointBackend::Postgres => {
            let dsn = settings.dsn.as_ref().map(|dsn| dsn.reveal().to_owned());
            let dsn = Profile::require(dsn.as_ref(), "wiring.wsp_checkpoint.dsn", "")?;
            Arc::new(PostgresStore::new(dsn)?)
        }
        CheckpointBackend::Object => Arc::new(bucket_store(profile, working_dir)?),
    })
}

/// The store in a folder. One under the runs root is made again with it, in local posture.
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
        PushClientKind::Reqwest => {
            ReqwestClient::new(&endpoint, options).map(ProfileClient::Reqwest)
        }
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
