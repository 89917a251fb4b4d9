//! A disk that crashes: it records what is done to it, and then tells every state that a crash
//! could leave.
//!
//! Whatever was not synced is lost, kept or (bytes) torn, each on its own, in any combination:
//! harsher than any real file system. Bytes are safe once their file is synced; a name (made,
//! renamed, removed) once its folder is.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::disk::{Access, Disk, DiskFile};

/// One thing done to the disk. Files go by number: names come and go.
#[derive(Clone, Debug)]
enum Step {
    MakeFolder(PathBuf),
    MakeFile(PathBuf, usize),
    Truncate(usize, u64),
    Append(usize, Vec<u8>),
    SyncFile(usize),
    Rename(PathBuf, PathBuf, usize),
    Link(PathBuf, usize),
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
pub enum Careless {
    /// It syncs what it is asked to.
    Not,
    /// It syncs no file.
    AboutBytes,
    /// It syncs no folder.
    AboutNames,
}

#[derive(Clone, Debug, Default)]
struct State {
    folders: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, usize>,
    bytes: BTreeMap<usize, Vec<u8>>,
    files_made: usize,
}

/// What was done to a disk, from the state that it began with.
#[derive(Debug)]
struct Log {
    began: State,
    state: State,
    steps: Vec<Step>,
}

/// A disk in memory that records what is done to it, and tells every state that a crash could
/// leave. Its locks are always free.
#[derive(Debug)]
pub struct CrashDisk {
    careless: Careless,
    log: Arc<Mutex<Log>>,
}

impl CrashDisk {
    /// An empty disk with a root folder.
    pub fn new(careless: Careless) -> Self {
        Self::holding(
            State {
                folders: BTreeSet::from([PathBuf::from("/")]),
                ..State::default()
            },
            careless,
        )
    }

    fn holding(state: State, careless: Careless) -> Self {
        let log = Log {
            began: state.clone(),
            state,
            steps: Vec::new(),
        };
        Self {
            careless,
            log: Arc::new(Mutex::new(log)),
        }
    }

    /// Notes that the caller was told of state `n`.
    pub fn promise(&self, n: usize) {
        self.log().steps.push(Step::Promise(n));
    }

    /// Makes all that was done so far durable.
    pub fn settle(&self) {
        let mut log = self.log();
        log.began = log.state.clone();
        log.steps.clear();
    }

    /// Shows every disk that a crash could leave, each with the last promise made before it, until
    /// `visit` says to stop.
    pub fn each_crash(&self, mut visit: impl FnMut(usize, CrashDisk) -> bool) {
        let log = self.log();
        let steps = &log.steps;
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
                let state = replay(&log.began, done, &fates(done, &open, combination));
                let crashed = CrashDisk::holding(state, Careless::Not);
                if !visit(promised.unwrap_or(0), crashed) {
                    return;
                }
            }
        }
    }

    /// The disk that a crash now leaves, where `choose` decides what becomes of each step that is not
    /// safe: it gets the number of fates, and gives one of `0..fates`. 0 is kept, 1 is lost, more is
    /// torn.
    #[must_use]
    pub fn crashed(&self, mut choose: impl FnMut(usize) -> usize) -> CrashDisk {
        let log = self.log();
        let mut fates = BTreeMap::new();
        for (at, step) in unsafe_steps(&log.steps) {
            let possible = fates_of(step);
            fates.insert(at, possible[choose(possible.len()) % possible.len()]);
        }
        let state = replay(&log.began, &log.steps, &fates);
        CrashDisk::holding(state, self.careless)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }
}

