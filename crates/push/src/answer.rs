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
mod tests;
