//! A disk that crashes: it records what is done to it, and then tells every state that a crash
//! could leave.
//!
//! Whatever was not synced is lost, kept or (bytes) torn, each on its own, in any combination:
//! harsher than any real file system. Bytes are safe once their file is synced; a name (made,
//! renamed, removed) once its folder is.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use crate::file::disk::Disk;

/// One thing done to the disk. Files go by number: names come and go.
#[derive(Clone, Debug)]
enum Step {
    MakeFolder(PathBuf),
    MakeFile(PathBuf, usize),
    Truncate(usize),
    Append(usize, Vec<u8>),
    SyncFile(usize),
    Rename(PathBuf, PathBuf, usize),
    Remove(PathBuf),
    SyncFolder(PathBuf),
    /// The caller was told that what it asked for is done.
    Promise(usize),
}

/// What became of a step that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    Lost,
    /// Torn in the middle.
    Halved,
    /// Torn before its last byte.
    Clipped,
}

/// A sync that the disk leaves out, to show that the simulation would notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Careless {
    Not,
    AboutBytes,
    AboutNames,
}

#[derive(Clone, Debug, Default)]
struct State {
    folders: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, usize>,
    bytes: BTreeMap<usize, Vec<u8>>,
    files_made: usize,
}

#[derive(Debug)]
pub(super) struct CrashDisk {
    careless: Careless,
    inner: Mutex<(State, Vec<Step>)>,
}

impl CrashDisk {
    /// An empty disk with a root folder.
    pub(super) fn new(careless: Careless) -> Self {
        Self::holding(
            State {
                folders: BTreeSet::from([PathBuf::from("/")]),
                ..State::default()
            },
            careless,
        )
    }

    fn holding(state: State, careless: Careless) -> Self {
        Self {
            careless,
            inner: Mutex::new((state, Vec::new())),
        }
    }

    /// Notes that the caller was told of state `n`.
    pub(super) fn promise(&self, n: usize) {
        self.inner.lock().unwrap().1.push(Step::Promise(n));
    }

    /// Shows every disk that a crash could leave, each with the last promise made before it, until
    /// `visit` says to stop.
    pub(super) fn each_crash(&self, mut visit: impl FnMut(usize, CrashDisk) -> bool) {
        let (_, steps) = &*self.inner.lock().unwrap();
        for end in 0..=steps.len() {
            let done = &steps[..end];
            let promised = done.iter().rev().find_map(|step| match step {
                Step::Promise(n) => Some(*n),
                _ => None,
            });
            let open: Vec<usize> = (0..end)
                .filter(|at| !is_safe(&done[*at], &done[at + 1..]))
                .collect();
            let combinations: usize = open.iter().map(|at| fates_of(&done[*at]).len()).product();
            for combination in 0..combinations {
                let state = replay(done, &fates(done, &open, combination));
                let crashed = CrashDisk::holding(state, Careless::Not);
                if !visit(promised.unwrap_or(0), crashed) {
                    return;
                }
            }
        }
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut State, &mut Vec<Step>) -> io::Result<T>,
    ) -> io::Result<T> {
        let (state, steps) = &mut *self.inner.lock().unwrap();
        change(state, steps)
    }

    fn state(&self) -> MutexGuard<'_, (State, Vec<Step>)> {
        self.inner.lock().unwrap()
    }
}

/// Whether a later sync, or its nature, keeps a step from being lost.
fn is_safe(step: &Step, later: &[Step]) -> bool {
    let folder_synced = |name: &Path| {
        let folder = name.parent().unwrap();
        later
            .iter()
            .any(|step| matches!(step, Step::SyncFolder(synced) if synced == folder))
    };
    match step {
        Step::MakeFolder(name)
        | Step::MakeFile(name, _)
        | Step::Remove(name)
        | Step::Rename(_, name, _) => folder_synced(name),
        Step::Truncate(file) | Step::Append(file, _) => later
            .iter()
            .any(|step| matches!(step, Step::SyncFile(synced) if synced == file)),
        Step::SyncFile(_) | Step::SyncFolder(_) | Step::Promise(_) => true,
    }
}

/// What may become of a step that is not safe.
fn fates_of(step: &Step) -> &'static [Fate] {
    match step {
        Step::Append(..) => &[Fate::Kept, Fate::Lost, Fate::Halved, Fate::Clipped],
        _ => &[Fate::Kept, Fate::Lost],
    }
}

/// One of the combinations of fates of the open steps, by its number.
fn fates(steps: &[Step], open: &[usize], mut combination: usize) -> BTreeMap<usize, Fate> {
    let mut fates = BTreeMap::new();
    for at in open {
        let choice = fates_of(&steps[*at]);
        fates.insert(*at, choice[combination % choice.len()]);
        combination /= choice.len();
    }
    fates
}

