//! What was learnt of parts, kept between runs.
//!
//! One file a pack, one JSON object a line:
//!
//! ```text
//! {"format":"wsp_time_index","version":3,"seek_rows":4096}
//! {"sha256":"<of entry's text>","entry":{"part":"…","pin":{…},"rows":…,"first":{…},"last":{…},…}}
//! ```
//!
//! The cache only saves time. Nothing is lost with it, so it is never synced, never
//! locked and never a reason to stop: a file of another format or version is
//! rebuilt, a damaged line's part is read again, and a file that cannot be written
//! is warned of. An entry counts only for the very bytes it was learnt from.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use envelope::EventTime;
use oracle_store::{Hex64, Part, Pin, TIME_COLUMN, refuse_special_file};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::part_times::{Disorder, Fingerprint, PartTimes, SEEK_ROWS, TimeRow};

const FILE: &str = "time_index.jsonl";
const HEADER: Header<'static> = Header {
    format: "wsp_time_index",
    version: 3,
    seek_rows: SEEK_ROWS,
};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header<'a> {
    format: &'a str,
    version: u32,
    seek_rows: u64,
}

#[derive(Deserialize)]
struct Line<'a> {
    sha256: &'a str,
    #[serde(borrow)]
    entry: &'a RawValue,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    part: String,
    pin: Pin,
    /// Absent for the usual column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time_column: Option<String>,
    rows: u64,
    first: Option<Place>,
    last: Option<Place>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disorder: Option<(Place, Place)>,
    seek: Vec<Nanos>,
    read_bytes: u64,
    fingerprint: Hex,
}

/// 64 bits as hex digits, for the same reason.
struct Hex(u64);

#[derive(Serialize, Deserialize)]
struct Place {
    time_ns: Nanos,
    row: u64,
}

/// Whole nanoseconds as a decimal string: readers of JSON are not trusted with 128 bits.
struct Nanos(EventTime);

/// What is known of a part, and of which bytes and column.
#[derive(Debug)]
struct Known {
    pin: Pin,
    time_column: Option<String>,
    times: Arc<PartTimes>,
}

impl Known {
    fn of(part: &Part, times: Arc<PartTimes>) -> Self {
        Self {
            pin: part.pin().clone(),
            time_column: named_column(part).map(str::to_owned),
            times,
        }
    }
}

/// The column of a part's times; `None` for the usual one.
fn named_column(part: &Part) -> Option<&str> {
    Some(part.time_column()).filter(|column| *column != TIME_COLUMN)
}

/// What is known of the parts of one pack.
#[derive(Debug)]
pub struct TimeIndexCache {
    folder: Option<PathBuf>,
    known: HashMap<String, Known>,
}

impl TimeIndexCache {
    /// Reads what is kept in a folder: nothing, if it cannot be read.
    pub fn load(folder: &Path) -> Self {
        Self {
            folder: Some(folder.to_owned()),
            known: read(&folder.join(FILE)),
        }
    }

    /// Knows nothing and keeps nothing: for those who want to see for themselves.
    pub fn empty() -> Self {
        Self {
            folder: None,
            known: HashMap::new(),
        }
    }

    /// Keeps nothing more, for those who may not write.
    #[must_use]
    pub fn without_keeping(self) -> Self {
        Self {
            folder: None,
            ..self
        }
    }

    /// What is known of a part, if it still has the bytes it had then.
    pub fn get(&self, part: &Part) -> Option<Arc<PartTimes>> {
        let known = self.known.get(part.path())?;
        let is_it = known.pin == *part.pin() && known.time_column.as_deref() == named_column(part);
        is_it.then(|| Arc::clone(&known.times))
    }

