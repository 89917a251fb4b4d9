//! The stream's end of a control socket.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use model::{Clock as _, Shard, SharedClock};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::conversation::Served;
use super::short_path::ShortPath;
use replay::{Progress, Steering};

/// Clients served at once; one more takes the place of the first.
const CLIENTS: usize = 16;
/// How long the listener rests after a failed accept, as when file handles ran out.
const REST: Duration = Duration::from_millis(200);

/// Sockets that this process has opened: two streams of it may belong to one platform run.
static OPENED: AtomicU32 = AtomicU32::new(0);

/// An open control socket; dropping it closes it and removes its file.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    serving: JoinHandle<()>,
}

/// The folder of a run's sockets.
pub(super) fn folder(run_folder: &Path) -> PathBuf {
    run_folder.join("wsp")
}

/// The name of a process's socket: its first, or one of those for further streams; of one of
/// several shards with the name of its folder, so that a client finds the shard's records.
fn name(pid: u32, number: u32, shard: Shard) -> String {
    let number = match number {
        1 => String::new(),
        _ => format!("-{number}"),
    };
    let folder = shard.folder();
    let shard = match folder.rsplit_once('/') {
        Some((_, shard)) => format!("-{shard}"),
        None => String::new(),
    };
    format!("control-{pid}{number}{shard}.sock")
}

/// The process whose socket has this name.
pub(super) fn pid_of(name: &str) -> Option<u32> {
    let name = name.strip_prefix("control-")?.strip_suffix(".sock")?;
    let name = match name.split_once("-shard-") {
        Some((before, shard)) => {
            Shard::of_folder(&format!("shard-{shard}"))?;
            before
        }
        None => name,
    };
    let (pid, number) = name.split_once('-').unwrap_or((name, "1"));
    number.parse::<u32>().ok()?;
    pid.parse().ok()
}

impl ControlSocket {
    /// Opens the socket of this process's stream of a shard in the folder of its platform run; clients have a minute
    /// of `clock` for each request. One that cannot be opened is warned of: a stream need not be
    /// steered.
    pub fn open(
        (run_folder, shard): (&Path, Shard),
        steering: Steering,
        progress: watch::Receiver<Progress>,
        clock: SharedClock,
    ) -> Option<Self> {
        let number = OPENED.fetch_add(1, Ordering::Relaxed) + 1;
        let path = folder(run_folder).join(name(std::process::id(), number, shard));
        match bind(&path) {
            Ok(listener) => {
                let served = Served {
                    steering,
                    progress,
                    clock,
                };
                let serving = tokio::spawn(serve(listener, served));
                Some(Self { path, serving })
            }
            Err(error) => {
                tracing::warn!(
                    path = %path.display(), %error,
                    "no control socket can be opened here; this run can be stopped and not steered"
                );
                None
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.serving.abort();
        // Somebody may have taken the folder away.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    // The file is there before anybody listens, and who finds it then takes it for one that
    // a killed stream left behind, and removes it: it gets its name when somebody does.
    let unnamed = path.with_extension("new");
    match std::fs::remove_file(&unnamed) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(ShortPath::of(&unnamed)?.as_path())?;
    let named = std::fs::set_permissions(&unnamed, std::fs::Permissions::from_mode(0o600))
        // In place of what a killed process of the same number left behind.
        .and_then(|()| std::fs::rename(&unnamed, path));
    if let Err(error) = named {
        let _ = std::fs::remove_file(&unnamed);
        return Err(error);
    }
    Ok(listener)
}

/// A client that is served until this is dropped.
struct Client(JoinHandle<()>);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn serve(listener: UnixListener, served: Served) {
    // The clients in the order in which they came; dropping one lets it go.
    let mut clients: VecDeque<Client> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let served = served.clone();
                clients.retain(|client| !client.0.is_finished());
                if clients.len() == CLIENTS {
                    clients.pop_front();
                }
                clients.push_back(Client(tokio::spawn(async move {
                    // A client that breaks off has its own reasons.
                    let _ = served.converse(client).await;
                })));
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket let nobody in");
                served.clock.sleep(REST).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;
    use std::thread;

    use model::ShardBy;

    use super::*;
    use crate::run::control::{Request, find};

    fn clock() -> SharedClock {
        SharedClock::new(durable::TokioClock)
    }

    #[test]
    fn a_name_tells_the_process() {
        let shard = Shard::new(2, 8, ShardBy::Key).unwrap();
        assert_eq!(name(7, 1, Shard::WHOLE), "control-7.sock");
        assert_eq!(name(7, 1, shard), "control-7-shard-2-of-8.sock");
        for number in [1, 2, 10] {
            assert_eq!(pid_of(&name(7, number, Shard::WHOLE)), Some(7));
            assert_eq!(pid_of(&name(7, number, shard)), Some(7));
        }
        for other in [
            "control-7.new",
            "control-.sock",
            "control-7-x.sock",
            "control-7-shard-8-of-8.sock",
            "7.sock",
        ] {
            assert_eq!(pid_of(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn a_socket_under_a_path_of_any_length_is_found_and_answers() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a-folder-of-a-ci-workspace/".repeat(8));
        let (steering, _helm) = Steering::new(replay::Ending::default());
        let progress = watch::Sender::<Progress>::default();
        let socket = ControlSocket::open(
            (&deep.join("run"), Shard::WHOLE),
            steering,
            progress.subscribe(),
            clock(),
        );
        let socket = socket.unwrap();
        assert!(socket.path().as_os_str().len() > 150);
        let asked = tokio::task::spawn_blocking(move || {
            let found = find(&deep, None).unwrap();
            crate::run::control::send(&found[0].socket, &Request::Status).unwrap()
        });
        assert_eq!(asked.await.unwrap()["applied"], true);
    }

    #[tokio::test]
    async fn clients_that_wait_lock_nobody_out() {
        let root = tempfile::tempdir().unwrap();
        let (steering, _helm) = Steering::new(replay::Ending::default());
        let progress = watch::Sender::<Progress>::default();
        let socket = ControlSocket::open(
            (root.path(), Shard::WHOLE),
            steering,
            progress.subscribe(),
            clock(),
        )
        .unwrap();
        let path = socket.path().to_owned();
        let asked = tokio::task::spawn_blocking(move || {
            let connect = || std::os::unix::net::UnixStream::connect(&path).unwrap();
            let waiting: Vec<_> = (0..3 * CLIENTS).map(|_| connect()).collect();
            let answer = crate::run::control::send(&path, &Request::Status).unwrap();
            drop(waiting);
            answer
        });
        assert_eq!(asked.await.unwrap()["applied"], true);
    }

    #[tokio::test]
    async fn whoever_looks_while_a_socket_opens_leaves_it_alone() {
        let root = tempfile::tempdir().unwrap();
        let sockets = folder(&root.path().join("run"));
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_over.load(Relaxed) {
                        find(root.path(), None).unwrap();
                    }
                });
            }
            // Whether a stream of this process would be found.
            let opens = |pid| -> io::Result<bool> {
                let _listener = bind(&sockets.join(name(pid, 1, Shard::WHOLE)))?;
                Ok(find(root.path(), None)?
                    .iter()
                    .any(|stream| stream.pid == pid))
            };
            let found: io::Result<Vec<_>> = (1..2_000).map(opens).collect();
            is_over.store(true, Relaxed);
            assert!(found.unwrap().into_iter().all(|is_there| is_there));
        });
    }
}
