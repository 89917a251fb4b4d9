//! What the ingestion gate answers: its state, in both dialects of the platform's gates.
//!
//! | state of an event | local | managed |
//! |---|---|---|
//! | taken in | 200 ADMIT, DUPLICATE | 202 ADMIT, DUPLICATE |
//! | fails its schema | 200 QUARANTINE | 400 QUARANTINE |
//! | bus publish failed | 200 QUARANTINE, PUBLISH_AMBIGUOUS | 400 the same |
//! | ambiguous, in flight | 400 `PUBLISH_…_RETRY` | 503 `retry_required` |
//! | gate unhealthy | 400 `IG_UNHEALTHY` | 503 `ingress_publish_failed`, IG_UNHEALTHY |
//!
//! After [`PUBLISHES_THAT_FAIL`] failed publishes in a row the gate is unhealthy until it is
//! restarted; an ambiguous event stays so, over restarts too.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::dice::Dice;
use crate::world::EventNumber;

/// Failed publishes in a row after which the gate takes nothing until it is restarted.
const PUBLISHES_THAT_FAIL: u32 = 3;

/// Which of the platform's gates it speaks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Local,
    Managed,
}

impl Dialect {
    pub(crate) fn of(dice: &mut Dice) -> Self {
        dice.one_of(&[Self::Local, Self::Managed])
    }
}

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
    pub(crate) unpublished: u64,
    pub(crate) senseless: u64,
}

/// What the gate does to one event, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Poison {
    /// It fails on it.
    Fails,
    /// It cuts the connection.
    Cuts,
    /// It never answers.
    Stalls,
    /// It refuses it.
    Refuses,
    /// It never knows whether it has it.
    Doubts,
    /// It asks for less: 429.
    SlowsDown,
    /// It is unavailable for it: 503.
    IsUnavailable,
    /// It gives up waiting for it: 408.
    TimesOut,
}

impl Poison {
    pub(crate) const ALL: [Self; 8] = [
        Self::Fails,
        Self::Cuts,
        Self::Stalls,
        Self::Refuses,
        Self::Doubts,
        Self::SlowsDown,
        Self::IsUnavailable,
        Self::TimesOut,
    ];

    /// Whether it looks like a gate that asks all to slow down.
    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Self::SlowsDown | Self::IsUnavailable | Self::TimesOut)
    }
}

/// What an answer says of its event, for the laws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Says {
    /// The gate has it.
    Taken,
    /// The gate takes nothing now.
    Away,
    /// The gate takes nothing from this sender.
    SenderRefused,
    /// The gate asks for less.
    SlowDown,
    /// The gate will not have it.
    Refused,
    /// The gate, or the way to it, fails on it.
    Failed,
    /// Nothing that can be understood.
    Senseless,
    /// The gate does not know whether it has it.
    InDoubt,
}

/// What becomes of a request.
pub(crate) enum Reaction {
    Answer {
        status: u16,
        header: &'static str,
        body: String,
        says: Says,
        closes: bool,
    },
    Cut,
    Silence,
}

impl Reaction {
    fn new(says: Says, status: u16, body: impl Into<String>) -> Self {
        Self::Answer {
            status,
            header: "",
            body: body.into(),
            says,
            closes: false,
        }
    }

    /// What it says of the event.
    pub(crate) fn says(&self) -> Says {
        match self {
            Self::Answer { says, .. } => *says,
            Self::Cut | Self::Silence => Says::Failed,
        }
    }
}

/// What the gate knows, and how it feels.
pub(crate) struct GateState {
    pub(crate) dice: Dice,
    pub(crate) dialect: Dialect,
    pub(crate) weather: Weather,
    pub(crate) poison: Vec<Option<Poison>>,
    pub(crate) away_until: Duration,
    /// Until when it refuses every sender, as after its token was revoked.
    pub(crate) refuses_senders_until: Duration,
    pub(crate) latency: Duration,
    pub(crate) faults: u64,
    ids: BTreeSet<EventNumber>,
    /// Events that may be found out about.
    in_flight: BTreeSet<EventNumber>,
    /// Events that never will.
    ambiguous: BTreeSet<EventNumber>,
    failed_publishes: u32,
}

