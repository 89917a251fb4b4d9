//! A world on local disk.
//!
//! Not `object_store`'s local backend: that follows symlinks out of the root, hides
//! files named `x#1`, rewrites odd names and never syncs; each of these matters here.

use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use durable::{OsDisk, create_once};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};

use super::pinned_file::{OpenByKey, PinnedFile, pin_of};
use super::proofs::Proofs;
use super::time_and_chance::TimeAndChance;
use super::{Entry, Level, MAX_WHOLE_OBJECT_BYTES, Object, changed, io, pinned_file};
use crate::error::{Error, ReasonCode};
use crate::part::Pin;
use model::Hex64;

/// How much of a file is read at once when it is streamed.
const STREAM_CHUNK_BYTES: usize = 1 << 20;
/// Chunks of one streamed file that are read at one time.
const STREAM_READ_AHEAD: usize = 2;
/// Small enough to stay in the processor's cache between the read and the hash.
const HASH_BUFFER_BYTES: usize = 256 << 10;
/// How the names of files start that the packer has not yet given their own. What a
/// crash leaves of them is no content of the world.
pub(crate) const STAGING_PREFIX: &str = "._oracle_pack_staging_";

/// The folder of a world. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    /// As it was named, for error texts.
    named: Arc<Path>,
    /// Without symlinks: what every object must be below.
    real: Arc<Path>,
    /// What is known of its files.
    proofs: Proofs,
    by: TimeAndChance,
}

impl OpenByKey for Disk {
    fn open_if_exists(&self, key: &str) -> Result<Option<(File, Pin)>, Error> {
        let Some((path, stat)) = self.stat_if_exists(key)? else {
            return Ok(None);
        };
        if stat.is_dir() {
            return Ok(None);
        }
        if !stat.is_file() {
            // Opening a pipe would wait for a writer.
            return Err(irregular(&path));
        }
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
        let (stat, file) = opened.map_err(|e| self.failed(key, "The file cannot be opened", e))?;
        Ok(Some((file, pin_of(&stat))))
    }

    fn name(&self, key: &str) -> String {
        self.name(key)
    }
}

impl Disk {
    pub(crate) fn open(folder: &Path, proofs: Proofs) -> Result<Self, Error> {
        let missing = |what: &str| {
            Error::new(ReasonCode::EngineRootMissing, what).object(folder.display().to_string())
        };
        let real = folder
            .canonicalize()
            .map_err(|source| missing("The engine run root cannot be opened").because(source))?;
        if !real.is_dir() {
            return Err(missing("The engine run root is no folder"));
        }
        Ok(Self {
            named: folder.into(),
            real: real.into(),
            proofs,
            by: TimeAndChance::default(),
        })
    }

    /// The same folder, by another clock and other randomness.
    pub(super) fn going_by(&self, by: TimeAndChance) -> Self {
        Self { by, ..self.clone() }
    }

    /// The same folder, of whose files other things are known.
    pub(super) fn with_proofs(&self, proofs: Proofs) -> Self {
        Self {
            proofs,
            ..self.clone()
        }
    }

    pub(super) fn name(&self, key: &str) -> String {
        self.named.join(key).display().to_string()
    }

    fn failed(&self, key: &str, what: &str, source: std::io::Error) -> Error {
        Error::new(ReasonCode::OracleReadFailed, what)
            .object(self.name(key))
            .because(source)
    }

    /// The real path of an object, if it exists; refused if a symlink leads out of the root.
    fn resolve(&self, key: &str) -> Result<Option<PathBuf>, Error> {
        let path = match self.real.join(key).canonicalize() {
            Ok(path) => path,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(self.failed(key, "The path cannot be resolved", error)),
        };
        if path.starts_with(&self.real) {
            return Ok(Some(path));
        }
        Err(Error::new(
            ReasonCode::ObjectPathRefused,
            "A symlink leads out of the engine run root",
        )
        .object(self.name(key)))
    }

    /// What an object is and where, if it exists.
    fn stat_if_exists(&self, key: &str) -> Result<Option<(PathBuf, Metadata)>, Error> {
        let Some(path) = self.resolve(key)? else {
            return Ok(None);
        };
        match fs::metadata(&path) {
            Ok(stat) => Ok(Some((path, stat))),
            // It went since its path was resolved.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(key, "The file cannot be read", error)),
        }
    }

    /// Opens a file that must be the pinned one, or is proven to be it again.
    pub(crate) fn open_pinned(&self, key: &str, pin: &Pin) -> Result<PinnedFile, Error> {
        PinnedFile::open(Arc::new(self.clone()), key, pin, &self.proofs)
    }

