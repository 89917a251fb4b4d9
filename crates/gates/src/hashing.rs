//! Digests of files, in constant memory and at the speed of the hash.
//!
//! A task reads ahead: one chunk of a large file, and the whole of the next few
//! small ones, so that many small objects do not cost a round trip each. The
//! caller hashes on blocking threads, a chunk at a time, so no thread is held
//! while a store is slow. A file is read once for both digests that it takes part
//! in: that of the whole sequence, and its own.

use std::mem;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use oracle_store::{Hex64, Pin, WorldStore};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::{JoinError, spawn_blocking};

use crate::error::{Error, ReasonCode};

/// Small files that are fetched before their turn, and how large they may be.
const FILES_AHEAD: usize = 8;
const SMALL_FILE_BYTES: u64 = 1 << 20;
/// Chunks between reader and hash; the store reads ahead of its own.
const CHUNKS_AHEAD: usize = 1;
/// Files of one gate that are hashed at one time outside its own digest.
const FILES_IN_FLIGHT: usize = 4;
/// Below this, handing a chunk to another thread costs more than hashing it.
const INLINE_BYTES: usize = 32 << 10;

/// A file to hash: its key, and the bytes that it must still have.
pub(crate) type PinnedKey = (String, Pin);

/// The digests of a sequence of files.
pub(crate) struct Digests {
    /// Of all bytes, one file after the other.
    pub(crate) whole: Hex64,
    /// Of each file, in the order given.
    pub(crate) files: Vec<Hex64>,
}

enum Read {
    Chunk(Bytes),
    EndOfFile,
}

/// Hashes `files` as one sequence, and each by itself.
pub(crate) async fn hash_in_order(
    store: &WorldStore,
    files: Vec<PinnedKey>,
) -> Result<Digests, Error> {
    let (sender, mut reads) = mpsc::channel(CHUNKS_AHEAD);
    let reader = tokio::spawn(read_ahead(store.clone(), files, sender));
    let (mut whole, mut file) = (Sha256::new(), Sha256::new());
    let mut digests = Vec::new();
    while let Some(read) = reads.recv().await {
        match read.map_err(Error::oracle)? {
            Read::Chunk(chunk) => {
                (whole, file) = tokio::try_join!(update(whole, &chunk), update(file, &chunk))?;
            }
            Read::EndOfFile => digests.push(Hex64::of_hasher(mem::take(&mut file))),
        }
    }
    reader.await.map_err(broken_off)?;
    Ok(Digests {
        whole: Hex64::of_hasher(whole),
        files: digests,
    })
}

/// Hashes each of `files` by itself, several at a time; digests in the order given.
pub(crate) async fn hash_each(
    store: &WorldStore,
    files: Vec<PinnedKey>,
) -> Result<Vec<Hex64>, Error> {
    let hash = |(key, pin): PinnedKey| async move {
        let mut hasher = Sha256::new();
        let mut chunks = store.stream(&key, &pin);
        let mut next = chunks.try_next().await.map_err(Error::oracle)?;
        while let Some(chunk) = next {
            let read = async { chunks.try_next().await.map_err(Error::oracle) };
            (hasher, next) = tokio::try_join!(update(hasher, &chunk), read)?;
        }
        Ok(Hex64::of_hasher(hasher))
    };
    stream::iter(files)
        .map(hash)
        .buffered(FILES_IN_FLIGHT)
        .try_collect()
        .await
}

async fn read_ahead(
    store: WorldStore,
    files: Vec<PinnedKey>,
    sender: mpsc::Sender<Result<Read, oracle_store::Error>>,
) {
    let open = |(key, pin): PinnedKey| {
        let mut chunks = store.stream(&key, &pin);
        async move {
            let small = pin.size <= SMALL_FILE_BYTES;
            let first = if small { chunks.next().await } else { None };
            stream::iter(first).chain(chunks)
        }
    };
    let mut opened = stream::iter(files).map(open).buffered(FILES_AHEAD);
    while let Some(mut chunks) = opened.next().await {
        while let Some(chunk) = chunks.next().await {
            let failed = chunk.is_err();
            // Nobody listens any more once the verification is given up.
            if sender.send(chunk.map(Read::Chunk)).await.is_err() || failed {
                return;
            }
        }
        if sender.send(Ok(Read::EndOfFile)).await.is_err() {
            return;
        }
    }
}

