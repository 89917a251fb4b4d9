//! The quarantine of a platform run in a bucket: numbered objects, each a batch of lines.
//!
//! ```text
//! <folder>/quarantine/<session>-<n>.ndjson    a batch of events, as in a quarantine file
//! <folder>/redriven/<session>-<n>.ndjson      a batch of lines that no longer wait
//! ```
//!
//! Sessions write beside each other, so lines have no order over all objects. A line is known by
//! its object and its number there; an event waits while any line of it is not closed, and a
//! redrive closes all lines of an event that it has read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use chrono::Utc;
use durable::{ObjectLog, Objects};
use envelope::PlatformRunId;
use oracle_store::Hex64;
use tokio::sync::mpsc;

use super::fault::{damaged_object, unreadable_at, unwritable_at};
use super::prefix::{AHEAD, Waiting};
use super::redriven::{Closed, closed_line, read_closed};
use super::{Quarantine, QuarantinedEvent, RejectedEvent};
use crate::Error;

/// The folder of the quarantine's objects in that of a run, or of a shard of it.
const QUARANTINE: &str = "quarantine";
/// The folder of what no longer waits.
const REDRIVEN: &str = "redriven";

/// A line: the name of its object, and its number there, from 1.
type Spot = (String, u64);

/// What the objects say of each event.
#[derive(Debug, Default)]
struct Held {
    /// The lines of each event that are not closed; none for an event that no longer waits.
    open: HashMap<Hex64, BTreeSet<Spot>>,
    row_of: HashMap<Spot, Hex64>,
    /// Closed lines, also those that were not read yet.
    closed: BTreeSet<Spot>,
    run: Option<PlatformRunId>,
}

impl Held {
    fn quarantined(&mut self, event: &QuarantinedEvent, spot: Spot) {
        let row_id = event.row_id();
        if self.run.is_none() {
            self.run.clone_from(&event.platform_run_id);
        }
        self.row_of.insert(spot.clone(), row_id.clone());
        let open = self.open.entry(row_id).or_default();
        if !self.closed.contains(&spot) {
            open.insert(spot);
        }
    }

    fn closed(&mut self, spot: Spot) {
        let open = self
            .row_of
            .get(&spot)
            .and_then(|row| self.open.get_mut(row));
        if let Some(open) = open {
            open.remove(&spot);
        }
        self.closed.insert(spot);
    }

    fn waits(&self, row_id: &Hex64) -> bool {
        self.open.get(row_id).is_some_and(|lines| !lines.is_empty())
    }

    fn waiting(&self) -> u64 {
        self.open.values().filter(|lines| !lines.is_empty()).count() as u64
    }
}

/// Shows the lines of an object with their numbers.
fn each_line(
    place: &str,
    bytes: &[u8],
    mut see: impl FnMut(u64, &[u8]) -> Result<(), String>,
) -> Result<(), Error> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    for (number, line) in (1..).zip(lines) {
        let line = line.strip_suffix(b"\n");
        let seen = line.ok_or_else(|| "it is cut short".to_owned());
        seen.and_then(|line| see(number, line))
            .map_err(|why| damaged_object(place, number, &why))?;
    }
    Ok(())
}

/// The objects of a run's quarantine, and what was read of them.
#[derive(Debug)]
struct ReadObjects {
    objects: Arc<dyn Objects>,
    /// The folder of the run, or of a shard of it.
    folder: String,
    held: Held,
    lines: u64,
    /// The objects that were read.
    seen: BTreeSet<String>,
}

impl ReadObjects {
    /// Reads everything.
    ///
    /// # Errors
    /// `QUARANTINE_UNREADABLE` with the object and the line.
    fn open(objects: Arc<dyn Objects>, folder: String) -> Result<Self, Error> {
        let mut read = Self {
            objects,
            folder,
            held: Held::default(),
            lines: 0,
            seen: BTreeSet::new(),
        };
        read.catch_up(unreadable_at)?;
        Ok(read)
    }

