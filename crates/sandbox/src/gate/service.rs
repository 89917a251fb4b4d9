//! What happens to one request.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::answer::{self, Answer, Dropped};
use super::dialect::{Dialect, NoDecision};
use super::faults::{FaultPlan, Stage};
use super::ledger::{Ledger, Verdict};
use super::metrics;
use super::platform::Platform;
use super::platform_answers::{Counted, Mishap};
use super::post::Post;
use super::{Fault, FaultRule, GateOptions, GateStats, Token};
use crate::Error;

const HEALTH: &str = "/v1/ops/health";
const LOOKUP: &str = "/v1/ops/lookup";
const PUSH: &str = "/v1/ingest/push";
/// More than any envelope needs.
const LARGEST_BODY: usize = 16 << 20;

/// All that the connections of a gate share.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) ledger: Ledger,
    platform: Option<Platform>,
    token: Option<Token>,
    seed: u64,
    plan: RwLock<Arc<FaultPlan>>,
    counts: Counts,
}

#[derive(Debug)]
struct Counts {
    posts: AtomicU64,
    admitted: AtomicU64,
    duplicates: AtomicU64,
    quarantined: AtomicU64,
    invalid: AtomicU64,
    unauthorized: AtomicU64,
    faulted: AtomicU64,
    undecided: AtomicU64,
    unfinished: AtomicU64,
    in_hand: AtomicU64,
    connections: AtomicU64,
    statuses: [AtomicU64; 600],
}

fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// One request in hand, until it is answered or its client has left.
struct InHand<'a>(&'a AtomicU64);