async fn update(mut hasher: Sha256, chunk: &Bytes) -> Result<Sha256, Error> {
    if chunk.len() < INLINE_BYTES {
        hasher.update(chunk);
        return Ok(hasher);
    }
    let chunk = chunk.clone();
    let hash = move || {
        hasher.update(&chunk);
        hasher
    };
    spawn_blocking(hash).await.map_err(broken_off)
}

/// A task ended without an answer: the runtime is shutting down.
fn broken_off(cause: JoinError) -> Error {
    let code = ReasonCode::Oracle(oracle_store::ReasonCode::OracleReadFailed);
    Error::new(code, "The verification was broken off").because(cause)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use oracle_store::{ObjectStoreConfig, resolve_engine_run_root};
    use proptest::prelude::*;

    use super::*;

    /// Sizes around every boundary there is: empty, inline, small, one chunk and more.
    fn size() -> impl Strategy<Value = usize> {
        let around = |size: usize| (size - 1)..=(size + 1);
        prop_oneof![
            0..3_usize,
            around(INLINE_BYTES),
            around(1 << 20),
            around(2 << 20)
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn digests_in_order_and_one_by_one_are_the_plain_ones(
            sizes in prop::collection::vec(size(), 0..5),
            seed in any::<u8>(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let files: Vec<Vec<u8>> = sizes
                .iter()
                .enumerate()
                .map(|(n, size)| (0..*size).map(|i| (i * 31 + n) as u8 ^ seed).collect())
                .collect();
            for (n, bytes) in files.iter().enumerate() {
                std::fs::write(dir.path().join(n.to_string()), bytes).unwrap();
            }
            let root = resolve_engine_run_root(dir.path().to_str().unwrap(), None, Path::new("/"));
            let store = WorldStore::open(root.unwrap(), &ObjectStoreConfig::default()).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (digests, each) = runtime.block_on(async {
                let mut pinned = Vec::new();
                for n in 0..files.len() {
                    pinned.push((n.to_string(), store.head(&n.to_string()).await.unwrap()));
                }
                (hash_in_order(&store, pinned.clone()).await.unwrap(), hash_each(&store, pinned).await.unwrap())
            });
            let own: Vec<_> = files.iter().map(Hex64::sha256_of).collect();
            prop_assert_eq!(digests.whole, Hex64::sha256_of(files.concat()));
            prop_assert_eq!(&digests.files, &own);
            prop_assert_eq!(each, own);
        }
    }

    #[tokio::test]
    async fn a_file_that_changed_since_it_was_pinned_is_no_digest() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "one").unwrap();
        let root = resolve_engine_run_root(dir.path().to_str().unwrap(), None, Path::new("/"));
        let store = WorldStore::open(root.unwrap(), &ObjectStoreConfig::default()).unwrap();
        let pin = store.head("a").await.unwrap();
        std::fs::write(dir.path().join("b"), "two").unwrap();
        std::fs::rename(dir.path().join("b"), dir.path().join("a")).unwrap();
        let changed = vec![("a".to_owned(), pin)];
        let code = ReasonCode::Oracle(oracle_store::ReasonCode::OracleReadFailed);
        for error in [
            hash_in_order(&store, changed.clone())
                .await
                .map(|_| ())
                .unwrap_err(),
            hash_each(&store, changed).await.map(|_| ()).unwrap_err(),
        ] {
            assert_eq!(error.code(), code, "{error}");
            assert!(error.object_name().unwrap().ends_with("/a"));
        }
    }
}