    /// The sha256 of a file that is the pinned one from the first byte to the last; none if it
    /// is not, or if `goes_on` ends it.
    pub(super) fn sha256_of_exactly(
        &self,
        key: &str,
        pin: &Pin,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Option<Hex64>, Error> {
        pinned_file::sha256_of_exactly(self, key, pin, goes_on)
    }

    pub(crate) async fn head(&self, key: &str) -> Result<Option<Pin>, Error> {
        let (disk, key) = (self.clone(), key.to_owned());
        io::blocking(move || {
            let stat = disk.stat_if_exists(&key)?.map(|(_, stat)| stat);
            Ok(stat.filter(Metadata::is_file).map(|stat| pin_of(&stat)))
        })
        .await
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Object>, Error> {
        let (disk, key) = (self.clone(), key.to_owned());
        io::blocking(move || {
            let Some((file, pin)) = disk.open_if_exists(&key)? else {
                return Ok(None);
            };
            let mut bytes = Vec::with_capacity(pin.size.min(MAX_WHOLE_OBJECT_BYTES) as usize);
            (&file)
                .take(MAX_WHOLE_OBJECT_BYTES + 1)
                .read_to_end(&mut bytes)
                .map_err(|e| disk.failed(&key, "The file cannot be read", e))?;
            if bytes.len() as u64 > MAX_WHOLE_OBJECT_BYTES {
                let what = "The file is larger than the 64 MiB that one record may have";
                return Err(Error::new(ReasonCode::OracleReadFailed, what).object(disk.name(&key)));
            }
            if bytes.len() as u64 != pin.size {
                return Err(changed(disk.name(&key)));
            }
            Ok(Some(Object {
                bytes: bytes.into(),
                pin,
            }))
        })
        .await
    }

    pub(crate) fn stream(&self, key: &str, pin: &Pin) -> BoxStream<'static, Result<Bytes, Error>> {
        let (disk, key, pin) = (self.clone(), key.to_owned(), pin.clone());
        let open = io::blocking(move || disk.open_pinned(&key, &pin).map(Arc::new));
        futures::stream::once(open)
            .map_ok(|file: Arc<PinnedFile>| {
                let starts = (0..file.size()).step_by(STREAM_CHUNK_BYTES);
                let read = move |start: u64| {
                    let file = Arc::clone(&file);
                    io::blocking(move || {
                        let length = (file.size() - start).min(STREAM_CHUNK_BYTES as u64);
                        file.read_exact_at(start, length as usize)
                    })
                };
                futures::stream::iter(starts)
                    .map(read)
                    .buffered(STREAM_READ_AHEAD)
            })
            .try_flatten()
            .boxed()
    }

    /// Adds a file's bytes to a digest: one buffer, one thread, no hand-over.
    pub(crate) async fn hash_into(
        &self,
        mut hasher: Sha256,
        key: &str,
        pin: &Pin,
    ) -> Result<Sha256, Error> {
        let (disk, key, pin) = (self.clone(), key.to_owned(), pin.clone());
        io::blocking(move || {
            let file = disk.open_pinned(&key, &pin)?;
            let mut buffer = vec![0; HASH_BUFFER_BYTES.min(file.size() as usize)];
            let mut at = 0;
            while at < file.size() {
                let length = (file.size() - at).min(buffer.len() as u64) as usize;
                file.fill_at(at, &mut buffer[..length])?;
                hasher.update(&buffer[..length]);
                at += length as u64;
            }
            Ok(hasher)
        })
        .await
    }

    /// Writes a file beside the world's own, makes it durable, and gives it its name
    /// unless the name is taken.
    pub(crate) async fn create(&self, key: &str, bytes: Bytes) -> Result<bool, Error> {
        let (disk, key) = (self.clone(), key.to_owned());
        io::blocking(move || {
            create_in(&OsDisk, &disk.real, &key, &bytes, disk.by.bits())
                .map_err(|e| disk.failed(&key, "The file cannot be written", e))
        })
        .await
    }

    pub(crate) async fn list_level(&self, folder: &str) -> Result<Level, Error> {
        let (disk, folder) = (self.clone(), folder.to_owned());
        io::blocking(move || {
            let mut level = Level::default();
            disk.for_each_in(&folder, |key, path, stat| {
                if stat.is_file() {
                    level.objects.push(Entry {
                        path: key,
                        pin: pin_of(&stat),
                    });
                } else if stat.is_dir() {
                    let name = key.rsplit('/').next().unwrap_or(&key).to_owned();
                    level.folders.push(name);
                } else {
                    return Err(irregular(&path));
                }
                Ok(())
            })?;
            Ok(level)
        })
        .await
    }

    pub(crate) async fn list_folders(&self, folder: &str) -> Result<Vec<String>, Error> {
        let (disk, folder) = (self.clone(), folder.to_owned());
        io::blocking(move || {
            let mut names = Vec::new();
            disk.for_each_in(&folder, |key, _, stat| {
                if stat.is_dir() {
                    names.push(key.rsplit('/').next().unwrap_or(&key).to_owned());
                }
                Ok(())
            })?;
            Ok(names)
        })
        .await
    }

    pub(crate) async fn list_tree(&self, folder: &str) -> Result<Level, Error> {
        let (disk, folder) = (self.clone(), folder.to_owned());
        io::blocking(move || {
            let mut tree = Level::default();
            disk.walk(&folder, &mut Vec::new(), &mut tree)?;
            Ok(tree)
        })
        .await
    }

    /// Goes down a folder; `above` are the real folders on the way, so that a symlink to
    /// one of them is seen as the loop it is.
    fn walk(&self, folder: &str, above: &mut Vec<PathBuf>, tree: &mut Level) -> Result<(), Error> {
        let Some(real) = self.resolve_folder(folder)? else {
            return Ok(());
        };
        if above.contains(&real) {
            let what = "A symlink leads back to a folder that holds it";
            return Err(Error::new(ReasonCode::ObjectPathRefused, what).object(self.name(folder)));
        }
        above.push(real);
        let mut folders = Vec::new();
        self.for_each_in(folder, |key, path, stat| {
            if stat.is_file() {
                tree.objects.push(Entry {
                    path: key,
                    pin: pin_of(&stat),
                });
            } else if stat.is_dir() {
                folders.push(key);
            } else {
                return Err(irregular(&path));
            }
            Ok(())
        })?;
        for inner in folders {
            self.walk(&inner, above, tree)?;
            tree.folders.push(inner);
        }
        above.pop();
        Ok(())
    }

    fn resolve_folder(&self, folder: &str) -> Result<Option<PathBuf>, Error> {
        if folder.is_empty() {
            Ok(Some(self.real.to_path_buf()))
        } else {
            self.resolve(folder)
        }
    }

    /// Calls back with every name in a folder: key, real path and what it is. A file that
    /// goes while the folder is read, as another packer's staging file does, is not in it.
    fn for_each_in(
        &self,
        folder: &str,
        mut each: impl FnMut(String, PathBuf, Metadata) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(real) = self.resolve_folder(folder)? else {
            return Ok(());
        };
        let failed = |e| self.failed(folder, "The folder cannot be listed", e);
        let names = match fs::read_dir(&real) {
            Ok(names) => names,
            Err(error) if error.kind() == ErrorKind::NotADirectory => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        for name in names {
            let name = name.map_err(failed)?.file_name();
            let Some(name) = name.to_str() else {
                let what = "A file name is not UTF-8";
                let path = real.join(&name).display().to_string();
                return Err(Error::new(ReasonCode::OracleReadFailed, what).object(path));
            };
            let key = if folder.is_empty() {
                name.to_owned()
            } else {
                format!("{folder}/{name}")
            };
            match self.stat_if_exists(&key)? {
                Some((path, stat)) => each(key, path, stat)?,
                None if real.join(name).is_symlink() => {
                    let what = "A symlink leads nowhere";
                    return Err(
                        Error::new(ReasonCode::ObjectPathRefused, what).object(self.name(&key))
                    );
                }
                None => {}
            }
        }
        Ok(())
    }
}

/// Makes an object of a root unless its name is taken; true if it was made. `draw` is in the
/// name of the file until then.
fn create_in(
    disk: &dyn durable::Disk,
    root: &Path,
    key: &str,
    bytes: &[u8],
    draw: u64,
) -> std::io::Result<bool> {
    let staging = root.join(format!("{STAGING_PREFIX}{draw}"));
    create_once(disk, &root.join(key), bytes, &staging)
}

fn irregular(path: &Path) -> Error {
    Error::new(
        ReasonCode::OracleReadFailed,
        "Only regular files can be read",
    )
    .object(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use durable::Disk as _;
    use durable::simulated::{Careless, CrashDisk};

    use super::*;

    /// The first crash after which an object that was promised is not there, or one is torn.
    fn fault(careless: Careless) -> Option<String> {
        const OBJECTS: [&str; 2] = ["_oracle_pack_manifest.json", "_SEALED.json"];
        let (root, disk) = (Path::new("/world"), CrashDisk::new(careless));
        disk.create_dir(root).unwrap();
        disk.settle();
        for (at, object) in OBJECTS.into_iter().enumerate() {
            assert!(create_in(&disk, root, object, object.as_bytes(), 1).unwrap());
            disk.promise(at + 1);
        }
        let (mut count, mut fault) = (0, None);
        disk.each_crash(|promised, crashed| {
            count += 1;
            for (at, object) in OBJECTS.into_iter().enumerate() {
                let found = crashed.read(&root.join(object)).ok();
                let is_right = match &found {
                    Some(bytes) => bytes == object.as_bytes(),
                    None => at >= promised,
                };
                // A rerun makes what is missing, and only that.
                let made = create_in(&crashed, root, object, object.as_bytes(), 2);
                if !is_right || made.ok() != Some(found.is_none()) {
                    fault = Some(format!(
                        "crash {count} after {promised}: {object} {found:?}"
                    ));
                }
            }
            fault.is_none()
        });
        fault
    }

    #[test]
    fn every_crash_leaves_what_was_packed_whole_or_absent() {
        assert_eq!(fault(Careless::Not), None);
        for careless in [Careless::AboutBytes, Careless::AboutNames] {
            assert!(fault(careless).is_some(), "{careless:?} would be found out");
        }
    }
}
