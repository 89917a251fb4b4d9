//! The report of each run, kept with the records of its platform run.

use std::io::{self, ErrorKind};
use std::time::Duration;

use envelope::PlatformRunId;
use oracle_store::Posture;
use replay::Ending;

use crate::blocking::blocking;
use crate::clock::Surroundings;
use crate::profile::request::StreamRequest;
use crate::run::failure::StreamFailure;
use crate::run::places::places_of;
use crate::run::prepare::Prepared;
use crate::run::refusal::writable_run;
use crate::run::report::StreamReport;
use crate::{Error, clock::SharedClock};

/// How long places that do not answer may keep the report of a run back.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long they may keep a run back that was stopped and is overdue.
const GRACE: Duration = Duration::from_secs(1);

/// What it takes to keep the report of a run.
pub(crate) struct ReportKeeping {
    request: StreamRequest,
    session: String,
    clock: SharedClock,
    ending: Ending,
    /// The platform run, once events may have been sent under it.
    run: Option<PlatformRunId>,
}

impl ReportKeeping {
    /// The report of a session, of a run that has not begun: it is kept if its platform run is
    /// named.
    pub(crate) fn new(
        request: &StreamRequest,
        session: String,
        surroundings: &Surroundings,
        ending: &Ending,
    ) -> Self {
        Self {
            request: request.clone(),
            session,
            clock: surroundings.clock.clone(),
            ending: ending.clone(),
            run: None,
        }
    }

    /// Notes that the run has begun under a platform run.
    pub(crate) fn has_begun(&mut self, prepared: &Prepared) {
        self.run = Some(prepared.run.clone());
    }

    /// Keeps the report of a run, and gives the run's end back. In strict posture, a run that went
    /// well and whose report cannot be kept becomes a failed one (`AUDIT_UNWRITABLE`); in local
    /// posture it is warned of.
    pub(crate) async fn keep(
        self,
        ended: Result<StreamReport, StreamFailure>,
    ) -> Result<StreamReport, StreamFailure> {
        let (clock, ending) = (self.clock.clone(), self.ending.clone());
        let profile = &self.request.profile;
        let limit = profile.push.lanes.drain_timeout + profile.checkpoint.save_timeout;
        let report = match &ended {
            Ok(report) => report,
            Err(failure) => failure.report(),
        };
        let kept = match serde_json::to_vec(report) {
            Ok(text) => {
                let writing = Box::pin(clock.timeout(PATIENCE, self.write(text)));
                let kept = ending.unless_overdue(limit, GRACE, writing).await;
                kept.unwrap_or_else(|| Ok(Err(unwritable(io::Error::from(ErrorKind::TimedOut)))))
            }
            Err(error) => Ok(Err(unwritable(error))),
        };
        let error = match kept {
            Ok(Ok(())) => return ended,
            Ok(Err(error)) => error,
            Err(elapsed) => unwritable(elapsed),
        };
        match ended {
            Ok(report) if report.posture == Posture::Strict => {
                Err(StreamFailure::new(report, error))
            }
            ended => {
                tracing::warn!(%error, "the report of this run is not kept");
                ended
            }
        }
    }

    async fn write(self, mut text: Vec<u8>) -> Result<(), Error> {
        text.push(b'\n');
        blocking(move || {
            let Some(run) = self.run.or_else(|| writable_run(&self.request)) else {
                return Ok(());
            };
            let places = places_of(&self.request)?;
            let kept = places.keep_report(&run, &self.session, &text);
            kept.map_err(unwritable)
        })
        .await
    }
}

fn unwritable(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    let error = replay::Error::caused(
        replay::ReasonCode::AuditUnwritable,
        "The report of the run cannot be kept with its platform run",
        "Make `wiring.wsp_audit.root` a folder or a bucket that can be written.",
        source,
    );
    error.into()
}
