//! What an answer of the ingestion gate means.
//!
//! | status | body | verdict |
//! |---|---|---|
//! | 2xx, 400 | a JSON object with a known `decision` | acknowledged, but for the next line |
//! | 2xx, 400 | `decision` QUARANTINE, a reason code PUBLISH_AMBIGUOUS or INTERNAL_ERROR | in doubt |
//! | 2xx | anything else | unknown: the stream stops |
//! | 3xx, 401, 403, 404, 405, 407 | any | rejected: the sender is |
//! | 4xx, 5xx | `error` IG_UNHEALTHY, or `ingress_publish_failed` with a `reason` that begins so | the gate is away |
//! | 4xx, 5xx | `error` is one of the names in `wsp_push.transient_errors` | the gate is away |
//! | 4xx, 5xx | `error` or `reason` PUBLISH_IN_FLIGHT_RETRY or PUBLISH_AMBIGUOUS_RETRY, or `error` retry_required | in doubt |
//! | 429, 503 | any other | backpressure: slow down, no failure |
//! | 408, other 5xx | any other | retried |
//! | other 4xx | any other | rejected: final |
//!
//! *In doubt* is an event of which the gate itself does not know whether it is on its bus. It may
//! never leave that state, and no other event is to blame.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;

use super::client::Answer;
use super::retry_after::RetryAfter;
use super::said::Said;

/// The most characters of an answer's body that a [`GateRefusal`] repeats.
pub const EXCERPT_CHARS: usize = 256;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What the gate decided about an event that it acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// The gate takes the event into the platform.
    Admit,
    /// The gate has the event already; the event counts as delivered.
    Duplicate,
    /// The gate keeps the event apart, durably; the event counts as delivered.
    Quarantine,
}

impl Decision {
    /// Every decision, in the order in which reports list them.
    pub const ALL: [Self; 3] = [Self::Admit, Self::Duplicate, Self::Quarantine];

    /// The decision as the gate spells it, for example `ADMIT`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admit => "ADMIT",
            Self::Duplicate => "DUPLICATE",
            Self::Quarantine => "QUARANTINE",
        }
    }
}

/// What an acknowledgement says beside its decision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnswerDetails {
    /// The reason codes of the body, wherever they are in it; empty if there are none.
    pub reason_codes: Vec<String>,
    /// The place of the gate's receipt; `None` if the body names none.
    pub receipt_ref: Option<String>,
    /// The body of the answer.
    pub body: Bytes,
}

impl AnswerDetails {
    /// What the body of an answer says.
    pub(crate) fn of(answer: &Answer) -> Self {
        let said = Said::of(text_of(answer));
        Self {
            reason_codes: said.reason_codes.iter().map(|code| escaped(code)).collect(),
            receipt_ref: said.receipt_ref.as_deref().map(escaped),
            body: answer.body.clone(),
        }
    }
}

/// The status of a [`GateRefusal`] without an answer, where the connection failed on the event.
pub const NO_ANSWER: u16 = 0;

/// An answer that is no acknowledgement: its status and how its body begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateRefusal {
    /// HTTP status; [`NO_ANSWER`] if no answer came, and `excerpt` then says why.
    pub status: u16,
    /// The first [`EXCERPT_CHARS`] characters of the body, control characters escaped.
    pub excerpt: String,
    /// The reason codes of the body, wherever they are in it; empty if there are none.
    pub reason_codes: Vec<String>,
}

impl GateRefusal {
    /// Whether the gate would refuse every event of this sender: 401, 403, 404, 405, 407 and
    /// redirects.
    pub fn judges_the_sender(&self) -> bool {
        matches!(self.status, 300..=399 | 401 | 403 | 404 | 405 | 407)
    }
}

