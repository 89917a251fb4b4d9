//! Runs under a folder of this machine.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use durable::{Access, Disk, Home, OsDisk, RunLog, create_once, make_folders, replace};
use envelope::PlatformRunId;
use model::{Shard, SharedRandom};
use replay::{
    GateBook, GateQuarantineTerms, Quarantine, QuarantineFile, clear_verdict, quarantine_in,
};

use super::active_run::{active_run_file, active_run_in, claim, claim_by};
use super::{AuditLines, RunPlaces};

/// Runs as folders.
#[derive(Debug)]
pub(super) struct RunFolders {
    root: PathBuf,
    shard: Shard,
    /// Whether a root that is deleted in mid-run is made again.
    is_made_again: bool,
}

impl RunFolders {
    pub(super) fn new(root: PathBuf, shard: Shard, is_made_again: bool) -> Self {
        Self {
            root,
            shard,
            is_made_again,
        }
    }

    fn own(&self, run: &PlatformRunId) -> PathBuf {
        own_folder(&self.root, run, self.shard)
    }

    /// The home of the root, if that may be made again.
    fn home(&self) -> io::Result<Option<Home>> {
        if self.is_made_again {
            Home::of(&self.root)
        } else {
            Ok(None)
        }
    }
}

/// The lines of a file that other programs append to without a lock.
#[derive(Debug, Clone)]
struct FileLines(Arc<OpenFile>);

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    log: Mutex<RunLog>,
    again: Option<Again>,
    times_remade: AtomicU64,
}

/// What is made again with a runs root that was deleted.
#[derive(Debug)]
struct Again {
    home: Home,
    /// The run, where it was the active one, and the name that its file has before it is whole.
    active: Option<(PlatformRunId, PathBuf)>,
}

/// Opens, or starts, the lines of a file.
///
/// # Errors
/// What the file system says.
#[cfg(test)]
pub(crate) fn open_lines(disk: Arc<dyn Disk>, path: &Path) -> io::Result<Box<dyn AuditLines>> {
    Ok(Box::new(FileLines::new(disk, path)?))
}

fn open_log(disk: Arc<dyn Disk>, path: &Path) -> io::Result<RunLog> {
    let log = RunLog::open(disk, path.to_owned(), Access::Default)?;
    // Others append to the file without its lock, so nothing of it is cut off.
    log.end_torn_line()?;
    Ok(log)
}

impl FileLines {
    fn new(disk: Arc<dyn Disk>, path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(OpenFile {
            path: path.to_owned(),
            log: Mutex::new(open_log(disk, path)?),
            again: None,
            times_remade: AtomicU64::new(0),
        })))
    }

    fn made_again_with(self, again: Option<Again>) -> Self {
        match Arc::try_unwrap(self.0) {
            Ok(file) => Self(Arc::new(OpenFile { again, ..file })),
            Err(shared) => Self(shared),
        }
    }
}

impl AuditLines for FileLines {
    fn append(&self, line: &[u8], sync: bool) -> io::Result<()> {
        let OpenFile {
            path, log, again, ..
        } = &*self.0;
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        match (log.append_shared(line, sync), again) {
            (Err(error), Some(again))
                if error.kind() == io::ErrorKind::NotFound && again.home.may_be_made_again() =>
            {
                *log = open_log(Arc::new(OsDisk), path)?;
                if let Some((run, staging)) = &again.active {
                    claim_by(&OsDisk, again.home.folder(), run, staging)?;
                }
                log.append_shared(line, sync)?;
                self.0.times_remade.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(path = %path.display(), "the runs root was deleted; it was made again");
                Ok(())
            }
            (appended, _) => appended,
        }
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn times_remade(&self) -> u64 {
        self.0.times_remade.load(Ordering::Relaxed)
    }

    fn another(&self) -> io::Result<Box<dyn AuditLines>> {
        Ok(Box::new(self.clone()))
    }
}

impl RunPlaces for RunFolders {
    fn active_run_place(&self) -> String {
        active_run_file(&self.root).display().to_string()
    }

    fn active_run(&self) -> io::Result<Option<String>> {
        active_run_in(&self.root)
    }

    fn claim_active_run(&self, run: &PlatformRunId, random: &SharedRandom) -> io::Result<bool> {
        claim(&self.root, run, random)
    }

    fn audit_place(&self, run: &PlatformRunId) -> String {
        log_of_run(&self.root, run, self.shard)
            .display()
            .to_string()
    }

    fn open_audit(&self, run: &PlatformRunId, session: &str) -> io::Result<Box<dyn AuditLines>> {
        let lines = FileLines::new(Arc::new(OsDisk), &log_of_run(&self.root, run, self.shard))?;
        let active = active_run_in(&self.root)?;
        let is_active = active.is_some_and(|text| text.trim() == run.as_str());
        let staging = active_run_file(&self.root).with_extension(session);
        let again = self.home()?.map(|home| Again {
            home,
            active: is_active.then(|| (run.clone(), staging)),
        });
        Ok(Box::new(lines.made_again_with(again)))
    }

