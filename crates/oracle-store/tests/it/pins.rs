//! A file that changes in its inode or change time alone is proven again and read on; other
//! bytes are refused, whatever its times say.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use oracle_store::{
    Error, Hex64, KnownDigests, Part, Pin, Prover, ReadOptions, ReasonCode, WorldStore, open_rows,
};

use crate::world::*;

/// Changes a file's inode or change time, and not a byte of it.
type Change = fn(&Path);

const CHANGES: [(&str, Change); 4] = [
    ("chmod", |path| {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        fs::set_permissions(path, fs::Permissions::from_mode(mode ^ 0o044)).unwrap();
    }),
    ("hard link", |path| {
        let link = path.with_extension("backup");
        let _ = fs::remove_file(&link);
        fs::hard_link(path, link).unwrap();
    }),
    ("rename away and back", |path| {
        let away = path.with_extension("away");
        fs::rename(path, &away).unwrap();
        fs::rename(away, path).unwrap();
    }),
    ("a copy in its place", |path| {
        let copy = path.with_extension("copy");
        fs::write(&copy, fs::read(path).unwrap()).unwrap();
        keep_times(&copy, &fs::metadata(path).unwrap());
        fs::rename(copy, path).unwrap();
    }),
];

fn keep_times(path: &Path, of: &fs::Metadata) {
    let times = fs::FileTimes::new()
        .set_accessed(of.accessed().unwrap())
        .set_modified(of.modified().unwrap());
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_times(times).unwrap();
}

/// Changes one byte in place, and sets the times back.
fn rewrite(path: &Path, at: usize) {
    let before = fs::metadata(path).unwrap();
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
    keep_times(path, &before);
}

struct Listed(String, Hex64);

impl KnownDigests for Listed {
    fn sha256_of(&self, path: &str) -> Option<&Hex64> {
        (path == self.0).then_some(&self.1)
    }
}

/// Lines that take several blocks to read.
fn long_lines() -> Vec<u8> {
    let text = "x".repeat(1_000);
    let line = |id| format!("{{\"id\":{id},\"text\":\"{text}\"}}\n");
    (0..1_500).map(line).collect::<String>().into_bytes()
}

async fn world() -> (TestWorld, Part) {
    let path = format!("{LINES}/a.jsonl");
    let world = TestWorld::on_disk(&[object(path, long_lines())]).await;
    let part = world.locate("lines").await.parts[0].clone();
    (world, part)
}

/// Reads a part, with a change after the first batch; how many rows came, and why no more.
async fn read_with(
    world: &TestWorld,
    part: &Part,
    change: impl FnOnce(&Path) + Send + 'static,
) -> (usize, Option<Error>) {
    let (store, part) = (world.store.clone(), part.clone());
    let path = world.folder().join(part.path());
    on_a_thread(move || {
        let grant = granted(&store, part.output_id());
        let options = ReadOptions {
            from_row: 0,
            batch_rows: 100,
        };
        let mut change = Some(change);
        let mut read = 0;
        for batch in open_rows(&grant, &part, &options).unwrap() {
            match batch {
                Ok(batch) => read += batch.rows.len(),
                Err(error) => return (read, Some(error)),
            }
            if let Some(change) = change.take() {
                change(&path);
            }
        }
        (read, None)
    })
    .await
}

async fn read_all(world: &TestWorld, part: &Part) -> (usize, Option<Error>) {
    read_with(world, part, |_| ()).await
}

#[track_caller]
fn assert_changed((read, error): (usize, Option<Error>)) {
    let error = error.expect("a change that is not proven");
    assert_eq!(error.code(), ReasonCode::OracleReadFailed);
    assert!(error.to_string().contains("changed"), "{error}");
    assert!(read < 1_500);
}

#[tokio::test]
async fn a_file_whose_digest_is_listed_is_read_on_whatever_was_done_to_it() {
    for (name, change) in CHANGES {
        let (world, part) = world().await;
        let listed = Listed(part.path().to_owned(), Hex64::sha256_of(long_lines()));
        world.store.proofs().add_list(Arc::new(listed));
        let (read, error) = read_with(&world, &part, change).await;
        assert!(error.is_none(), "{name}: {error:?}");
        assert_eq!(read, 1_500, "{name}");
        // And again, and by those who open it by its old pin.
        for _ in 0..2 {
            change(&world.folder().join(part.path()));
            assert_eq!(read_all(&world, &part).await.0, 1_500, "{name}");
        }
    }
}