impl fmt::Display for GateRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.status == NO_ANSWER {
            return f.write_str(&self.excerpt);
        }
        write!(f, "HTTP {}: {}", self.status, self.excerpt)?;
        // The codes may stand behind what the excerpt shows.
        let is_hidden = |code: &&String| !self.excerpt.contains(code.as_str());
        let mut hidden = self.reason_codes.iter().filter(is_hidden);
        if let Some(first) = hidden.next() {
            write!(f, " (reason codes: {first}")?;
            hidden.try_for_each(|code| write!(f, ", {code}"))?;
            f.write_str(")")?;
        }
        Ok(())
    }
}

/// What an answer means for the event that was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The gate has it.
    Acknowledged(Decision),
    /// The gate asks for less (429, 503): wait, then push again.
    Backpressure {
        /// How long the gate asks to wait.
        retry_after: Option<RetryAfter>,
        /// The answer.
        refusal: GateRefusal,
    },
    /// The gate failed (408, 5xx): push again.
    Retry(GateRefusal),
    /// The gate says that it takes no event at all: push again.
    Away(GateRefusal),
    /// The gate does not know whether the event is on its bus: push again, and it may find out.
    InDoubt(GateRefusal),
    /// The gate will not have it. Final.
    Rejected(GateRefusal),
    /// A whole 2xx answer without a decision: nobody knows what became of the event.
    Unknown(GateRefusal),
}

/// Judges an answer; `transient_errors` are more values of its `error` field by which this gate
/// says that it is away.
pub(crate) fn judge(answer: &Answer, transient_errors: &[String]) -> Verdict {
    let decision = match answer.status {
        200..=299 | 400 => decision(answer),
        _ => None,
    };
    if let Some(decision @ (Decision::Admit | Decision::Duplicate)) = decision {
        return Verdict::Acknowledged(decision);
    }
    let said = Said::of(text_of(answer));
    if let Some(decision) = decision {
        return if IN_DOUBT_CODES.iter().any(|code| said.has_code(code)) {
            Verdict::InDoubt(refusal(answer, &said))
        } else {
            Verdict::Acknowledged(decision)
        };
    }
    let refusal = refusal(answer, &said);
    match answer.status {
        200..=299 => Verdict::Unknown(refusal),
        _ if refusal.judges_the_sender() => Verdict::Rejected(refusal),
        400..=599 if says_away(&said, transient_errors) => Verdict::Away(refusal),
        400..=599 if says_in_doubt(&said) => Verdict::InDoubt(refusal),
        429 | 503 => Verdict::Backpressure {
            retry_after: answer.retry_after,
            refusal,
        },
        408 | 500..=599 => Verdict::Retry(refusal),
        _ => Verdict::Rejected(refusal),
    }
}

/// Reason codes of a gate's quarantine that say nothing about the event.
const IN_DOUBT_CODES: [&str; 2] = ["PUBLISH_AMBIGUOUS", "INTERNAL_ERROR"];
/// How a gate says that a repeat came too early to know more.
const IN_DOUBT: [&str; 2] = ["PUBLISH_IN_FLIGHT_RETRY", "PUBLISH_AMBIGUOUS_RETRY"];
const UNHEALTHY: &str = "IG_UNHEALTHY";

fn says_away(said: &Said, transient_errors: &[String]) -> bool {
    let Some(error) = said.error.as_deref() else {
        return false;
    };
    let reason = said.reason.as_deref().unwrap_or_default();
    error == UNHEALTHY
        || error == "ingress_publish_failed" && reason.starts_with(UNHEALTHY)
        || transient_errors.iter().any(|name| name == error)
}

fn says_in_doubt(said: &Said) -> bool {
    let is_one = |text: &Option<String>| {
        let text = text.as_deref();
        text.is_some_and(|text| IN_DOUBT.contains(&text))
    };
    is_one(&said.error) || is_one(&said.reason) || said.error.as_deref() == Some("retry_required")
}

/// The answer as a refusal: what it names first, then how its body begins.
fn refusal(answer: &Answer, said: &Said) -> GateRefusal {
    let mut refusal = GateRefusal {
        status: answer.status,
        excerpt: excerpt(&answer.body),
        reason_codes: said.reason_codes.iter().map(|code| escaped(code)).collect(),
    };
    if let Some(location) = &answer.location {
        refusal.excerpt = format!("Location: {} {}", excerpt(location), refusal.excerpt);
    }
    refusal
}

