//! An open file that is checked to be the pinned one at every read.

use std::cell::Cell;
use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::changed;
use super::proofs::{Proof, Proofs};
use crate::error::{Error, ReasonCode};
use crate::part::Pin;
use model::Hex64;

/// Small enough to stay in the processor's cache between the read and the hash.
const HASH_BUFFER_BYTES: usize = 256 << 10;
/// How often a file that goes on changing is proven again before it is given up.
const MOST_PROOFS: usize = 3;

/// The pin of a file: its size, inode, modification time and change time. A program can set
/// the modification time back after it rewrote a file in place, but never the change time.
pub(super) fn pin_of(stat: &Metadata) -> Pin {
    Pin {
        size: stat.len(),
        etag: format!(
            "{:x}-{:x}.{:09}-{:x}.{:09}",
            stat.ino(),
            stat.mtime(),
            stat.mtime_nsec(),
            stat.ctime(),
            stat.ctime_nsec()
        ),
    }
}

/// Whether two pins differ in nothing but inode and change time.
fn are_alike(one: &Pin, other: &Pin) -> bool {
    let modified = |pin: &Pin| pin.etag.split('-').nth(1).map(str::to_owned);
    one.size == other.size && modified(one).is_some() && modified(one) == modified(other)
}

/// Opens files of a world by their keys.
pub(super) trait OpenByKey: Send + Sync + std::fmt::Debug {
    /// Opens the regular file that a key names now, with its pin; `None` if there is none.
    fn open_if_exists(&self, key: &str) -> Result<Option<(File, Pin)>, Error>;

    /// The full name of a key, for error messages.
    fn name(&self, key: &str) -> String;
}

/// An open file that is checked to be the pinned one at every read. Where it changed in
/// nothing but inode or change time, it is proven again first.
#[derive(Debug)]
pub(crate) struct PinnedFile {
    disk: Arc<dyn OpenByKey>,
    key: String,
    name: String,
    /// The pin that the file was asked for with.
    pin: Pin,
    now: Mutex<Arc<OpenFile>>,
    has_read: AtomicBool,
    proofs: Proofs,
}

/// A file as it is open now, and its pin.
#[derive(Debug)]
struct OpenFile {
    file: File,
    pin: Pin,
}

impl OpenFile {
    /// Fills a buffer with the bytes at `at`; the pin that the file has after it.
    fn fill_at(&self, at: u64, buffer: &mut [u8], name: &str) -> Result<Pin, Error> {
        let failed = |source: std::io::Error| {
            Error::new(ReasonCode::OracleReadFailed, "The file cannot be read")
                .object(name)
                .because(source)
        };
        self.file.read_exact_at(buffer, at).map_err(|source| {
            if source.kind() == ErrorKind::UnexpectedEof {
                return changed(name.to_owned());
            }
            failed(source)
        })?;
        self.file
            .metadata()
            .map(|stat| pin_of(&stat))
            .map_err(failed)
    }
}

impl PinnedFile {
    /// Opens a file that must be the pinned one, or is proven to be it again.
    pub(super) fn open(
        disk: Arc<dyn OpenByKey>,
        key: &str,
        pin: &Pin,
        proofs: &Proofs,
    ) -> Result<Self, Error> {
        let now = open_now(&*disk, key)?;
        let is_known =
            now.pin == *pin || proofs.renewed(key, pin).is_some_and(|new| new == now.pin);
        let this = Self {
            name: disk.name(key),
            disk,
            key: key.to_owned(),
            pin: pin.clone(),
            now: Mutex::new(Arc::new(now)),
            has_read: AtomicBool::new(false),
            proofs: proofs.clone(),
        };
        if !is_known {
            this.prove_again()?;
        }
        Ok(this)
    }

    /// Reads exactly `length` bytes at `at`, without moving any shared position.
    pub(crate) fn read_exact_at(&self, at: u64, length: usize) -> Result<Bytes, Error> {
        let mut bytes = vec![0; length];
        self.fill_at(at, &mut bytes)?;
        Ok(bytes.into())
    }

    /// Fills a buffer with the bytes at `at`.
    pub(crate) fn fill_at(&self, at: u64, buffer: &mut [u8]) -> Result<(), Error> {
        for _ in 0..=MOST_PROOFS {
            let now = self.now();
            if now.fill_at(at, buffer, &self.name)? == now.pin {
                self.has_read.store(true, Ordering::Relaxed);
                return Ok(());
            }
            // What was just read may be of before or after the change: it is read again.
            self.prove_again()?;
        }
        Err(changed(self.name.clone()))
    }

