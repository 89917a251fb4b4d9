//! One look at *your* world and *your* gate: what works, what does not, what to do about it.
//!
//! Nothing is pushed unless it is asked for. What is pushed then goes under a platform run that
//! was named for it, with cursors in memory: no stored cursor is read for it or touched.

use std::sync::Arc;

use checkpoint::MemoryStore;
use push::{Answer, ask_health};
use replay::Bounds;
use serde::Serialize;

use crate::clock::Surroundings;
use crate::profile::Profile;
use crate::profile::request::StreamRequest;
use crate::run::backends::{ProfileClient, push_client, push_endpoint};
use crate::run::failure::StreamFailure;
use crate::run::outline::{Outline, sketch};
use crate::run::report::{Status, StreamReport};
use crate::run::stream::Stream;
use crate::{Error, ReasonCode};

/// What is looked at, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Subject {
    /// Evidence, order, memory and file handles, cursors and their store: all that `plan` looks at.
    World,
    /// Whether each output goes on from a cursor, or begins.
    Cursors,
    /// Whether the gate is there, and how it says it is.
    GateHealth,
    /// Whether the gate takes the token.
    Token,
    /// Whether the gate admits the first events of each output.
    Push,
    /// Whether a stream goes on behind its cursors.
    Resume,
    /// Whether the gate knows the first events again.
    Repeat,
}

/// What a look came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// It works.
    Works,
    /// It was not looked at, since something before it does not work or it was not asked for.
    NotTried,
    /// It works, and something is to be known.
    Notable,
    /// It does not work.
    Broken,
}

/// One line of the checkup.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Looked {
    /// What was looked at.
    pub subject: Subject,
    /// What it came to.
    pub finding: Finding,
    /// The reason code; `None` where there is none.
    pub reason: Option<&'static str>,
    /// What was seen, and what to do about it.
    pub detail: String,
}

/// All that was looked at.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Checkup {
    /// `HEALTHY`, or `UNFIT` if anything does not work.
    pub status: &'static str,
    /// What was looked at, in order.
    pub looked: Vec<Looked>,
}

impl Checkup {
    /// Whether nothing that was looked at is broken.
    pub fn is_healthy(&self) -> bool {
        self.looked
            .iter()
            .all(|looked| looked.finding != Finding::Broken)
    }
}

/// Looks at the world, the cursors and the gate of a request; `push` events of each output are
/// pushed if there is a number.
///
/// # Errors
/// `PROFILE_VALUE_MISSING` where events are to be pushed and no platform run was named for them.
pub async fn examine(
    request: &StreamRequest,
    surroundings: &Surroundings,
    push: Option<u64>,
) -> Result<Checkup, Error> {
    if push.is_some() {
        let run = request.overrides.platform_run_id.as_ref();
        Profile::require(run, "platform run", "--platform-run-id")?;
    }
    let mut looked = Vec::new();
    let world = sketch(request, surroundings).await;
    let has_world = world.is_ok();
    match world {
        Ok(outline) => looked.extend(look_at_outline(&outline)),
        Err(error) => looked.push(broken(Subject::World, &error)),
    }
    let answer = look_at_gate(&request.profile, &mut looked).await;
    match push {
        Some(events) if has_world && answer => {
            Box::pin(look_at_pushes(request, events, &mut looked)).await;
        }
        Some(_) => looked.push(not_tried(
            Subject::Push,
            "what comes before it does not work",
        )),
        None => looked.push(not_tried(
            Subject::Push,
            "give --push and --platform-run-id to push some events of each output",
        )),
    }
    let mut checkup = Checkup {
        status: "HEALTHY",
        looked,
    };
    if !checkup.is_healthy() {
        checkup.status = "UNFIT";
    }
    Ok(checkup)
}

