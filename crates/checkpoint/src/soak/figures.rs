//! How fast each backend saves, on this machine: `cargo test -p checkpoint figures -- --nocapture`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::rounds;
use crate::bucket::tests::bucket;
use crate::conformance::{Backend, cursor, key, request};
use crate::file::tests::folder;
use crate::memory::tests::memory;
use crate::postgres::tests::schema;
use crate::sqlite::tests::file;
use crate::{Cursor, CursorKey};

/// Saves one cursor, then ten at once, again and again; prints rates and the slowest hundredth.
async fn measure(name: &str, backend: &dyn Backend) {
    let store = backend.open().await;
    for outputs in [1, 10] {
        let keys: Vec<CursorKey> = (0..outputs)
            .map(|n| key(&format!("figures {outputs}"), &format!("o{n}")))
            .collect();
        let lease = store
            .acquire(&request(backend, "one", &keys))
            .await
            .unwrap();
        let mut times = Vec::new();
        for row in 0..rounds(20) * 10 {
            let cursors: BTreeMap<CursorKey, Cursor> = keys
                .iter()
                .map(|key| (key.clone(), cursor("a", row)))
                .collect();
            let started = Instant::now();
            store.save_many(&lease, &cursors).await.unwrap();
            times.push(started.elapsed());
        }
        let record = store.load(&keys[0]).await.unwrap().unwrap();
        assert_eq!(record.sequence, rounds(20) * 10, "each save is one record");
        let total: Duration = times.iter().sum();
        times.sort_unstable();
        let at = |share: f64| times[(times.len() as f64 * share) as usize];
        println!(
            "saves, {name}, {outputs} at once: {:.0} a second, median {:?}, p99 {:?}",
            times.len() as f64 / total.as_secs_f64(),
            at(0.5),
            at(0.99)
        );
    }
}

/// One after the other: side by side they would measure each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_save_is_one_record_and_this_is_how_fast() {
    measure("memory", &memory()).await;
    measure("file", &folder()).await;
    measure("sqlite", &file()).await;
    measure("postgres", &schema()).await;
    measure("object (s3s in this process)", &bucket()).await;
}
