//! Fault rules as text, for a command line.
//!
//! ```text
//! KIND[:ARGUMENT][,CONDITION]…
//!
//! status:503,retry-after=2,next=10      status:500,store,p=0.1
//! delay:50,p=0.5                        stall:60000,next=1
//! drop,p=0.01                           drop-after-storing,next=1
//! reset,skip=100,next=5                 reset,store
//! truncate  garbage  no-decision        redirect:http://elsewhere/
//! status:422,share=0.02
//! trickle:100                           quarantine,id=<hex64>
//!
//! With a dialect:
//! quarantine:SCHEMA_FAIL,share=0.1      bus-failure,next=5
//! in-flight,next=1                      unhealthy,for=8000    unhealthy,until-restart
//! exception  unauthorized  rate-limited  too-large
//! ```
//!
//! Conditions: `skip=POSTS`, `next=POSTS`, `p=CHANCE`, `after=MS`, `for=MS`, `share=SHARE` of
//! all events, `id=HEX64` (may be repeated). What starts with `{` is read as the JSON of
//! [`FaultRule`]. For `status` also `retry-after=S`, `retry-after-date=S` and `store`; `store`
//! for `stall` and `reset` too. Times without a unit are milliseconds.

use std::str::FromStr;

use super::{Fault, FaultRule, RetryAfter, When};
use crate::Error;

impl FromStr for FaultRule {
    type Err = Error;

    fn from_str(rule: &str) -> Result<Self, Error> {
        let parsed = if rule.starts_with('{') {
            serde_json::from_str(rule).map_err(|error| error.to_string())
        } else {
            parse(rule)
        };
        parsed.map_err(|detail| Error::FaultInvalid {
            rule: rule.to_owned(),
            detail,
        })
    }
}

fn parse(rule: &str) -> Result<FaultRule, String> {
    let mut words = rule.split(',').map(str::trim);
    let mut fault = kind(words.next().unwrap_or_default())?;
    let mut when = When::default();
    for word in words {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match (name, &mut fault) {
            ("skip", _) => when.skip = Some(number(value)?),
            ("next", _) => when.next = Some(number(value)?),
            ("p", _) => when.probability = Some(number(value)?),
            ("after", _) => when.after_ms = Some(number(value)?),
            ("for", _) => when.for_ms = Some(number(value)?),
            ("share", _) => when.share = Some(number(value)?),
            ("id", _) => when.event_ids.push(value.to_owned()),
            ("retry-after", Fault::Status { retry_after, .. }) => {
                *retry_after = Some(RetryAfter::Seconds(number(value)?));
            }
            ("retry-after-date", Fault::Status { retry_after, .. }) => {
                *retry_after = Some(RetryAfter::DateIn(number(value)?));
            }
            (
                "store",
                Fault::Status { store, .. } | Fault::Stall { store, .. } | Fault::Reset { store },
            ) => *store = true,
            ("until-restart", Fault::Unhealthy { until_restart }) => *until_restart = true,
            _ => return Err(format!("'{word}' is no condition of it")),
        }
    }
    Ok(FaultRule { fault, when })
}

fn kind(word: &str) -> Result<Fault, String> {
    let (name, argument) = word.split_once(':').unwrap_or((word, ""));
    Ok(match name {
        "status" => Fault::Status {
            code: number(argument)?,
            retry_after: None,
            body: None,
            store: false,
        },
        "delay" => Fault::Delay {
            ms: number(argument)?,
        },
        "stall" => Fault::Stall {
            ms: number(argument)?,
            store: false,
        },
        "drop" => Fault::DropBeforeReading,
        "drop-after-storing" => Fault::DropAfterStoring,
        "reset" => Fault::Reset { store: false },
        "truncate" => Fault::TruncateAnswer,
        "garbage" => Fault::GarbageAnswer,
        "no-decision" => Fault::NoDecision,
        "redirect" => Fault::Redirect {
            location: argument.to_owned(),
        },
        "trickle" => Fault::Trickle {
            ms_per_byte: number(argument)?,
        },
        "quarantine" if argument.is_empty() => Fault::Quarantine,
        "quarantine" => Fault::QuarantineFor {
            reason_code: argument.to_owned(),
        },
        "bus-failure" => Fault::BusFailure,
        "in-flight" => Fault::InFlight,
        "unhealthy" => Fault::Unhealthy {
            until_restart: false,
        },
        "exception" => Fault::Exception,
        "unauthorized" => Fault::Unauthorized,
        "rate-limited" => Fault::RateLimited,
        "too-large" => Fault::TooLarge,
        _ => return Err(format!("there is no fault '{name}'")),
    })
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("'{text}' is not a number that fits"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_as_text_says_what_and_when() {
        let rule: FaultRule =
            "status:503,retry-after=2,skip=5,next=10,p=0.5,after=100,for=200,share=0.25,store,id=ab"
                .parse()
                .unwrap();
        let retry_after = Some(RetryAfter::Seconds(2));
        assert_eq!(
            rule.fault,
            Fault::Status {
                code: 503,
                retry_after,
                body: None,
                store: true
            }
        );
        let when = When {
            skip: Some(5),
            next: Some(10),
            probability: Some(0.5),
            after_ms: Some(100),
            for_ms: Some(200),
            event_ids: vec!["ab".to_owned()],
            share: Some(0.25),
        };
        assert_eq!(rule.when, when);
    }

    #[test]
    fn a_rule_as_json_says_the_same() {
        let text: FaultRule = "status:429,retry-after-date=3,next=2".parse().unwrap();
        let json = serde_json::to_string(&text).unwrap();
        assert_eq!(json.parse::<FaultRule>().unwrap(), text);
    }

    #[test]
    fn a_rule_that_is_not_understood_is_refused() {
        for rule in [
            "",
            "explode",
            "status",
            "status:abc",
            "delay:5,store",
            "drop,nxt=3",
            "drop,p=x",
        ] {
            let error = rule.parse::<FaultRule>().unwrap_err();
            assert_eq!(error.code().as_str(), "SANDBOX_FAULT_INVALID", "{rule}");
            assert!(error.to_string().contains(rule), "{error}");
        }
    }
}