fn replay(steps: &[Step], fates: &BTreeMap<usize, Fate>) -> State {
    let mut state = State {
        folders: BTreeSet::from([PathBuf::from("/")]),
        ..State::default()
    };
    for (at, step) in steps.iter().enumerate() {
        match fates.get(&at) {
            None | Some(Fate::Kept) => state.apply(step),
            Some(Fate::Lost) => {}
            Some(torn) => {
                if let Step::Append(file, bytes) = step {
                    let left = match torn {
                        Fate::Halved => bytes.len() / 2,
                        _ => bytes.len() - 1,
                    };
                    state.apply(&Step::Append(*file, bytes[..left].to_vec()));
                }
            }
        }
    }
    // What lies in a folder that was lost is lost with it.
    let folders = state.folders.clone();
    let is_reachable = |path: &Path| {
        path.ancestors()
            .skip(1)
            .all(|folder| folders.contains(folder))
    };
    state.folders.retain(|folder| is_reachable(folder));
    state.names.retain(|name, _| is_reachable(name));
    state.files_made = steps.len();
    state
}

impl State {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::MakeFolder(path) => {
                self.folders.insert(path.clone());
            }
            Step::MakeFile(path, file) => {
                self.names.insert(path.clone(), *file);
            }
            Step::Truncate(file) => {
                self.bytes.insert(*file, Vec::new());
            }
            Step::Append(file, bytes) => self.bytes.entry(*file).or_default().extend(bytes),
            Step::Rename(from, to, file) => {
                self.names.remove(from);
                self.names.insert(to.clone(), *file);
            }
            Step::Remove(path) => {
                self.names.remove(path);
            }
            Step::SyncFile(_) | Step::SyncFolder(_) | Step::Promise(_) => {}
        }
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        self.names
            .get(path)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn check_folder(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap();
        if self.folders.contains(folder) {
            Ok(())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

/// Does a step and records it.
fn step(state: &mut State, steps: &mut Vec<Step>, step: Step) {
    state.apply(&step);
    steps.push(step);
}

impl CrashDisk {
    fn open(&self, path: &Path) -> io::Result<usize> {
        self.change(|state, steps| {
            if let Ok(file) = state.file(path) {
                return Ok(file);
            }
            state.check_folder(path)?;
            state.files_made += 1;
            let file = state.files_made;
            step(state, steps, Step::MakeFile(path.to_owned(), file));
            Ok(file)
        })
    }

    fn sync_file(&self, file: usize) {
        if self.careless != Careless::AboutBytes {
            self.state().1.push(Step::SyncFile(file));
        }
    }
}

impl Disk for CrashDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let (state, _) = &*self.state();
        let file = state.file(path)?;
        Ok(state.bytes.get(&file).cloned().unwrap_or_default())
    }

    fn is_dir(&self, path: &Path) -> io::Result<bool> {
        Ok(self.state().0.folders.contains(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.change(|state, steps| {
            state.check_folder(path)?;
            if !state.folders.contains(path) {
                step(state, steps, Step::MakeFolder(path.to_owned()));
            }
            Ok(())
        })
    }

    fn write_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = self.open(path)?;
        self.change(|state, steps| {
            step(state, steps, Step::Truncate(file));
            step(state, steps, Step::Append(file, bytes.to_vec()));
            Ok(())
        })?;
        self.sync_file(file);
        Ok(())
    }

    fn append_line(&self, path: &Path, line: &str, sync: bool) -> io::Result<u64> {
        let file = self.open(path)?;
        let length = self.change(|state, steps| {
            let before = state.bytes.get(&file).map_or(&[][..], Vec::as_slice);
            let start = if before.last().is_none_or(|byte| *byte == b'\n') {
                ""
            } else {
                "\n"
            };
            let bytes = format!("{start}{line}\n").into_bytes();
            step(state, steps, Step::Append(file, bytes));
            Ok(state.bytes[&file].len() as u64)
        })?;
        if sync {
            self.sync_file(file);
        }
        Ok(length)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|state, steps| {
            let file = state.file(from)?;
            step(
                state,
                steps,
                Step::Rename(from.to_owned(), to.to_owned(), file),
            );
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(|state, steps| {
            state.file(path)?;
            step(state, steps, Step::Remove(path.to_owned()));
            Ok(())
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if self.careless != Careless::AboutNames {
            self.state().1.push(Step::SyncFolder(path.to_owned()));
        }
        Ok(())
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        self.state().0.check_folder(path)?;
        Ok(Some(Box::new(())))
    }
}