#[tokio::test]
async fn a_file_that_was_hashed_under_its_pin_is_read_on() {
    for (name, change) in CHANGES {
        let (world, part) = world().await;
        let (store, hashed) = (world.store.clone(), part.clone());
        on_a_thread(move || {
            let hashed = store.hash_as_proof(hashed.path(), hashed.pin(), &|| true);
            hashed.unwrap();
        })
        .await;
        assert!(world.store.proofs().have_digest(part.path(), part.pin()));
        assert_eq!(read_with(&world, &part, change).await.0, 1_500, "{name}");
    }
}

#[tokio::test]
async fn other_bytes_are_refused_with_every_time_set_back() {
    // In what was read, in what is read next, and at the end.
    for at in [20, 300_000, 1_500_000] {
        for (name, change) in CHANGES {
            let (world, part) = world().await;
            let listed = Listed(part.path().to_owned(), Hex64::sha256_of(long_lines()));
            world.store.proofs().add_list(Arc::new(listed));
            let both = move |path: &Path| {
                change(path);
                rewrite(path, at);
            };
            assert_changed(read_with(&world, &part, both).await);
            println!("{name} at {at}");
        }
    }
}

#[tokio::test]
async fn a_file_of_another_size_or_modification_time_is_refused_whatever_its_bytes() {
    let (world, part) = world().await;
    let listed = Listed(part.path().to_owned(), Hex64::sha256_of(long_lines()));
    world.store.proofs().add_list(Arc::new(listed));
    let touch = |path: &Path| fs::write(path, fs::read(path).unwrap()).unwrap();
    assert_changed(read_with(&world, &part, touch).await);
}

#[tokio::test]
async fn a_file_of_which_nothing_is_known_is_refused() {
    for (name, change) in CHANGES {
        let (world, part) = world().await;
        assert_changed(read_with(&world, &part, change).await);
        // A hash that was taken after the change proves nothing about what was before it.
        let (store, hashed) = (world.store.clone(), part.clone());
        on_a_thread(move || {
            let hashed = store.hash_as_proof(hashed.path(), hashed.pin(), &|| true);
            hashed.unwrap();
        })
        .await;
        let proofs = world.store.proofs();
        assert!(!proofs.have_digest(part.path(), part.pin()), "{name}");
    }
}

#[tokio::test]
async fn a_file_that_evidence_hashed_with_others_is_refused() {
    let (world, part) = world().await;
    let proofs = world.store.proofs();
    proofs.add_hashed(part.path(), part.pin(), None);
    proofs.set_prover(Arc::new(Asked::default()));
    assert_changed(read_with(&world, &part, CHANGES[0].1).await);
}

/// Answers yes, or no; keeps what it was asked.
#[derive(Default)]
struct Asked {
    says_no: bool,
    times: AtomicUsize,
    had_read: Mutex<Vec<bool>>,
}

impl Prover for Asked {
    fn is_same(&self, _: &str, _: &Pin, has_read: bool) -> bool {
        self.times.fetch_add(1, Ordering::Relaxed);
        self.had_read.lock().unwrap().push(has_read);
        !self.says_no
    }
}

#[tokio::test]
async fn a_reader_proves_what_no_digest_does_once_a_change() {
    let (world, part) = world().await;
    let asked = Arc::new(Asked::default());
    world.store.proofs().set_prover(asked.clone());
    let change = CHANGES[0].1;
    change(&world.folder().join(part.path()));
    assert_eq!(read_with(&world, &part, change).await.0, 1_500);
    assert_eq!(
        read_all(&world, &part).await.0,
        1_500,
        "the new pin is known"
    );
    assert_eq!(*asked.had_read.lock().unwrap(), [false, true]);
    assert_eq!(asked.times.load(Ordering::Relaxed), 2);

    let says_no = Asked {
        says_no: true,
        ..Asked::default()
    };
    world.store.proofs().set_prover(Arc::new(says_no));
    assert_changed(read_with(&world, &part, change).await);
}

#[tokio::test]
async fn a_world_without_proofs_shares_its_files_and_nothing_else() {
    let (world, part) = world().await;
    let listed = Listed(part.path().to_owned(), Hex64::sha256_of(long_lines()));
    world.store.proofs().add_list(Arc::new(listed));
    let bare: WorldStore = world.store.without_proofs();
    assert!(!bare.proofs().have_digest(part.path(), part.pin()));
    let part_of_bare = part.clone();
    let rows = on_a_thread(move || {
        let grant = granted(&bare, part_of_bare.output_id());
        let rows = open_rows(&grant, &part_of_bare, &ReadOptions::default()).unwrap();
        rows.map(|batch| batch.unwrap().rows.len()).sum::<usize>()
    })
    .await;
    assert_eq!(rows, 1_500);
}
