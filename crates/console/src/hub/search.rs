//! Finds streams by their control sockets, and watches each until it ends.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use wsp::control::{Lines, Request, WatchInterval, ask, find};

use super::audit::{last_lines, length, path_beside};
use super::ended::reason;
use super::snapshot::Told;
use super::streams::{StreamKey, Streams};

/// How often streams are looked for.
const SEARCH: Duration = Duration::from_millis(500);
/// How often each tells what it is at, in milliseconds.
const WATCH_MS: u64 = 500;
/// How long a stream may be silent: one that stands still is asked anew.
const SILENCE: Duration = Duration::from_secs(10);

/// Looks for streams under runs roots and at named sockets, for ever.
pub(crate) async fn search(runs_roots: Vec<PathBuf>, sockets: Vec<PathBuf>, streams: Streams) {
    let watched = Watched::default();
    let mut watching = JoinSet::new();
    loop {
        let roots = runs_roots.clone();
        let mut looking = tokio::task::spawn_blocking(move || look(&roots));
        // One look at a time, however long it takes.
        let (found, trouble) = loop {
            match timeout(SILENCE, &mut looking).await {
                Ok(Ok(found)) => break found,
                Ok(Err(error)) => break (Vec::new(), Some(error.to_string())),
                Err(_) => streams.set_trouble(Some("the search for streams hangs".to_owned())),
            }
        };
        streams.set_trouble(trouble);
        for socket in found.into_iter().chain(sockets.iter().cloned()) {
            // Named sockets may not be there yet.
            if !socket.exists() || !watched.begin(&socket) {
                continue;
            }
            let (watched, streams) = (watched.clone(), streams.clone());
            watching.spawn(async move {
                watch(&socket, &streams, &watched).await;
            });
        }
        while watching.try_join_next().is_some() {}
        sleep(SEARCH).await;
    }
}

/// The control sockets under runs roots, and what hinders the search.
fn look(runs_roots: &[PathBuf]) -> (Vec<PathBuf>, Option<String>) {
    let mut sockets = Vec::new();
    let mut trouble = None;
    for root in runs_roots {
        match find(root, None) {
            Ok(found) => sockets.extend(found.into_iter().map(|stream| stream.socket)),
            Err(error) => {
                let place = root.display();
                trouble.get_or_insert(format!("{place} cannot be looked into: {error}"));
            }
        }
    }
    (sockets, trouble)
}

/// The sockets that are watched.
#[derive(Debug, Clone, Default)]
struct Watched(Arc<Mutex<BTreeSet<PathBuf>>>);

impl Watched {
    /// Begins to watch a socket; `false` if it is watched.
    fn begin(&self, socket: &Path) -> bool {
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.insert(socket.to_owned())
    }

    fn end(&self, socket: &Path) {
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.remove(socket);
    }
}

/// Watches one stream until it is gone, and finds out how it ended.
async fn watch(socket: &Path, streams: &Streams, watched: &Watched) {
    let Some(key) = StreamKey::of_socket(socket) else {
        return;
    };
    let audit = path_beside(socket);
    let began_at = audit.as_deref().map_or(0, length);
    let mut audit_length = 0;
    let mut pid = 0;
    // A connection may end though the stream goes on: it lets the first of many clients go.
    while let Some(mut lines) = connect(socket).await {
        let mut dropped = 0;
        while let Ok(Ok(Some(line))) = timeout(SILENCE, lines.next()).await {
            let told = match Told::read(&line) {
                Ok(told) => told,
                Err(error) => {
                    tracing::warn!(socket = %socket.display(), %error, "a stream of another version is not shown");
                    sleep(SILENCE).await;
                    break;
                }
            };
            pid = told.snapshot.pid;
            streams.dropped(told.dropped - dropped.min(told.dropped));
            dropped = told.dropped;
            let news = audit_news(audit.as_deref(), &mut audit_length).await;
            streams.told(&key, socket, told, news);
        }
        sleep(Duration::from_millis(50)).await;
    }
    watched.end(socket);
    if streams.is_live(&key) {
        let number = streams.gone(&key);
        let reason = reason(audit, began_at, pid).await;
        streams.ended(number, &reason);
    }
}

/// A connection that watches the stream; `None` if nobody listens any more.
async fn connect(socket: &Path) -> Option<Lines> {
    let every = WatchInterval::of_millis(WATCH_MS).unwrap_or_default();
    ask(socket, &Request::Watch(every)).await.ok()
}

/// The last lines of the audit, if it grew since the last look.
async fn audit_news(
    audit: Option<&Path>,
    known_length: &mut u64,
) -> Option<Vec<serde_json::Value>> {
    let audit = audit?.to_owned();
    let known = *known_length;
    let looking = tokio::task::spawn_blocking(move || {
        let now = length(&audit);
        (now != known).then(|| (now, last_lines(&audit)))
    });
    let (now, lines) = looking.await.ok()??;
    *known_length = now;
    Some(lines)
}