fn look_at_outline(outline: &Outline) -> [Looked; 2] {
    let parts: usize = outline.outputs.iter().map(|output| output.parts).sum();
    let rows = outline.rows.map_or("?".to_owned(), |rows| rows.to_string());
    let memory = outline
        .overlap
        .map_or(0, |overlap| overlap.memory_bytes >> 20);
    let world = Looked {
        subject: Subject::World,
        finding: Finding::Works,
        reason: None,
        detail: format!(
            "{rows} rows in {parts} parts may be streamed in {} order, in about {memory} MiB",
            outline.order
        ),
    };
    let has_cursor = outline
        .outputs
        .iter()
        .filter(|output| output.cursor.is_some());
    let anew: Vec<&str> = outline
        .begin_anew
        .iter()
        .map(model::OutputId::as_str)
        .collect();
    let cursors = Looked {
        subject: Subject::Cursors,
        finding: if anew.is_empty() {
            Finding::Works
        } else {
            Finding::Notable
        },
        reason: None,
        detail: format!(
            "{} of {} outputs go on from a cursor in {}{}",
            has_cursor.count(),
            outline.outputs.len(),
            outline.checkpoint_store,
            if anew.is_empty() {
                String::new()
            } else {
                format!(
                    "; these begin at their first row beside them: {}",
                    anew.join(", ")
                )
            }
        ),
    };
    [world, cursors]
}

/// Asks the gate how it is; whether it can be pushed to.
async fn look_at_gate(profile: &Profile, looked: &mut Vec<Looked>) -> bool {
    let (endpoint, options) = match push_endpoint(profile) {
        Ok(asked) => asked,
        Err(error) => {
            looked.push(broken(Subject::GateHealth, &error));
            return false;
        }
    };
    let has_token = options.token.is_some();
    match ask_health(&endpoint, options).await {
        Ok(answer) => {
            let (health, token) = judge(&answer, has_token);
            let is_usable = health.finding != Finding::Broken && token.finding != Finding::Broken;
            looked.extend([health, token]);
            is_usable
        }
        Err(error) => {
            let what = format!("The ingestion gate {endpoint} says nothing of its health");
            let advice = "Start it, or mend `ig_ingest_url`.";
            let error = Error::caused(ReasonCode::ProfileInvalid, what, advice, error);
            looked.push(Looked {
                reason: None,
                ..broken(Subject::GateHealth, &error)
            });
            looked.push(not_tried(Subject::Token, "the gate does not answer"));
            false
        }
    }
}

/// What the answer to a question about health says of the gate, and of the token.
fn judge(answer: &Answer, has_token: bool) -> (Looked, Looked) {
    let says = String::from_utf8_lossy(&answer.body[..answer.body.len().min(256)]);
    let says = says.escape_debug();
    let (finding, detail) = match answer.status {
        200..300
            if answer
                .body
                .windows(9)
                .any(|text| text.eq_ignore_ascii_case(b"unhealthy")) =>
        {
            (
                Finding::Broken,
                format!("the gate says that it is unwell: {says}"),
            )
        }
        200..300 => (Finding::Works, format!("the gate is there: {says}")),
        404 | 405 | 501 => (
            Finding::Notable,
            format!(
                "the gate is there and does not tell its health ({})",
                answer.status
            ),
        ),
        401 | 403 => (Finding::Notable, "the gate is there".to_owned()),
        status => (
            Finding::Broken,
            format!("the gate answers {status}: {says}"),
        ),
    };
    let health = Looked {
        subject: Subject::GateHealth,
        finding,
        reason: None,
        detail,
    };
    let (finding, detail) = match (answer.status, has_token) {
        (401 | 403, true) => (
            Finding::Broken,
            "the gate refuses the token: look at `security.api_key_header` and \
             `security.wsp_auth_token`",
        ),
        (401 | 403, false) => (
            Finding::Broken,
            "the gate wants a token and the profile has none: set `security.wsp_auth_token`",
        ),
        (200..300, true) => (Finding::Works, "the gate does not refuse the token"),
        (200..300, false) => (
            Finding::Notable,
            "the profile has no token, and none was asked for",
        ),
        _ => (
            Finding::NotTried,
            "only a push shows whether the token is taken",
        ),
    };
    let token = Looked {
        subject: Subject::Token,
        finding,
        reason: None,
        detail: detail.to_owned(),
    };
    (health, token)
}

