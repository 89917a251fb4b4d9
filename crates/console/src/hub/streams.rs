//! The latest of every stream, for all who look. What is kept is bounded: a picture, ten minutes of
//! points and a dozen lines of audit of each stream, and the names of a few that ended.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use wsp::control::{Request, ask, send};

use super::ended::{KILLED, STOPPED, STREAMED, UNKNOWN};
use super::history::{History, Point};
use super::snapshot::{Snapshot, Told};

/// Streams that ended and are still named.
const ENDED: usize = 8;
/// How long a scrape waits for a stream before it takes its last snapshot.
const SCRAPE_PATIENCE: Duration = Duration::from_secs(1);

/// A stream's name in URLs and labels: its platform run, and the process with the number of its
/// stream where it runs several.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamKey {
    pub(crate) run: String,
    pub(crate) stream: String,
}

impl StreamKey {
    /// The key of the stream behind `<run>/wsp/control-<pid>.sock`; a shard's names it too.
    pub(super) fn of_socket(socket: &Path) -> Option<Self> {
        let name = socket.file_name()?.to_str()?;
        let stream = name.strip_prefix("control-").unwrap_or(name);
        let stream = stream.strip_suffix(".sock").unwrap_or(stream);
        let run = socket.parent()?.parent()?.file_name();
        Some(Self {
            run: run.unwrap_or_default().to_string_lossy().into_owned(),
            stream: stream.to_owned(),
        })
    }
}

#[derive(Debug)]
struct Live {
    socket: PathBuf,
    snapshot: Snapshot,
    page: Value,
    received: Instant,
    history: History,
    audit: Vec<Value>,
}

#[derive(Debug, Clone, Serialize)]
struct EndedStream {
    run: String,
    stream: String,
    reason: Option<String>,
    #[serde(skip)]
    number: u64,
}

#[derive(Debug, Default)]
struct State {
    live: BTreeMap<StreamKey, Live>,
    ended: VecDeque<EndedStream>,
    ended_by: BTreeMap<String, u64>,
    ended_so_far: u64,
    dropped: u64,
    trouble: Option<String>,
}

/// What metrics are made of.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    pub(crate) streams: Vec<StreamFigures>,
    pub(crate) ended_by: BTreeMap<String, u64>,
    pub(crate) dropped: u64,
}

/// What the metrics of one stream are made of.
#[derive(Debug, Clone)]
pub(crate) struct StreamFigures {
    pub(crate) key: StreamKey,
    pub(crate) snapshot: Snapshot,
    pub(crate) age: Duration,
}

/// What one who looks has seen, so that points are sent once.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    next: BTreeMap<StreamKey, u64>,
}

/// Everything that the page shows.
#[derive(Debug, Serialize)]
pub(crate) struct Picture {
    streams: Vec<StreamPicture>,
    ended: Vec<EndedStream>,
    trouble: Option<String>,
}

#[derive(Debug, Serialize)]
struct StreamPicture {
    run: String,
    stream: String,
    age_s: f64,
    snapshot: Value,
    audit: Vec<Value>,
    /// The number of the first of `points`.
    first_point: u64,
    points: Vec<Point>,
}

/// The streams of this machine. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Streams {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

