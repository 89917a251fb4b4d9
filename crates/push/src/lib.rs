//! Pushing envelopes to the ingestion gate (IG): the only way an event leaves.
//!
//! A [`Pusher`] drives one lane of a [`PushClient`]: it pushes one envelope after the other, each
//! until a [`PushOutcome`] is final, and shares a [`GateWatch`] with the pushers of all other lanes.
//!
//! | question | answer |
//! |---|---|
//! | is the gate there? | [`ask_health`] |
//! | how do I push an event? | [`Pusher::push`] |
//! | has the gate taken it? | [`PushOutcome`], [`PushOutcome::into_decision`] |
//! | why is it slow, and how often was it retried? | [`GateWatch::trouble`], [`GateWatch::retries`] |
//! | stop now | [`Stop::throw`] |
//! | what went wrong, and does a retry help? | [`Refusal`], [`ReasonCode`] |
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use push::{
//!     Bytes, ClientOptions, ConcurrencyLimit, DirectClient, GateWatch, PushClient, PushEndpoint,
//!     Pusher, RetryPolicy, Stop,
//! };
//!
//! # async fn backfill(envelopes: Vec<Bytes>) -> Result<(), Box<dyn std::error::Error>> {
//! let endpoint = PushEndpoint::parse("https://gate.example")?;
//! let client = DirectClient::new(&endpoint, ClientOptions::default())?;
//! let watch = GateWatch::new(RetryPolicy::default(), ConcurrencyLimit::fixed());
//! let watch = Arc::new(watch);
//! let mut pusher = Pusher::new(client.lane(), Arc::clone(&watch), &Stop::new());
//! for envelope in envelopes {
//!     let decision = pusher.push(envelope).await.into_decision()?;
//!     println!("{}", decision.as_str());
//! }
//! println!("pushed again: {:?}", watch.retries().read());
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//!              one per lane                          one per run
//!   event ──► Pusher ──► PushLane ──► IG      ┌───────────────────────┐
//!               │  ▲        │                 │ GateWatch             │
//!               │  └ answer / fault           │  away since, held till│
//!               ├── reads and feeds ────────► │  retries counted      │
//!               │                             │  ConcurrencyLimit     │
//!               ▼                             └───────────────────────┘
//!          PushOutcome
//! ```
//!
//! It goes under any executor, on the threads of its caller, and makes none where the caller is
//! within a tokio runtime (with timers and IO enabled). Elsewhere sockets and timers are driven by
//! the one thread of [`durable`], `durable-runtime`, which stays until the process ends. A lane's
//! connection ends when the lane is dropped. Network and time are reached
//! through a [`Connector`] and a [`Clock`](model::Clock) alone, but by the adapters `wire` and
//! `reqwest_client`, so that a simulation can replace both.
//!
//! | file | idea | kind |
//! |---|---|---|
//! | `endpoint`, `clear_text_proxy` | where to push, and the token that is shown there | pure |
//! | `client` | the contract of a client and its lanes | trait |
//! | `connector` | the contract of byte streams | trait |
//! | `direct_client`, `reqwest_client` | the clients: ours, over any byte streams, and one that drives a library | streams, clock; IO |
//! | `exchange`, `received`, `deadline` | one request and its answer on a stream | streams, clock |
//! | `wire` | the machine's network: TCP and TLS | IO |
//! | `answer_head`, `answer_body` | what the bytes of an answer are | pure |
//! | `fault` | why no answer came | pure |
//! | `answer`, `said`, `retry_after` | what an answer means | pure |
//! | `retry` | how long to go on trying | pure |
//! | `adaptive` | how many requests the gate bears | pure |
//! | `concurrency`, `gate_watch`, `suspects` | what all lanes know together | atomics |
//! | `retries` | how often pushes were repeated, by cause | atomics |
//! | `trouble` | what is wrong with a gate that is away, for people | lock |
//! | `leave` | whether a lane may post at this moment | trait |
//! | `pusher`, `drive`, `outcome` | one event, pushed until something final is known | clock |
//! | `not_acknowledged`, `refusals`, `reason` | what went wrong, under stable codes | pure |
//!
//! Invariants:
//! - One request in flight a lane, one connection a lane: the events of a lane
//!   arrive in the order in which they were handed to it, retries included.
//! - [`PushOutcome::Acknowledged`] is given for a 2xx or 400 answer with a known
//!   decision, received whole, and for nothing else.
//! - On the way of an event that goes well there is no lock, no parse tree and no
//!   allocation but for the bytes of its answer. (The libraries make their own.)
//! - No error, and nothing else here, ever shows the token.
//!
//! # Cargo features
//! | feature | by default | gives |
//! |---|---|---|
//! | `reqwest` | on | the client that drives reqwest, for proxies; the direct client needs no feature |

mod refusals;
mod not_acknowledged;
mod clear_text_proxy;
mod direct_client;
mod deadline;
mod exchange;
mod answer_body;
mod answer_head;
mod pusher;
mod drive;
mod outcome;
mod answer;
mod gate_watch;
mod concurrency;
mod adaptive;
mod leave;
mod received;
#[cfg(feature = "reqwest")]
mod reqwest_client;
mod retry;
mod retries;
mod said;
mod stop;
mod suspects;
mod trouble;
mod wire;
mod connector;
mod client;
mod endpoint;
mod fault;
mod retry_after;
mod reason;

pub use answer::{AnswerDetails, Decision, EXCERPT_CHARS, GateRefusal, NO_ANSWER};
pub use bytes::Bytes;
pub use clear_text_proxy::clear_text_proxy;
pub use client::{ANSWER_LIMIT, Answer, ClientError, ClientOptions, PushClient, PushLane};
pub use concurrency::ConcurrencyLimit;
pub use connector::Connector;
pub use direct_client::{DirectClient, DirectLane, HealthError, ask_health};
pub use endpoint::{EndpointError, PUSH_PATH, PushEndpoint, PushToken};
pub use fault::{FaultKind, PushFault};
pub use gate_watch::{GateWatch, MAX_EVENT_BYTES};
pub use leave::{Leave, PostLeave, Posted};
pub use model::{Class, Place, Refusal};
pub use not_acknowledged::NotAcknowledged;
pub use outcome::{Failure, PushOutcome};
pub use pusher::Pusher;
pub use reason::ReasonCode;
#[cfg(feature = "reqwest")]
pub use reqwest_client::{ReqwestClient, ReqwestLane};
pub use retries::{Retries, RetryCause, RetryCounts};
pub use retry::RetryPolicy;
pub use retry_after::RetryAfter;
pub use stop::Stop;
pub use trouble::{Away, Outages, Trouble};
pub use wire::{TcpConnector, Wire};
