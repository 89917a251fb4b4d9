//! Pushing envelopes to the ingestion gate (IG): the only way an event leaves.
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
//! | file | idea | kind |
//! |---|---|---|
//! | [`endpoint`], `clear_text_proxy` | where to push, and the token that is shown there | pure |
//! | [`client`] | the contract of a client and its lanes | trait |
//! | [`direct_client`], [`reqwest_client`] | the clients: ours, over any byte streams, and one that drives a library | streams, clock; IO |
//! | `connector` | the contract of byte streams | trait |
//! | `exchange`, `received`, `deadline` | one request and its answer on a stream | streams, clock |
//! | `wire` | the machine's network: TCP and TLS | IO |
//! | `answer_head`, `answer_body` | what the bytes of an answer are | pure |
//! | [`fault`] | why no answer came | pure |
//! | [`answer`], `said`, [`retry_after`] | what an answer means | pure |
//! | [`retry`] | how long to go on trying | pure |
//! | [`adaptive`] | how many requests the gate bears | pure |
//! | [`concurrency`], [`gate_watch`], `suspects` | what all lanes know together | atomics |
//! | [`trouble`] | what is wrong with a gate that is away, for people | lock |
//! | [`leave`] | whether a lane may post at this moment | trait |
//! | [`pusher`] | one event, pushed until something final is known | clock |
//!
//! Invariants:
//! - One request in flight a lane, one connection a lane: the events of a lane
//!   arrive in the order in which they were handed to it, retries included.
//! - [`PushOutcome::Acknowledged`] is given for a 2xx or 400 answer with a known
//!   decision, received whole, and for nothing else.
//! - On the way of an event that goes well there is no lock, no parse tree and no
//!   allocation but for the bytes of its answer. (The libraries make their own.)
//! - No error, and nothing else here, ever shows the token.

mod clear_text_proxy;
pub mod direct_client;
mod deadline;
mod exchange;
mod answer_body;
mod answer_head;
pub mod pusher;
pub mod answer;
pub mod gate_watch;
pub mod concurrency;
pub mod adaptive;
pub mod leave;
mod received;
pub mod reqwest_client;
pub mod retry;
mod said;
pub mod stop;
mod suspects;
pub mod trouble;
mod wire;
mod connector;
pub mod client;
pub mod endpoint;
pub mod fault;
pub mod retry_after;

pub use clear_text_proxy::clear_text_proxy;

pub use answer::{Decision, Refusal, Verdict};
pub use client::{Answer, ClientError, ClientOptions, PushClient, PushLane};
pub use concurrency::ConcurrencyLimit;
pub use connector::Connector;
pub use direct_client::DirectClient;
pub use endpoint::{EndpointError, PushEndpoint, PushToken};
pub use fault::{FaultKind, PushFault};
pub use gate_watch::{GateWatch, MAX_EVENT_BYTES, RetryCause, RetryCounts};
pub use leave::{Leave, PostLeave};
pub use pusher::{PushOutcome, Pusher};
pub use reqwest_client::ReqwestClient;
pub use retry::RetryPolicy;
pub use retry_after::RetryAfter;
pub use stop::Stop;
pub use trouble::{Away, Outages, Trouble};
pub use wire::TcpConnector;
