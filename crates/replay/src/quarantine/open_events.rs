//! Which events of a quarantine file still wait for a redrive.
//!
//! An event is one row of a world: two rows with the same primary key have one event id and
//! are two events here, since each has a payload of its own.
//!
//! | last line of the row | last of its lines that a redrive delivered | |
//! |---|---|---|
//! | n | none | waits |
//! | n | below n | waits: it was rejected again after that redrive |
//! | n | n | delivered |
//! | none | any | not in the part of the file that was read |
//!
//! Pure; the two files may be read in any order.

use std::collections::{HashMap, HashSet};

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
    /// By [`row_id`](super::QuarantinedEvent::row_id).
    rows: HashMap<Hex64, Lines>,
    /// The row of each line of the quarantine file.
    row_of_line: HashMap<u64, Hex64>,
    /// Lines that a redrive delivered and that have not been read yet.
    redriven_ahead: HashSet<u64>,
    waiting: u64,
}

impl OpenEvents {
    /// The quarantine file has the row on this line.
    pub fn quarantined(&mut self, row_id: Hex64, line: u64) {
        let redriven = self.redriven_ahead.remove(&line);
        self.row_of_line.insert(line, row_id.clone());
        self.update(row_id, |lines| {
            lines.quarantined = lines.quarantined.max(Some(line));
            if redriven {
                lines.redriven = lines.redriven.max(Some(line));
            }
        });
    }

    /// A redrive delivered what the file has on this line.
    pub fn redriven(&mut self, line: u64) {
        match self.row_of_line.get(&line).cloned() {
            Some(row_id) => self.update(row_id, |lines| {
                lines.redriven = lines.redriven.max(Some(line));
            }),
            None => {
                self.redriven_ahead.insert(line);
            }
        }
    }

    /// The row's last line, if it waits.
    pub fn waiting_line(&self, row_id: &Hex64) -> Option<u64> {
        let lines = self.rows.get(row_id).filter(|lines| lines.waits())?;
        lines.quarantined
    }

    /// How many events wait.
    pub fn waiting(&self) -> u64 {
        self.waiting
    }

    /// How many different events the quarantine file holds.
    pub fn quarantined_events(&self) -> u64 {
        self.rows.len() as u64
    }

    fn update(&mut self, row_id: Hex64, change: impl FnOnce(&mut Lines)) {
        let lines = self.rows.entry(row_id).or_default();
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

    fn id(digit: u64) -> Hex64 {
        let digit = char::from_digit(digit as u32, 16).unwrap();
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
        events.redriven(2);
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
            steps in proptest::collection::vec((any::<bool>(), 1u64..9), 0..40),
        ) {
            let apply = |steps: &mut dyn Iterator<Item = &(bool, u64)>| {
                let mut events = OpenEvents::default();
                for &(is_redriven, line) in steps {
                    if is_redriven {
                        events.redriven(line);
                    } else {
                        events.quarantined(id(line % 4), line);
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