    fn folder(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    fn place(&self) -> String {
        self.objects.place(&self.folder(QUARANTINE))
    }

    /// Reads the objects that were written since. `away` says what it means that they cannot be.
    fn catch_up(&mut self, away: fn(&str, io::Error) -> Error) -> Result<(), Error> {
        for folder in [REDRIVEN, QUARANTINE] {
            let folder = self.folder(folder);
            let objects = Arc::clone(&self.objects);
            let unreadable = |error| away(&objects.place(&folder), error);
            for name in objects.list(&folder).map_err(unreadable)? {
                if self.seen.contains(&name) {
                    continue;
                }
                let bytes = objects.read(&name).map_err(unreadable)?;
                self.see(&name, &bytes.unwrap_or_default())?;
            }
        }
        Ok(())
    }

    fn see(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let place = self.objects.place(name);
        let is_redriven = name.starts_with(&format!("{}/", self.folder_of_redriven()));
        let (held, lines) = (&mut self.held, &mut self.lines);
        if is_redriven {
            each_line(&place, bytes, |_, line| {
                held.closed(read_closed(line)?);
                Ok(())
            })?;
        } else {
            each_line(&place, bytes, |number, line| {
                let event = QuarantinedEvent::parse(line)?;
                held.quarantined(&event, (name.to_owned(), number));
                *lines += 1;
                Ok(())
            })?;
        }
        self.seen.insert(name.to_owned());
        Ok(())
    }

    fn folder_of_redriven(&self) -> String {
        self.folder(REDRIVEN)
    }
}

/// The quarantine of a platform run in a bucket, written by one session.
#[derive(Debug)]
pub struct QuarantineObjects {
    read: ReadObjects,
    log: ObjectLog,
}

impl QuarantineObjects {
    /// Reads the events that wait in a folder of a run.
    ///
    /// # Errors
    /// `QUARANTINE_UNREADABLE` with the object and the line.
    pub fn open(objects: Arc<dyn Objects>, folder: &str, session: &str) -> Result<Self, Error> {
        let read = ReadObjects::open(Arc::clone(&objects), folder.to_owned())?;
        let log = ObjectLog::new(objects, read.folder(QUARANTINE), session, "ndjson");
        Ok(Self { read, log })
    }
}

impl Quarantine for QuarantineObjects {
    fn set_aside(&mut self, events: &[RejectedEvent]) -> Result<(), Error> {
        // What others set aside meanwhile counts against the limit too.
        self.read.catch_up(unwritable_at)?;
        let place = self.read.place();
        let (mut ids, mut bytes) = (Vec::new(), Vec::new());
        let now = Utc::now();
        for event in events {
            let (id, line) = event.to_line(now).map_err(|why| {
                let why = format!("row {} of {}: {why}", event.row, event.file);
                unwritable_at(&place, io::Error::other(why))
            })?;
            if !self.read.held.waits(&id) && !ids.contains(&id) {
                bytes.extend_from_slice(&line);
                bytes.push(b'\n');
                ids.push(id);
            }
        }
        if ids.is_empty() {
            return Ok(());
        }
        let name = self.log.append(&bytes);
        let name = name.map_err(|error| unwritable_at(&place, error))?;
        self.read.see(&name, &bytes)
    }

    fn waiting(&self) -> u64 {
        self.read.held.waiting()
    }

    fn place(&self) -> String {
        self.read.place()
    }
}

/// What the quarantine of a run in a bucket held when a redrive began.
#[derive(Debug)]
pub struct ObjectPrefix {
    read: ReadObjects,
    /// The open lines of each event that waits, in the order of their last lines.
    waiting: Arc<Vec<BTreeSet<Spot>>>,
}

impl ObjectPrefix {
    /// Reads the quarantine in a folder of a run.
    ///
    /// # Errors
    /// `QUARANTINE_UNREADABLE` with the object and the line.
    pub fn read(objects: Arc<dyn Objects>, folder: &str) -> Result<Self, Error> {
        let read = ReadObjects::open(objects, folder.to_owned())?;
        let open = read.held.open.values().filter(|lines| !lines.is_empty());
        let mut waiting: Vec<_> = open.cloned().collect();
        waiting.sort_unstable_by(|one, other| one.last().cmp(&other.last()));
        Ok(Self {
            read,
            waiting: Arc::new(waiting),
        })
    }

    /// The place of the quarantine, shown to operators.
    pub fn place(&self) -> String {
        self.read.place()
    }

    /// The number of lines.
    pub fn lines(&self) -> u64 {
        self.read.lines
    }

    /// The number of different events.
    pub fn events(&self) -> u64 {
        self.read.held.open.len() as u64
    }

