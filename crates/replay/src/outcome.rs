//! How a run ended, all of its parts heard: whoever reports it asks here, so that none of them
//! hides a failure behind a stop (law 14).

use crate::ending::Cause;
use crate::lead::dispatch::DispatchEnd;
use crate::{Error, ReasonCode};

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// Every event was handed over and answered.
    Complete,
    /// As many events as the run was bounded to were handed over and answered.
    MaxEvents,
    /// A signal or the caller ended the run in good order before its last event.
    Stopped,
    /// A part of the run failed; the first failure.
    Failed(Error),
}

impl Outcome {
    /// Decides how a run ended.
    ///
    /// `cause` is what [`Ending::take_cause`](crate::Ending::take_cause) answers, `end` how handing
    /// over ended, and `verdict` what [`Kept::verdict`](crate::Kept::verdict) says of events that were
    /// all answered. A failure is the outcome also where a stop was asked for, before it or after
    /// it.
    pub fn of(cause: Option<Cause>, end: DispatchEnd, verdict: Option<Error>) -> Self {
        match (cause, end, verdict) {
            (Some(Cause::Failed(error)), ..) => Self::Failed(error),
            // A read that a stop has cut short is no failure.
            (_, DispatchEnd::Failed(error), _) if error.code() != ReasonCode::Stopped.as_str() => {
                Self::Failed(error)
            }
            (_, DispatchEnd::Complete | DispatchEnd::MaxEvents, Some(verdict)) => {
                Self::Failed(verdict)
            }
            (Some(Cause::Asked), ..)
            | (None, DispatchEnd::WoundDown | DispatchEnd::Failed(_), _) => Self::Stopped,
            (None, DispatchEnd::MaxEvents, None) => Self::MaxEvents,
            (None, DispatchEnd::Complete, None) => Self::Complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn died(what: &'static str) -> Error {
        Error::ended_early(what)
    }

    fn stopped() -> Error {
        crate::stopped()
    }

    #[test]
    fn a_failure_is_the_outcome_whatever_was_asked_for_and_a_read_cut_short_is_none() {
        type Ended = (
            fn() -> Option<Cause>,
            fn() -> DispatchEnd,
            fn() -> Option<Error>,
        );
        let asked: fn() -> Option<Cause> = || Some(Cause::Asked);
        let runs: [(&str, Ended); 12] = [
            ("Complete", (|| None, || DispatchEnd::Complete, || None)),
            ("MaxEvents", (|| None, || DispatchEnd::MaxEvents, || None)),
            ("Stopped", (|| None, || DispatchEnd::WoundDown, || None)),
            ("Stopped", (asked, || DispatchEnd::Complete, || None)),
            ("Stopped", (asked, || DispatchEnd::WoundDown, || None)),
            (
                "Stopped",
                (asked, || DispatchEnd::Failed(stopped()), || None),
            ),
            (
                "Stopped",
                (|| None, || DispatchEnd::Failed(stopped()), || None),
            ),
            (
                "read",
                (asked, || DispatchEnd::Failed(died("read")), || None),
            ),
            (
                "read",
                (|| None, || DispatchEnd::Failed(died("read")), || None),
            ),
            (
                "cause",
                (
                    || Some(Cause::Failed(died("cause"))),
                    || DispatchEnd::Failed(died("read")),
                    || Some(died("verdict")),
                ),
            ),
            (
                "verdict",
                (|| None, || DispatchEnd::Complete, || Some(died("verdict"))),
            ),
            (
                "verdict",
                (asked, || DispatchEnd::MaxEvents, || Some(died("verdict"))),
            ),
        ];
        for (expected, (cause, end, verdict)) in runs {
            let outcome = Outcome::of(cause(), end(), verdict());
            let said = match &outcome {
                Outcome::Failed(error) => error.to_string(),
                other => format!("{other:?}"),
            };
            assert!(said.contains(expected), "{expected}: {said}");
        }
    }
}
