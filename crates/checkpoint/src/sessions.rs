//! Which lease sessions live: one OS lock a session, in a folder beside the data.
//!
//! | the session's lock file | says of the session |
//! |---|---|
//! | locked | it lives |
//! | there, not locked | it has ended without giving its leases back |
//! | not there | nothing: a cleaner of old files may have removed it from a living session |
//!
//! So a session that ends leaves its file behind, unless no stored lease names it. A living
//! session touches its file at each renewal, and makes it anew where it is gone. Files of sessions
//! that have long ended are removed when another session starts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use durable::OsLock;

use crate::lease::SessionId;
use crate::slots::Life;

/// How long the file of a session that has ended says so. Afterwards its leases are over after
/// one period.
const KEPT: Duration = Duration::from_hours(7 * 24);

/// The folder of the session locks.
#[derive(Debug)]
pub(crate) struct Sessions {
    folder: PathBuf,
}

impl Sessions {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, session: &SessionId) -> PathBuf {
        self.folder.join(format!("{}.lock", session.0))
    }

    /// Locks a new session. Do it before its id is written anywhere: from then on it is alive.
    /// `now` is the wall time, by which the files of sessions that have long ended are removed.
    pub(crate) fn start(&self, session: &SessionId, now: SystemTime) -> io::Result<SessionLock> {
        std::fs::create_dir_all(&self.folder)?;
        if let Err(error) = self.sweep(now) {
            tracing::debug!(%error, "locks of sessions that have ended were not removed");
        }
        let path = self.path(session);
        let lock = OsLock::try_take(&path)?.ok_or(io::ErrorKind::AlreadyExists)?;
        Ok(SessionLock {
            path,
            lock: Mutex::new(lock),
            is_named: AtomicBool::new(false),
        })
    }

    /// What is known of a session.
    pub(crate) fn life(&self, session: &SessionId) -> io::Result<Life> {
        Ok(match OsLock::is_held(&self.path(session))? {
            Some(true) => Life::Living,
            Some(false) => Life::Ended,
            None => Life::Unknown,
        })
    }

    /// Removes the files of sessions that have long ended.
    fn sweep(&self, now: SystemTime) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let path = entry.path();
            let is_lock = path
                .extension()
                .is_some_and(|extension| extension == "lock");
            let age = now.duration_since(entry.metadata()?.modified()?);
            if is_lock && age.is_ok_and(|age| age > KEPT) && OsLock::is_held(&path)? == Some(false)
            {
                std::fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

/// The OS lock of a living session.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "sqlite"),
    allow(
        unreachable_pub,
        reason = "SQLite's store shows it as the proof of a session"
    )
)]
pub struct SessionLock {
    path: PathBuf,
    lock: Mutex<OsLock>,
    /// Whether a stored lease may name the session.
    is_named: AtomicBool,
}

impl SessionLock {
    /// Shows that the session lives: to a cleaner of old files by the file's times, and to other
    /// producers by a new file if it was removed after all. Without one they see its renewals.
    pub(crate) fn keep(&self) {
        if let Err(error) = self.try_keep() {
            let path = self.path.display();
            tracing::warn!(%path, %error, "the lock file of this session cannot be kept");
        }
    }

    fn try_keep(&self) -> io::Result<()> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_at(&self.path)? {
            return lock.touch();
        }
        if let Some(folder) = self.path.parent() {
            // Not what is above it: that is the store, which is gone if it is not there.
            match std::fs::create_dir(folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        // Another that looks just then holds it for a moment; the next renewal tries again.
        *lock = OsLock::try_take(&self.path)?.ok_or(io::ErrorKind::WouldBlock)?;
        Ok(())
    }

    /// Notes whether a stored lease may name the session, so that its end must be seen.
    pub(crate) fn set_named(&self, is_named: bool) {
        self.is_named.store(is_named, Ordering::Relaxed);
    }
}

impl Drop for SessionLock {
    fn drop(&mut self) {
        if !self.is_named.load(Ordering::Relaxed) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};

    use super::*;
    use crate::observer::Observer;

    const DAY: Duration = Duration::from_hours(24);

    fn set_age(path: &Path, age: Duration) {
        let then = SystemTime::now() - age;
        let times = FileTimes::new().set_accessed(then).set_modified(then);
        File::options()
            .write(true)
            .open(path)
            .and_then(|file| file.set_times(times))
            .unwrap();
    }

    fn is_fresh(path: &Path) -> bool {
        let file = path.metadata().unwrap();
        let is_fresh = |time: SystemTime| time.elapsed().unwrap_or_default() < DAY;
        is_fresh(file.modified().unwrap()) && is_fresh(file.accessed().unwrap())
    }

    struct Scene {
        _root: tempfile::TempDir,
        sessions: Sessions,
        session: SessionId,
    }

    fn new_session() -> SessionId {
        Observer::default().new_session()
    }

    fn scene() -> Scene {
        let root = tempfile::tempdir().unwrap();
        Scene {
            sessions: Sessions::new(root.path().join("sessions")),
            _root: root,
            session: new_session(),
        }
    }

    #[test]
    fn a_living_session_keeps_its_file_from_growing_old() {
        let scene = scene();
        let lock = scene
            .sessions
            .start(&scene.session, SystemTime::now())
            .unwrap();
        set_age(&lock.path, 30 * DAY);
        lock.try_keep().unwrap();
        assert!(is_fresh(&lock.path));
    }

    #[test]
    fn a_living_session_makes_its_file_anew_once_a_cleaner_took_it() {
        let scene = scene();
        let lock = scene
            .sessions
            .start(&scene.session, SystemTime::now())
            .unwrap();
        for _ in 0..2 {
            std::fs::remove_dir_all(scene.sessions.folder()).unwrap();
            assert_eq!(scene.sessions.life(&scene.session).unwrap(), Life::Unknown);
            lock.try_keep().unwrap();
            assert_eq!(scene.sessions.life(&scene.session).unwrap(), Life::Living);
        }
        // A file of the same name that another made is not the one that is locked.
        std::fs::remove_file(&lock.path).unwrap();
        File::create(&lock.path).unwrap();
        lock.try_keep().unwrap();
        assert_eq!(scene.sessions.life(&scene.session).unwrap(), Life::Living);
    }

    #[test]
    fn the_end_of_a_session_is_seen_for_a_week_unless_no_lease_names_it() {
        let scene = scene();
        let lock = scene
            .sessions
            .start(&scene.session, SystemTime::now())
            .unwrap();
        let path = lock.path.clone();
        lock.set_named(true);
        drop(lock);
        for (age, expected) in [(6, Life::Ended), (8, Life::Unknown)] {
            set_age(&path, age * DAY);
            // The next session removes what is old, and what it leaves itself is nothing.
            drop(
                scene
                    .sessions
                    .start(&new_session(), SystemTime::now())
                    .unwrap(),
            );
            assert_eq!(scene.sessions.life(&scene.session).unwrap(), expected);
        }
        let left = std::fs::read_dir(scene.sessions.folder()).unwrap();
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn a_living_session_that_was_not_renewed_for_long_is_not_swept_away() {
        let scene = scene();
        let lock = scene
            .sessions
            .start(&scene.session, SystemTime::now())
            .unwrap();
        set_age(&lock.path, 30 * DAY);
        drop(
            scene
                .sessions
                .start(&new_session(), SystemTime::now())
                .unwrap(),
        );
        assert_eq!(scene.sessions.life(&scene.session).unwrap(), Life::Living);
    }
}
