//! A line of the quarantine.
#![no_main]

use checkpoint::{CursorKey, PackKey};
use chrono::DateTime;
use model::EventTime;
use push::GateRefusal;
use replay::{QuarantinedEvent, RejectedEvent};
use serde_json::value::RawValue;
use wsp_fuzz::json::Tree;
use wsp_fuzz::{is_hex, sha256_hex};

const FIELDS: [&str; 13] = [
    "format_version",
    "event_id",
    "output_id",
    "pack_key",
    "position",
    "reason",
    "status",
    "body_excerpt",
    "reason_codes",
    "attempts",
    "quarantined_at_utc",
    "envelope_sha256",
    "envelope",
];

/// The first byte of an input says whether the envelope's digest is put right before.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else {
        return;
    };
    let mended = (kind % 2 == 1).then(|| with_digest(bytes)).flatten();
    let line = mended.as_deref().unwrap_or(bytes);
    match QuarantinedEvent::parse(line) {
        Ok(event) => holds_the_laws(&event, line),
        Err(why) => assert!(!why.is_empty()),
    }
    set_aside(bytes);
});

/// The line with the digest that its envelope has.
fn with_digest(bytes: &[u8]) -> Option<Vec<u8>> {
    let fields: std::collections::BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(bytes).ok()?;
    let stated: String = serde_json::from_str(fields.get("envelope_sha256")?.get()).ok()?;
    let digest = sha256_hex(fields.get("envelope")?.get());
    let text = std::str::from_utf8(bytes).ok()?;
    is_hex(&stated, 64).then(|| text.replace(&stated, &digest).into_bytes())
}

/// What holds of every line that is accepted.
fn holds_the_laws(event: &QuarantinedEvent, line: &[u8]) {
    // What a payload holds, such as half a character or a number without end, is its producer's.
    let Some(tree) = Tree::parse(line) else {
        return;
    };
    assert!(
        tree.has_distinct_names(),
        "a line is one object with distinct fields"
    );
    assert!(tree.fields().all(|(name, _)| FIELDS.contains(&name)));
    let position = tree.get("position").expect("a position");
    assert!(position.has_exactly(&["file", "row", "ts_utc"]) && position.has_distinct_names());
    let envelope = tree.get("envelope").expect("an envelope");
    assert!(
        matches!(envelope, Tree::Object(_)),
        "an envelope is an object"
    );
    assert_eq!(
        envelope.get("event_id").and_then(Tree::text),
        Some(event.event_id.as_str())
    );
    assert_eq!(
        tree.hex("envelope_sha256", 64),
        Some(&*sha256_hex(&event.envelope))
    );
    let run = event
        .platform_run_id
        .as_ref()
        .map(model::PlatformRunId::as_str);
    assert!(run.is_none() || envelope.get("platform_run_id").and_then(Tree::text) == run);
    // Another row is another identity: texts do not run into each other.
    let mut moved = event.clone();
    moved.position.row = event.position.row.wrapping_add(1);
    assert_ne!(moved.row_id(), event.row_id());
    if let Some((head, tail)) = event.output_id.split_once('\n') {
        let mut moved = event.clone();
        (moved.output_id, moved.position.file) =
            (head.to_owned(), format!("{tail}\n{}", event.position.file));
        assert_ne!(moved.row_id(), event.row_id(), "two rows are taken for one");
    }
    let excerpt = tree
        .get("body_excerpt")
        .and_then(Tree::text)
        .unwrap_or_default();
    let again = rejected(event, excerpt);
    let time = event.position.ts_utc.parse::<EventTime>();
    if let Ok((again, time)) = again.and_then(|key| Ok((key, time?.to_string()))) {
        let (row_id, line) = again.to_line(DateTime::UNIX_EPOCH).expect("written again");
        assert_eq!(row_id, event.row_id());
        let mut read = QuarantinedEvent::parse(&line).expect("written again");
        assert_eq!(std::mem::take(&mut read.position.ts_utc), time);
        read.position.ts_utc.clone_from(&event.position.ts_utc);
        assert_eq!(&read, event);
    }
}

/// The event as it was before it was written.
fn rejected(
    event: &QuarantinedEvent,
    excerpt: &str,
) -> Result<RejectedEvent, Box<dyn std::error::Error>> {
    Ok(RejectedEvent {
        key: CursorKey::new(PackKey::of_root("w"), event.output_id.as_str())?,
        file: event.position.file.clone(),
        row: event.position.row,
        time: event.position.ts_utc.parse()?,
        reason: event.reason,
        refusal: GateRefusal {
            status: event.status,
            excerpt: excerpt.to_owned(),
            reason_codes: Vec::new(),
        },
        attempts: 1,
        envelope: event.envelope.clone(),
    })
}

/// Any bytes as an envelope that is set aside: what is written is one line, and is read again.
fn set_aside(bytes: &[u8]) {
    let event = RejectedEvent {
        key: CursorKey::new(PackKey::of_root("w"), "o").expect("a key"),
        file: "data/part-0.parquet".to_owned(),
        row: 7,
        time: EventTime::EPOCH,
        reason: replay::RejectReason::Rejected,
        refusal: GateRefusal {
            status: 400,
            excerpt: "no".to_owned(),
            reason_codes: Vec::new(),
        },
        attempts: 1,
        envelope: bytes.to_vec().into(),
    };
    if let Ok((_, line)) = event.to_line(DateTime::UNIX_EPOCH) {
        assert!(!line.contains(&b'\n'), "a line has no line feed");
        let read = QuarantinedEvent::parse(&line).expect("what is set aside is read again");
        assert_eq!(read.envelope, event.envelope);
        assert!(bytes.starts_with(b"{"), "an envelope is an object");
    }
}