/// The body without a byte order mark, which RFC 8259, section 8.1, allows a reader to pass over.
fn text_of(answer: &Answer) -> &[u8] {
    let body = &answer.body;
    body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)
}

fn decision(answer: &Answer) -> Option<Decision> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        decision: Cow<'a, str>,
    }
    // serde reads a struct from a JSON array too; only an object is an answer.
    let body = text_of(answer);
    if answer.overlong || !body.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let body: Body<'_> = serde_json::from_slice(body).ok()?;
    Decision::ALL
        .into_iter()
        .find(|decision| decision.as_str() == body.decision)
}

fn excerpt(body: &[u8]) -> String {
    // No character takes more than four bytes.
    let beginning = &body[..body.len().min(4 * EXCERPT_CHARS)];
    escaped(&String::from_utf8_lossy(beginning))
}

/// The first [`EXCERPT_CHARS`] characters, those spelled out that a terminal would obey or hide.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars().take(EXCERPT_CHARS) {
        if c.is_control() || is_invisible(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Whether a character changes how a text reads and is not seen itself: marks of byte order and
/// direction, joiners, soft hyphens.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, body: &[u8]) -> Answer {
        Answer {
            status,
            retry_after: None,
            body: Bytes::copy_from_slice(body),
            overlong: false,
            location: None,
        }
    }

    fn verdict(status: u16, body: &str) -> Verdict {
        judge(&answer(status, body.as_bytes()), &[])
    }

    #[test]
    fn a_2xx_with_a_known_decision_is_an_acknowledgement() {
        for (body, decision) in [
            (r#"{"decision":"ADMIT"}"#, Decision::Admit),
            (
                r#" {"receipt":{"a":[1]},"decision":"DUPLICATE","n":1} "#,
                Decision::Duplicate,
            ),
            ("\n{\"decision\":\"QUARANTINE\"}\n", Decision::Quarantine),
            (r#"{"decision":"\u0041DMIT"}"#, Decision::Admit),
            ("\u{feff}{\"decision\":\"ADMIT\"}", Decision::Admit),
        ] {
            assert_eq!(
                verdict(200, body),
                Verdict::Acknowledged(decision),
                "{body}"
            );
            assert_eq!(
                verdict(202, body),
                Verdict::Acknowledged(decision),
                "{body}"
            );
        }
    }

    #[test]
    fn a_2xx_without_a_known_decision_is_unknown() {
        for body in [
            "",
            "OK",
            "null",
            "{}",
            r#""ADMIT""#,
            r#"["ADMIT"]"#,
            r#"{"decision":"admit"}"#,
            r#"{"decision":"REJECT"}"#,
            r#"{"decision":null}"#,
            r#"{"decision":["ADMIT"]}"#,
            r#"{"decision":{"ADMIT":null}}"#,
            r#"{"decision":"ADMIT","decision":"ADMIT"}"#,
            r#"{"decision":"ADMIT"} trailing"#,
            r#"{"decision":"ADMIT""#,
            r#"{"body":{"decision":"ADMIT"}}"#,
        ] {
            assert!(matches!(verdict(200, body), Verdict::Unknown(_)), "{body}");
        }
    }

    #[test]
    fn the_beginning_of_an_overlong_answer_is_no_acknowledgement() {
        let mut answer = answer(200, br#"{"decision":"ADMIT"}"#);
        answer.overlong = true;
        assert!(matches!(judge(&answer, &[]), Verdict::Unknown(_)));
    }

    #[test]
    fn every_status_has_its_verdict() {
        let admit = r#"{"decision":"ADMIT"}"#;
        for status in 100..=999 {
            let verdict = verdict(status, admit);
            let as_expected = match status {
                200..=299 | 400 => verdict == Verdict::Acknowledged(Decision::Admit),
                429 | 503 => matches!(verdict, Verdict::Backpressure { .. }),
                408 | 500..=599 => matches!(verdict, Verdict::Retry(_)),
                _ => matches!(verdict, Verdict::Rejected(_)),
            };
            assert!(as_expected, "{status}: {verdict:?}");
        }
    }

    /// What an answer of the platform's gates comes to, in a word.
    fn word(status: u16, body: &str) -> &'static str {
        match verdict(status, body) {
            Verdict::Acknowledged(decision) => decision.as_str(),
            Verdict::Backpressure { .. } => "slow down",
            Verdict::Retry(_) => "failed",
            Verdict::Away(_) => "away",
            Verdict::InDoubt(_) => "in doubt",
            Verdict::Rejected(refusal) if refusal.judges_the_sender() => "sender",
            Verdict::Rejected(_) => "refused",
            Verdict::Unknown(_) => "unknown",
        }
    }

    #[test]
    fn every_answer_of_the_platforms_gates_is_judged_by_what_it_means() {
        let quarantine = |code: &str| {
            format!(
                r#"{{"decision":"QUARANTINE","receipt":{{"reason_codes":["{code}"]}},"receipt_ref":"r/1"}}"#
            )
        };
        let (schema, ambiguous, internal) = (
            quarantine("SCHEMA_FAIL"),
            quarantine("PUBLISH_AMBIGUOUS"),
            quarantine("INTERNAL_ERROR"),
        );
        let said =
            |error: &str, reason: &str| format!(r#"{{"error":"{error}","reason":"{reason}"}}"#);
        let admit = r#"{"decision":"ADMIT","receipt":{"pins":{}},"receipt_ref":"r/1"}"#;
        let (of_local, of_edge) = (
            [
                (200, admit, "ADMIT"),
                (200, r#"{"decision":"DUPLICATE"}"#, "DUPLICATE"),
                (200, &schema, "QUARANTINE"),
                (200, &ambiguous, "in doubt"),
                (200, &internal, "in doubt"),
                (400, r#"{"error":"PUBLISH_IN_FLIGHT_RETRY"}"#, "in doubt"),
                (400, r#"{"error":"PUBLISH_AMBIGUOUS_RETRY"}"#, "in doubt"),
                (400, r#"{"error":"IG_UNHEALTHY"}"#, "away"),
                (401, r#"{"error":"UNAUTHORIZED"}"#, "sender"),
                (429, r#"{"error":"RATE_LIMITED"}"#, "slow down"),
                (
                    400,
                    "<!doctype html><title>400 Bad Request</title>",
                    "refused",
                ),
                (500, r#"{"error":"INTERNAL_ERROR"}"#, "failed"),
            ],
            [
                (202, admit, "ADMIT"),
                (
                    202,
                    r#"{"decision":"DUPLICATE","body_size_bytes":9}"#,
                    "DUPLICATE",
                ),
                (400, &schema, "QUARANTINE"),
                (400, &ambiguous, "in doubt"),
                (
                    503,
                    &said("retry_required", "PUBLISH_IN_FLIGHT_RETRY"),
                    "in doubt",
                ),
                (
                    503,
                    &said("retry_required", "PUBLISH_AMBIGUOUS_RETRY"),
                    "in doubt",
                ),
                (
                    503,
                    &said("ingress_publish_failed", "IG_UNHEALTHY:bus"),
                    "away",
                ),
                (
                    503,
                    &said("ingress_publish_failed", "KeyError"),
                    "slow down",
                ),
                (401, &said("unauthorized", "missing_api_key"), "sender"),
                (429, "", "slow down"),
                (413, r#"{"error":"payload_too_large"}"#, "refused"),
                (503, "", "slow down"),
            ],
        );
        for (status, body, meaning) in of_local.into_iter().chain(of_edge) {
            assert_eq!(word(status, body), meaning, "{status} {body}");
        }
    }

    #[test]
    fn what_says_nothing_of_the_kind_is_judged_by_its_status() {
        for (status, body, meaning) in [
            (409, r#"{"error":"CONFLICT"}"#, "refused"),
            (422, r#"{"error":"IG_HEALTHY"}"#, "refused"),
            (422, r#"{"decision":"ADMIT"}"#, "refused"),
            (400, r#"{"decision":"REJECT"}"#, "refused"),
            (400, r#"{"reason":"IG_UNHEALTHY"}"#, "refused"),
            (400, r#"{"detail":{"error":"IG_UNHEALTHY"}}"#, "refused"),
            (502, r#"{"error":"IG_UNHEALTHY"}"#, "away"),
            (403, r#"{"error":"IG_UNHEALTHY"}"#, "sender"),
            (200, r#"{"error":"IG_UNHEALTHY"}"#, "unknown"),
            (409, r#"{"error":"PUBLISH_IN_FLIGHT_RETRY"}"#, "in doubt"),
            (408, "", "failed"),
        ] {
            assert_eq!(word(status, body), meaning, "{status} {body}");
        }
    }

    #[test]
    fn a_refusal_names_reason_codes_that_stand_behind_its_excerpt() {
        let body = format!(
            r#"{{"payload":"{}","receipt":{{"reason_codes":["SCHEMA_FAIL","\u001bX"]}}}}"#,
            "x".repeat(300)
        );
        let Verdict::Rejected(refusal) = verdict(422, &body) else {
            panic!("a 422 is a rejection")
        };
        assert_eq!(refusal.reason_codes, ["SCHEMA_FAIL", r"\u{1b}X"]);
        let text = refusal.to_string();
        assert!(
            text.ends_with(r"(reason codes: SCHEMA_FAIL, \u{1b}X)"),
            "{text}"
        );
    }

    #[test]
    fn only_what_would_refuse_every_event_judges_the_sender() {
        let judging: Vec<u16> = (100..=999)
            .filter(|&status| {
                GateRefusal {
                    status,
                    excerpt: String::new(),
                    reason_codes: Vec::new(),
                }
                .judges_the_sender()
            })
            .filter(|status| !(300..=399).contains(status))
            .collect();
        assert_eq!(judging, [401, 403, 404, 405, 407]);
        assert!(
            GateRefusal {
                status: 302,
                excerpt: String::new(),
                reason_codes: Vec::new(),
            }
            .judges_the_sender()
        );
    }

    #[test]
    fn a_redirect_names_its_location_and_what_is_invisible_is_spelled_out() {
        let mut redirect = answer(307, b"\xef\xbb\xbfgo");
        redirect.location = Some(Bytes::from_static(b"https://other/\x1b"));
        let Verdict::Rejected(refusal) = judge(&redirect, &[]) else {
            panic!("a redirect is a rejection")
        };
        let said = r"HTTP 307: Location: https://other/\u{1b} \u{feff}go";
        assert_eq!(refusal.to_string(), said);
    }

    #[test]
    fn control_characters_never_reach_a_terminal() {
        let Verdict::Rejected(refusal) = verdict(400, "\u{1b}[2J\r\nbad\u{9b}\0") else {
            panic!("a 400 is a rejection")
        };
        assert_eq!(
            refusal.to_string(),
            r"HTTP 400: \u{1b}[2J\r\nbad\u{9b}\u{0}"
        );
    }

    proptest! {
        #[test]
        fn an_excerpt_is_the_first_256_characters(text in "[ -~é字😀]{0,600}") {
            let expected: String = text.chars().take(EXCERPT_CHARS).collect();
            prop_assert_eq!(excerpt(text.as_bytes()), expected);
        }

        #[test]
        fn no_body_panics_or_leaks_a_control_character(
            body in proptest::collection::vec(any::<u8>(), 0..2000)
        ) {
            let text = excerpt(&body);
            prop_assert!(!text.chars().any(char::is_control));
            judge(&answer(200, &body), &[]);
        }
    }
}
