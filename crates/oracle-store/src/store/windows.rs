//! A remote part for synchronous decoders.
//!
//! Parquet's asynchronous reader takes whole column chunks into memory; its synchronous
//! one asks for a page at a time, column by column, and would make a request of each. In
//! between stand lanes: one for each column chunk of the open row group (neighbours that
//! fit one window share a lane), each with a window that slides over it and the next one
//! on its way.
//!
//! ```text
//!                     row group
//!  before:                                    [ tail ]   the footer, in one request
//!  column a  ├──────[ held ][ coming ]──────┤            lane
//!  column b  ├─[ held ][ coming ]───────────┤            lane
//!  c, d, e   [ held ]                                    one lane, fetched whole
//! ```
//! All windows come out of one [`ByteBudget`], so that neither a huge row group nor many
//! open parts fill the memory. Bytes are copied out of their window, so that they are gone
//! when its reservation is.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use bytes::{Bytes, BytesMut};
use tokio::task::AbortHandle;

use super::bucket::Bucket;
use super::budget::{ByteBudget, LaneCount, Reservation};
use super::io;
use super::tails::TAIL_BYTES;
use crate::error::Error;
use crate::part::Pin;

/// A pinned remote object, read in windows.
#[derive(Debug)]
pub(crate) struct RemotePart {
    object: RemoteObject,
    state: Mutex<State>,
}

#[derive(Debug, Clone)]
struct RemoteObject {
    bucket: Bucket,
    key: Arc<str>,
    pin: Arc<Pin>,
}

#[derive(Debug)]
struct State {
    lanes: Vec<Lane>,
    _count: LaneCount,
}

/// A range that is read forwards.
#[derive(Debug)]
struct Lane {
    range: Range<u64>,
    held: Option<Window>,
    coming: Option<Coming>,
}

#[derive(Debug)]
struct Window {
    start: u64,
    bytes: Bytes,
    _reservation: Option<Reservation>,
}

/// A window on its way; dropping it cancels the request.
#[derive(Debug)]
struct Coming {
    range: Range<u64>,
    arrival: mpsc::Receiver<Result<Window, Error>>,
    task: AbortHandle,
}

impl RemotePart {
    /// Opens the object at its end, where the footer of a Parquet part is.
    pub(crate) fn new(bucket: Bucket, key: &str, pin: &Pin) -> Self {
        let start = pin.size.saturating_sub(TAIL_BYTES);
        let known = bucket.tails().get(key, pin);
        let held = known.map(|bytes| Window {
            start,
            bytes,
            _reservation: None,
        });
        let tail = Lane {
            range: start..pin.size,
            held,
            coming: None,
        };
        let state = State {
            _count: bucket.budget().add_lanes(1),
            lanes: vec![tail],
        };
        let object = RemoteObject {
            bucket,
            key: key.into(),
            pin: Arc::new(pin.clone()),
        };
        Self {
            object,
            state: Mutex::new(state),
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.object.pin.size
    }

    /// Announces which ranges are read next, in ascending order; windows of others are
    /// given up. `from_start`: each is read from its start, so its first window is fetched
    /// now, all at the same time.
    pub(crate) fn plan(&self, ranges: Vec<Range<u64>>, from_start: bool) -> Result<(), Error> {
        let budget = self.object.budget();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state
            .lanes
            .first()
            .is_some_and(|lane| lane.range == (0..self.size()))
        {
            return Ok(()); // The whole object is in one lane already.
        }
        state.lanes.clear();
        let ranges = neighbours_joined(ranges, budget.window_bytes());
        let count = budget.add_lanes(ranges.len());
        let mut lanes = Vec::with_capacity(ranges.len());
        for range in ranges {
            let coming = if from_start {
                self.object.fetch_ahead(range.start, range.end)?
            } else {
                None
            };
            lanes.push(Lane {
                range,
                held: None,
                coming,
            });
        }
        *state = State {
            lanes,
            _count: count,
        };
        Ok(())
    }

    /// Reads exactly the bytes of a range within the object. Blocks.
    pub(crate) fn read(&self, start: u64, length: usize) -> Result<Bytes, Error> {
        let mut bytes = BytesMut::with_capacity(length);
        while bytes.len() < length {
            let missing = length - bytes.len();
            let some = self.bytes_at(start + bytes.len() as u64, missing)?;
            bytes.extend_from_slice(&some[..some.len().min(missing)]);
        }
        Ok(bytes.freeze())
    }

    /// Bytes from `at` on, as many as are at hand but at least one, of `needed` ones.
    pub(crate) fn bytes_at(&self, at: u64, needed: usize) -> Result<Bytes, Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = state.lanes.iter_mut().find(|lane| lane.range.contains(&at));
        if let Some(lane) = lane {
            return lane.bytes_at(at, needed, &self.object);
        }
        // A footer longer than the tail, or a page that the footer does not place.
        let needed = needed as u64;
        let reservation = self.object.budget().reserve(needed, needed);
        Ok(self
            .object
            .fetch(at..at + needed, reservation)?
            .wait()?
            .bytes)
    }
}

