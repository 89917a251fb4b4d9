//! Whether an event fails alone: what became of others since it was first posted.
//!
//! Others that passed are counted always, since an event that stalls fails only long after they
//! did. What takes a close look is counted only while some event is suspected.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Others that must have passed before a fault is an event's own.
const OTHERS_THAT_PASS: u64 = 20;
/// So many more for every other event that fails now: a gate that goes away fails on all that are
/// in flight, and few others passed since those were sent.
const MORE_PER_FAILING: u64 = 4;
/// Of so many others that passed, not one may have failed: more is an unwell gate.
const OTHERS_PER_FAILED: u64 = 10;
/// Of so many others that passed, not one may have been asked to slow down.
const OTHERS_PER_SLOWED: u64 = 100;

/// The counters that all lanes share. Every answer writes one of them, so they share no cache line
/// with what the lanes only read.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Suspects {
    suspected: AtomicU64,
    passed: AtomicU64,
    failed: AtomicU64,
    slowed: AtomicU64,
}

/// What the counters were when an event was first posted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Before {
    passed: u64,
    failed: u64,
}

impl Suspects {
    /// An event was acknowledged.
    pub(crate) fn passed(&self) {
        self.passed.fetch_add(1, Relaxed);
    }

    /// The counters as an event is first posted.
    pub(crate) fn now(&self) -> Before {
        Before {
            passed: self.passed.load(Relaxed),
            failed: self.failed.load(Relaxed),
        }
    }

    /// Suspects an event that failed for the first time.
    pub(crate) fn suspect(&self, before: Before) -> Suspicion<'_> {
        self.suspected.fetch_add(1, Relaxed);
        self.failed.fetch_add(1, Relaxed);
        Suspicion {
            suspects: self,
            before,
            slowed: self.slowed.load(Relaxed),
            own_slowed: 0,
        }
    }
}

/// One suspected event; dropping it ends the suspicion.
#[derive(Debug)]
pub(crate) struct Suspicion<'a> {
    suspects: &'a Suspects,
    before: Before,
    slowed: u64,
    /// 1 once the event itself got 408, 429 or 503.
    own_slowed: u64,
}

impl Suspicion<'_> {
    /// The event itself got 408, 429 or 503; however often, it counts as one.
    pub(crate) fn slowed(&mut self) {
        if self.own_slowed == 0 {
            self.own_slowed = 1;
            self.suspects.slowed.fetch_add(1, Relaxed);
        }
    }

    /// Whether enough others passed since the event was first posted, and few others failed.
    pub(crate) fn others_passed(&self) -> bool {
        let failing = self.suspects.suspected.load(Relaxed).saturating_sub(1);
        // The event itself is one of those that failed.
        let failed = self.suspects.failed.load(Relaxed) - self.before.failed - 1;
        let others = self.others();
        others >= OTHERS_THAT_PASS + failing * MORE_PER_FAILING
            && failed * OTHERS_PER_FAILED < others
    }

    /// Whether nearly no other event was asked to slow down since.
    pub(crate) fn others_unslowed(&self) -> bool {
        let slowed = self.suspects.slowed.load(Relaxed) - self.slowed;
        slowed.saturating_sub(self.own_slowed) * OTHERS_PER_SLOWED < self.others()
    }

    fn others(&self) -> u64 {
        self.suspects.passed.load(Relaxed) - self.before.passed
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

    fn pass(suspects: &Suspects, events: u64) {
        (0..events).for_each(|_| suspects.passed());
    }

    #[test]
    fn others_count_from_the_first_post_on() {
        let suspects = Suspects::default();
        pass(&suspects, 7);
        let before = suspects.now();
        pass(&suspects, 19);
        let suspicion = suspects.suspect(before);
        assert!(!suspicion.others_passed());
        pass(&suspects, 1);
        assert!(
            suspicion.others_passed(),
            "though most passed before it failed"
        );
        drop(suspicion);
        assert_eq!(suspects.suspected.load(Relaxed), 0);
    }

    #[test]
    fn the_more_events_fail_at_once_the_more_others_must_have_passed() {
        let suspects = Suspects::default();
        let before = suspects.now();
        let suspicions: Vec<_> = (0..4).map(|_| suspects.suspect(before)).collect();
        pass(&suspects, 31);
        assert!(!suspicions[0].others_passed(), "a gate that went away");
        pass(&suspects, 1);
        assert!(suspicions.iter().all(Suspicion::others_passed));
    }

    #[test]
    fn a_gate_that_fails_on_many_events_is_to_blame_and_no_event() {
        let suspects = Suspects::default();
        let suspicion = suspects.suspect(suspects.now());
        for _ in 0..30 {
            drop(suspects.suspect(suspects.now()));
        }
        pass(&suspects, 300);
        assert!(!suspicion.others_passed(), "one of ten failed too");
        pass(&suspects, 1);
        assert!(suspicion.others_passed());
    }

    #[test]
    fn an_event_that_is_slowed_again_and_again_counts_as_one() {
        let suspects = Suspects::default();
        let before = suspects.now();
        let (mut first, mut second) = (suspects.suspect(before), suspects.suspect(before));
        for _ in 0..1_000 {
            first.slowed();
            second.slowed();
        }
        pass(&suspects, 100);
        assert!(!first.others_unslowed(), "one of 100 is not under 1 %");
        pass(&suspects, 1);
        assert!(first.others_unslowed() && second.others_unslowed());
    }
}
