//! Runs under a prefix of a bucket.
//!
//! Lines of the audit, and of the list of what the gate quarantined, wait in memory until they are
//! flushed: at the beginning and the end of a run, and every ten seconds. What waits is bounded.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use durable::{ObjectLog, Objects, PendingLines};
use envelope::PlatformRunId;
use model::{Shard, SharedRandom};
use replay::{BookPlace, GateBook, GateQuarantineTerms, Quarantine, QuarantineObjects};

use super::active_run::ACTIVE_RUN_FILE as ACTIVE_RUN;
use super::{AuditLines, RunPlaces};

/// Runs as objects.
#[derive(Debug)]
pub(super) struct RunObjects {
    objects: Arc<dyn Objects>,
    shard: Shard,
    /// The lists that wait to be flushed, beside the audit.
    lists: Mutex<Vec<PendingLines>>,
}

impl RunObjects {
    pub(super) fn new(objects: Arc<dyn Objects>, shard: Shard) -> Self {
        Self {
            objects,
            shard,
            lists: Mutex::default(),
        }
    }

    /// The folder of the shard's own records in a run.
    fn own(&self, run: &PlatformRunId) -> String {
        format!("{run}/{}", self.shard.folder())
    }

    fn verdict(&self, run: &PlatformRunId) -> String {
        format!("{}/gate_verdict.json", self.own(run))
    }

    fn lines(&self, folder: String, session: &str, extension: &'static str) -> PendingLines {
        let objects = Arc::clone(&self.objects);
        PendingLines::new(ObjectLog::new(objects, folder, session, extension))
    }
}

impl AuditLines for PendingLines {
    fn append(&self, line: &[u8], _sync: bool) -> io::Result<()> {
        Self::append(self, line)
    }

    fn flush(&self) -> io::Result<()> {
        Self::flush(self)
    }

    fn another(&self) -> io::Result<Box<dyn AuditLines>> {
        Ok(Box::new(self.clone()))
    }
}

impl RunPlaces for RunObjects {
    fn active_run_place(&self) -> String {
        self.objects.place(ACTIVE_RUN)
    }

    fn active_run(&self) -> io::Result<Option<String>> {
        let found = self.objects.read(ACTIVE_RUN)?;
        Ok(found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn claim_active_run(&self, run: &PlatformRunId, _random: &SharedRandom) -> io::Result<bool> {
        let text = format!("{run}\n");
        if self.objects.create(ACTIVE_RUN, text.as_bytes())? {
            // A store that ignores the condition of a put would give two producers two runs.
            if self.objects.create(ACTIVE_RUN, text.as_bytes())? {
                let text = "the object store ignores the condition of a conditional put";
                return Err(io::Error::other(text));
            }
            return Ok(true);
        }
        // Another's, or our own write, whose answer was lost.
        let found = self.objects.read(ACTIVE_RUN)?.unwrap_or_default();
        Ok(found.trim_ascii() == run.as_str().as_bytes())
    }

    fn audit_place(&self, run: &PlatformRunId) -> String {
        self.objects.place(&format!("{}/audit", self.own(run)))
    }

    fn open_audit(&self, run: &PlatformRunId, session: &str) -> io::Result<Box<dyn AuditLines>> {
        // Nothing is written before there is a line; a bucket that cannot be read says so here.
        let folder = format!("{}/audit", self.own(run));
        self.objects.list(&folder)?;
        Ok(Box::new(self.lines(folder, session, "jsonl")))
    }

    fn open_quarantine(
        &self,
        run: &PlatformRunId,
        session: &str,
    ) -> Result<Box<dyn Quarantine>, replay::Error> {
        let objects = Arc::clone(&self.objects);
        let quarantine = QuarantineObjects::open(objects, &self.own(run), session)?;
        Ok(Box::new(quarantine))
    }

    fn open_gate_book(
        &self,
        terms: GateQuarantineTerms,
        run: &PlatformRunId,
        session: &str,
    ) -> Result<GateBook, replay::Error> {
        let list = format!("{}/gate_quarantined", self.own(run));
        let lines = self.lines(list.clone(), session, "ndjson");
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.push(lines.clone());
        let book = ObjectBook {
            objects: Arc::clone(&self.objects),
            list,
            verdict: self.verdict(run),
            lines,
        };
        GateBook::open_in(terms, Box::new(book))
    }

    fn clear_verdict(&self, run: &PlatformRunId) -> Result<(), replay::Error> {
        let name = self.verdict(run);
        let removed = self.objects.remove(&name);
        removed.map_err(|error| replay::verdict_stays(&self.objects.place(&name), error))
    }

    fn shards(&self, run: &PlatformRunId) -> io::Result<Vec<Shard>> {
        let folder = format!("{run}/wsp");
        let names = self.objects.list(&folder)?;
        let below = names.iter().filter_map(|name| {
            let rest = name.strip_prefix(&folder)?.strip_prefix('/')?;
            Shard::of_folder(rest.split('/').next()?)
        });
        let mut shards: Vec<Shard> = below.collect();
        shards.sort_unstable_by_key(|shard| (shard.count(), shard.index()));
        shards.dedup();
        Ok(shards)
    }

    fn keep_report(&self, run: &PlatformRunId, session: &str, report: &[u8]) -> io::Result<()> {
        let folder = self.own(run);
        self.objects
            .create(&format!("{folder}/reports/{session}.json"), report)?;
        self.objects
            .put(&format!("{folder}/wsp_summary.json"), report)
    }

    fn flush_lists(&self) -> io::Result<()> {
        let lists = self
            .lists
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        lists.iter().try_for_each(PendingLines::flush)
    }
}

/// What the gate quarantined, in objects of a run.
#[derive(Debug)]
struct ObjectBook {
    objects: Arc<dyn Objects>,
    list: String,
    verdict: String,
    lines: PendingLines,
}

impl BookPlace for ObjectBook {
    fn list_place(&self) -> String {
        self.objects.place(&self.list)
    }

    fn verdict_place(&self) -> String {
        self.objects.place(&self.verdict)
    }

    fn read_list(&self) -> io::Result<Option<Vec<u8>>> {
        let mut all = Vec::new();
        for name in self.objects.list(&self.list)? {
            all.extend(self.objects.read(&name)?.unwrap_or_default());
        }
        Ok(Some(all))
    }

    fn read_verdict(&self) -> io::Result<Option<Vec<u8>>> {
        self.objects.read(&self.verdict)
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        self.lines.append(line)
    }

    fn keep_verdict(&self, verdict: &[u8]) -> io::Result<()> {
        self.objects.put(&self.verdict, verdict)
    }

    fn remove_verdict(&self) -> io::Result<()> {
        self.objects.remove(&self.verdict)
    }
}
