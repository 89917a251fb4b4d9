//! Objects by name, as a bucket has them: each written whole, some only where the name is free.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::runtime::spawn_blocking;

/// The objects below one prefix of a bucket. Called on threads that may block; an answer that is
/// lost is an error, and the object may be there all the same.
///
/// # Errors
/// All methods fail with what the store says.
#[expect(
    clippy::missing_errors_doc,
    reason = "the trait says it once for all of them"
)]
pub trait Objects: Debug + Send + Sync {
    /// The place of an object, for people: never a secret. The empty name is the prefix itself.
    fn place(&self, name: &str) -> String;

    /// The bytes of an object; `None` where there is none.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// Writes an object unless its name is taken, in one step; whether it was written.
    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<bool>;

    /// Writes an object, or replaces it.
    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Removes an object; no error where there is none.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names of all objects in a folder and below it, sorted as text.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
}

/// An append-only log of numbered objects, `<folder>/<session>-<n>.<extension>`: several sessions
/// write beside each other, and none ever replaces an object.
#[derive(Debug)]
pub struct ObjectLog {
    objects: Arc<dyn Objects>,
    folder: String,
    session: String,
    extension: &'static str,
    next: u64,
}

impl ObjectLog {
    /// The log in a folder, to be written by a session of this name. Writes nothing.
    pub fn new(
        objects: Arc<dyn Objects>,
        folder: impl Into<String>,
        session: impl Into<String>,
        extension: &'static str,
    ) -> Self {
        Self {
            objects,
            folder: folder.into(),
            session: session.into(),
            extension,
            next: 1,
        }
    }

    /// The place of the log, for people.
    pub fn place(&self) -> String {
        self.objects.place(&self.folder)
    }

    /// The name of the object that is written next.
    fn next_name(&self) -> String {
        let (folder, session, next, extension) =
            (&self.folder, &self.session, self.next, self.extension);
        format!("{folder}/{session}-{next:06}.{extension}")
    }

    /// Writes lines as the next object, and gives the object's name. Once it returns they are
    /// durable.
    ///
    /// # Errors
    /// What the store says. The object may be there all the same: the same lines written again
    /// then find it, and take it for theirs.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<String> {
        loop {
            let name = self.next_name();
            let is_ours = self.objects.create(&name, lines)?
                // Our own write, whose answer was lost.
                || self.objects.read(&name)?.as_deref() == Some(lines);
            self.next += 1;
            if is_ours {
                return Ok(name);
            }
        }
    }

    /// Shows every object of the log, of all sessions, in the order of their names.
    ///
    /// # Errors
    /// What the store says, and what `see` fails with.
    pub fn read_all<E: From<io::Error>>(
        &self,
        mut see: impl FnMut(&str, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for name in self.objects.list(&self.folder)? {
            if let Some(bytes) = self.objects.read(&name)? {
                see(&name, &bytes)?;
            }
        }
        Ok(())
    }
}

/// The bytes that may wait in memory to be written.
const MOST_PENDING: usize = 8 << 20;

/// The bytes above which they are written without being asked for.
const MUCH_PENDING: usize = 1 << 20;

/// Lines that wait in memory to become the next objects of a log. Cheap to clone: who appends and
/// who flushes share them.
#[derive(Debug, Clone)]
pub struct PendingLines(Arc<Pending>);

#[derive(Debug)]
struct Pending {
    lines: Mutex<Vec<u8>>,
    /// The log, and what is being written to it: a write whose answer was lost is made again with
    /// the same bytes, so that it is known again.
    writing: Mutex<(ObjectLog, Vec<u8>)>,
    /// Whether a thread writes them without being asked for.
    is_flushing: AtomicBool,
}

impl PendingLines {
    /// No lines for a log.
    pub fn new(log: ObjectLog) -> Self {
        Self(Arc::new(Pending {
            lines: Mutex::default(),
            writing: Mutex::new((log, Vec::new())),
            is_flushing: AtomicBool::new(false),
        }))
    }

