//! How the audit says that a run failed or was refused.
//!
//! A run that is refused before its audit is open is told of there too, where its platform run
//! is named and the log does not lie in the world. No id is made for it: the cursors, which were
//! not looked at yet, may name another.

use std::time::Duration;

use envelope::PlatformRunId;
use model::SharedClock;
use oracle_store::{Location, refuse_platform_runs};
use serde_json::{Value, json};

use crate::Error;
use crate::blocking::blocking;
use crate::profile::request::StreamRequest;
use crate::run::audit::{AuditLog, EventKind};
use crate::run::places::places_of;
use crate::run::platform_run;
use crate::run::report::{Status, StreamReport};
use crate::run::written_places::refuse_run_in_world;

/// How long an audit that does not answer may keep a refusal back.
const PATIENCE: Duration = Duration::from_secs(2);

/// Says in the audit of the named platform run why a run was refused; without one, nowhere.
pub(crate) async fn tell_of(
    request: &StreamRequest,
    error: &Error,
    report: &StreamReport,
    (session, clock): (&str, &SharedClock),
) {
    let (asked, by, session) = (request.clone(), clock.clone(), session.to_owned());
    let opening = blocking(move || Ok(audit_of_named_run(&asked, &session, &by)));
    // The refusal is what counts: no audit may keep it back.
    let opened = clock.timeout(PATIENCE, opening).await;
    if let Ok(Ok(Some(mut audit))) = opened {
        let _ = tell(&mut audit, error, report);
        let _ = clock.timeout(PATIENCE, audit.flush()).await;
    }
}

/// Says in an open audit why a run ended before its first event.
///
/// # Errors
/// `AUDIT_UNWRITABLE` in strict posture for a run that was stopped; of a run that failed, the
/// failure is what is reported.
pub(crate) fn tell(
    audit: &mut AuditLog,
    error: &Error,
    report: &StreamReport,
) -> Result<(), Error> {
    if error.code() == replay::ReasonCode::Stopped.as_str() {
        let details = json!({"emitted": 0, "quarantined": 0, "status": Status::Stopped});
        return audit.append(EventKind::StreamStopped, details);
    }
    let _ = audit.append(EventKind::StreamFailed, failure(error, report));
    Ok(())
}

/// A failure, as the audit says it.
pub(crate) fn failure(error: &Error, report: &StreamReport) -> Value {
    json!({
        "reason": error.code(),
        "detail": error.detail(),
        "emitted": report.emitted,
        "quarantined": quarantined(report),
    })
}

/// The events that a run set aside.
pub(crate) fn quarantined(report: &StreamReport) -> u64 {
    let outputs = report.per_output.iter();
    outputs.map(|output| output.meters.quarantined).sum()
}

fn audit_of_named_run(
    request: &StreamRequest,
    session: &str,
    clock: &SharedClock,
) -> Option<AuditLog> {
    let run = writable_run(request)?;
    let places = places_of(request).ok()?;
    AuditLog::open(&*places, (&run, session), request.profile.posture, clock).ok()
}

/// The platform run that is named, if its records would not lie in a world.
pub(crate) fn writable_run(request: &StreamRequest) -> Option<PlatformRunId> {
    let (run, _) = platform_run::named(request).ok()??;
    let runs_root = request.runs_location().ok()?;
    for world in request.read_only_places() {
        refuse_run_in_world(request, &world, &run).ok()?;
        if matches!(runs_root, Location::S3 { .. }) {
            refuse_platform_runs(&world, &runs_root).ok()?;
        }
    }
    Some(run)
}
