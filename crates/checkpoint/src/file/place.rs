//! The folder of one key: what its files are called, and how they are read.

use std::io;
use std::path::{Path, PathBuf};

use durable::{Disk, create_once, replace};
use model::json_strictly;
use serde::{Deserialize, Serialize};

use crate::error::{Error, corrupt};
use crate::key::CursorKey;
use crate::layout::folder_name;
use crate::lease::LeaseRecord;
use crate::path_fault;
use crate::record::{check_key, json};
use crate::slots::StoredRecord;

/// Bytes of `cursor.jsonl` before it becomes `cursor.jsonl.1`.
const HISTORY_BYTES: u64 = 1 << 20;

/// The lease of a key, as `lease.json`.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct LeaseFile {
    lease: LeaseRecord,
    output_id: String,
    pack_key: String,
}

/// The folder of one key.
pub(super) struct Place<'a> {
    pub(super) key: &'a CursorKey,
    pub(super) folder: PathBuf,
}

impl<'a> Place<'a> {
    pub(super) fn new(root: &Path, key: &'a CursorKey) -> Self {
        let folder = root.join(key.pack_key().as_str()).join(folder_name(key));
        Self { key, folder }
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.folder.join("cursor.lock")
    }

    fn cursor(&self) -> PathBuf {
        self.folder.join("cursor.json")
    }

    fn lease_file(&self) -> PathBuf {
        self.folder.join("lease.json")
    }

    fn history_file(&self) -> PathBuf {
        self.folder.join("cursor.jsonl")
    }

    /// Every file that is written here.
    pub(super) fn files(&self) -> [PathBuf; 7] {
        let temporary = |path: PathBuf| path.with_extension("json.tmp");
        [
            self.lock(),
            self.cursor(),
            temporary(self.cursor()),
            self.lease_file(),
            temporary(self.lease_file()),
            self.history_file(),
            self.older_history_file(),
        ]
    }

    fn older_history_file(&self) -> PathBuf {
        self.folder.join("cursor.jsonl.1")
    }

    /// The record, if there is one.
    pub(super) fn record(&self, disk: &dyn Disk) -> Result<Option<StoredRecord>, Error> {
        let path = self.cursor();
        let bytes = read(disk, &path, "read the cursor")?;
        let place = path.display().to_string();
        Ok(bytes.map(|bytes| StoredRecord::parse(bytes, self.key, &place)))
    }

    pub(super) fn lease(&self, disk: &dyn Disk) -> Result<Option<LeaseRecord>, Error> {
        let path = self.lease_file();
        let Some(bytes) = read(disk, &path, "read the lease")? else {
            return Ok(None);
        };
        let place = path.display().to_string();
        let file: LeaseFile = json_strictly(&bytes)
            .map_err(|error| corrupt(&place, format!("it is not one whole lease: {error}")))?;
        check_key(self.key, &file.pack_key, &file.output_id, &place)?;
        Ok(Some(file.lease))
    }

    /// All lines of history, newest first.
    pub(super) fn lines(&self, disk: &dyn Disk) -> Result<Vec<String>, Error> {
        let mut lines = Vec::new();
        for path in [self.history_file(), self.older_history_file()] {
            let bytes = read(disk, &path, "read the history")?.unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            lines.extend(text.lines().rev().map(str::to_owned));
        }
        Ok(lines)
    }

    pub(super) fn write_record(&self, disk: &dyn Disk, record: &str) -> Result<(), Error> {
        Self::replace(disk, &self.cursor(), record, "save the cursor")
    }

    pub(super) fn write_lease(&self, disk: &dyn Disk, lease: &LeaseRecord) -> Result<(), Error> {
        let text = self.lease_text(lease);
        Self::replace(disk, &self.lease_file(), &text, "write the lease")
    }

    fn lease_text(&self, lease: &LeaseRecord) -> String {
        json(&LeaseFile {
            lease: lease.clone(),
            output_id: self.key.output_id().to_string(),
            pack_key: self.key.pack_key().as_str().to_owned(),
        })
    }

    /// Makes the lease unless there is one; whether it was made.
    pub(super) fn create_lease(&self, disk: &dyn Disk, lease: &LeaseRecord) -> Result<bool, Error> {
        let path = self.lease_file();
        let staging = path.with_extension("json.tmp");
        let text = self.lease_text(lease);
        create_once(disk, &path, text.as_bytes(), &staging)
            .map_err(|error| path_fault::at_path("write the lease", &path, error))
    }

    /// Puts `text` in the place of `path`, durably: after a crash the old bytes are there or the
    /// new ones.
    fn replace(
        disk: &dyn Disk,
        path: &Path,
        text: &str,
        operation: &'static str,
    ) -> Result<(), Error> {
        replace(disk, path, text.as_bytes())
            .map_err(|error| path_fault::at_path(operation, path, error))
    }

    /// Makes the names in the folder durable, those of an earlier write that failed included.
    pub(super) fn sync(&self, disk: &dyn Disk) -> Result<(), Error> {
        disk.sync_dir(&self.folder)
            .map_err(|error| path_fault::at_path("sync the checkpoint folder", &self.folder, error))
    }

    /// Adds a line of history, rotating the file once it is long.
    pub(super) fn remember(&self, disk: &dyn Disk, line: &str, sync: bool) -> Result<(), Error> {
        let path = self.history_file();
        disk.append_line(&path, line, sync)
            .and_then(|length| match length {
                0..HISTORY_BYTES => Ok(()),
                _ => disk.rename(&path, &self.older_history_file()),
            })
            .map_err(|error| path_fault::at_path("write the history", &path, error))
    }

    pub(super) fn remove_record(&self, disk: &dyn Disk) -> Result<(), Error> {
        let path = self.cursor();
        disk.remove(&path)
            .and_then(|()| disk.sync_dir(&self.folder))
            .map_err(|error| path_fault::at_path("reset the cursor", &path, error))
    }
}

/// The bytes of a file; `None` if there is no such file.
fn read(disk: &dyn Disk, path: &Path, operation: &'static str) -> Result<Option<Vec<u8>>, Error> {
    match disk.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(path_fault::at_path(operation, path, error)),
    }
}