impl Default for Streams {
    fn default() -> Self {
        let counted = [STREAMED, STOPPED, KILLED, UNKNOWN, "LEASE_LOST"];
        let state = State {
            // At 0 from the beginning, so that an increase by one is seen.
            ended_by: counted.map(|reason| (reason.to_owned(), 0)).into(),
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            changed: watch::Sender::new(0),
        }
    }
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// Resolves whenever something changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// What hinders the search for streams; `None` while nothing does.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        let mut state = self.lock();
        if state.trouble != trouble {
            state.trouble = trouble;
            drop(state);
            self.change();
        }
    }

    pub(super) fn is_live(&self, key: &StreamKey) -> bool {
        self.lock().live.contains_key(key)
    }

    /// Takes a snapshot of a stream, with the last lines of its audit if they changed.
    pub(super) fn told(
        &self,
        key: &StreamKey,
        socket: &Path,
        told: Told,
        audit: Option<Vec<Value>>,
    ) {
        let mut state = self.lock();
        let live = state.live.entry(key.clone()).or_insert_with(|| Live {
            socket: socket.to_owned(),
            snapshot: told.snapshot.clone(),
            page: Value::Null,
            received: Instant::now(),
            history: History::default(),
            audit: Vec::new(),
        });
        live.history.add(&told.snapshot, SystemTime::now());
        live.snapshot = told.snapshot;
        live.page = told.page;
        live.received = Instant::now();
        if let Some(audit) = audit {
            live.audit = audit;
        }
        drop(state);
        self.change();
    }

    pub(super) fn dropped(&self, snapshots: u64) {
        self.lock().dropped += snapshots;
    }

    /// A stream is gone; how it ended is told later by the number that this gives.
    pub(super) fn gone(&self, key: &StreamKey) -> u64 {
        let mut state = self.lock();
        state.live.remove(key);
        state.ended_so_far += 1;
        let number = state.ended_so_far;
        if state.ended.len() == ENDED {
            state.ended.pop_back();
        }
        state.ended.push_front(EndedStream {
            run: key.run.clone(),
            stream: key.stream.clone(),
            reason: None,
            number,
        });
        drop(state);
        self.change();
        number
    }

    pub(super) fn ended(&self, number: u64, reason: &str) {
        let mut state = self.lock();
        *state.ended_by.entry(reason.to_owned()).or_default() += 1;
        let mut ended = state.ended.iter_mut();
        if let Some(ended) = ended.find(|ended| ended.number == number) {
            ended.reason = Some(reason.to_owned());
        }
        drop(state);
        self.change();
    }

    /// Everything that the page shows, with the points that its reader has not seen.
    pub(crate) fn picture(&self, seen: &mut Seen) -> Picture {
        let state = self.lock();
        seen.next.retain(|key, _| state.live.contains_key(key));
        let streams = state.live.iter().map(|(key, live)| {
            let from = seen.next.get(key).copied().unwrap_or(0);
            let (points, next) = live.history.since(from);
            seen.next.insert(key.clone(), next);
            StreamPicture {
                run: key.run.clone(),
                stream: key.stream.clone(),
                age_s: live.received.elapsed().as_secs_f64(),
                snapshot: live.page.clone(),
                audit: live.audit.clone(),
                first_point: next - points.len() as u64,
                points,
            }
        });
        Picture {
            streams: streams.collect(),
            ended: state.ended.iter().cloned().collect(),
            trouble: state.trouble.clone(),
        }
    }

    /// What metrics are made of: each stream's counters as they are now, or its last snapshot where it
    /// does not answer within a second.
    pub(crate) async fn figures(&self) -> Figures {
        let live: Vec<(StreamKey, PathBuf)> = {
            let state = self.lock();
            let live = state.live.iter();
            live.map(|(key, live)| (key.clone(), live.socket.clone()))
                .collect()
        };
        let asked = live.iter().map(|(_, socket)| asked(socket));
        let fresh = futures::future::join_all(asked).await;
        let mut state = self.lock();
        for ((key, _), snapshot) in live.iter().zip(fresh) {
            if let (Some(live), Some(snapshot)) = (state.live.get_mut(key), snapshot) {
                live.snapshot = snapshot;
                live.received = Instant::now();
            }
        }
        let streams = state.live.iter().map(|(key, live)| StreamFigures {
            key: key.clone(),
            snapshot: live.snapshot.clone(),
            age: live.received.elapsed(),
        });
        Figures {
            streams: streams.collect(),
            ended_by: state.ended_by.clone(),
            dropped: state.dropped,
        }
    }

    /// Has a stream do an act, and gives its answer; `None` if there is no such stream.
    pub(crate) async fn act(&self, key: &StreamKey, request: Request) -> Option<Value> {
        let socket = self.lock().live.get(key)?.socket.clone();
        let asking = tokio::task::spawn_blocking(move || send(&socket, &request));
        let why = match asking.await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Some(serde_json::json!({"applied": false, "refused": why}))
    }
}

/// The snapshot that a stream answers with, if it does in time.
async fn asked(socket: &Path) -> Option<Snapshot> {
    let asking = async {
        let mut lines = ask(socket, &Request::Status).await.ok()?;
        let line = lines.next().await.ok()??;
        Told::read(&line).ok().map(|told| told.snapshot)
    };
    timeout(SCRAPE_PATIENCE, asking).await.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_named_by_its_run_and_its_process() {
        let key = |socket: &str| {
            let key = StreamKey::of_socket(socket.as_ref()).unwrap();
            (key.run, key.stream)
        };
        let named = |run: &str, stream: &str| (run.to_owned(), stream.to_owned());
        assert_eq!(
            key("/r/platform_1/wsp/control-7.sock"),
            named("platform_1", "7")
        );
        assert_eq!(key("r/p/wsp/control-7-2.sock"), named("p", "7-2"));
        assert_eq!(key("wsp/other"), named("", "other"));
    }

    fn line(acknowledged: u64) -> String {
        serde_json::json!({
            "version": 1, "watched": 1, "dropped": 0,
            "stream": {
                "pid": 7, "state": "running", "pace": {"speedup": 0.0}, "read": acknowledged,
                "buffered": 0, "in_flight": 0, "acknowledged": acknowledged, "quarantined": 0,
                "durable": 0, "total": null, "of a newer version": true,
            },
        })
        .to_string()
    }

    #[test]
    fn points_are_sent_once_and_what_ended_stays_named() {
        let streams = Streams::default();
        let socket = Path::new("/r/p/wsp/control-7.sock");
        let key = StreamKey::of_socket(socket).unwrap();
        for acknowledged in 0..4 {
            let told = Told::read(&line(acknowledged)).unwrap();
            streams.told(&key, socket, told, None);
        }
        let mut seen = Seen::default();
        let first = streams.picture(&mut seen);
        assert_eq!(
            (first.streams[0].first_point, first.streams[0].points.len()),
            (0, 3)
        );
        assert_eq!(first.streams[0].snapshot["of a newer version"], true);
        streams.told(&key, socket, Told::read(&line(9)).unwrap(), None);
        let second = streams.picture(&mut seen);
        assert_eq!(
            (
                second.streams[0].first_point,
                second.streams[0].points.len()
            ),
            (3, 1)
        );
        let number = streams.gone(&key);
        let third = streams.picture(&mut seen);
        assert!(third.streams.is_empty() && third.ended[0].reason.is_none());
        streams.ended(number, KILLED);
        assert_eq!(
            streams.picture(&mut seen).ended[0].reason.as_deref(),
            Some(KILLED)
        );
        assert_eq!(streams.lock().ended_by[KILLED], 1);
        for _ in 0..3 * ENDED {
            streams.gone(&key);
        }
        assert_eq!(streams.picture(&mut seen).ended.len(), ENDED);
    }
}
