//! How a run ended, written into its report and its audit.

use std::sync::Arc;
use std::time::Duration;

use replay::{Ending, Outcome};
use serde_json::{Value, json};

use crate::Error;
use crate::run::audit::{AuditLog, EventKind, flush_lists};
use crate::run::places::RunPlaces;
use crate::run::refusal::{failure, quarantined};
use crate::run::report::{OutputLists, Status, StreamReport};

/// How long what comes behind the time of a stop may take.
pub(crate) const LAST_TRY: Duration = Duration::from_secs(1);

/// Writes into report and audit how the run ended.
///
/// `aborted` is why a threshold ended it: a stop that was asked for, but for that.
///
/// # Errors
/// Why the run failed, else what the audit says.
pub(crate) fn conclude(
    report: &mut StreamReport,
    (outcome, aborted): (Outcome, Option<Error>),
    audit: &mut AuditLog,
) -> Result<(), Error> {
    let error = match (outcome, aborted) {
        (Outcome::Complete, _) => return streamed(report, None, audit),
        (Outcome::MaxEvents, _) => {
            let bounded = replay::ReasonCode::MaxEvents.as_str();
            return streamed(report, Some(bounded), audit);
        }
        (Outcome::Stopped, None) => {
            report.status = Status::Stopped;
            report.reason = Some(replay::ReasonCode::Stopped.as_str());
            return audit.append(EventKind::StreamStopped, details(report));
        }
        (Outcome::Stopped, Some(aborted)) => aborted,
        (Outcome::Failed(error), _) => Error::from(error),
    };
    // The first failure is the one to report, whatever the audit says.
    let _ = audit.append(EventKind::StreamFailed, failure(&error, report));
    Err(error)
}

fn streamed(
    report: &mut StreamReport,
    reason: Option<&'static str>,
    audit: &mut AuditLog,
) -> Result<(), Error> {
    report.status = Status::Streamed;
    report.reason = reason;
    let outputs = report.per_output.iter();
    let lists = OutputLists::of(outputs.map(|output| (&output.output_id, output.role)));
    let mut streamed = details(report);
    streamed["scenario_id"] = json!(report.scenario_id);
    streamed["output_ids"] = json!(lists.all);
    streamed["traffic_output_ids"] = json!(lists.traffic);
    streamed["context_output_ids"] = json!(lists.context);
    streamed["is_bounded"] = reason.is_some().into();
    audit.append(EventKind::EngineWorldStreamed, streamed)?;
    audit.append(EventKind::StreamComplete, details(report))
}

fn details(report: &StreamReport) -> Value {
    json!({
        "engine_run_root": report.engine_run_root,
        "emitted": report.emitted,
        "quarantined": quarantined(report),
        "status": report.status,
    })
}

/// Makes durable what waits in memory to be written. A bucket that does not answer holds no stop up.
pub(crate) async fn flush_in_time(
    audit: &AuditLog,
    places: &Arc<dyn RunPlaces>,
    ending: &Ending,
    stop_timeout: Duration,
) -> Result<(), Error> {
    let flushing = async {
        let flushed = audit.flush().await;
        if let Err(error) = flush_lists(places).await {
            tracing::warn!(%error, "what the gate quarantined is not listed to the end");
        }
        flushed
    };
    let flushed = ending.unless_overdue(stop_timeout, LAST_TRY, flushing);
    flushed.await.unwrap_or_else(|| audit.overdue())
}
