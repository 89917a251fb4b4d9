//! Meters that add up: read = buffered + in flight + acknowledged + quarantined.
//!
//! Each event is counted once at each border it crosses: when its chunk enters
//! the order (*read*), when it is handed to a lane (*handed over*) and when it is
//! acknowledged or durably quarantined. What lies between two borders is their
//! difference, so the sum holds by construction as long as a reading is taken
//! from the last border to the first: [`Meters::read_all`] does.

use envelope::EventTime;

use crate::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// The counters of one output.
#[derive(Debug, Default)]
pub(crate) struct OutputMeters {
    read: AtomicU64,
    handed_over: AtomicU64,
    acknowledged: AtomicU64,
    quarantined: AtomicU64,
}

/// One reading of an output's meters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reading {
    /// Rows that were framed and entered the order.
    pub read: u64,
    /// Events that were read and not yet handed to a lane.
    pub buffered: u64,
    /// Events that were handed to a lane and are not yet done.
    pub in_flight: u64,
    /// Events that the ingestion gate acknowledged.
    pub acknowledged: u64,
    /// Events that were durably quarantined.
    pub quarantined: u64,
}

impl std::ops::AddAssign for Reading {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.buffered += other.buffered;
        self.in_flight += other.in_flight;
        self.acknowledged += other.acknowledged;
        self.quarantined += other.quarantined;
    }
}

impl OutputMeters {
    fn reading(&self) -> Reading {
        // Last border first: a count read later can only have grown.
        let quarantined = self.quarantined.load(Ordering::Acquire);
        let acknowledged = self.acknowledged.load(Ordering::Acquire);
        let handed_over = self.handed_over.load(Ordering::Acquire);
        let read = self.read.load(Ordering::Acquire);
        Reading {
            read,
            buffered: read - handed_over,
            in_flight: handed_over - acknowledged - quarantined,
            acknowledged,
            quarantined,
        }
    }
}

/// The counters of a stream, an entry an output.
#[derive(Debug)]
pub struct Meters {
    outputs: Vec<OutputMeters>,
    /// Nanoseconds since 1970 of the last event handed over; `i64::MIN` for none.
    handed_over_time: AtomicI64,
}

impl Meters {
    /// Meters of `outputs` outputs, all at zero.
    pub fn new(outputs: usize) -> Self {
        Self {
            outputs: (0..outputs).map(|_| OutputMeters::default()).collect(),
            handed_over_time: AtomicI64::new(i64::MIN),
        }
    }

    /// Counts events that entered the order.
    pub fn read(&self, output: usize, events: u64) {
        self.outputs[output]
            .read
            .fetch_add(events, Ordering::Release);
    }

    /// Counts an event that is handed to a lane.
    pub fn handed_over(&self, output: usize) {
        self.outputs[output]
            .handed_over
            .fetch_add(1, Ordering::Release);
    }

    /// Keeps the event time of an event that was handed to a lane.
    pub(crate) fn handed_over_at(&self, time: EventTime) {
        let nanos = i64::try_from(time.nanos()).unwrap_or(i64::MIN);
        self.handed_over_time.store(nanos, Ordering::Release);
    }

    /// The event time of the last event that was handed to a lane; `None` before the first, and
    /// where it does not fit 64 bits.
    pub(crate) fn handed_over_time(&self) -> Option<EventTime> {
        match self.handed_over_time.load(Ordering::Acquire) {
            i64::MIN => None,
            nanos => EventTime::from_nanos(nanos.into()),
        }
    }

    /// Takes back the count of an event that no lane began to send.
    pub fn handed_back(&self, output: usize) {
        self.outputs[output]
            .handed_over
            .fetch_sub(1, Ordering::Release);
    }

    /// Counts an event that was acknowledged.
    pub fn acknowledged(&self, output: usize) {
        self.outputs[output]
            .acknowledged
            .fetch_add(1, Ordering::Release);
    }

    /// Counts an event that was durably quarantined.
    pub fn quarantined(&self, output: usize) {
        self.outputs[output]
            .quarantined
            .fetch_add(1, Ordering::Release);
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs.len()
    }

    /// The reading of one output's meters.
    pub fn reading(&self, output: usize) -> Reading {
        self.outputs[output].reading()
    }

    /// The reading of all outputs' meters together.
    pub fn read_all(&self) -> Reading {
        let mut total = Reading::default();
        for output in &self.outputs {
            total += output.reading();
        }
        total
    }
}

/// Every order in which who counts and who reads may meet at the meters.
#[cfg(all(test, feature = "loom"))]
mod models {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    #[test]
    fn a_reading_adds_up_whenever_it_is_taken() {
        loom::model(|| {
            let meters = Arc::new(Meters::new(1));
            meters.read(0, 1);
            let dispatcher = {
                let meters = Arc::clone(&meters);
                thread::spawn(move || {
                    meters.handed_over(0);
                    let keeper = {
                        let meters = Arc::clone(&meters);
                        thread::spawn(move || meters.acknowledged(0))
                    };
                    meters.read(0, 1);
                    meters.handed_over(0);
                    keeper.join().unwrap();
                })
            };
            let seen = meters.reading(0);
            let parts = seen.buffered + seen.in_flight + seen.acknowledged + seen.quarantined;
            assert_eq!(seen.read, parts);
            assert!(seen.buffered <= seen.read && seen.in_flight <= seen.read);
            dispatcher.join().unwrap();
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_reading_adds_up_while_others_count() {
        let meters = Arc::new(Meters::new(1));
        let counting = {
            let meters = Arc::clone(&meters);
            std::thread::spawn(move || {
                for event in 0..200_000u32 {
                    meters.read(0, 1);
                    meters.handed_over(0);
                    if event % 7 == 0 {
                        meters.quarantined(0);
                    } else {
                        meters.acknowledged(0);
                    }
                }
            })
        };
        while !counting.is_finished() {
            let seen = meters.read_all();
            // An underflow would panic in `reading`; the sum is the law.
            assert_eq!(
                seen.read,
                seen.buffered + seen.in_flight + seen.acknowledged + seen.quarantined
            );
        }
        counting.join().unwrap();
        assert_eq!(meters.reading(0).in_flight, 0);
    }
}
