//! A PostgreSQL server for tests: the one that `DATABASE_URL` names, else a private cluster.
//!
//! A private cluster lives in a temporary folder and listens on a Unix socket there, on a loopback
//! port too if a test asks for one: a port may be taken by another between two starts.
//! A small shell keeps it, and takes orders on its standard input: when the test process ends,
//! however it ends, that input ends too, and the shell stops the cluster and removes the folder.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio_postgres::NoTls;

/// The user that a cluster runs as where the tests run as root, which Postgres refuses.
const NOBODY: u32 = 65534;
const START_WAIT: Duration = Duration::from_mins(1);

/// `$0 $@` is the postmaster. Orders: `start`, or the name of a signal that ends it. Each is
/// answered with the postmaster's process id. A start is tried again while it fails, as it does
/// until the orphans of a killed postmaster have let go of its shared memory.
const KEEPER: &str = r#"
is_ready() {
    case $(sed -n '1p;8p' "$FOLDER/data/postmaster.pid" 2>/dev/null) in
    "$postmaster
ready"*) ;;
    *) false ;;
    esac
}
start() {
    looks=0
    while [ "$looks" -lt 600 ]; do
        "$@" </dev/null >>"$FOLDER/log" 2>&1 & postmaster=$!
        while [ "$looks" -lt 600 ]; do
            looks=$((looks + 1))
            sleep 0.1
            kill -0 "$postmaster" 2>/dev/null || break
            is_ready && return
        done
    done
}
while read -r order; do
    case $order in
    start) start "$0" "$@" ;;
    *) kill -"$order" "$postmaster"; wait "$postmaster" 2>/dev/null ;;
    esac
    echo "$postmaster"
done
kill -QUIT "$postmaster" 2>/dev/null
wait
rm -rf "$FOLDER"
"#;

/// How a private cluster differs from the plain one.
#[derive(Clone, Debug, Default)]
pub struct PostgresOptions {
    /// More `name=value` settings.
    pub settings: Vec<String>,
    /// Whether it listens on a loopback port too.
    pub tcp: bool,
    /// Replaces `pg_hba.conf`, by which everyone on this machine is trusted.
    pub hba: Option<String>,
    /// Files for the data folder, readable by the server alone: name and content.
    pub files: Vec<(String, String)>,
}

/// A running server. Dropping it stops a private cluster and removes its folder.
#[derive(Debug)]
pub struct PostgresServer {
    dsn: String,
    cluster: Option<Cluster>,
}

#[derive(Debug)]
struct Cluster {
    folder: PathBuf,
    port: u16,
    keeper: Mutex<Keeper>,
}

#[derive(Debug)]
struct Keeper {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl PostgresServer {
    /// The server that all tests of this process share.
    ///
    /// # Panics
    /// If there is neither a `DATABASE_URL` nor an installed PostgreSQL: a test that needs a
    /// server must not pass without one.
    pub fn shared() -> &'static PostgresServer {
        static SHARED: OnceLock<PostgresServer> = OnceLock::new();
        SHARED.get_or_init(|| match std::env::var("DATABASE_URL") {
            Ok(dsn) if !dsn.is_empty() => PostgresServer { dsn, cluster: None },
            _ => Self::start(&PostgresOptions::default()),
        })
    }

    /// Starts a private cluster from the installed binaries.
    ///
    /// # Panics
    /// If PostgreSQL is not installed or does not start.
    pub fn start(options: &PostgresOptions) -> Self {
        Self::create(options, None)
    }

    /// Starts a hot standby of a private cluster, as a cluster of its own. SQL may promote it:
    /// `SELECT pg_promote()`.
    ///
    /// # Panics
    /// If the server is not a private one, or the standby does not start.
    #[must_use]
    pub fn standby(&self) -> Self {
        assert!(
            self.cluster.is_some(),
            "only a private cluster has a standby"
        );
        Self::create(&PostgresOptions::default(), Some(&self.dsn))
    }