/// The steps that no later sync makes safe, each with its number, in their order.
fn unsafe_steps(steps: &[Step]) -> Vec<(usize, &Step)> {
    let (mut files, mut folders) = (BTreeSet::new(), BTreeSet::new());
    let mut found = Vec::new();
    for (at, step) in steps.iter().enumerate().rev() {
        match step {
            Step::SyncFile(file) => {
                files.insert(*file);
            }
            Step::SyncFolder(folder) => {
                folders.insert(folder.as_path());
            }
            Step::Promise(_) => {}
            Step::Truncate(file, _) | Step::Append(file, _) => {
                if !files.contains(file) {
                    found.push((at, step));
                }
            }
            Step::MakeFolder(name)
            | Step::MakeFile(name, _)
            | Step::Remove(name)
            | Step::Link(name, _)
            | Step::Rename(_, name, _) => {
                if name.parent().is_none_or(|folder| !folders.contains(folder)) {
                    found.push((at, step));
                }
            }
        }
    }
    found.reverse();
    found
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
        | Step::Link(name, _)
        | Step::Rename(_, name, _) => folder_synced(name),
        Step::Truncate(file, _) | Step::Append(file, _) => later
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

fn replay(began: &State, steps: &[Step], fates: &BTreeMap<usize, Fate>) -> State {
    let mut state = began.clone();
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
    state.files_made += steps.len();
    state
}

impl State {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::MakeFolder(path) => {
                self.folders.insert(path.clone());
            }
            Step::MakeFile(path, file) | Step::Link(path, file) => {
                self.names.insert(path.clone(), *file);
            }
            Step::Truncate(file, length) => {
                let length = usize::try_from(*length).unwrap();
                self.bytes.entry(*file).or_default().truncate(length);
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

impl Log {
    /// Does a step and records it.
    fn step(&mut self, step: Step) {
        self.state.apply(&step);
        self.steps.push(step);
    }

    /// The file of that name, which is made if there is none.
    fn open(&mut self, path: &Path) -> io::Result<usize> {
        if let Ok(file) = self.state.file(path) {
            return Ok(file);
        }
        self.state.check_folder(path)?;
        self.state.files_made += 1;
        let file = self.state.files_made;
        self.step(Step::MakeFile(path.to_owned(), file));
        Ok(file)
    }

    fn bytes(&self, file: usize) -> &[u8] {
        self.state.bytes.get(&file).map_or(&[], Vec::as_slice)
    }

    fn write(&mut self, file: usize, bytes: &[u8]) {
        self.step(Step::Truncate(file, 0));
        self.step(Step::Append(file, bytes.to_vec()));
    }

    fn sync(&mut self, file: usize, careless: Careless) {
        if careless != Careless::AboutBytes {
            self.steps.push(Step::SyncFile(file));
        }
    }
}

impl CrashDisk {
    fn handle(&self, file: usize) -> Box<dyn DiskFile> {
        Box::new(CrashFile {
            file,
            careless: self.careless,
            log: Arc::clone(&self.log),
        })
    }
}

impl Disk for CrashDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let log = self.log();
        let file = log.state.file(path)?;
        Ok(log.bytes(file).to_vec())
    }

    fn is_dir(&self, path: &Path) -> io::Result<bool> {
        Ok(self.log().state.folders.contains(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut log = self.log();
        log.state.check_folder(path)?;
        if !log.state.folders.contains(path) {
            log.step(Step::MakeFolder(path.to_owned()));
        }
        Ok(())
    }

    fn write_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut log = self.log();
        let file = log.open(path)?;
        log.write(file, bytes);
        log.sync(file, self.careless);
        Ok(())
    }

    fn create_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if self.log().state.file(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.write_synced(path, bytes)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.log().state.file(path)?;
        Ok(self.handle(file))
    }

    fn open_to_append(&self, path: &Path, _access: Access) -> io::Result<Box<dyn DiskFile>> {
        let file = self.log().open(path)?;
        Ok(self.handle(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut log = self.log();
        let file = log.state.file(from)?;
        log.step(Step::Rename(from.to_owned(), to.to_owned(), file));
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut log = self.log();
        let file = log.state.file(from)?;
        log.state.check_folder(to)?;
        if log.state.file(to).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        log.step(Step::Link(to.to_owned(), file));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut log = self.log();
        log.state.file(path)?;
        log.step(Step::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut log = self.log();
        if !log.state.folders.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if self.careless != Careless::AboutNames {
            log.steps.push(Step::SyncFolder(path.to_owned()));
        }
        Ok(())
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        self.log().state.check_folder(path)?;
        Ok(Some(Box::new(())))
    }
}

/// An open file of a [`CrashDisk`].
#[derive(Debug)]
struct CrashFile {
    file: usize,
    careless: Careless,
    log: Arc<Mutex<Log>>,
}

impl CrashFile {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }
}

impl DiskFile for CrashFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.log().bytes(self.file).len() as u64)
    }

    fn read_from(&self, start: u64) -> io::Result<Box<dyn Read + '_>> {
        let mut bytes = self.log().bytes(self.file).to_vec();
        let start = usize::try_from(start).unwrap().min(bytes.len());
        bytes.drain(..start);
        Ok(Box::new(io::Cursor::new(bytes)))
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        if !bytes.is_empty() {
            self.log().step(Step::Append(self.file, bytes.to_vec()));
        }
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.log().step(Step::Truncate(self.file, length));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.log().sync(self.file, self.careless);
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn unlock(&self) -> io::Result<()> {
        Ok(())
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        Ok(self
            .log()
            .state
            .file(path)
            .is_ok_and(|file| file == self.file))
    }

    fn is_deleted(&self) -> io::Result<bool> {
        Ok(!self
            .log()
            .state
            .names
            .values()
            .any(|file| *file == self.file))
    }

    fn is_regular(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn another(&self) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Self {
            file: self.file,
            careless: self.careless,
            log: Arc::clone(&self.log),
        }))
    }
}
