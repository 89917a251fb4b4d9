//! What a stream is at.

use std::sync::Arc;

use serde::Serialize;

use crate::sync::atomic::{AtomicU8, Ordering};

/// The state of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The evidence is being checked, or the first row is being read.
    #[default]
    Starting,
    /// The schedule has not begun yet.
    WaitingForStart,
    /// Events leave when they are due.
    Running,
    /// Events that are due wait for saves or for the ingestion gate.
    HeldBack,
    /// The ingestion gate takes no event; the stream retries.
    GateAway,
    /// The checkpoint store takes no cursor; the stream retries.
    StoreAway,
    /// The stream is paused.
    Paused,
    /// The stream winds down: no new event leaves.
    Ending,
}

impl State {
    /// Every state there is.
    pub const ALL: [Self; 8] = [
        Self::Starting,
        Self::WaitingForStart,
        Self::Running,
        Self::HeldBack,
        Self::GateAway,
        Self::StoreAway,
        Self::Paused,
        Self::Ending,
    ];

    /// Whether events may leave in this state, were they due and had they room.
    pub(crate) fn may_send(self) -> bool {
        match self {
            Self::Running | Self::HeldBack | Self::GateAway | Self::StoreAway => true,
            Self::Starting | Self::WaitingForStart | Self::Paused | Self::Ending => false,
        }
    }

    /// The state, for people, of a stream whose gate or store is away.
    pub(crate) fn while_away(self, is_gate_away: bool, is_store_away: bool) -> Self {
        match self {
            Self::Starting | Self::Running | Self::HeldBack if is_gate_away => Self::GateAway,
            Self::Starting | Self::Running | Self::HeldBack if is_store_away => Self::StoreAway,
            state => state,
        }
    }

    /// The state's name in reports and on the progress line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::WaitingForStart => "waiting_for_start",
            Self::Running => "running",
            Self::HeldBack => "held_back",
            Self::GateAway => "gate_away",
            Self::StoreAway => "store_away",
            Self::Paused => "paused",
            Self::Ending => "ending",
        }
    }
}

/// The state, as the dispatching thread tells it and anybody reads it.
#[derive(Debug, Clone, Default)]
pub(crate) struct StateCell(Arc<AtomicU8>);

impl StateCell {
    pub(crate) fn set(&self, state: State) {
        self.0.store(state as u8, Ordering::Release);
    }

    pub(crate) fn get(&self) -> State {
        State::ALL[usize::from(self.0.load(Ordering::Acquire))]
    }
}
