//! What this crate's errors say as [`Refusal`]s.

use model::{Class, Place, Refusal};

use super::client::ClientError;
use super::direct_client::HealthError;
use super::endpoint::EndpointError;
use super::fault::{FaultKind, PushFault};
use super::not_acknowledged::NotAcknowledged;
use super::reason::ReasonCode;

/// An error of this crate: it has a code, and no place but a field.
trait Coded {
    fn reason(&self) -> ReasonCode;

    fn parameter(&self) -> Option<&'static str> {
        None
    }

    fn may_pass(&self) -> bool {
        false
    }
}

macro_rules! refusals {
    ($($error:ty),+) => {
        $(impl Refusal for $error {
            fn code(&self) -> &'static str {
                self.reason().as_str()
            }

            fn class(&self) -> Class {
                self.reason().class()
            }

            fn place(&self) -> &Place {
                Place::UNKNOWN
            }

            fn field(&self) -> Option<&str> {
                self.parameter()
            }

            fn advice(&self) -> &str {
                self.reason().advice()
            }

            fn is_retryable(&self) -> bool {
                self.may_pass()
            }
        })+
    };
}

refusals!(
    EndpointError,
    ClientError,
    HealthError,
    PushFault,
    NotAcknowledged
);

impl Coded for EndpointError {
    fn reason(&self) -> ReasonCode {
        ReasonCode::IgEndpointInvalid
    }

    fn parameter(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unreadable | Self::SchemeUnsupported | Self::Credentials | Self::Query => "url",
            Self::HeaderUnusable => "header",
            Self::TokenUnusable => "token",
        })
    }
}

impl Coded for ClientError {
    fn reason(&self) -> ReasonCode {
        ReasonCode::IgEndpointInvalid
    }
}

impl Coded for PushFault {
    fn reason(&self) -> ReasonCode {
        match self.kind() {
            FaultKind::Certificate => ReasonCode::IgEndpointInvalid,
            _ => ReasonCode::IgNoAnswer,
        }
    }

    fn may_pass(&self) -> bool {
        self.kind() != FaultKind::Certificate
    }
}

impl Coded for HealthError {
    fn reason(&self) -> ReasonCode {
        match self {
            Self::Client(error) => error.reason(),
            Self::Fault(fault) => fault.reason(),
        }
    }

    fn may_pass(&self) -> bool {
        match self {
            Self::Client(error) => error.may_pass(),
            Self::Fault(fault) => fault.may_pass(),
        }
    }
}

impl Coded for NotAcknowledged {
    fn reason(&self) -> ReasonCode {
        NotAcknowledged::reason(self)
    }

    fn may_pass(&self) -> bool {
        matches!(
            self.reason(),
            ReasonCode::IgPushRetryExhausted | ReasonCode::IgPublishAmbiguous | ReasonCode::Stopped
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::answer::GateRefusal;
    use crate::outcome::{Failure, PushOutcome};

    fn refusal(status: u16) -> GateRefusal {
        GateRefusal {
            status,
            excerpt: "no".to_owned(),
            reason_codes: Vec::new(),
        }
    }

    #[test]
    fn each_outcome_but_an_acknowledgement_is_a_refusal_with_its_code() {
        let attempts = 3;
        let rejected = refusal(422);
        let outcomes = [
            (
                PushOutcome::Rejected {
                    refusal: rejected,
                    attempts,
                },
                "IG_PUSH_REJECTED",
                false,
            ),
            (
                PushOutcome::Unknown(refusal(200)),
                "IG_RESPONSE_UNKNOWN",
                false,
            ),
            (
                PushOutcome::SingledOut {
                    refusal: refusal(500),
                    attempts,
                },
                "IG_PUSH_REJECTED",
                false,
            ),
            (
                PushOutcome::InDoubt {
                    refusal: refusal(500),
                    attempts,
                },
                "IG_PUBLISH_AMBIGUOUS",
                true,
            ),
            (
                PushOutcome::GaveUp {
                    attempts,
                    failing: Duration::from_secs(7),
                    last: Failure::Fault(PushFault::new(FaultKind::Reset)),
                },
                "IG_PUSH_RETRY_EXHAUSTED",
                true,
            ),
            (PushOutcome::Cancelled { maybe_sent: true }, "STOPPED", true),
        ];
        for (outcome, code, is_retryable) in outcomes {
            let refused = outcome.into_decision().unwrap_err();
            let refused: &dyn Refusal = &refused;
            assert_eq!(refused.code(), code, "{refused}");
            assert_eq!(refused.is_retryable(), is_retryable, "{refused}");
            assert!(refused.to_string().ends_with('.'), "{refused}");
        }
    }

    #[test]
    fn what_cannot_be_pushed_to_names_the_parameter_and_a_lost_connection_may_come_back() {
        let refused: &dyn Refusal = &EndpointError::TokenUnusable;
        assert_eq!(refused.code(), "IG_ENDPOINT_INVALID");
        assert_eq!(refused.field(), Some("token"));
        assert_eq!(refused.class(), Class::Usage);
        let lost = HealthError::Fault(PushFault::new(FaultKind::Timeout));
        assert_eq!(
            (lost.code(), Refusal::is_retryable(&lost)),
            ("IG_NO_ANSWER", true)
        );
        let untrusted = PushFault::new(FaultKind::Certificate);
        assert!(!Refusal::is_retryable(&untrusted));
    }
}