    fn create(options: &PostgresOptions, primary: Option<&str>) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("wsp-postgres-")
            .tempdir()
            .expect("a temporary folder");
        let cluster = Cluster::create(folder.path(), options, primary);
        let cluster = cluster.unwrap_or_else(|error| {
            panic!("no private PostgreSQL cluster could be started: {error}")
        });
        // From here on the keeper removes it.
        let _ = folder.keep();
        let server = Self {
            dsn: format!(
                "host={} port={} user=postgres dbname=postgres",
                cluster.folder.display(),
                cluster.port
            ),
            cluster: Some(cluster),
        };
        server.bring_up();
        server
    }

    /// The server as a libpq connection string; a private cluster by its Unix socket.
    pub fn dsn(&self) -> &str {
        &self.dsn
    }

    /// The loopback port of a private cluster.
    ///
    /// # Panics
    /// If the server is not a private one.
    pub fn port(&self) -> u16 {
        self.cluster().port
    }

    /// Starts a private cluster that was ended, and waits until it answers.
    ///
    /// # Panics
    /// If it does not start.
    pub fn bring_up(&self) {
        let cluster = self.cluster();
        let postmaster = cluster.order("start");
        let started = Instant::now();
        while !cluster.is_ready(&postmaster) {
            assert!(
                started.elapsed() < START_WAIT,
                "PostgreSQL does not start:\n{}",
                fs::read_to_string(cluster.folder.join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends a private cluster by a signal to its postmaster, and waits for all its processes: `INT`
    /// closes all connections and shuts down, `KILL` is a crash.
    ///
    /// # Panics
    /// If the server is not a private one.
    pub fn end(&self, signal: &str) {
        let cluster = self.cluster();
        cluster.order(signal);
        let ended = Instant::now();
        // Orphans of a killed postmaster serve their connections until they notice.
        while !cluster.processes().is_empty() {
            assert!(
                ended.elapsed() < START_WAIT,
                "PostgreSQL's processes outlive SIG{signal}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills one process of a private cluster that is not its postmaster, and waits until the server
    /// has ended all connections; it then starts over, under the same postmaster.
    ///
    /// # Panics
    /// If the server is not a private one, or has no such process.
    pub fn crash_a_child(&self) {
        let folder = &self.cluster().folder;
        let pid_file = fs::read_to_string(folder.join("data/postmaster.pid"));
        let postmaster = pid_file.expect("a running server");
        let postmaster = postmaster.lines().next().unwrap_or_default();
        let children = self.cluster().processes();
        let child = children.iter().find(|process| *process != postmaster);
        let killed = Command::new("kill")
            .args(["-KILL", child.expect("a process of the server")])
            .status();
        assert!(killed.is_ok_and(|status| status.success()));
        // The postmaster ends the others in its own time.
        let is_left = |process: &String| process != postmaster && children.contains(process);
        while self.cluster().processes().iter().any(is_left) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn cluster(&self) -> &Cluster {
        self.cluster
            .as_ref()
            .expect("only a private cluster has a port and can be ended")
    }

    /// An empty schema of its own, so that tests share a server without meeting.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn fresh_schema(&self) -> TestSchema<'_> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let name = format!(
            "wsp_test_{}_{}_{}",
            std::process::id(),
            now.as_millis(),
            MADE.fetch_add(1, Ordering::Relaxed)
        );
        self.execute(&format!("CREATE SCHEMA {name}")).await;
        let dsn = if self.dsn.contains("://") {
            let mark = if self.dsn.contains('?') { '&' } else { '?' };
            format!("{}{mark}options=-csearch_path%3D{name}", self.dsn)
        } else {
            format!("{} options='-csearch_path={name}'", self.dsn)
        };
        TestSchema {
            server: self,
            name,
            dsn,
        }
    }

    /// Runs SQL on a connection of its own.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn execute(&self, sql: &str) {
        execute(&self.dsn, sql).await;
    }

    /// The tables of the database as SQL that [`execute`](Self::execute) takes: what they are and what
    /// they hold, without what depends on the server's version or names a role.
    ///
    /// # Panics
    /// If `pg_dump` is not installed or fails.
    pub fn dump(&self) -> String {
        let program = binary("pg_dump").expect("pg_dump is installed");
        let mut dump = Command::new(program);
        dump.args(["--inserts", "--no-owner", "--no-privileges", "--dbname"]);
        let ran = dump.arg(&self.dsn).output().expect("pg_dump runs");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "pg_dump: {said}");
        let text = String::from_utf8(ran.stdout).expect("a dump is UTF-8");
        let of_server = ["SET ", "SELECT pg_catalog.set_config", "--", "\\"];
        let is_ours = |line: &&str| {
            !line.is_empty() && !of_server.iter().any(|start| line.starts_with(start))
        };
        let lines: Vec<&str> = text.lines().filter(is_ours).collect();
        lines.join("\n") + "\n"
    }
}

async fn execute(dsn: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(dsn, NoTls)
        .await
        .expect("the server answers");
    let driving = tokio::spawn(connection);
    let done = client.batch_execute(sql).await;
    done.expect("the server runs the SQL");
    drop(client);
    let _ = driving.await;
}

/// A schema that one test has for itself.
#[derive(Debug)]
pub struct TestSchema<'s> {
    server: &'s PostgresServer,
    name: String,
    dsn: String,
}

impl TestSchema<'_> {
    /// The connection string with this schema as its search path.
    pub fn dsn(&self) -> &str {
        &self.dsn
    }

    /// Runs SQL in this schema.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn execute(&self, sql: &str) {
        execute(&self.dsn, sql).await;
    }
}