    /// Takes a line in; it is durable once a [`flush`](Self::flush) that began later returned.
    ///
    /// # Errors
    /// `StorageFull` where too many wait.
    pub fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() + line.len() > MOST_PENDING {
            let text = "too many lines wait to be written";
            return Err(io::Error::new(io::ErrorKind::StorageFull, text));
        }
        lines.extend_from_slice(line);
        let is_much = lines.len() > MUCH_PENDING;
        drop(lines);
        if is_much && !self.0.is_flushing.swap(true, Ordering::AcqRel) {
            let this = self.clone();
            let flushing = spawn_blocking(move || {
                // What is not written now, a later flush tells of.
                let _ = this.flush();
                this.0.is_flushing.store(false, Ordering::Release);
            });
            if flushing.is_err() {
                self.0.is_flushing.store(false, Ordering::Release);
            }
        }
        Ok(())
    }

    /// Writes what waits, on a thread that may block.
    ///
    /// # Errors
    /// What the store says; nothing is lost then, and a later flush tries again.
    pub fn flush(&self) -> io::Result<()> {
        let mut writing = self
            .0
            .writing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (log, batch) = &mut *writing;
        loop {
            if batch.is_empty() {
                let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::swap(batch, &mut lines);
            }
            if batch.is_empty() {
                return Ok(());
            }
            log.append(batch)?;
            batch.clear();
        }
    }
}

/// Objects in the memory of this process, for tests.
#[derive(Debug, Default)]
pub struct MemoryObjects(Mutex<BTreeMap<String, Vec<u8>>>);

impl MemoryObjects {
    fn all(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Objects for MemoryObjects {
    fn place(&self, name: &str) -> String {
        format!("memory/{name}")
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.all().get(name).cloned())
    }

    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<bool> {
        let mut all = self.all();
        let is_free = !all.contains_key(name);
        if is_free {
            all.insert(name.to_owned(), bytes.to_owned());
        }
        Ok(is_free)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.all().insert(name.to_owned(), bytes.to_owned());
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.all().remove(name);
        Ok(())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let folder = format!("{folder}/");
        let all = self.all();
        let below = all.keys().filter(|name| name.starts_with(&folder));
        Ok(below.cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(objects: &Arc<MemoryObjects>, session: &str) -> ObjectLog {
        let objects: Arc<dyn Objects> = objects.clone();
        ObjectLog::new(objects, "run/log", session, "ndjson")
    }

    fn read(log: &ObjectLog) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let see = |name: &str, bytes: &[u8]| {
            found.push((name.to_owned(), String::from_utf8_lossy(bytes).into_owned()));
            io::Result::Ok(())
        };
        log.read_all(see).unwrap();
        found
    }

    #[test]
    fn sessions_write_beside_each_other_and_none_replaces_an_object() {
        let objects = Arc::default();
        let (mut one, mut other) = (log(&objects, "a"), log(&objects, "b"));
        one.append(b"1\n").unwrap();
        other.append(b"2\n").unwrap();
        one.append(b"3\n").unwrap();
        // A session whose name was there before goes on behind it.
        log(&objects, "a").append(b"4\n").unwrap();
        let found = read(&one);
        let texts: Vec<&str> = found.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["1\n", "3\n", "4\n", "2\n"]);
    }

    #[test]
    fn lines_wait_until_they_are_flushed_and_only_so_many() {
        let objects = Arc::default();
        let pending = PendingLines::new(log(&objects, "a"));
        for line in [b"1\n", b"2\n"] {
            pending.append(line).unwrap();
        }
        assert!(read(&log(&objects, "a")).is_empty());
        pending.flush().unwrap();
        pending.flush().unwrap();
        assert_eq!(read(&log(&objects, "a")).len(), 1);
        // A write is under way, so that none makes room.
        let under_way = pending.0.writing.lock().unwrap();
        pending.append(&vec![b'x'; MOST_PENDING]).unwrap();
        let full = pending.append(b"one more\n").unwrap_err();
        drop(under_way);
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_write_whose_answer_was_lost_is_not_made_twice() {
        let objects = Arc::default();
        log(&objects, "a").append(b"1\n").unwrap();
        log(&objects, "a").append(b"1\n").unwrap();
        assert_eq!(read(&log(&objects, "a")).len(), 1);
    }
}