    /// The file's length.
    pub(crate) fn size(&self) -> u64 {
        self.pin.size
    }

    fn now(&self) -> Arc<OpenFile> {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&now)
    }

    /// Proves that what the key names now is what the pin stands for, and reads on from it.
    fn prove_again(&self) -> Result<(), Error> {
        for _ in 0..MOST_PROOFS {
            let found = open_now(&*self.disk, &self.key)?;
            if !are_alike(&found.pin, &self.pin) {
                break;
            }
            let is_renewed = self.proofs.renewed(&self.key, &self.pin).as_ref() == Some(&found.pin);
            if is_renewed || found.pin == self.pin {
                self.go_on_with(found);
                return Ok(());
            }
            let by = match self.proofs.proof_of(&self.key, &self.pin) {
                Proof::Digest(sha256) => match exact_sha256(&found, &self.name, &|| true)? {
                    Some(found) if found == sha256 => "sha256",
                    Some(_) => break,
                    // It changed while it was hashed.
                    None => continue,
                },
                Proof::Beyond | Proof::Nothing => break,
                Proof::Reader(prover) => {
                    let has_read = self.has_read.load(Ordering::Relaxed);
                    let is_same = prover.is_same(&self.key, &found.pin, has_read);
                    // It may have changed once more meanwhile.
                    if open_now(&*self.disk, &self.key)?.pin != found.pin {
                        continue;
                    }
                    if !is_same {
                        break;
                    }
                    "what is known of its rows"
                }
            };
            self.proofs
                .renew(&self.key, &self.name, &self.pin, &found.pin, by);
            self.go_on_with(found);
            return Ok(());
        }
        Err(changed(self.name.clone()))
    }

    fn go_on_with(&self, file: OpenFile) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = Arc::new(file);
    }
}

fn open_now(disk: &dyn OpenByKey, key: &str) -> Result<OpenFile, Error> {
    let (file, pin) = disk.open_if_exists(key)?.ok_or_else(|| {
        Error::new(ReasonCode::OracleReadFailed, "The file is gone").object(disk.name(key))
    })?;
    Ok(OpenFile { file, pin })
}

/// The sha256 of a file that is the pinned one from the first byte to the last; none if it is
/// not, or if `goes_on` ends it.
pub(super) fn sha256_of_exactly(
    disk: &dyn OpenByKey,
    key: &str,
    pin: &Pin,
    goes_on: &dyn Fn() -> bool,
) -> Result<Option<Hex64>, Error> {
    let file = open_now(disk, key)?;
    if file.pin != *pin {
        return Ok(None);
    }
    exact_sha256(&file, &disk.name(key), goes_on)
}

/// The sha256 of a file that does not change meanwhile; none if it does.
fn exact_sha256(
    file: &OpenFile,
    name: &str,
    goes_on: &dyn Fn() -> bool,
) -> Result<Option<Hex64>, Error> {
    let is_same = Cell::new(true);
    let goes_on = || is_same.get() && goes_on();
    let hashed = hash_with(file.pin.size, &goes_on, |at, buffer| {
        is_same.set(file.fill_at(at, buffer, name)? == file.pin);
        Ok(())
    });
    Ok(hashed?.filter(|_| is_same.get()))
}

/// Hashes so many bytes, as a function reads them; none if it is told to end.
fn hash_with(
    size: u64,
    goes_on: &dyn Fn() -> bool,
    mut fill_at: impl FnMut(u64, &mut [u8]) -> Result<(), Error>,
) -> Result<Option<Hex64>, Error> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; HASH_BUFFER_BYTES.min(size as usize)];
    let mut at = 0;
    while at < size {
        if !goes_on() {
            return Ok(None);
        }
        let length = (size - at).min(buffer.len() as u64) as usize;
        fill_at(at, &mut buffer[..length])?;
        hasher.update(&buffer[..length]);
        at += length as u64;
    }
    Ok(Some(Hex64::of_digest(hasher.finalize().into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_alike_by_size_and_modification_time() {
        let pin = |size, etag: &str| Pin {
            size,
            etag: etag.to_owned(),
        };
        let one = pin(5, "1f-6a.000000001-6b.000000002");
        assert!(are_alike(&one, &pin(5, "2f-6a.000000001-99.000000003")));
        assert!(!are_alike(&one, &pin(6, "1f-6a.000000001-6b.000000002")));
        assert!(!are_alike(&one, &pin(5, "1f-6a.000000009-6b.000000002")));
        let foreign = pin(5, "etag");
        assert!(!are_alike(&foreign, &foreign), "no pin of a file");
    }
}