impl GateState {
    pub(crate) fn new(mut dice: Dice, events: usize) -> Self {
        Self {
            latency: Duration::from_micros(dice.one_of(&[50, 500, 5_000, 50_000])),
            dialect: Dialect::of(&mut dice),
            dice,
            weather: Weather::default(),
            poison: vec![None; events],
            away_until: Duration::ZERO,
            refuses_senders_until: Duration::ZERO,
            faults: 0,
            ids: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            ambiguous: BTreeSet::new(),
            failed_publishes: 0,
        }
    }

    /// Restarts: ids may be forgotten; what was at work stays in flight for ever.
    pub(crate) fn restart(&mut self, forgets: bool, at_work: &[EventNumber]) {
        if forgets {
            self.ids.clear();
        }
        self.failed_publishes = 0;
        self.ambiguous.append(&mut self.in_flight);
        for event in at_work {
            if self.dice.permille(200) && !self.ids.contains(event) {
                self.ambiguous.insert(*event);
            }
        }
    }

    /// Takes all that is in doubt, and all poison, out of the world.
    pub(crate) fn mend(&mut self) {
        self.poison.fill(None);
        self.in_flight.clear();
        self.ambiguous.clear();
        self.refuses_senders_until = Duration::ZERO;
        self.failed_publishes = 0;
    }

    /// So it happens, in so many of a thousand cases.
    fn happens(&mut self, chance: u64) -> bool {
        let happens = self.dice.permille(chance);
        self.faults += u64::from(happens);
        happens
    }

    /// What becomes of a request, and whether the gate takes its event in.
    pub(crate) fn react(&mut self, now: Duration, event: EventNumber) -> (Reaction, bool) {
        if let Some(untaken) = self.not_taken(now, event) {
            return (untaken, false);
        }
        self.failed_publishes = 0;
        (self.take_in(event), true)
    }

    /// What becomes of a request whose event is not taken in.
    fn not_taken(&mut self, now: Duration, event: EventNumber) -> Option<Reaction> {
        if now < self.refuses_senders_until {
            self.faults += 1;
            let unauthorized = r#"{"error":"UNAUTHORIZED"}"#;
            return Some(Reaction::new(Says::SenderRefused, 401, unauthorized));
        }
        if let Some(poison) = self.poison[event] {
            self.faults += 1;
            return Some(self.poisoned(poison));
        }
        self.unwell().or_else(|| self.doubt(event))
    }

