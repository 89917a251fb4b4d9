//! Digests of files, in constant memory and at the speed of the hash.
//!
//! A large chunk is hashed on a thread of the store while the next one is being read. Small
//! ones are hashed where they are: most evidence is small, and handing it over would cost more
//! than hashing it. Small files are fetched a few ahead of
//! their turn, so that many of them do not cost a round trip each.
//!
//! A file is read once for both digests that it may take part in: that of the
//! sequence, and its own.

use std::mem;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use oracle_store::{Hex64, Pin, WorldStore};
use sha2::{Digest, Sha256};

use crate::error::Error;

/// Files that are fetched before their turn, and how large they may be.
const FILES_AHEAD: usize = 8;
pub(crate) const SMALL_FILE_BYTES: u64 = 1 << 20;
/// Files of one gate that are hashed at one time outside its own digest.
const FILES_IN_FLIGHT: usize = 4;
/// Up to this, handing a chunk to another thread costs more than hashing it.
const INLINE_BYTES: usize = 32 << 10;

/// A file to hash.
#[derive(Clone)]
pub(crate) struct FileToHash {
    pub(crate) key: String,
    /// The bytes that it must still have.
    pub(crate) pin: Pin,
    /// Whether its own digest is wanted beside that of the sequence.
    pub(crate) own: bool,
}

/// The digests of a sequence of files.
pub(crate) struct Digests {
    /// Of all bytes, one file after the other.
    pub(crate) whole: Hex64,
    /// Of each file whose own is wanted, in the order given.
    pub(crate) own: Vec<Option<Hex64>>,
}

/// Hashes `files` as one sequence, and by themselves those that want it.
pub(crate) async fn hash_in_order(
    store: &WorldStore,
    files: &[FileToHash],
) -> Result<Digests, Error> {
    let mut whole = Digester::new(store);
    let mut own = Vec::with_capacity(files.len());
    let opening = files.iter().map(|file| open(store, file));
    let mut opened = stream::iter(opening.collect::<Vec<_>>()).buffered(FILES_AHEAD);
    let mut wanted = files.iter().map(|file| file.own);
    while let Some(mut chunks) = opened.next().await {
        let is_wanted = wanted.next().unwrap_or_default();
        let mut digester = is_wanted.then(|| Digester::new(store));
        while let Some(chunk) = chunks.try_next().await.map_err(Error::oracle)? {
            match &mut digester {
                Some(own) => {
                    futures::try_join!(whole.update(chunk.clone()), own.update(chunk))?;
                }
                None => whole.update(chunk).await?,
            }
        }
        own.push(match digester {
            Some(digester) => Some(digester.finish().await?),
            None => None,
        });
    }
    Ok(Digests {
        whole: whole.finish().await?,
        own,
    })
}

/// Hashes each of `files` by itself, several at a time; digests in the order given.
pub(crate) async fn hash_each(
    store: &WorldStore,
    files: &[FileToHash],
) -> Result<Vec<Hex64>, Error> {
    let hash = |file: &FileToHash| {
        let mut chunks = store.stream(&file.key, &file.pin);
        async move {
            let mut digester = Digester::new(store);
            while let Some(chunk) = chunks.try_next().await.map_err(Error::oracle)? {
                digester.update(chunk).await?;
            }
            digester.finish().await
        }
    };
    let hashing = files.iter().map(hash).collect::<Vec<_>>();
    stream::iter(hashing)
        .buffered(FILES_IN_FLIGHT)
        .try_collect()
        .await
}

/// Opens a file, and has the first chunk of a small one already fetched.
fn open(
    store: &WorldStore,
    file: &FileToHash,
) -> impl Future<Output = BoxStream<'static, Result<Bytes, oracle_store::Error>>> + use<> {
    let mut chunks = store.stream(&file.key, &file.pin);
    let small = file.pin.size <= SMALL_FILE_BYTES;
    async move {
        let first = if small { chunks.next().await } else { None };
        stream::iter(first).chain(chunks).boxed()
    }
}

/// One digest: here while chunks are small, on a thread of the store while a large one is
/// hashed.
struct Digester<'a> {
    store: &'a WorldStore,
    state: State,
}

enum State {
    Here(Sha256),
    /// A chunk is being hashed.
    Elsewhere(BoxFuture<'static, Result<Sha256, oracle_store::Error>>),
}

impl<'a> Digester<'a> {
    fn new(store: &'a WorldStore) -> Self {
        Self {
            store,
            state: State::Here(Sha256::new()),
        }
    }

    /// Adds a chunk. A large one is still being hashed when this returns, so that the next one
    /// is read at the same time.
    async fn update(&mut self, chunk: Bytes) -> Result<(), Error> {
        let mut hasher = self.idle().await?;
        if chunk.len() <= INLINE_BYTES {
            hasher.update(&chunk);
            self.state = State::Here(hasher);
            return Ok(());
        }
        let work = move || {
            hasher.update(&chunk);
            hasher
        };
        self.state = State::Elsewhere(self.store.start_work(work).boxed());
        Ok(())
    }

    /// The hasher, once it has taken all chunks.
    async fn idle(&mut self) -> Result<Sha256, Error> {
        match mem::replace(&mut self.state, State::Here(Sha256::new())) {
            State::Here(hasher) => Ok(hasher),
            State::Elsewhere(hashing) => hashing.await.map_err(Error::oracle),
        }
    }

    async fn finish(mut self) -> Result<Hex64, Error> {
        let hasher = self.idle().await?;
        Ok(Hex64::of_digest(hasher.finalize().into()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use oracle_store::{ObjectStoreConfig, resolve_engine_run_root};
    use proptest::prelude::*;

    use super::*;
    use crate::error::ReasonCode;

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
                    let pin = store.head(&n.to_string()).await.unwrap();
                    pinned.push(FileToHash { key: n.to_string(), pin, own: n != 1 });
                }
                let digests = hash_in_order(&store, &pinned).await.unwrap();
                (digests, hash_each(&store, &pinned).await.unwrap())
            });
            let own: Vec<_> = files.iter().map(Hex64::sha256_of).collect();
            prop_assert_eq!(digests.whole, Hex64::sha256_of(files.concat()));
            prop_assert_eq!(&each, &own);
            let wanted = own.into_iter().enumerate().map(|(n, own)| (n != 1).then_some(own));
            prop_assert_eq!(digests.own, wanted.collect::<Vec<_>>());
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
        let changed = [FileToHash {
            key: "a".to_owned(),
            pin,
            own: true,
        }];
        let code = ReasonCode::Oracle(oracle_store::ReasonCode::OracleReadFailed);
        for error in [
            hash_in_order(&store, &changed)
                .await
                .map(|_| ())
                .unwrap_err(),
            hash_each(&store, &changed).await.map(|_| ()).unwrap_err(),
        ] {
            assert_eq!(error.code(), code, "{error}");
            assert!(error.object_name().unwrap().ends_with("/a"));
        }
    }
}