    fn open_quarantine(
        &self,
        run: &PlatformRunId,
        _session: &str,
    ) -> Result<Box<dyn Quarantine>, replay::Error> {
        let file = QuarantineFile::open(quarantine_in(&self.own(run)))?;
        Ok(Box::new(
            file.made_again_with(self.home().unwrap_or_default()),
        ))
    }

    fn open_gate_book(
        &self,
        terms: GateQuarantineTerms,
        run: &PlatformRunId,
        _session: &str,
    ) -> Result<GateBook, replay::Error> {
        GateBook::open(terms, &self.own(run))
    }

    fn clear_verdict(&self, run: &PlatformRunId) -> Result<(), replay::Error> {
        clear_verdict(&self.own(run))
    }

    fn shards(&self, run: &PlatformRunId) -> io::Result<Vec<Shard>> {
        let folder = own_folder(&self.root, run, Shard::WHOLE);
        let listed = match std::fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed?,
        };
        let mut shards = Vec::new();
        for entry in listed {
            let name = entry?.file_name();
            shards.extend(name.to_str().and_then(Shard::of_folder));
        }
        shards.sort_unstable_by_key(|shard| (shard.count(), shard.index()));
        Ok(shards)
    }

    fn keep_report(&self, run: &PlatformRunId, session: &str, report: &[u8]) -> io::Result<()> {
        keep_report(&OsDisk, &self.root, (run, self.shard), session, report)
    }

    fn flush_lists(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The folder of a shard's own records in a platform run.
pub(crate) fn own_folder(runs_root: &Path, run: &PlatformRunId, shard: Shard) -> PathBuf {
    runs_root.join(run.as_str()).join(shard.folder())
}

/// The log of a platform run, which the platform's other components share; of one of several
/// shards, its own.
pub(crate) fn log_of_run(runs_root: &Path, run: &PlatformRunId, shard: Shard) -> PathBuf {
    let folder = if shard.is_whole() {
        runs_root.join(run.as_str())
    } else {
        own_folder(runs_root, run, shard)
    };
    folder.join("session.jsonl")
}

/// The folder of a shard's reports in a run, and the latest of them.
pub(crate) fn reports_of_run(runs_root: &Path, run: &PlatformRunId, shard: Shard) -> [PathBuf; 2] {
    let folder = own_folder(runs_root, run, shard);
    [folder.join("reports"), folder.join("wsp_summary.json")]
}

/// Whole or not at all, whatever crash comes; the latest one last.
fn keep_report(
    disk: &dyn Disk,
    runs_root: &Path,
    (run, shard): (&PlatformRunId, Shard),
    session: &str,
    report: &[u8],
) -> io::Result<()> {
    let [reports, summary] = reports_of_run(runs_root, run, shard);
    if !disk.is_dir(&runs_root.join(run.as_str()))? {
        // The audit made it: whoever deleted it since does not want it.
        let text = "the folder of the run was deleted";
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    make_folders(disk, &reports, 3)?;
    let staging = reports.join(format!(".{session}.new"));
    let own = reports.join(format!("{session}.json"));
    create_once(disk, &own, report, &staging)?;
    replace(disk, &summary, report)
}

#[cfg(test)]
mod tests {
    use durable::simulated::{Careless, CrashDisk};

    use super::*;

    const SESSION: &str = "20260101T000000Z-0123456789abcdef";

    /// The first crash after which a report is torn, or not there though it was promised.
    fn fault(careless: Careless) -> Option<String> {
        let run: PlatformRunId = "platform_20260101T000000Z".parse().unwrap();
        let (root, disk) = (Path::new("/platform/runs"), CrashDisk::new(careless));
        make_folders(&disk, &root.join(run.as_str()), 0).unwrap();
        keep_report(&disk, root, (&run, Shard::WHOLE), SESSION, b"{\"run\":1}\n").unwrap();
        disk.promise(1);
        let [reports, summary] = reports_of_run(root, &run, Shard::WHOLE);
        let own = reports.join(format!("{SESSION}.json"));
        let (mut count, mut fault) = (0, None);
        disk.each_crash(|promised, crashed| {
            count += 1;
            for path in [&own, &summary] {
                let is_right = match crashed.read(path) {
                    Ok(bytes) => bytes == b"{\"run\":1}\n",
                    Err(_) => promised == 0,
                };
                if !is_right {
                    fault = Some(format!("crash {count}: {}", path.display()));
                }
            }
            fault.is_none()
        });
        fault
    }

    #[test]
    fn every_crash_leaves_a_report_whole_or_absent() {
        assert_eq!(fault(Careless::Not), None);
        for careless in [Careless::AboutBytes, Careless::AboutNames] {
            assert!(fault(careless).is_some(), "{careless:?} would be found out");
        }
    }
}
