//! What an answer of the ingestion gate means.
//!
//! | status | body | verdict |
//! |---|---|---|
//! | 2xx | a JSON object with a known `decision` | acknowledged |
//! | 2xx | anything else | unknown: the stream stops |
//! | 429, 503 | any | backpressure: slow down, no failure |
//! | 408, other 5xx | any | retried |
//! | others, redirects included | any | rejected: final |

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;

use super::client::Answer;
use super::retry_after::RetryAfter;

/// Characters of a body that a refusal repeats.
pub const EXCERPT_CHARS: usize = 256;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What the gate decided about an event that it has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Taken into the platform.
    Admit,
    /// Known already; counts as delivered.
    Duplicate,
    /// Set aside by the gate, durably.
    Quarantine,
}

impl Decision {
    /// Every decision, in the order in which reports list them.
    pub const ALL: [Self; 3] = [Self::Admit, Self::Duplicate, Self::Quarantine];

    /// As the gate spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admit => "ADMIT",
            Self::Duplicate => "DUPLICATE",
            Self::Quarantine => "QUARANTINE",
        }
    }
}

/// The status of a refusal without an answer: the connection failed on the event.
pub const NO_ANSWER: u16 = 0;

/// An answer that is no acknowledgement: its status and how its body begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status; [`NO_ANSWER`] if the connection failed, and `excerpt` then says how.
    pub status: u16,
    /// The first [`EXCERPT_CHARS`] characters of the body, control characters escaped.
    pub excerpt: String,
}

impl Refusal {
    /// Whether the answer judges the sender and not the event: the next event would be refused
    /// just so (401, 403, 404, 405, 407 and redirects).
    pub fn judges_the_sender(&self) -> bool {
        matches!(self.status, 300..=399 | 401 | 403 | 404 | 405 | 407)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.status == NO_ANSWER {
            return f.write_str(&self.excerpt);
        }
        write!(f, "HTTP {}: {}", self.status, self.excerpt)
    }
}

/// What an answer means for the event that was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The gate has it.
    Acknowledged(Decision),
    /// The gate asks for less (429, 503): wait, then push again.
    Backpressure {
        /// How long the gate asks to wait.
        retry_after: Option<RetryAfter>,
        /// The answer.
        refusal: Refusal,
    },
    /// The gate failed (408, 5xx): push again.
    Retry(Refusal),
    /// The gate will not have it. Final.
    Rejected(Refusal),
    /// A whole 2xx answer without a decision: nobody knows what became of the event.
    Unknown(Refusal),
}

/// The verdict on `answer`.
pub fn judge(answer: &Answer) -> Verdict {
    if let 200..=299 = answer.status
        && let Some(decision) = decision(answer)
    {
        return Verdict::Acknowledged(decision);
    }
    let mut refusal = Refusal {
        status: answer.status,
        excerpt: excerpt(&answer.body),
    };
    if let Some(location) = &answer.location {
        refusal.excerpt = format!("Location: {} {}", excerpt(location), refusal.excerpt);
    }
    match answer.status {
        200..=299 => Verdict::Unknown(refusal),
        429 | 503 => Verdict::Backpressure {
            retry_after: answer.retry_after,
            refusal,
        },
        408 | 500..=599 => Verdict::Retry(refusal),
        _ => Verdict::Rejected(refusal),
    }
}

fn decision(answer: &Answer) -> Option<Decision> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        decision: Cow<'a, str>,
    }
    // serde reads a struct from a JSON array too; only an object is an answer.
    // RFC 8259, section 8.1: a reader may pass over a byte order mark.
    let body = answer
        .body
        .strip_prefix(BYTE_ORDER_MARK)
        .unwrap_or(&answer.body);
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
    let mut excerpt = String::new();
    for c in String::from_utf8_lossy(beginning)
        .chars()
        .take(EXCERPT_CHARS)
    {
        if c.is_control() || is_invisible(c) {
            excerpt.extend(c.escape_default());
        } else {
            excerpt.push(c);
        }
    }
    excerpt
}

/// Whether a character changes how a text reads and is not seen itself: marks of byte order and
/// direction, joiners, soft hyphens.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
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
        judge(&answer(status, body.as_bytes()))
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
        assert!(matches!(judge(&answer), Verdict::Unknown(_)));
    }

    #[test]
    fn every_status_has_its_verdict() {
        let admit = r#"{"decision":"ADMIT"}"#;
        for status in 100..=999 {
            let verdict = verdict(status, admit);
            let as_expected = match status {
                200..=299 => verdict == Verdict::Acknowledged(Decision::Admit),
                429 | 503 => matches!(verdict, Verdict::Backpressure { .. }),
                408 | 500..=599 => matches!(verdict, Verdict::Retry(_)),
                _ => matches!(verdict, Verdict::Rejected(_)),
            };
            assert!(as_expected, "{status}: {verdict:?}");
        }
    }

    #[test]
    fn only_what_would_refuse_every_event_judges_the_sender() {
        let judging: Vec<u16> = (100..=999)
            .filter(|&status| {
                Refusal {
                    status,
                    excerpt: String::new(),
                }
                .judges_the_sender()
            })
            .filter(|status| !(300..=399).contains(status))
            .collect();
        assert_eq!(judging, [401, 403, 404, 405, 407]);
        assert!(
            Refusal {
                status: 302,
                excerpt: String::new()
            }
            .judges_the_sender()
        );
    }

    #[test]
    fn a_redirect_names_its_location_and_what_is_invisible_is_spelled_out() {
        let mut redirect = answer(307, b"\xef\xbb\xbfgo");
        redirect.location = Some(Bytes::from_static(b"https://other/\x1b"));
        let Verdict::Rejected(refusal) = judge(&redirect) else {
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
            judge(&answer(200, &body));
        }
    }
}