impl Drop for TestSchema<'_> {
    fn drop(&mut self) {
        // A private cluster goes as a whole.
        if self.server.cluster.is_some() {
            return;
        }
        let (dsn, sql) = (
            self.server.dsn.clone(),
            format!("DROP SCHEMA {} CASCADE", self.name),
        );
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(execute(&dsn, &sql));
        });
        let _ = dropping.join();
    }
}

impl Cluster {
    fn create(folder: &Path, options: &PostgresOptions, primary: Option<&str>) -> io::Result<Self> {
        let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        if is_root {
            chown(folder, Some(NOBODY), Some(NOBODY))?;
        }
        let as_user = |mut command: Command| {
            if is_root {
                command.uid(NOBODY).gid(NOBODY);
            }
            command.current_dir(folder);
            command
        };
        let data = folder.join("data");
        let mut init;
        if let Some(primary) = primary {
            init = as_user(Command::new(binary("pg_basebackup")?));
            init.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]);
            init.args(["--dbname", primary]);
        } else {
            init = as_user(Command::new(binary("initdb")?));
            init.args(["--auth=trust", "--username=postgres", "--no-sync"]);
            init.args(["--encoding=UTF8", "--locale=C"]);
        }
        let init = init.arg("--pgdata").arg(&data).output()?;
        if !init.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&init.stderr)));
        }
        let hba = options.hba.iter().map(|hba| ("pg_hba.conf", hba));
        let files = options
            .files
            .iter()
            .map(|(name, content)| (name.as_str(), content));
        for (name, content) in hba.chain(files) {
            let path = data.join(name);
            fs::write(&path, content)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            if is_root {
                chown(&path, Some(NOBODY), Some(NOBODY))?;
            }
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut keeper = as_user(Command::new("sh"));
        keeper.arg("-c").arg(KEEPER).arg(binary("postgres")?);
        keeper.arg("-D").arg(&data).arg("-k").arg(folder);
        let host = if options.tcp { "127.0.0.1" } else { "" };
        keeper.args(["-p", &port.to_string(), "-h", host]);
        for setting in &options.settings {
            keeper.args(["-c", setting]);
        }
        let mut process = keeper
            .env("FOLDER", folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(orders), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(io::Error::other("the keeper has no pipes"));
        };
        Ok(Self {
            folder: folder.to_owned(),
            port,
            keeper: Mutex::new(Keeper {
                process,
                orders: Some(orders),
                answers: BufReader::new(answers),
            }),
        })
    }

    /// Gives the keeper an order; the postmaster's process id.
    fn order(&self, order: &str) -> String {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answer = String::new();
        if let Some(orders) = &mut keeper.orders {
            writeln!(orders, "{order}").expect("the keeper listens");
        }
        keeper
            .answers
            .read_line(&mut answer)
            .expect("the keeper answers");
        answer.trim().to_owned()
    }

    /// The ids of the server's processes: each works in the data folder.
    fn processes(&self) -> Vec<String> {
        // As the system names it, whatever links lead there.
        let data = fs::canonicalize(self.folder.join("data")).unwrap_or_default();
        let works_there = |process: &fs::DirEntry| {
            fs::read_link(process.path().join("cwd")).is_ok_and(|folder| folder == data)
        };
        let Ok(processes) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        let found = processes.flatten().filter(works_there);
        found
            .map(|process| process.file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// Whether the postmaster of that process id accepts connections.
    fn is_ready(&self, postmaster: &str) -> bool {
        let state = fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap_or_default();
        let mut lines = state.lines();
        lines.next() == Some(postmaster) && lines.any(|line| line.trim() == "ready")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let keeper = self
            .keeper
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        drop(keeper.orders.take());
        let _ = keeper.process.wait();
    }
}

/// An installed program of PostgreSQL: on the path, else of the newest version that Debian's
/// layout holds.
fn binary(name: &str) -> io::Result<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let mut installed: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            Some((version, path.join("bin")))
        })
        .collect();
    installed.sort();
    std::env::split_paths(&on_path)
        .chain(installed.into_iter().rev().map(|(_, folder)| folder))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            io::Error::other(format!(
                "`{name}` is not installed: install PostgreSQL, or name a server by DATABASE_URL"
            ))
        })
}
