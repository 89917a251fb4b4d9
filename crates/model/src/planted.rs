//! Bugs planted on purpose, so that the simulation can be shown to find them.
//!
//! Without the feature `planted-bugs` no bug can be planted, and the compiler leaves each question
//! out. With it, [`plant`] chooses one bug for the whole process.

#[cfg(feature = "planted-bugs")]
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// The bug that is planted, by its number from 1; 0 for none.
#[cfg(feature = "planted-bugs")]
static PLANTED: AtomicU8 = AtomicU8::new(0);

/// Plants one bug in this process, in the place of the one before; `None` for none.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.store(bug.map_or(0, |bug| bug as u8 + 1), Relaxed);
}

/// A bug that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A cursor passes one event that is not acknowledged.
    CursorPassesOne,
    /// Saves and renewals are taken under any fence.
    AnyFence,
    /// The window has room for as many events more as the stream has lanes.
    WiderWindow,
    /// Events leave a nanosecond before they are due.
    OneNanosecondEarly,
    /// New folders are not synced.
    NoFolderSync,
    /// Set-aside events are not synced.
    NoLineSync,
    /// Leases are renewed once in two periods.
    RenewedLate,
    /// A renewal counts from its end.
    RenewalCountsFromItsEnd,
    /// Lanes post without asking for the lease.
    LeaseNotAsked,
    /// Of events at one time, those of later parts come first.
    TiesReversed,
    /// A resume in event time leaves one row out.
    ResumeSkipsARow,
    /// Events of one key go by any lane.
    KeysChangeLanes,
    /// An event that was handed back counts as done.
    HandedBackIsDone,
    /// An event whose answer never came counts as done.
    AbandonedIsDone,
    /// A connection that is cut counts as an acknowledgement.
    CutIsAcknowledged,
    /// Requests in flight are waited for without an end.
    DrainNeverEnds,
    /// Lanes that wait are not woken when the drain is over.
    StopWakesNobody,
    /// An event is done before it is set aside.
    SetAsideTooEarly,
    /// A pause does not hold back what waits in the lanes.
    PauseLeavesLanesOpen,
    /// A step lets one event more leave.
    StepOneMore,
    /// The window opens when a save begins.
    WindowOpensEarly,
    /// A save that failed counts as a save.
    LostSaveIsSaved,
    /// Events that are set aside are not counted.
    SetAsideUncounted,
    /// An event that the gate refused is posted once more.
    FinalAnswerIsRetried,
    /// An event in doubt is given up after its tries, however short they took.
    DoubtIsGivenUpAtOnce,
    /// A gate that asks to slow down has failed on the event.
    SlowingDownIsAFault,
    /// Lanes begin what waits in them after a stop, too.
    QueuedEventsLeaveAfterAStop,
    /// A part of the stream that dies does not end the stream.
    DeathGoesUnnoticed,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 28] = [
        Self::CursorPassesOne,
        Self::AnyFence,
        Self::WiderWindow,
        Self::OneNanosecondEarly,
        Self::NoFolderSync,
        Self::NoLineSync,
        Self::RenewedLate,
        Self::RenewalCountsFromItsEnd,
        Self::LeaseNotAsked,
        Self::TiesReversed,
        Self::ResumeSkipsARow,
        Self::KeysChangeLanes,
        Self::HandedBackIsDone,
        Self::AbandonedIsDone,
        Self::CutIsAcknowledged,
        Self::DrainNeverEnds,
        Self::StopWakesNobody,
        Self::SetAsideTooEarly,
        Self::PauseLeavesLanesOpen,
        Self::StepOneMore,
        Self::WindowOpensEarly,
        Self::LostSaveIsSaved,
        Self::SetAsideUncounted,
        Self::FinalAnswerIsRetried,
        Self::DoubtIsGivenUpAtOnce,
        Self::SlowingDownIsAFault,
        Self::QueuedEventsLeaveAfterAStop,
        Self::DeathGoesUnnoticed,
    ];

    /// Whether this bug is planted in this process.
    #[inline]
    pub fn is_planted(self) -> bool {
        #[cfg(feature = "planted-bugs")]
        return PLANTED.load(Relaxed) == self as u8 + 1;
        #[cfg(not(feature = "planted-bugs"))]
        false
    }
}
