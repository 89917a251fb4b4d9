//! The ingestion gate of a simulated world: takes events in by HTTP/1.1 over simulated streams,
//! remembers ids, and is unwell in every way that a gate can be.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::Clock as _;
use push::{Connector, FaultKind, PushFault};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::clock::SimClock;
use crate::dice::Dice;
use crate::laws::Laws;
use crate::pipes::{Cutter, SimStream, connection};
use crate::stage::{ProcessId, Spawner};
use crate::world::{EventNumber, SimWorld};

/// The process of the gate.
pub(crate) const GATE: ProcessId = ProcessId(0);

/// What may be wrong with the gate and the way to it, each in so many of a thousand requests.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    pub(crate) slow_down: u64,
    pub(crate) failing: u64,
    pub(crate) unhealthy: u64,
    pub(crate) cut_before: u64,
    pub(crate) cut_after: u64,
    pub(crate) silent: u64,
    pub(crate) in_doubt: u64,
    pub(crate) closing: u64,
    pub(crate) quarantining: u64,
}

/// What the gate does to one event, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Poison {
    /// It fails on it.
    Fails,
    /// It cuts the connection.
    Cuts,
    /// It refuses it.
    Refuses,
    /// It never knows whether it has it.
    Doubts,
}

struct GateState {
    dice: Dice,
    ids: BTreeSet<EventNumber>,
    in_doubt: BTreeSet<EventNumber>,
    weather: Weather,
    poison: Vec<Option<Poison>>,
    away_until: Duration,
    latency: Duration,
    cutters: Vec<Cutter>,
    faults: u64,
}

/// The gate. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SimGate {
    clock: SimClock,
    spawner: Spawner,
    world: Arc<SimWorld>,
    laws: Laws,
    state: Arc<Mutex<GateState>>,
}