    /// The number of events that wait.
    pub fn waiting(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// The platform run that the first event names; `None` where it names none.
    pub fn run(&self) -> Option<&PlatformRunId> {
        self.read.held.run.as_ref()
    }

    /// Where closed lines are recorded, by a session of this name.
    pub fn redriven(&self, session: &str) -> RedrivenObjects {
        let folder = self.read.folder_of_redriven();
        RedrivenObjects {
            log: ObjectLog::new(Arc::clone(&self.read.objects), folder, session, "ndjson"),
            waiting: Arc::clone(&self.waiting),
        }
    }

    /// Every event that waits, once, in the order of their last lines, each with its number from
    /// 1; read on a thread of its own, a few events ahead.
    ///
    /// # Errors
    /// `STREAM_INTERNAL` if the system gives no thread.
    pub fn feed(self) -> Result<mpsc::Receiver<Result<Waiting, Error>>, Error> {
        let (events, feed) = mpsc::channel(AHEAD);
        let reading = durable::spawn_blocking(move || {
            if let Err(error) = self.feed_into(&events) {
                // Nobody listens once the redrive has ended.
                let _ = events.blocking_send(Err(error));
            }
        });
        reading.map_err(|source| Error::no_thread("The quarantine cannot be read", source))?;
        Ok(feed)
    }

    fn feed_into(&self, events: &mpsc::Sender<Result<Waiting, Error>>) -> Result<(), Error> {
        let mut numbers: BTreeMap<&str, BTreeMap<u64, u64>> = BTreeMap::new();
        for (number, lines) in (1..).zip(self.waiting.iter()) {
            if let Some((name, line)) = lines.last() {
                numbers.entry(name).or_default().insert(*line, number);
            }
        }
        let objects = &self.read.objects;
        for (name, numbers) in numbers {
            let place = objects.place(name);
            let bytes = objects.read(name);
            let bytes = bytes.map_err(|error| unreadable_at(&place, error))?;
            let bytes = bytes
                .ok_or_else(|| unreadable_at(&place, io::Error::from(io::ErrorKind::NotFound)))?;
            each_line(&place, &bytes, |line, text| {
                let Some(number) = numbers.get(&line) else {
                    return Ok(());
                };
                let event = QuarantinedEvent::parse(text)?;
                let waiting = Waiting {
                    event,
                    line: *number,
                };
                let sent = events.blocking_send(Ok(waiting));
                sent.map_err(|_| "nobody reads on".to_owned())
            })?;
        }
        Ok(())
    }
}

/// Where a redrive of a bucket's quarantine records what no longer waits.
#[derive(Debug)]
pub struct RedrivenObjects {
    log: ObjectLog,
    waiting: Arc<Vec<BTreeSet<Spot>>>,
}

impl RedrivenObjects {
    /// Records durably that events no longer wait; their `line` is the number that the feed gave.
    ///
    /// # Errors
    /// `QUARANTINE_UNWRITABLE`
    pub fn record(&mut self, closed: &[Closed]) -> Result<(), Error> {
        let place = self.log.place();
        let mut bytes = Vec::new();
        for event in closed {
            let at = usize::try_from(event.line)
                .ok()
                .and_then(|line| line.checked_sub(1));
            let lines = at.and_then(|at| self.waiting.get(at));
            for (object, line) in lines.into_iter().flatten() {
                let record = closed_line(event, *line, Some(object));
                bytes.extend(record.map_err(|error| unwritable_at(&place, error))?);
            }
        }
        let written = self.log.append(&bytes);
        written
            .map(drop)
            .map_err(|error| unwritable_at(&place, error))
    }
}

#[cfg(test)]
mod tests {
    use durable::MemoryObjects;
    use push::Decision;

    use super::super::record::tests::rejected;
    use super::super::redriven::Closing;
    use super::*;

    const RUN: &str = "platform_20260101T000000Z";

    fn quarantine(objects: &Arc<MemoryObjects>, session: &str) -> QuarantineObjects {
        QuarantineObjects::open(objects.clone(), RUN, session).unwrap()
    }

    fn redrive(objects: &Arc<MemoryObjects>) -> ObjectPrefix {
        ObjectPrefix::read(objects.clone(), RUN).unwrap()
    }

    async fn deliver_all(objects: &Arc<MemoryObjects>, session: &str) -> u64 {
        let prefix = redrive(objects);
        let mut redriven = prefix.redriven(session);
        let mut feed = prefix.feed().unwrap();
        let mut closed = Vec::new();
        while let Some(waiting) = feed.recv().await {
            let Waiting { event, line } = waiting.unwrap();
            closed.push(Closed {
                event_id: event.event_id,
                line,
                why: Closing::Delivered(Decision::Admit),
            });
        }
        redriven.record(&closed).unwrap();
        closed.len() as u64
    }

    #[tokio::test]
    async fn what_sessions_set_aside_waits_until_it_is_delivered_and_waits_again_after() {
        let objects = Arc::new(MemoryObjects::default());
        let (mut one, mut other) = (quarantine(&objects, "b"), quarantine(&objects, "a"));
        one.set_aside(&[rejected('a'), rejected('b')]).unwrap();
        other.set_aside(&[rejected('b'), rejected('c')]).unwrap();
        assert_eq!(other.waiting(), 3, "one of them waits already");
        assert_eq!(redrive(&objects).lines(), 3);
        assert_eq!(deliver_all(&objects, "r").await, 3);
        let after = redrive(&objects);
        assert_eq!((after.events(), after.waiting()), (3, 0));
        // A session whose clock is behind sets one aside again.
        quarantine(&objects, "0")
            .set_aside(&[rejected('a')])
            .unwrap();
        assert_eq!(redrive(&objects).waiting(), 1);
        assert_eq!(deliver_all(&objects, "s").await, 1);
        assert_eq!(redrive(&objects).waiting(), 0);
    }
}
