//! Whether an event fails alone: what became of others since it began to fail.
//!
//! Counted only while some event is suspected, so that events that go well cost one read.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Others that must have passed before a fault is an event's own.
const OTHERS_THAT_PASS: u64 = 20;
/// Of so many others, not one may have been asked to slow down.
const OTHERS_PER_SLOWED: u64 = 100;

/// The counters that all lanes share.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    suspected: AtomicU32,
    passed: AtomicU64,
    slowed: AtomicU64,
}

impl Suspects {
    /// An event was answered for good.
    pub(crate) fn passed(&self) {
        if self.suspected.load(Relaxed) != 0 {
            self.passed.fetch_add(1, Relaxed);
        }
    }

    /// An event got 408, 429 or 503.
    pub(crate) fn slowed(&self) {
        if self.suspected.load(Relaxed) != 0 {
            self.slowed.fetch_add(1, Relaxed);
        }
    }

    /// Begins to watch what becomes of others.
    pub(crate) fn suspect(&self) -> Suspicion<'_> {
        self.suspected.fetch_add(1, Relaxed);
        Suspicion {
            suspects: self,
            passed: self.passed.load(Relaxed),
            slowed: self.slowed.load(Relaxed),
            own_slowed: 0,
        }
    }
}

/// One suspected event; dropping it ends the suspicion.
#[derive(Debug)]
pub(crate) struct Suspicion<'a> {
    suspects: &'a Suspects,
    passed: u64,
    slowed: u64,
    own_slowed: u64,
}

impl Suspicion<'_> {
    /// The event itself got 408, 429 or 503.
    pub(crate) fn slowed(&mut self) {
        self.own_slowed += 1;
        self.suspects.slowed();
    }

    /// Whether enough others passed since.
    pub(crate) fn others_passed(&self) -> bool {
        self.others() >= OTHERS_THAT_PASS
    }

    /// Whether nearly no other was asked to slow down since.
    pub(crate) fn others_unslowed(&self) -> bool {
        let slowed = self.suspects.slowed.load(Relaxed) - self.slowed;
        slowed.saturating_sub(self.own_slowed) * OTHERS_PER_SLOWED < self.others()
    }

    fn others(&self) -> u64 {
        self.suspects.passed.load(Relaxed) - self.passed
    }
}

impl Drop for Suspicion<'_> {
    fn drop(&mut self) {
        self.suspects.suspected.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_counted_unless_an_event_is_suspected() {
        let suspects = Suspects::default();
        suspects.passed();
        let mut suspicion = suspects.suspect();
        for _ in 0..19 {
            suspects.passed();
        }
        assert!(!suspicion.others_passed());
        suspects.passed();
        assert!(suspicion.others_passed());
        suspicion.slowed();
        assert!(suspicion.others_unslowed(), "its own do not count");
        suspects.slowed();
        assert!(!suspicion.others_unslowed(), "one of 20 is no rarity");
        drop(suspicion);
        assert_eq!(suspects.suspected.load(Relaxed), 0);
    }
}