    fn poisoned(&mut self, poison: Poison) -> Reaction {
        let other = r#"{"error":"ingress_publish_failed","reason":"KeyError"}"#;
        match (poison, self.dialect) {
            (Poison::Fails, Dialect::Local) => {
                Reaction::new(Says::Failed, 500, r#"{"error":"INTERNAL_ERROR"}"#)
            }
            (Poison::Fails, Dialect::Managed) => Reaction::new(Says::Failed, 502, ""),
            (Poison::Cuts, _) => Reaction::Cut,
            (Poison::Stalls, _) => Reaction::Silence,
            (Poison::Refuses, _) => {
                let status = self.dice.one_of(&[400, 409, 413, 422]);
                Reaction::new(Says::Refused, status, r#"{"error":"SCHEMA_INVALID"}"#)
            }
            (Poison::Doubts, _) => self.does_not_know(),
            (Poison::SlowsDown, _) => self.slow_down(),
            (Poison::IsUnavailable, _) => Reaction::new(Says::SlowDown, 503, other),
            (Poison::TimesOut, _) => Reaction::new(Says::SlowDown, 408, ""),
        }
    }

    /// What it says while it, or the way to it, is unwell for all.
    fn unwell(&mut self) -> Option<Reaction> {
        let weather = self.weather;
        if self.happens(weather.slow_down) {
            return Some(self.slow_down());
        }
        if self.happens(weather.failing) {
            let status = self.dice.one_of(&[500, 502, 504]);
            return Some(Reaction::new(Says::Failed, status, ""));
        }
        if self.failed_publishes >= PUBLISHES_THAT_FAIL || self.happens(weather.unhealthy) {
            return Some(self.is_unhealthy());
        }
        if self.happens(weather.cut_before) {
            return Some(Reaction::Cut);
        }
        if self.happens(weather.senseless) {
            let body = self.dice.one_of(&["", "OK", r#"{"decision":"LATER"}"#]);
            return Some(Reaction::new(Says::Senseless, 200, body));
        }
        self.happens(weather.silent).then_some(Reaction::Silence)
    }

    fn slow_down(&mut self) -> Reaction {
        let header = self
            .dice
            .one_of(&["", "retry-after: 0\r\n", "retry-after: 1\r\n"]);
        Reaction::Answer {
            status: 429,
            header,
            body: r#"{"error":"RATE_LIMITED"}"#.to_owned(),
            says: Says::SlowDown,
            closes: false,
        }
    }

    fn is_unhealthy(&self) -> Reaction {
        match self.dialect {
            Dialect::Local => Reaction::new(Says::Away, 400, r#"{"error":"IG_UNHEALTHY"}"#),
            Dialect::Managed => {
                let body = r#"{"error":"ingress_publish_failed","reason":"IG_UNHEALTHY: bus"}"#;
                Reaction::new(Says::Away, 503, body)
            }
        }
    }

    fn does_not_know(&mut self) -> Reaction {
        let reason = ["PUBLISH_IN_FLIGHT_RETRY", "PUBLISH_AMBIGUOUS_RETRY"];
        let reason = self.dice.one_of(&reason);
        match self.dialect {
            Dialect::Local => {
                Reaction::new(Says::InDoubt, 400, format!(r#"{{"error":"{reason}"}}"#))
            }
            Dialect::Managed => {
                let body = format!(r#"{{"error":"retry_required","reason":"{reason}"}}"#);
                Reaction::new(Says::InDoubt, 503, body)
            }
        }
    }

    /// What it says where it does not know whether it has the event.
    fn doubt(&mut self, event: EventNumber) -> Option<Reaction> {
        if self.ambiguous.contains(&event) {
            return Some(self.does_not_know());
        }
        if self.ids.contains(&event) {
            return None;
        }
        let weather = self.weather;
        if self.happens(weather.unpublished) {
            self.failed_publishes += 1;
            self.ambiguous.insert(event);
            let reason = ["PUBLISH_AMBIGUOUS", "INTERNAL_ERROR"];
            let reason = self.dice.one_of(&reason);
            return Some(self.quarantines(Says::InDoubt, reason));
        }
        if self.in_flight.contains(&event) || self.happens(weather.in_doubt) {
            // It may find out later, and it may never.
            if !self.dice.permille(300) {
                self.in_flight.insert(event);
                return Some(self.does_not_know());
            }
            self.in_flight.remove(&event);
        }
        None
    }

    fn quarantines(&self, says: Says, reason: &str) -> Reaction {
        let body = format!(
            r#"{{"decision":"QUARANTINE","receipt":{{"reason_codes":["{reason}"]}},"receipt_ref":"r/1"}}"#
        );
        let status = match self.dialect {
            Dialect::Local => 200,
            Dialect::Managed => 400,
        };
        Reaction::new(says, status, body)
    }

    fn take_in(&mut self, event: EventNumber) -> Reaction {
        let weather = self.weather;
        let quarantines = self.dice.permille(weather.quarantining);
        let is_new = self.ids.insert(event);
        if self.happens(weather.cut_after) {
            return Reaction::Cut;
        }
        let mut taken = match (is_new, quarantines, self.dialect) {
            (true, true, _) => self.quarantines(Says::Taken, "SCHEMA_FAIL"),
            (_, _, dialect) => {
                let decision = if is_new { "ADMIT" } else { "DUPLICATE" };
                let status = match dialect {
                    Dialect::Local => 200,
                    Dialect::Managed => 202,
                };
                let body = format!(r#"{{"decision":"{decision}","receipt_ref":"r/1"}}"#);
                Reaction::new(Says::Taken, status, body)
            }
        };
        let closing = self.happens(weather.closing);
        if let Reaction::Answer { closes, .. } = &mut taken {
            *closes = closing;
        }
        taken
    }
}
