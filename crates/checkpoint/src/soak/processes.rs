//! Producers as processes: killed at any moment, or stopped past their lease and woken again.
//!
//! A child is this test binary, run again on one test with [`CHILD`] set. It counts up: it sends a
//! row to the gate (a ledger file), saves its cursor every [`FLUSH`] rows, and notes each save that
//! was acknowledged.

use durable::BootClock;
use model::SharedClock;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::future::pending;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Dice, rounds};
use crate::bucket::tests::s3_server::{S3Server, client};
use crate::conformance::{cursor, holder, key, save};
use crate::test_server::{PostgresOptions, PostgresServer};
use crate::{
    BucketStore, CheckpointStore, CursorKey, Error, FileStore, Lease, LeaseKeeper, LeaseRequest,
    LeaseStatus, PostgresStore, ReasonCode, SqliteStore,
};

const CHILD: &str = "WSP_SOAK_CHILD";
const FLUSH: u64 = 5;
const PERIOD: Duration = Duration::from_millis(400);
/// What a child ends with when it finds its lease lost.
const LOST: i32 = 7;

/// Where a soak takes place.
struct Site {
    backend: &'static str,
    location: String,
    folder: tempfile::TempDir,
}

fn open(backend: &str, location: &str) -> Arc<dyn CheckpointStore> {
    match backend {
        "file" => Arc::new(FileStore::new(location)),
        "sqlite" => Arc::new(SqliteStore::new(location)),
        "object" => Arc::new(BucketStore::new(client(location), "soak".into())),
        _ => Arc::new(PostgresStore::new(location).unwrap()),
    }
}

fn the_key() -> CursorKey {
    key("soak", "o")
}

impl Site {
    /// On this disk.
    fn local(backend: &'static str) -> Self {
        let mut site = Self::at(backend, String::new());
        site.location = site.ledger("checkpoints").display().to_string();
        site
    }