/// What becomes of a request.
enum Reaction {
    Answer(u16, &'static str, &'static str),
    AnswerAndClose(u16, &'static str),
    Cut,
    Silence,
}

impl SimGate {
    pub(crate) fn new(
        clock: &SimClock,
        spawner: Spawner,
        world: &Arc<SimWorld>,
        laws: &Laws,
        mut dice: Dice,
    ) -> Self {
        let latency = Duration::from_micros(dice.one_of(&[50, 500, 5_000, 50_000]));
        let state = GateState {
            dice,
            ids: BTreeSet::new(),
            in_doubt: BTreeSet::new(),
            weather: Weather::default(),
            poison: vec![None; world.len()],
            away_until: Duration::ZERO,
            latency,
            cutters: Vec::new(),
            faults: 0,
        };
        Self {
            clock: clock.clone(),
            spawner,
            world: Arc::clone(world),
            laws: laws.clone(),
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn state(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A way to the gate for a process.
    pub(crate) fn connector(&self, process: ProcessId) -> SimConnector {
        SimConnector {
            gate: self.clone(),
            process,
        }
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    pub(crate) fn set_poison(&self, event: EventNumber, poison: Option<Poison>) {
        self.state().poison[event] = poison;
    }

    /// Takes all poison out of the world.
    pub(crate) fn mend(&self) {
        let mut state = self.state();
        state.poison.fill(None);
        state.in_doubt.clear();
    }

    /// Goes away for a while: connections are cut, and none is taken.
    pub(crate) fn go_away(&self, time: Duration) {
        self.state().away_until = self.clock.elapsed() + time;
        self.cut_all();
    }

    /// Restarts: connections are cut, and ids may be forgotten.
    pub(crate) fn restart(&self, forgets: bool) {
        if forgets {
            self.state().ids.clear();
        }
        self.cut_all();
    }

    fn cut_all(&self) {
        let cutters = std::mem::take(&mut self.state().cutters);
        cutters.iter().for_each(Cutter::cut);
    }

    /// Faults shown so far.
    pub(crate) fn faults(&self) -> u64 {
        self.state().faults
    }

    async fn serve(self, mut stream: SimStream) {
        let mut buffer = Vec::new();
        while let Some(body) = read_request(&mut stream, &mut buffer).await {
            let think = {
                let mut state = self.state();
                let latency = state.latency;
                state.dice.time(latency)
            };
            self.clock.sleep(think).await;
            let answered = match self.react(&body) {
                Reaction::Answer(status, header, body) => {
                    answer(&mut stream, status, header, body).await
                }
                Reaction::AnswerAndClose(status, body) => {
                    let _ = answer(&mut stream, status, "", body).await;
                    return;
                }
                Reaction::Cut => {
                    stream.reset();
                    return;
                }
                Reaction::Silence => std::future::pending().await,
            };
            if answered.is_err() {
                return;
            }
        }
    }

    fn react(&self, body: &[u8]) -> Reaction {
        let Some(event) = event_in(&self.world, body) else {
            self.laws
                .broken("the gate got an event that is not of this world");
            return Reaction::Answer(422, "", r#"{"error":"UNKNOWN"}"#);
        };
        let mut state = self.state();
        let reaction = state.react(event, &self.laws);
        drop(state);
        // It may be singled out for this, and is then set aside while others go on.
        if !matches!(
            &reaction,
            Reaction::Answer(200, ..) | Reaction::AnswerAndClose(200, _)
        ) {
            self.laws.may_be_given_up(event);
        }
        let told = match &reaction {
            Reaction::Answer(status, _, body) => format!("answers {status} {body} to {event}"),
            Reaction::AnswerAndClose(status, _) => format!("answers {status} to {event}, closes"),
            Reaction::Cut => format!("cuts {event} off"),
            Reaction::Silence => format!("says nothing to {event}"),
        };
        self.laws.note(&format!("gate {told}"));
        reaction
    }
}

impl GateState {
    fn react(&mut self, event: EventNumber, laws: &Laws) -> Reaction {
        const DOUBT: &str = r#"{"error":"PUBLISH_AMBIGUOUS_RETRY"}"#;
        let weather = self.weather;
        if let Some(poison) = self.poison[event] {
            self.faults += 1;
            return match poison {
                Poison::Fails => Reaction::Answer(500, "", r#"{"error":"INTERNAL_ERROR"}"#),
                Poison::Cuts => Reaction::Cut,
                Poison::Refuses => Reaction::Answer(422, "", r#"{"error":"SCHEMA_INVALID"}"#),
                Poison::Doubts => Reaction::Answer(503, "", DOUBT),
            };
        }
        let mut happens = |chance| {
            let happens = self.dice.permille(chance);
            self.faults += u64::from(happens);
            happens
        };
        if happens(weather.slow_down) {
            return Reaction::Answer(429, "retry-after: 1\r\n", r#"{"error":"RATE_LIMITED"}"#);
        }
        if happens(weather.failing) {
            return Reaction::Answer(502, "", "");
        }
        if happens(weather.unhealthy) {
            return Reaction::Answer(503, "", r#"{"error":"IG_UNHEALTHY"}"#);
        }
        if happens(weather.cut_before) {
            return Reaction::Cut;
        }
        if happens(weather.silent) {
            return Reaction::Silence;
        }
        if self.in_doubt.contains(&event) || happens(weather.in_doubt) {
            // It may find out later, and it may never.
            if self.dice.permille(300) {
                self.in_doubt.remove(&event);
            } else {
                self.in_doubt.insert(event);
                return Reaction::Answer(503, "", DOUBT);
            }
        }
        let quarantines = self.dice.permille(weather.quarantining);
        let is_new = self.ids.insert(event);
        laws.arrived(event);
        let mut happens = |chance| {
            let happens = self.dice.permille(chance);
            self.faults += u64::from(happens);
            happens
        };
        if happens(weather.cut_after) {
            return Reaction::Cut;
        }
        let decision = match (is_new, quarantines) {
            (true, false) => r#"{"decision":"ADMIT"}"#,
            (true, true) => r#"{"decision":"QUARANTINE","reason_codes":["SCHEMA_FAIL"]}"#,
            (false, _) => r#"{"decision":"DUPLICATE"}"#,
        };
        if happens(weather.closing) {
            return Reaction::AnswerAndClose(200, decision);
        }
        Reaction::Answer(200, "", decision)
    }
}

/// The event that a request's body is.
pub(crate) fn event_in(world: &SimWorld, body: &[u8]) -> Option<EventNumber> {
    let id = body.strip_prefix(br#"{"event_id":""#)?;
    world.event_of(id.get(..64)?)
}

/// The body of the next request; `None` when the connection is over.
async fn read_request(stream: &mut SimStream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        if let Some(head) = end_of_head(buffer) {
            let length = content_length(&buffer[..head]).unwrap_or(0);
            if buffer.len() >= head + length {
                let rest = buffer.split_off(head + length);
                let body = buffer.split_off(head);
                *buffer = rest;
                return Some(body);
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => buffer.extend_from_slice(&piece[..read]),
        }
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(at + 4)
}

fn content_length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?.to_ascii_lowercase();
    let line = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))?;
    line.trim().parse().ok()
}

async fn answer(
    stream: &mut SimStream,
    status: u16,
    header: &str,
    body: &str,
) -> std::io::Result<()> {
    let length = body.len();
    let text = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{header}\r\n{body}");
    stream.write_all(text.as_bytes()).await
}

/// The network as one process reaches the gate over it.
#[derive(Clone)]
pub(crate) struct SimConnector {
    gate: SimGate,
    process: ProcessId,
}

impl Connector for SimConnector {
    type Stream = SimStream;

    async fn connect(&self) -> Result<SimStream, PushFault> {
        let gate = &self.gate;
        let (late, latency) = {
            let mut state = gate.state();
            let latency = state.latency;
            (state.dice.time(latency), latency)
        };
        gate.clock.sleep(late).await;
        let mut state = gate.state();
        if gate.clock.elapsed() < state.away_until {
            return Err(PushFault::new(FaultKind::ConnectRefused));
        }
        let (laws, world, process) = (gate.laws.clone(), Arc::clone(&gate.world), self.process);
        let mut head = Vec::new();
        let tap = move |piece: &[u8]| tell_of_posts(&laws, &world, process, &mut head, piece);
        let tap = Mutex::new(tap);
        let tap = move |piece: &[u8]| {
            (tap.lock().unwrap_or_else(PoisonError::into_inner))(piece);
        };
        let (client, server, cutter) =
            connection(&gate.clock, &mut state.dice, latency, Box::new(tap));
        state.cutters.retain(|cutter| !cutter.is_over());
        state.cutters.push(cutter);
        drop(state);
        let serving = gate.clone().serve(server);
        gate.spawner.spawn(GATE, serving);
        Ok(client)
    }
}

/// Tells the laws of each post as soon as its event can be told from what is written.
fn tell_of_posts(
    laws: &Laws,
    world: &SimWorld,
    process: ProcessId,
    written: &mut Vec<u8>,
    piece: &[u8],
) {
    written.extend_from_slice(piece);
    while let Some(head) = end_of_head(written) {
        let length = content_length(&written[..head]).unwrap_or(0);
        if written.len() < head + length {
            return;
        }
        laws.posted(process, event_in(world, &written[head..head + length]));
        written.drain(..head + length);
    }
}