    /// Keeps what was learnt of parts, beside what is kept there by now. A folder that
    /// cannot be written is warned of.
    pub fn keep<'a>(&mut self, learnt: impl IntoIterator<Item = (&'a Part, Arc<PartTimes>)>) {
        for (part, times) in learnt {
            self.known
                .insert(part.path().to_owned(), Known::of(part, times));
        }
        let Some(folder) = &self.folder else { return };
        let file = folder.join(FILE);
        for (part, entry) in read(&file) {
            self.known.entry(part).or_insert(entry);
        }
        if let Err(error) = self.write(folder, &file) {
            tracing::warn!(
                file = %file.display(), %error,
                "the time index cannot be kept; the next run reads the time columns again"
            );
        }
    }

    /// Writes all to a file beside it, and renames that.
    fn write(&self, folder: &Path, file: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut lines = serde_json::to_vec(&HEADER)?;
        let by_name: BTreeMap<_, _> = self.known.iter().collect();
        for (part, known) in by_name {
            let entry = serde_json::to_string(&Entry::of(part, known))?;
            let sha256 = Hex64::sha256_of(&entry);
            write!(lines, "\n{{\"sha256\":\"{sha256}\",\"entry\":{entry}}}")?;
        }
        lines.push(b'\n');
        let process = std::process::id();
        let fresh = file.with_extension(format!("{process}.tmp"));
        fs::write(&fresh, lines)
            .and_then(|()| fs::rename(&fresh, file))
            .inspect_err(|_| {
                // It may not even have been made.
                let _ = fs::remove_file(&fresh);
            })
    }
}

fn read(file: &Path) -> HashMap<String, Known> {
    let text = match refuse_special_file(file).and_then(|()| fs::read_to_string(file)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return HashMap::new(),
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "the time index is rebuilt");
            return HashMap::new();
        }
    };
    let mut lines = text.lines();
    let header = lines
        .next()
        .and_then(|line| serde_json::from_str(line).ok());
    if header != Some(HEADER) {
        tracing::warn!(file = %file.display(), "the time index is of another version; it is rebuilt");
        return HashMap::new();
    }
    let mut known = HashMap::new();
    let mut damaged = 0;
    for line in lines {
        match entry_of(line) {
            Some(entry) => {
                let part = entry.part.clone();
                let of_part = Known {
                    pin: entry.pin.clone(),
                    time_column: entry.time_column.clone(),
                    times: Arc::new(entry.times()),
                };
                known.insert(part, of_part);
            }
            None => damaged += 1,
        }
    }
    if damaged > 0 {
        tracing::warn!(file = %file.display(), damaged, "lines of the time index are rebuilt");
    }
    known
}

fn entry_of(line: &str) -> Option<Entry> {
    let line: Line<'_> = serde_json::from_str(line).ok()?;
    let text = line.entry.get();
    if Hex64::sha256_of(text).as_str() != line.sha256 {
        return None;
    }
    serde_json::from_str(text).ok()
}

impl Entry {
    fn of(part: &str, known: &Known) -> Self {
        let times = &known.times;
        let place = |at: TimeRow| Place {
            time_ns: Nanos(at.time),
            row: at.row,
        };
        Self {
            part: part.to_owned(),
            pin: known.pin.clone(),
            time_column: known.time_column.clone(),
            rows: times.rows(),
            first: times.first().map(place),
            last: times.last().map(place),
            disorder: times
                .disorder()
                .map(|found| (place(found.row), place(found.after))),
            seek: times.seek.iter().copied().map(Nanos).collect(),
            read_bytes: times.read_bytes(),
            fingerprint: Hex(times.fingerprint.0),
        }
    }

    fn times(self) -> PartTimes {
        let at = |place: Place| TimeRow {
            time: place.time_ns.0,
            row: place.row,
        };
        PartTimes {
            rows: self.rows,
            ends: self.first.map(at).zip(self.last.map(at)),
            disorder: self.disorder.map(|(row, after)| Disorder {
                row: at(row),
                after: at(after),
            }),
            seek: self.seek.into_iter().map(|Nanos(time)| time).collect(),
            read_bytes: self.read_bytes,
            fingerprint: Fingerprint(self.fingerprint.0),
        }
    }
}

impl Serialize for Nanos {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.nanos())
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bits = u64::from_str_radix(&text, 16);
        bits.map(Self)
            .map_err(|_| serde::de::Error::custom("no 64 bits in hex digits"))
    }
}

impl<'de> Deserialize<'de> for Nanos {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = text.parse().ok().and_then(EventTime::from_nanos);
        time.map(Self)
            .ok_or_else(|| serde::de::Error::custom("no event time in nanoseconds"))
    }
}