/// Pushes some events of each output, goes on behind them, and pushes the first ones again.
async fn look_at_pushes(request: &StreamRequest, events: u64, looked: &mut Vec<Looked>) {
    let cursors = Arc::new(MemoryStore::default());
    let first = push(request, events, &cursors).await;
    let is_admitted = first.decisions.admit == first.emitted && first.emitted > 0;
    let pushed = look_at_run(
        Subject::Push,
        &first,
        is_admitted,
        "all are new to the gate",
    );
    let is_over = pushed.finding == Finding::Broken;
    looked.push(pushed);
    if is_over {
        looked.push(not_tried(
            Subject::Resume,
            "the push before it does not work",
        ));
        looked.push(not_tried(
            Subject::Repeat,
            "the push before it does not work",
        ));
        return;
    }
    let second = push(request, events, &cursors).await;
    let goes_on = second.decisions.duplicate == 0;
    looked.push(look_at_run(
        Subject::Resume,
        &second,
        goes_on,
        "none was sent before",
    ));
    let again = push(request, events, &Arc::new(MemoryStore::default())).await;
    let is_known = again.decisions.duplicate == again.emitted;
    looked.push(look_at_run(
        Subject::Repeat,
        &again,
        is_known,
        "the gate knows them all",
    ));
}

/// One bounded run, under cursors in memory.
async fn push(request: &StreamRequest, events: u64, cursors: &Arc<MemoryStore>) -> StreamReport {
    let mut request = request.clone();
    request.overrides.bounds = Bounds {
        events: None,
        events_per_output: Some(events),
    };
    request.overrides.pace = None;
    request.profile.pace = replay::Pace::UNPACED;
    let (client, endpoint) = match push_client(&request.profile) {
        Ok(made) => made,
        Err(error) => return StreamReport::empty(request.profile.posture).failed(&error),
    };
    let stream = Stream::new(request);
    let store = Arc::clone(cursors);
    // On the heap: there is a future for each kind of client.
    let ran = match client {
        ProfileClient::Direct(client) => {
            Box::pin(stream.run_with(store, client, endpoint.as_str())).await
        }
        #[cfg(feature = "reqwest")]
        ProfileClient::Reqwest(client) => {
            Box::pin(stream.run_with(store, client, endpoint.as_str())).await
        }
    };
    ran.unwrap_or_else(StreamFailure::into_report)
}

fn look_at_run(
    subject: Subject,
    report: &StreamReport,
    is_as_expected: bool,
    expected: &str,
) -> Looked {
    let decisions = &report.decisions;
    let counts = format!(
        "{} events: {} admitted, {} known, {} quarantined by the gate",
        report.emitted, decisions.admit, decisions.duplicate, decisions.quarantine
    );
    if report.status != Status::Streamed {
        let detail = report.detail.clone().unwrap_or_default();
        return Looked {
            subject,
            finding: Finding::Broken,
            reason: report.reason,
            detail: format!("{counts}; {detail}"),
        };
    }
    let (finding, detail) = if decisions.quarantine > 0 {
        let fix = "the gate's own receipts say why; its schema may want columns that rows lack";
        (Finding::Broken, format!("{counts}; {fix}"))
    } else if is_as_expected {
        (Finding::Works, format!("{counts}; {expected}"))
    } else {
        (
            Finding::Notable,
            format!("{counts}; it was expected that {expected}"),
        )
    };
    Looked {
        subject,
        finding,
        reason: None,
        detail,
    }
}

fn broken(subject: Subject, error: &Error) -> Looked {
    Looked {
        subject,
        finding: Finding::Broken,
        reason: Some(error.code()),
        detail: error.detail(),
    }
}

fn not_tried(subject: Subject, why: &str) -> Looked {
    Looked {
        subject,
        finding: Finding::NotTried,
        reason: None,
        detail: why.to_owned(),
    }
}
