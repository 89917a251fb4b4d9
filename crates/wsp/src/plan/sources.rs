//! What the rows of each output are read from: its parts, or its stream view.

use gates::{AttestedWorld, LocatedOutput, ViewTrust};
use model::Hex64;
use oracle_store::{
    EngineRunRoot, ReasonCode, StreamView, WorldStore, has_view, refuse_platform_runs,
};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::profile::StreamSource;
use crate::profile::request::StreamRequest;

/// Puts the base of the stream views that a request names into the world's store. A base is not
/// looked at where nothing is read from it, but nothing may be written there either way.
///
/// # Errors
/// `ENGINE_ROOT_IN_PLATFORM_RUNS` for a base under the runs root; `PROFILE_INVALID` if cursors or
/// time indexes would be written into it; `ENGINE_ROOT_MISSING`, `OBJECT_STORE_INVALID`.
pub(super) fn with_views(store: WorldStore, request: &StreamRequest) -> Result<WorldStore, Error> {
    let Some(base) = request.named_views_base()? else {
        return Ok(store);
    };
    request.refuse_writes_to_world(&base)?;
    let profile = &request.profile;
    if profile.stream_source == StreamSource::Outputs {
        return Ok(store);
    }
    refuse_platform_runs(&base, &request.runs_location()?)?;
    Ok(store.with_views_at(open(base, request)?))
}

/// A base that is not made yet holds no views.
fn open(base: EngineRunRoot, request: &StreamRequest) -> Result<WorldStore, Error> {
    let opened = WorldStore::open(base.clone(), &request.profile.object_store);
    match opened {
        Err(error) if error.code() == ReasonCode::EngineRootMissing => Ok(WorldStore::empty(base)),
        opened => Ok(opened?),
    }
}

/// The view that an output is read from, as the request asks; `None` reads its parts.
///
/// # Errors
/// Those of [`AttestedWorld::read_from_view`].
pub(super) async fn view_of(
    attested: &mut AttestedWorld,
    output: &LocatedOutput,
    request: &StreamRequest,
) -> Result<Option<StreamView>, Error> {
    let profile = &request.profile;
    if !is_view_asked(&attested.store, output, profile.stream_source).await? {
        return Ok(None);
    }
    let trust = ViewTrust::of(profile.posture, profile.trust_stream_views);
    Ok(Some(attested.read_from_view(output, trust).await?))
}

/// Whether an output is to be read from its stream view.
///
/// # Errors
/// `ORACLE_READ_FAILED`.
pub(super) async fn is_view_asked(
    store: &WorldStore,
    output: &LocatedOutput,
    source: StreamSource,
) -> Result<bool, Error> {
    Ok(match source {
        StreamSource::Outputs => false,
        StreamSource::View => true,
        StreamSource::Auto => has_view(store, output.id()).await?,
    })
}

/// The stream view that an output is read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewReport {
    /// The view's id.
    pub stream_view_id: Hex64,
    /// The view's files, in name order, each by its place.
    pub files: Vec<String>,
    /// The number of rows of the view.
    pub rows: u64,
}

impl ViewReport {
    pub(crate) fn of(view: &StreamView) -> Self {
        Self {
            stream_view_id: view.stream_view_id().clone(),
            files: view.files().to_vec(),
            rows: view.rows(),
        }
    }
}
