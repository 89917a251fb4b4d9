//! The ingestion gate of a simulated world: takes events in by HTTP/1.1 over simulated streams,
//! remembers ids, and is unwell in every way that a gate can be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::Clock as _;
use push::{Connector, FaultKind, PushFault};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::answers::{Dialect, GateState, Poison, Reaction, Says, Weather};
use crate::clock::SimClock;
use crate::dice::Dice;
use crate::laws::Laws;
use crate::pipes::{Cutter, SimStream, connection};
use crate::stage::{ProcessId, Spawner};
use crate::world::{EventNumber, SimWorld};

/// The process of the gate.
pub(crate) const GATE: ProcessId = ProcessId(0);

/// The gate. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SimGate {
    clock: SimClock,
    spawner: Spawner,
    world: Arc<SimWorld>,
    laws: Laws,
    state: Arc<Mutex<GateState>>,
    /// Connections that are open, and the event that the gate is at on each.
    served: Arc<Mutex<Served>>,
}

#[derive(Default)]
struct Served {
    cutters: Vec<Cutter>,
    /// How many requests the gate is at, event by event.
    at_work: BTreeMap<EventNumber, u32>,
}

impl SimGate {
    pub(crate) fn new(
        clock: &SimClock,
        spawner: Spawner,
        world: &Arc<SimWorld>,
        laws: &Laws,
        dice: Dice,
    ) -> Self {
        let state = GateState::new(dice, world.len());
        Self {
            clock: clock.clone(),
            spawner,
            world: Arc::clone(world),
            laws: laws.clone(),
            state: Arc::new(Mutex::new(state)),
            served: Arc::default(),
        }
    }

    fn served(&self) -> MutexGuard<'_, Served> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Whether what the gate does to an event looks as if all were asked to slow down.
    pub(crate) fn slow_poison(&self) -> Vec<EventNumber> {
        let state = self.state();
        let poison = state.poison.iter().enumerate();
        let slow = poison.filter(|(_, poison)| poison.is_some_and(Poison::is_slow));
        slow.map(|(event, _)| event).collect()
    }

    /// Takes all poison out of the world, and all doubt.
    pub(crate) fn mend(&self) {
        self.state().mend();
    }

    /// Speaks like the other gate of the platform from now on.
    pub(crate) fn switch_dialect(&self) {
        let mut state = self.state();
        state.dialect = match state.dialect {
            Dialect::Local => Dialect::Managed,
            Dialect::Managed => Dialect::Local,
        };
    }

    /// Refuses every sender for a while.
    pub(crate) fn refuse_senders(&self, time: Duration) {
        self.state().refuses_senders_until = self.clock.elapsed() + time;
    }

    /// Goes away for a while: connections are cut, and none is taken.
    pub(crate) fn go_away(&self, time: Duration) {
        self.state().away_until = self.clock.elapsed() + time;
        self.cut_all();
    }

    /// Restarts: connections are cut, and ids may be forgotten.
    pub(crate) fn restart(&self, forgets: bool) {
        let at_work: Vec<_> = self.served().at_work.keys().copied().collect();
        self.state().restart(forgets, &at_work);
        self.cut_all();
    }

    fn cut_all(&self) {
        self.laws.answers_may_be_lost();
        let cutters = std::mem::take(&mut self.served().cutters);
        cutters.iter().for_each(Cutter::cut);
    }

    /// Faults shown so far.
    pub(crate) fn faults(&self) -> u64 {
        self.state().faults
    }

    async fn serve(self, process: ProcessId, mut stream: SimStream) {
        let mut buffer = Vec::new();
        while let Some(body) = read_request(&mut stream, &mut buffer).await {
            let think = {
                let mut state = self.state();
                let latency = state.latency;
                state.dice.time(latency)
            };
            let event = event_in(&self.world, &body);
            let at_work = event.map(|event| self.is_at(event));
            self.clock.sleep(think).await;
            drop(at_work);
            let Some(event) = event else {
                self.laws
                    .broken("the gate got an event that is not of this world");
                return;
            };
            match self.react(process, event) {
                Reaction::Answer {
                    status,
                    header,
                    body,
                    says,
                    closes,
                } => {
                    let answered = answer(&mut stream, status, header, &body).await;
                    if answered.is_ok() && matches!(says, Says::Taken | Says::Refused) {
                        self.laws.has_final_answer(process, event);
                    }
                    if answered.is_err() || closes {
                        return;
                    }
                }
                Reaction::Cut => {
                    stream.reset();
                    return;
                }
                Reaction::Silence => std::future::pending().await,
            }
        }
    }

    /// Counts a request that the gate is at, until the guard is dropped.
    fn is_at(&self, event: EventNumber) -> AtWork {
        *self.served().at_work.entry(event).or_default() += 1;
        AtWork(Arc::clone(&self.served), event)
    }

    fn react(&self, process: ProcessId, event: EventNumber) -> Reaction {
        let now = self.clock.elapsed();
        let (reaction, is_taken) = self.state().react(now, event);
        if is_taken {
            self.laws.arrived(event);
        }
        let says = reaction.says();
        // It may be singled out for this, and is then set aside while others go on.
        if matches!(says, Says::Failed | Says::Refused | Says::InDoubt) {
            self.laws.may_be_given_up(event);
        }
        self.laws.answered(process, event, says);
        let told = match &reaction {
            Reaction::Answer {
                status,
                body,
                closes: false,
                ..
            } => format!("answers {status} {body} to {event}"),
            Reaction::Answer { status, body, .. } => {
                format!("answers {status} {body} to {event}, closes")
            }
            Reaction::Cut => format!("cuts {event} off"),
            Reaction::Silence => format!("says nothing to {event}"),
        };
        self.laws.note(&format!("gate {told}"));
        reaction
    }
}

struct AtWork(Arc<Mutex<Served>>, EventNumber);

impl Drop for AtWork {
    fn drop(&mut self) {
        let Self(served, event) = self;
        let mut served = served.lock().unwrap_or_else(PoisonError::into_inner);
        let left = served.at_work.get_mut(event).map(|requests| {
            *requests -= 1;
            *requests
        });
        if left == Some(0) {
            served.at_work.remove(event);
        }
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
        drop(state);
        {
            let cutters = &mut gate.served().cutters;
            cutters.retain(|cutter| !cutter.is_over());
            cutters.push(cutter);
        }
        let serving = gate.clone().serve(self.process, server);
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