impl<'a> InHand<'a> {
    fn of(count: &'a AtomicU64) -> Self {
        bump(count);
        Self(count)
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Control {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    faults: Option<Vec<FaultRule>>,
    /// Whether an unhealthy gate is to be well again, as after a restart.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    restart: bool,
}

impl Service {
    pub(super) fn new(options: &GateOptions, ledger: Ledger) -> Result<Self, Error> {
        let platform = options
            .dialect
            .map(|dialect| Platform::open(options, dialect));
        let platform = platform.transpose()?;
        if platform.is_none() {
            refuse_without_dialect(options)?;
            refuse_states(&options.faults)?;
        }
        let plan = FaultPlan::new(options.faults.clone(), options.seed)?;
        let zero = || AtomicU64::new(0);
        Ok(Self {
            ledger,
            platform,
            token: options.token.clone(),
            seed: options.seed,
            plan: RwLock::new(Arc::new(plan)),
            counts: Counts {
                posts: zero(),
                admitted: zero(),
                duplicates: zero(),
                quarantined: zero(),
                invalid: zero(),
                unauthorized: zero(),
                faulted: zero(),
                undecided: zero(),
                unfinished: zero(),
                in_hand: zero(),
                connections: zero(),
                statuses: std::array::from_fn(|_| zero()),
            },
        })
    }

    pub(super) fn set_faults(&self, rules: Vec<FaultRule>) -> Result<(), Error> {
        if self.platform.is_none() {
            refuse_states(&rules)?;
        }
        let plan = Arc::new(FaultPlan::new(rules, self.seed)?);
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = plan;
        Ok(())
    }

    /// Makes an unhealthy gate well, as a restart does.
    pub(super) fn restart(&self) {
        if let Some(platform) = &self.platform {
            platform.restart();
        }
    }

    fn plan(&self) -> Arc<FaultPlan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn note_connection(&self) {
        bump(&self.counts.connections);
    }

    pub(super) fn stats(&self) -> GateStats {
        let counts = &self.counts;
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let statuses = counts.statuses.iter().map(read);
        GateStats {
            posts: read(&counts.posts),
            admitted: read(&counts.admitted),
            duplicates: read(&counts.duplicates),
            quarantined: read(&counts.quarantined),
            invalid: read(&counts.invalid),
            unauthorized: read(&counts.unauthorized),
            faulted: read(&counts.faulted),
            undecided: read(&counts.undecided),
            unfinished: read(&counts.unfinished),
            unique: self.ledger.unique(),
            statuses: (0..)
                .zip(statuses)
                .filter(|(_, count)| *count > 0)
                .collect(),
            connections: read(&counts.connections),
            order_violations: self.ledger.order_violations(),
            ids_sum: self.ledger.stored().ids_sum,
            faults_fired: self.plan().fired(),
        }
    }

    /// Answers a request, or drops its connection.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Dropped> {
        let path = request.uri().path();
        if path == PUSH && request.method() == Method::POST {
            let answer = self.push(request).await;
            let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            bump(&self.counts.statuses[usize::from(status)]);
            return answer;
        }
        if let (Some(platform), &Method::GET) = (&self.platform, request.method()) {
            let query = request.uri().query().unwrap_or_default();
            match path {
                HEALTH => return Ok(health(platform)),
                LOOKUP => return Ok(look_up(platform, query)),
                _ => {}
            }
        }
        Ok(match (request.method(), path) {
            (&Method::GET, "/healthz") => answer::json(StatusCode::OK, r#"{"status":"ok"}"#),
            (&Method::GET, "/stats") => {
                let stats = serde_json::to_vec(&self.stats()).unwrap_or_default();
                answer::json(StatusCode::OK, stats)
            }
            (&Method::GET, "/metrics") => {
                answer::text(metrics::metrics(&self.stats()), metrics::CONTENT_TYPE)
            }
            (&Method::POST, "/control") => match read_whole(request).await {
                Posted::Whole(body) => self.control(body),
                Posted::TooLarge | Posted::Unfinished => return Err(Dropped::Closed),
            },
            (_, PUSH | "/healthz" | "/stats" | "/metrics" | "/control") => {
                answer::refusal(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", path)
            }
            _ => answer::refusal(StatusCode::NOT_FOUND, "NOT_FOUND", path),
        })
    }

    fn control(&self, body: Bytes) -> Answer {
        let control: Control = match serde_json::from_slice(&body) {
            Ok(control) => control,
            Err(fault) => {
                let detail = fault.to_string();
                return answer::refusal(StatusCode::BAD_REQUEST, "CONTROL_INVALID", &detail);
            }
        };
        if !control.restart && control.faults.is_none() {
            let detail = "neither `faults` nor `restart` is asked for";
            return answer::refusal(StatusCode::BAD_REQUEST, "CONTROL_INVALID", detail);
        }
        if control.restart {
            self.restart();
        }
        let faults = control.faults.clone();
        match faults.map_or(Ok(()), |faults| self.set_faults(faults)) {
            Ok(()) => answer::json(
                StatusCode::OK,
                serde_json::to_vec(&control).unwrap_or_default(),
            ),
            Err(error) => answer::refusal(
                StatusCode::BAD_REQUEST,
                error.code().as_str(),
                &error.to_string(),
            ),
        }
    }

    async fn push(&self, request: Request<Incoming>) -> Result<Answer, Dropped> {
        let arrived = Instant::now();
        bump(&self.counts.posts);
        let _in_hand = InHand::of(&self.counts.in_hand);
        let plan = self.plan();
        if plan.strike(Stage::Head).is_some() {
            bump(&self.counts.faulted);
            return Err(Dropped::Closed);
        }
        let authorized = self.token.as_ref().is_none_or(|token| {
            let given = request.headers().get(&token.header);
            given.is_some_and(|given| given.as_bytes() == token.value.as_bytes())
        });
        let body = match read_whole(request).await {
            Posted::Whole(body) => body,
            Posted::TooLarge => {
                bump(&self.counts.invalid);
                let detail = format!("an event may have {LARGEST_BODY} bytes");
                return Ok(answer::refusal(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "payload_too_large",
                    &detail,
                ));
            }
            Posted::Unfinished => {
                bump(&self.counts.unfinished);
                return Err(Dropped::Closed);
            }
        };
        if !authorized {
            bump(&self.counts.unauthorized);
            if let Some(platform) = &self.platform {
                let post = super::dialect::Posted::of(&body);
                return Ok(platform.dialect.undecided(NoDecision::Unauthorized, &post));
            }
            let detail = "the token is missing or wrong";
            return Ok(answer::refusal(
                StatusCode::UNAUTHORIZED,
                "UNAUTHORIZED",
                detail,
            ));
        }
        let struck = if plan.wants_event_ids() {
            let post = Post::parse(&body).ok();
            plan.strike(Stage::Whole(
                post.as_ref().map(|post| post.event_id.as_ref()),
            ))
        } else {
            plan.strike(Stage::Whole(None))
        };
        match struck {
            None => Ok(self.judge(&body, arrived, "ADMIT")),
            Some(fault) => match (self.platform.as_ref(), mishap_of(fault)) {
                (Some(platform), Some(mishap)) => {
                    if let Fault::Unhealthy {
                        until_restart: true,
                    } = fault
                    {
                        platform.become_unhealthy();
                    }
                    self.answer_as(platform, &body, arrived, Some(mishap))
                }
                _ => self.misbehave(fault, &body, arrived).await,
            },
        }
    }

    /// Answers as the platform's gate would, and counts.
    fn answer_as(
        &self,
        platform: &Platform,
        body: &Bytes,
        arrived: Instant,
        mishap: Option<Mishap<'_>>,
    ) -> Result<Answer, Dropped> {
        let counts = &self.counts;
        let in_hand = counts.in_hand.load(Relaxed) as u32;
        let (counted, answer) = platform.answer(&self.ledger, body, (arrived, in_hand), mishap);
        bump(match counted {
            Counted::Admitted => &counts.admitted,
            Counted::Duplicate => &counts.duplicates,
            Counted::Quarantined => &counts.quarantined,
            Counted::Undecided => &counts.undecided,
            Counted::Faulted => &counts.faulted,
        });
        answer
    }

    /// Judges, stores and counts a post; the answer is the right one.
    fn judge(&self, body: &Bytes, arrived: Instant, decision: &'static str) -> Answer {
        if let Some(platform) = &self.platform {
            let mishap = (decision != "ADMIT").then_some(Mishap::Quarantines("SCHEMA_FAIL"));
            return self
                .answer_as(platform, body, arrived, mishap)
                .unwrap_or_else(|_| answer::status(500, None, None));
        }
        let counts = &self.counts;
        let in_hand = counts.in_hand.load(Relaxed) as u32;
        let decision = match self.ledger.judge(body, arrived, in_hand) {
            Ok(Verdict::New) if decision == "ADMIT" => {
                bump(&counts.admitted);
                decision
            }
            Ok(Verdict::New) => {
                bump(&counts.quarantined);
                decision
            }
            Ok(Verdict::Known) => {
                bump(&counts.duplicates);
                "DUPLICATE"
            }
            Ok(Verdict::Invalid(detail)) => {
                bump(&counts.invalid);
                return answer::refusal(StatusCode::BAD_REQUEST, "ENVELOPE_INVALID", &detail);
            }
            Err(error) => {
                bump(&counts.faulted);
                let status = StatusCode::INSUFFICIENT_STORAGE;
                return answer::refusal(status, error.code().as_str(), &error.to_string());
            }
        };
        answer::json(
            StatusCode::OK,
            match decision {
                "ADMIT" => r#"{"decision":"ADMIT"}"#,
                "DUPLICATE" => r#"{"decision":"DUPLICATE"}"#,
                _ => r#"{"decision":"QUARANTINE"}"#,
            },
        )
    }

    async fn misbehave(
        &self,
        fault: &Fault,
        body: &Bytes,
        arrived: Instant,
    ) -> Result<Answer, Dropped> {
        let right = || self.judge(body, arrived, "ADMIT");
        let store = |store: bool| {
            if store {
                right();
            } else {
                bump(&self.counts.faulted);
            }
        };
        let wait = |ms: u64| tokio::time::sleep(Duration::from_millis(ms));
        Ok(match fault {
            Fault::Status {
                code,
                retry_after,
                body,
                store: first,
            } => {
                store(*first);
                answer::status(*code, *retry_after, body.as_deref())
            }
            Fault::Delay { ms } => {
                wait(*ms).await;
                right()
            }
            Fault::Stall { ms, store: first } => {
                store(*first);
                wait(*ms).await;
                return Err(Dropped::Closed);
            }
            Fault::DropBeforeReading => return Err(Dropped::Closed),
            Fault::DropAfterStoring => {
                right();
                return Err(Dropped::Closed);
            }
            Fault::Reset { store: first } => {
                store(*first);
                return Err(Dropped::Reset);
            }
            Fault::TruncateAnswer => answer::cut(right()),
            Fault::GarbageAnswer => {
                right();
                answer::status(200, None, Some("<html>welcome</html>"))
            }
            Fault::NoDecision => {
                right();
                answer::status(200, None, Some(r#"{"status":"accepted"}"#))
            }
            Fault::Redirect { location } => {
                store(false);
                answer::redirect(location)
            }
            Fault::Trickle { ms_per_byte } => {
                answer::trickle(right(), Duration::from_millis(*ms_per_byte))
            }
            // The others need a dialect, without which no rule with them is taken.
            _ => self.judge(body, arrived, "QUARANTINE"),
        })
    }
}

/// What a fault makes of a post at a gate with a dialect; none, if it is a fault of any gate.
fn mishap_of(fault: &Fault) -> Option<Mishap<'_>> {
    Some(match fault {
        Fault::QuarantineFor { reason_code } => Mishap::Quarantines(reason_code),
        Fault::BusFailure => Mishap::BusFails,
        Fault::InFlight => Mishap::DiesInFlight,
        Fault::Unhealthy { .. } => Mishap::Refuses(NoDecision::Unhealthy),
        Fault::Exception => Mishap::Refuses(NoDecision::Exception),
        Fault::Unauthorized => Mishap::Refuses(NoDecision::Unauthorized),
        Fault::RateLimited => Mishap::Refuses(NoDecision::RateLimited),
        Fault::TooLarge => Mishap::Refuses(NoDecision::TooLarge),
        _ => return None,
    })
}

fn refuse_states(rules: &[FaultRule]) -> Result<(), Error> {
    match rules.iter().find(|rule| rule.needs_dialect()) {
        Some(rule) => Err(Error::FaultInvalid {
            rule: format!("{rule:?}"),
            detail: "a gate without a dialect has no such state".to_owned(),
        }),
        None => Ok(()),
    }
}

fn refuse_without_dialect(options: &GateOptions) -> Result<(), Error> {
    match &options.schema_policy {
        Some(_) => Err(Error::OptionsInvalid(
            "a schema policy needs a dialect to answer in".to_owned(),
        )),
        None => Ok(()),
    }
}

/// How the gate is, as it words it itself; the managed edge always says the same.
fn health(platform: &Platform) -> Answer {
    let body = match (platform.dialect, platform.is_unhealthy()) {
        (Dialect::Managed, _) => r#"{"status":"ok","service":"ig-edge","mode":"stand_in"}"#,
        (Dialect::Local, false) => r#"{"state":"GREEN","reasons":[]}"#,
        (Dialect::Local, true) => r#"{"state":"RED","reasons":["BUS_UNHEALTHY"]}"#,
    };
    answer::json(StatusCode::OK, body)
}

fn look_up(platform: &Platform, query: &str) -> Answer {
    if platform.dialect == Dialect::Managed {
        return answer::refusal(StatusCode::NOT_FOUND, "route_not_found", LOOKUP);
    }
    let mut fields = query.split('&');
    match fields.find_map(|field| field.strip_prefix("event_id=")) {
        Some(id) => answer::json(StatusCode::OK, platform.look_up(id).to_string()),
        None => answer::refusal(StatusCode::BAD_REQUEST, "MISSING_QUERY", "event_id"),
    }
}

/// What came of the body of a post.
enum Posted {
    Whole(Bytes),
    TooLarge,
    /// The client left before its end.
    Unfinished,
}

/// Reads the whole body. One that is too large is read to its end all the same, so that its
/// sender comes to read the answer, but not kept.
async fn read_whole(request: Request<Incoming>) -> Posted {
    let mut body = request.into_body();
    // An envelope mostly comes as one frame, which is then used as it is.
    let mut whole = Bytes::new();
    let mut joined = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Posted::Unfinished;
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length += data.len();
        if length > LARGEST_BODY {
            joined = BytesMut::new();
            continue;
        }
        if whole.is_empty() && joined.is_empty() {
            whole = data;
            continue;
        }
        joined.extend_from_slice(&std::mem::take(&mut whole));
        joined.extend_from_slice(&data);
    }
    if length > LARGEST_BODY {
        return Posted::TooLarge;
    }
    Posted::Whole(if joined.is_empty() {
        whole
    } else {
        joined.freeze()
    })
}