    /// On a server.
    fn at(backend: &'static str, location: String) -> Self {
        Self {
            backend,
            location,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn ledger(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn store(&self) -> Arc<dyn CheckpointStore> {
        open(self.backend, &self.location)
    }

    /// Starts a child on the running test.
    fn spawn(&self, test: &str) -> Child {
        let child = [
            self.backend,
            &self.location,
            self.folder.path().to_str().unwrap(),
        ]
        .join("|");
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(CHILD, child)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// The numbers of a ledger.
    fn read(&self, name: &str) -> Vec<u64> {
        let mut text = String::new();
        if let Ok(mut file) = fs::File::open(self.ledger(name)) {
            file.read_to_string(&mut text).unwrap();
        }
        // A line being written by a living child has no end yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| line.parse().unwrap()).collect()
    }

    /// Waits until something was saved after the first `before` saves.
    fn await_saves(&self, before: usize, child: &mut Child) {
        let started = Instant::now();
        while self.read("saved").len() <= before {
            assert!(
                child.try_wait().unwrap().is_none(),
                "the child ended by itself"
            );
            assert!(
                started.elapsed() < Duration::from_mins(1),
                "nothing is saved any more"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Runs as a child if this process is one.
fn be_a_child() {
    let Ok(child) = std::env::var(CHILD) else {
        return;
    };
    let [backend, location, folder] = child.split('|').collect::<Vec<_>>()[..] else {
        panic!("{child}");
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ended = runtime.block_on(count_up(open(backend, location), Path::new(folder)));
    match ended {
        Err(error) if error.code() == ReasonCode::LeaseLost => std::process::exit(LOST),
        ended => panic!("{ended:?}"),
    }
}

async fn take_lease(store: &Arc<dyn CheckpointStore>) -> Result<(Arc<Lease>, LeaseKeeper), Error> {
    let request = LeaseRequest {
        period: PERIOD,
        ..LeaseRequest::new([the_key()], holder("child"))
    };
    loop {
        let clock = SharedClock::new(BootClock);
        match LeaseKeeper::acquire(store, &request, clock, |_, _| {}, pending()).await {
            Err(error) if error.is_retryable() || error.code() == ReasonCode::LeaseHeld => {}
            outcome => return outcome,
        }
    }
}

async fn count_up(store: Arc<dyn CheckpointStore>, folder: &Path) -> Result<(), Error> {
    let ledger = |name: &str| {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join(name))
    };
    let (mut sent, mut saved) = (ledger("sent").unwrap(), ledger("saved").unwrap());
    let key = the_key();
    let (lease, keeper) = take_lease(&store).await?;
    let watch = keeper.watch();
    let mut row = loop {
        match store.load(&key).await {
            Err(error) if error.is_retryable() => {}
            found => break found?.map_or(0, |record| record.cursor.last_row_index() + 1),
        }
    };
    loop {
        match watch.status() {
            LeaseStatus::Held => {}
            LeaseStatus::Overdue => {
                tokio::time::sleep(Duration::from_millis(2)).await;
                continue;
            }
            LeaseStatus::Unkept => panic!("its renewing thread died"),
            LeaseStatus::Lost(error) => {
                return Err(crate::error::lost(&key, error));
            }
        }
        sent.write_all(format!("{row}\n").as_bytes()).unwrap();
        if (row + 1).is_multiple_of(FLUSH) {
            while let Err(error) = save(&*store, &lease, &key, cursor("a", row)).await {
                if !error.is_retryable() {
                    return Err(error);
                }
            }
            saved.write_all(format!("{row}\n").as_bytes()).unwrap();
            // Or a stop would nearly always come while the cursor is locked.
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        row += 1;
    }
}

/// Rows that never reached the gate, and rows that reached it again.
fn missing_and_repeated(sent: &[u64]) -> (u64, u64) {
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for row in sent {
        *counts.entry(*row).or_default() += 1;
    }
    let rows = counts.keys().next_back().map_or(0, |last| last + 1);
    (
        rows - counts.len() as u64,
        sent.len() as u64 - counts.len() as u64,
    )
}

/// Kills the producer in each round, or now and then the server.
async fn kill_again_and_again(test: &str, site: &Site, server: Option<&PostgresServer>) {
    let (mut dice, mut kills, mut crashes) = (Dice::new(), 0, 0);
    let mut child = site.spawn(test);
    for round in 0..rounds(20) {
        site.await_saves(site.read("saved").len(), &mut child);
        tokio::time::sleep(dice.millis(40)).await;
        if let Some(server) = server.filter(|_| round % 4 == 3) {
            server.end("KILL");
            server.bring_up();
            crashes += 1;
            continue;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        let acknowledged = site.read("saved").into_iter().max();
        let stored = site.store().load(&the_key()).await.unwrap();
        let stored = stored.map(|record| record.cursor.last_row_index());
        let sent = site.read("sent").into_iter().max();
        assert!(
            stored >= acknowledged,
            "stored {stored:?}, acknowledged {acknowledged:?}"
        );
        assert!(stored <= sent, "stored {stored:?}, sent {sent:?}");
        child = site.spawn(test);
    }
    site.await_saves(site.read("saved").len(), &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    let (missing, repeated) = missing_and_repeated(&site.read("sent"));
    println!(
        "kills, {}: {kills} kills, {crashes} server crashes, {missing} missing, {repeated} repeated (at most {})",
        site.backend,
        kills * FLUSH
    );
    assert_eq!(missing, 0);
    assert!(repeated <= kills * FLUSH);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_producer_loses_nothing_in_a_folder() {
    be_a_child_elsewhere().await;
    let test = "soak::processes::a_killed_producer_loses_nothing_in_a_folder";
    kill_again_and_again(test, &Site::local("file"), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_producer_loses_nothing_in_sqlite() {
    be_a_child_elsewhere().await;
    let test = "soak::processes::a_killed_producer_loses_nothing_in_sqlite";
    kill_again_and_again(test, &Site::local("sqlite"), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_producer_or_server_loses_nothing_in_postgres() {
    be_a_child_elsewhere().await;
    let test = "soak::processes::a_killed_producer_or_server_loses_nothing_in_postgres";
    let server = PostgresServer::start(&PostgresOptions::default());
    kill_again_and_again(
        test,
        &Site::at("postgres", server.dsn().to_owned()),
        Some(&server),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_producer_loses_nothing_in_a_bucket() {
    be_a_child_elsewhere().await;
    let test = "soak::processes::a_killed_producer_loses_nothing_in_a_bucket";
    let server = S3Server::start();
    kill_again_and_again(test, &Site::at("object", server.endpoint()), None).await;
}

/// A child makes a runtime of its own, so it needs a thread outside of this one.
async fn be_a_child_elsewhere() {
    tokio::task::spawn_blocking(be_a_child).await.unwrap();
}

fn signal(child: &Child, signal: &str) {
    let sent = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Stops a producer past its lease's end, lets another take over, and wakes the first.
async fn stop_and_wake(test: &str, site: &Site) {
    let (mut dice, mut lost, mut kept) = (Dice::new(), 0, 0);
    let wanted = rounds(4);
    // Until one was stopped outside of a save: no fewer rounds show anything.
    while lost + kept < wanted || lost == 0 {
        let mut first = site.spawn(test);
        site.await_saves(site.read("saved").len(), &mut first);
        tokio::time::sleep(dice.millis(30)).await;
        signal(&first, "-STOP");
        let mut second = site.spawn(test);
        // Where the first was stopped with the cursor locked, nobody advances until it wakes.
        let (before, started) = (site.read("saved").len(), Instant::now());
        while site.read("saved").len() <= before + 1 && started.elapsed() < PERIOD * 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        signal(&first, "-CONT");
        let woken = Instant::now();
        let ended = loop {
            match first.try_wait().unwrap() {
                None if woken.elapsed() < PERIOD * 5 => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                ended => break ended,
            }
        };
        match ended {
            Some(status) => {
                assert_eq!(status.code(), Some(LOST));
                lost += 1;
            }
            None => kept += 1,
        }
        for child in [&mut first, &mut second] {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }
    let mut history = site.store().history(&the_key(), 1000).await.unwrap();
    history.reverse();
    let records: Vec<_> = history
        .into_iter()
        .filter_map(|entry| entry.record)
        .collect();
    assert!(
        records.is_sorted_by_key(|record| record.fence),
        "an older fence after a newer one"
    );
    let rows = || records.iter().map(|record| record.cursor.last_row_index());
    assert!(rows().is_sorted(), "a cursor that moved back");
    let (missing, _) = missing_and_repeated(&site.read("sent"));
    println!(
        "pauses, {}: {} rounds, {lost} woke up to LEASE_LOST, {kept} kept theirs, {missing} missing, 0 that advanced beside another",
        site.backend,
        lost + kept
    );
    assert_eq!(missing, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_producer_wakes_up_to_a_lost_lease_in_a_folder() {
    be_a_child_elsewhere().await;
    let test = "soak::processes::a_stopped_producer_wakes_up_to_a_lost_lease_in_a_folder";
    stop_and_wake(test, &Site::local("file")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_producer_wakes_up_to_a_lost_lease_in_sqlite() {
    be_a_child_elsewhere().await;
    let test = "soak::processes::a_stopped_producer_wakes_up_to_a_lost_lease_in_sqlite";
    stop_and_wake(test, &Site::local("sqlite")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_producer_wakes_up_to_a_lost_lease_in_postgres() {
    be_a_child_elsewhere().await;
    let test = "soak::processes::a_stopped_producer_wakes_up_to_a_lost_lease_in_postgres";
    let server = PostgresServer::start(&PostgresOptions::default());
    stop_and_wake(test, &Site::at("postgres", server.dsn().to_owned())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_producer_wakes_up_to_a_lost_lease_in_a_bucket() {
    be_a_child_elsewhere().await;
    let test = "soak::processes::a_stopped_producer_wakes_up_to_a_lost_lease_in_a_bucket";
    let server = S3Server::start();
    stop_and_wake(test, &Site::at("object", server.endpoint())).await;
}
