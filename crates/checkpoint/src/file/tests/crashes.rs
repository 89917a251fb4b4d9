//! Every crash recovers to the old cursor or the new one, never to neither.

use std::collections::BTreeSet;

use super::*;
use crate::conformance::{cursor, holder, key, save};
use durable::simulated::{Careless, CrashDisk};

/// What a life of checkpoints was told, in order: the row that the cursor stands at.
type Told = Vec<Option<u64>>;

struct Life {
    disk: Arc<CrashDisk>,
    store: FileStore,
    told: Told,
    /// The fence that was given out when each state was told.
    fences: Vec<u64>,
    _sessions: TempDir,
}

impl Life {
    fn new(careless: Careless) -> Self {
        let (disk, sessions) = (
            Arc::new(CrashDisk::new(careless)),
            tempfile::tempdir().unwrap(),
        );
        Self {
            store: store_on(disk.clone(), sessions.path(), ManualClock::default()),
            disk,
            told: vec![None],
            fences: vec![0],
            _sessions: sessions,
        }
    }

    fn acquire(&mut self) -> Lease {
        let key = key("crash", "o");
        let request = LeaseRequest::new([key.clone()], holder("one"));
        let lease = done(self.store.acquire(&request)).unwrap();
        self.tell(*self.told.last().unwrap(), lease.fence(&key).unwrap());
        lease
    }

    fn save(&mut self, lease: &Lease, row: u64) {
        done(save(
            &self.store,
            lease,
            &key("crash", "o"),
            cursor("a", row),
        ))
        .unwrap();
        self.tell(Some(row), *self.fences.last().unwrap());
    }

    fn reset(&mut self, lease: &Lease) {
        done(self.store.reset(lease, &key("crash", "o"))).unwrap();
        self.tell(None, *self.fences.last().unwrap());
    }

    fn tell(&mut self, row: Option<u64>, fence: u64) {
        self.told.push(row);
        self.fences.push(fence);
        self.disk.promise(self.told.len() - 1);
    }

    /// How many crashes there are, and the first that recovers to neither the last state told nor
    /// the one being made.
    fn crashes(&self) -> (usize, Option<String>) {
        let sessions = tempfile::tempdir().unwrap();
        let (mut count, mut wrong) = (0, None);
        self.disk.each_crash(|promised, disk| {
            count += 1;
            let clock = ManualClock::default();
            let recovered = store_on(Arc::new(disk), sessions.path(), clock.clone());
            let fault = self.fault(&recovered, &clock, promised);
            wrong = fault.map(|fault| format!("crash {count} after promise {promised}: {fault}"));
            wrong.is_none()
        });
        (count, wrong)
    }

    fn fault(&self, recovered: &FileStore, clock: &ManualClock, promised: usize) -> Option<String> {
        let key = key("crash", "o");
        let allowed: BTreeSet<Option<u64>> =
            self.told[promised..].iter().take(2).copied().collect();
        let found = match done(recovered.load(&key)) {
            Ok(record) => record.map(|record| record.cursor.last_row_index()),
            Err(error) => return Some(error.to_string()),
        };
        if !allowed.contains(&found) {
            return Some(format!("found {found:?}, expected one of {allowed:?}"));
        }
        let request = LeaseRequest::new([key.clone()], holder("two"));
        let taken = done(recovered.acquire(&request)).or_else(|_| {
            // The crash took the lock of the session too, so nobody can tell that it has ended.
            done(clock.sleep(request.period));
            done(recovered.acquire(&request))
        });
        let lease = match taken {
            Ok(lease) => lease,
            Err(error) => return Some(error.to_string()),
        };
        let fence = lease.fence(&key).unwrap();
        if fence <= self.fences[promised] {
            return Some(format!("fence {fence} after {}", self.fences[promised]));
        }
        done(save(recovered, &lease, &key, cursor("a", 100)))
            .err()
            .map(|error| error.to_string())
    }
}

fn store_on(disk: Arc<CrashDisk>, sessions: &Path, clock: ManualClock) -> FileStore {
    let sessions = Sessions::new(sessions.to_owned());
    FileStore::on_disk("/checkpoints".into(), clock.observer(), disk, sessions)
}

/// Does what needs no other thread than those that may block.
fn done<T>(work: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().build().unwrap();
    }
    RUNTIME.with(|runtime| runtime.block_on(work))
}

fn first_saves(careless: Careless) -> Life {
    let mut life = Life::new(careless);
    let lease = life.acquire();
    for row in 1..=3 {
        life.save(&lease, row);
    }
    life
}

fn reset_and_save_again(careless: Careless) -> Life {
    let mut life = Life::new(careless);
    let lease = life.acquire();
    life.save(&lease, 9);
    life.reset(&lease);
    life.save(&lease, 1);
    life
}

fn renewed_released_and_taken_again(careless: Careless) -> Life {
    let mut life = Life::new(careless);
    let lease = life.acquire();
    life.save(&lease, 1);
    done(life.store.renew(&lease)).unwrap();
    done(life.store.release(&lease)).unwrap();
    drop(lease);
    let lease = life.acquire();
    life.save(&lease, 2);
    life
}

type Live = fn(Careless) -> Life;

const LIVES: [(&str, Live); 3] = [
    ("first saves", first_saves),
    ("reset", reset_and_save_again),
    ("taken again", renewed_released_and_taken_again),
];

#[test]
fn every_crash_recovers_to_the_old_cursor_or_the_new_one() {
    for (name, live) in LIVES {
        let (count, wrong) = live(Careless::Not).crashes();
        println!("crash states, {name}: {count}");
        assert_eq!(wrong, None, "{name}");
        assert!(count > 100, "{name}: {count}");
    }
}

#[test]
fn a_writer_that_left_out_a_sync_would_be_found_out() {
    for careless in [Careless::AboutBytes, Careless::AboutNames] {
        let (_, wrong) = first_saves(careless).crashes();
        assert!(wrong.is_some(), "{careless:?}");
    }
}
