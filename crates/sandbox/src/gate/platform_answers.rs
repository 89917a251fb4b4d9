//! How a gate with a dialect answers a post.

use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;

use super::answer::{self, Answer, Dropped};
use super::dialect::{NoDecision, Posted};
use super::ledger::{Ledger, Verdict};
use super::platform::{Platform, State, receipt};
use crate::Error;

/// What goes wrong with one post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mishap<'a> {
    /// The publish to the bus fails.
    BusFails,
    /// The gate dies while the event is on its way to the bus.
    DiesInFlight,
    /// The gate keeps the event apart, for this reason.
    Quarantines(&'a str),
    /// The post gets no decision.
    Refuses(NoDecision),
}

/// What became of a post, for the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    Admitted,
    Duplicate,
    Quarantined,
    Undecided,
    Faulted,
}

impl Platform {
    /// Answers a post, and says how it counts.
    pub(super) fn answer(
        &self,
        ledger: &Ledger,
        body: &Bytes,
        arrived: (Instant, u32),
        mishap: Option<Mishap<'_>>,
    ) -> (Counted, Result<Answer, Dropped>) {
        let post = Posted::of(body);
        let undecided = |why| (Counted::Undecided, Ok(self.dialect.undecided(why, &post)));
        if let Some(Mishap::Refuses(why)) = mishap {
            return undecided(why);
        }
        if !post.envelope.is_object() {
            return undecided(NoDecision::NotJson);
        }
        if post.text("event_id").is_empty() {
            return undecided(NoDecision::Exception);
        }
        if self.is_unhealthy() {
            return undecided(NoDecision::Unhealthy);
        }
        match self.judge(ledger, body, &post, arrived, mishap) {
            Ok(judged) => judged,
            Err(error) => {
                let status = StatusCode::INSUFFICIENT_STORAGE;
                let answer = answer::refusal(status, error.code().as_str(), &error.to_string());
                (Counted::Faulted, Ok(answer))
            }
        }
    }

    fn judge(
        &self,
        ledger: &Ledger,
        body: &Bytes,
        post: &Posted,
        (arrived, in_hand): (Instant, u32),
        mishap: Option<Mishap<'_>>,
    ) -> Result<(Counted, Result<Answer, Dropped>), Error> {
        let payload_fault = || {
            self.policy
                .as_ref()
                .and_then(|policy| policy.fault_of(post))
        };
        let fault = match mishap {
            Some(Mishap::Quarantines(code)) => Some(code),
            _ if !ledger.is_envelope(body) => Some("ENVELOPE_INVALID"),
            _ => payload_fault(),
        };
        if let Some(code) = fault {
            self.keep(post, State::Quarantined(code.to_owned()))?;
            return Ok(self.quarantined(code, post));
        }
        match self.state_of(post) {
            Some(State::InFlight) => return Ok(self.undecided(NoDecision::InFlight, post)),
            Some(State::Ambiguous) => return Ok(self.undecided(NoDecision::Ambiguous, post)),
            Some(State::Admitted(_) | State::Quarantined(_)) | None => {}
        }
        match mishap {
            Some(Mishap::BusFails) => {
                self.publish_failed(post)?;
                return Ok(self.quarantined("PUBLISH_AMBIGUOUS", post));
            }
            Some(Mishap::DiesInFlight) => {
                self.keep(post, State::InFlight)?;
                return Ok((Counted::Faulted, Err(Dropped::Closed)));
            }
            _ => {}
        }
        let known_offset = match self.state_of(post) {
            Some(State::Admitted(offset)) => Some(offset),
            _ => None,
        };
        Ok(match ledger.judge(body, arrived, in_hand)? {
            Verdict::New => {
                let offset = self.admit(post);
                (
                    Counted::Admitted,
                    Ok(self.decided("ADMIT", None, Some(offset), post)),
                )
            }
            Verdict::Known => {
                let code = Some("DUPLICATE");
                let offset = known_offset.or(Some(0));
                (
                    Counted::Duplicate,
                    Ok(self.decided("DUPLICATE", code, offset, post)),
                )
            }
            Verdict::Invalid(_) => self.quarantined("ENVELOPE_INVALID", post),
        })
    }

    fn undecided(&self, why: NoDecision, post: &Posted) -> (Counted, Result<Answer, Dropped>) {
        (Counted::Undecided, Ok(self.dialect.undecided(why, post)))
    }

    fn quarantined(&self, code: &str, post: &Posted) -> (Counted, Result<Answer, Dropped>) {
        let answer = self.decided("QUARANTINE", Some(code), None, post);
        (Counted::Quarantined, Ok(answer))
    }

    fn decided(
        &self,
        decision: &str,
        code: Option<&str>,
        offset: Option<u64>,
        post: &Posted,
    ) -> Answer {
        let (receipt, receipt_ref) = receipt(decision, code, offset, post);
        self.dialect.decided(decision, receipt, &receipt_ref, post)
    }
}
