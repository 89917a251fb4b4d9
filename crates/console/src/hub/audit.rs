//! The last lines of the audit beside a control socket.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;
use wsp::Shard;

/// Lines that are shown.
const LINES: usize = 12;
/// Bytes at the end of the file that they are looked for in.
const LOOKED_AT: u64 = 32 << 10;
/// Characters of a line's details that are shown.
const DETAIL_CHARS: usize = 240;

/// The audit of the run that a control socket belongs to: `<run>/session.jsonl` beside
/// `<run>/wsp/control-….sock`, and of one of several shards the shard's own. Of a run whose records
/// are in a bucket there is none.
pub(super) fn path_beside(socket: &Path) -> Option<PathBuf> {
    let folder = socket.parent()?;
    let name = socket.file_stem()?.to_str()?;
    let shard = name.find("shard-").map(|begin| &name[begin..]);
    let records = match shard.filter(|name| Shard::of_folder(name).is_some()) {
        Some(shard) => folder.join(shard),
        None => folder.parent()?.to_owned(),
    };
    Some(records.join("session.jsonl"))
}

/// The length of the audit; 0 if there is none.
pub(super) fn length(audit: &Path) -> u64 {
    std::fs::metadata(audit).map_or(0, |found| found.len())
}

/// The records that WSP appended to an audit from an offset on, as far as they are among its last
/// 32 KiB.
pub(super) fn records_from(audit: &Path, from: u64) -> io::Result<Vec<Value>> {
    let mut file = File::open(audit)?;
    let length = file.metadata()?.len();
    let begin = length.saturating_sub(LOOKED_AT).max(from.min(length));
    file.seek(SeekFrom::Start(begin))?;
    let mut tail = Vec::new();
    // Others append meanwhile.
    file.take(LOOKED_AT).read_to_end(&mut tail)?;
    // What begins in the middle of a line, or ends in one, is none.
    let lines = tail.split(|byte| *byte == b'\n');
    let records = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    Ok(records
        .filter(|record| record["component"] == "wsp")
        .collect())
}

/// The last lines for the page: when, what, and the details as short text.
pub(super) fn last_lines(audit: &Path) -> Vec<Value> {
    let records = records_from(audit, 0).unwrap_or_default();
    let first = records.len().saturating_sub(LINES);
    records[first..].iter().rev().map(shown).collect()
}

fn shown(record: &Value) -> Value {
    let details = &record["details"];
    let mut text = String::new();
    if let Some(fields) = details.as_object() {
        for (name, value) in fields {
            if value.is_null() {
                continue;
            }
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            let comma = if text.is_empty() { "" } else { " · " };
            text.push_str(comma);
            text.push_str(name);
            text.push(' ');
            text.push_str(&value);
        }
    }
    if let Some((end, _)) = text.char_indices().nth(DETAIL_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    serde_json::json!({
        "ts_utc": record["ts_utc"],
        "kind": record["event_kind"],
        "text": text,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_shard_has_an_audit_of_its_own() {
        let beside = |name: &str| path_beside(&Path::new("r/p/wsp").join(name)).unwrap();
        let of_run = Path::new("r/p/session.jsonl");
        assert_eq!(beside("control-7-2.sock"), of_run);
        let of_shard = Path::new("r/p/wsp/shard-2-of-8/session.jsonl");
        assert_eq!(beside("control-7-shard-2-of-8.sock"), of_shard);
        assert_eq!(beside("control-7-2-shard-2-of-8.sock"), of_shard);
    }

    #[test]
    fn the_last_whole_lines_of_our_own_are_shown_newest_first() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("wsp/control-7.sock");
        let audit = path_beside(&socket).unwrap();
        assert_eq!((length(&audit), last_lines(&audit).len()), (0, 0));
        let mut file = File::create(&audit).unwrap();
        for number in 0..2_000 {
            let component = if number % 2 == 0 { "wsp" } else { "ig" };
            let line = format!(
                r#"{{"component":"{component}","event_kind":"k{number}","details":{{"a":"x","n":{number},"z":null}}}}"#
            );
            writeln!(file, "{line}").unwrap();
        }
        write!(file, r#"{{"component":"wsp","event_kind":"torn"#).unwrap();
        let lines = last_lines(&audit);
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines[0]["kind"], "k1998");
        assert_eq!(lines[0]["text"], "a x · n 1998");
        let from = length(&audit);
        assert_eq!(records_from(&audit, from).unwrap().len(), 0);
        assert_eq!(records_from(&audit, u64::MAX).unwrap().len(), 0);
    }
}
