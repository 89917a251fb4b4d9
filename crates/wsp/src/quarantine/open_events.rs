//! Which events of a quarantine file still wait for a redrive.
//!
//! | last line of the event | last line that a redrive delivered | |
//! |---|---|---|
//! | n | none | waits |
//! | n | below n | waits: it was rejected again after that redrive |
//! | n | n or more | delivered |
//! | none | any | not in the part of the file that was read |
//!
//! Pure; the two files may be read in any order.

use std::collections::HashMap;

use oracle_store::Hex64;

#[derive(Debug, Default)]
struct Lines {
    quarantined: Option<u64>,
    redriven: Option<u64>,
}

impl Lines {
    fn waits(&self) -> bool {
        self.quarantined > self.redriven
    }
}

/// What both files say of each event. Lines count from 1.
#[derive(Debug, Default)]
pub struct OpenEvents {
    events: HashMap<Hex64, Lines>,
    waiting: u64,
}

impl OpenEvents {
    /// The quarantine file has the event on this line.
    pub fn quarantined(&mut self, event_id: Hex64, line: u64) {
        self.update(event_id, |lines| {
            lines.quarantined = lines.quarantined.max(Some(line));
        });
    }

    /// A redrive delivered what the file had of the event up to this line.
    pub fn redriven(&mut self, event_id: Hex64, line: u64) {
        self.update(event_id, |lines| {
            lines.redriven = lines.redriven.max(Some(line));
        });
    }

    /// The event's last line, if it waits.
    pub fn waiting_line(&self, event_id: &Hex64) -> Option<u64> {
        let lines = self.events.get(event_id).filter(|lines| lines.waits())?;
        lines.quarantined
    }

    /// How many events wait.
    pub fn waiting(&self) -> u64 {
        self.waiting
    }

    /// How many different events the quarantine file holds.
    pub fn quarantined_events(&self) -> u64 {
        let held = |lines: &&Lines| lines.quarantined.is_some();
        self.events.values().filter(held).count() as u64
    }

    fn update(&mut self, event_id: Hex64, change: impl FnOnce(&mut Lines)) {
        let lines = self.events.entry(event_id).or_default();
        let before = lines.waits();
        change(lines);
        match (before, lines.waits()) {
            (false, true) => self.waiting += 1,
            (true, false) => self.waiting -= 1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(digit: u32) -> Hex64 {
        let digit = char::from_digit(digit, 16).unwrap();
        Hex64::parse(&digit.to_string().repeat(64)).unwrap()
    }

    #[test]
    fn an_event_that_was_rejected_again_after_a_redrive_waits_again() {
        let mut events = OpenEvents::default();
        events.quarantined(id(1), 1);
        events.quarantined(id(1), 2);
        assert_eq!(
            (events.waiting(), events.waiting_line(&id(1))),
            (1, Some(2))
        );
        events.redriven(id(1), 2);
        assert_eq!((events.waiting(), events.waiting_line(&id(1))), (0, None));
        events.quarantined(id(1), 3);
        assert_eq!(
            (events.waiting(), events.waiting_line(&id(1))),
            (1, Some(3))
        );
        assert_eq!(events.quarantined_events(), 1);
    }

    proptest! {
        #[test]
        fn the_order_in_which_the_files_are_read_does_not_matter(
            steps in proptest::collection::vec((any::<bool>(), 0u32..4, 1u64..9), 0..40),
        ) {
            let apply = |steps: &mut dyn Iterator<Item = &(bool, u32, u64)>| {
                let mut events = OpenEvents::default();
                for (is_redriven, event, line) in steps {
                    match is_redriven {
                        true => events.redriven(id(*event), *line),
                        false => events.quarantined(id(*event), *line),
                    }
                }
                let lines = (0..4).map(|event| events.waiting_line(&id(event)));
                (events.waiting(), lines.collect::<Vec<_>>())
            };
            let (waiting, lines) = apply(&mut steps.iter());
            prop_assert_eq!(waiting, lines.iter().flatten().count() as u64);
            prop_assert_eq!((waiting, lines), apply(&mut steps.iter().rev()));
        }
    }
}