impl Lane {
    fn bytes_at(&mut self, at: u64, needed: usize, object: &RemoteObject) -> Result<Bytes, Error> {
        if !self
            .held
            .as_ref()
            .is_some_and(|window| window.range().contains(&at))
        {
            self.held = None;
            let coming = self
                .coming
                .take()
                .filter(|coming| coming.range.contains(&at));
            let window = match coming {
                Some(coming) => coming.wait()?,
                None => self.fetch_at(at, needed as u64, object)?.wait()?,
            };
            object
                .bucket
                .tails()
                .keep(&object.key, &object.pin, window.start, &window.bytes);
            if window.range().end < self.range.end {
                self.coming = object.fetch_ahead(window.range().end, self.range.end)?;
            }
            self.held = Some(window);
        }
        let window = self.held.as_ref().expect("a window was just put here");
        Ok(window.bytes.slice((at - window.start) as usize..))
    }

    /// Fetches the window that `at` needs: the whole lane if it fits one.
    fn fetch_at(&self, at: u64, needed: u64, object: &RemoteObject) -> Result<Coming, Error> {
        let (budget, window) = (object.budget(), object.budget().window_bytes());
        let lane = self.range.end - self.range.start;
        if lane <= window
            && let Some(reservation) = budget.try_reserve(lane)
        {
            return object.fetch(self.range.clone(), reservation);
        }
        let left = self.range.end - at;
        let reservation = budget.reserve(needed.min(left), window.min(left));
        object.fetch(at..at + reservation.bytes(), reservation)
    }
}

impl Window {
    fn range(&self) -> Range<u64> {
        self.start..self.start + self.bytes.len() as u64
    }
}

impl RemoteObject {
    fn budget(&self) -> &Arc<ByteBudget> {
        self.bucket.budget()
    }

    /// Starts to fetch the window from `start` on, unless the budget is used up.
    fn fetch_ahead(&self, start: u64, end: u64) -> Result<Option<Coming>, Error> {
        let length = (end - start).min(self.budget().window_bytes());
        let reservation = self.budget().try_reserve(length);
        reservation
            .map(|reservation| self.fetch(start..start + length, reservation))
            .transpose()
    }

    /// Starts to fetch a range.
    fn fetch(&self, range: Range<u64>, reservation: Reservation) -> Result<Coming, Error> {
        let (sender, arrival) = mpsc::sync_channel(1);
        let (object, wanted) = (self.clone(), range.clone());
        let task = io::handle()?.spawn(async move {
            let start = wanted.start;
            let fetched = object.bucket.range(&object.key, &object.pin, wanted).await;
            let window = fetched.map(|bytes| Window {
                start,
                bytes,
                _reservation: Some(reservation),
            });
            let _ = sender.send(window);
        });
        Ok(Coming {
            range,
            arrival,
            task: task.abort_handle(),
        })
    }
}

impl Coming {
    fn wait(self) -> Result<Window, Error> {
        self.arrival.recv().map_err(io::broken)?
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Joins ranges that touch each other while they fit one window together.
fn neighbours_joined(mut ranges: Vec<Range<u64>>, window_bytes: u64) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.end == range.start && range.end - last.start <= window_bytes => {
                last.end = range.end;
            }
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_lane_while_they_fit_a_window() {
        let joined = neighbours_joined(vec![20..30, 0..10, 10..20, 30..90, 95..99], 30);
        assert_eq!(joined, [0..30, 30..90, 95..99]);
        assert_eq!(neighbours_joined(vec![], 30), [] as [Range<u64>; 0]);
    }
}
