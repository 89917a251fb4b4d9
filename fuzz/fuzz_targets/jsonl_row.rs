//! Rows of JSON lines, framed as envelopes.
#![no_main]

use envelope::{EventTime, FrameSpec, FramedBatch, Framer, PinValues, Pins};
use serde_json::value::RawValue;
use wsp_fuzz::json::Tree;
use wsp_fuzz::{is_refusal, sha256_hex};

const PART: &str = "data/part-0.jsonl";
const KEY: [&str; 2] = ["seed", "id"];
const CODES: [&str; 5] = [
    "EVENT_TIME_INVALID",
    "MISSING_EVENT_TIME",
    "PAYLOAD_VALUE_UNSUPPORTED",
    "PRIMARY_KEY_MISSING",
    "PRIMARY_KEY_TYPE_UNSUPPORTED",
];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let framed = framer().frame_json_lines(PART, 3, lines.iter().copied());
    let (batch, error) = match framed {
        Ok(batch) => (batch, None),
        Err(bad) => {
            let (batch, error) = bad.into_parts();
            (batch, Some(error))
        }
    };
    let rows: Vec<Option<Row>> = lines.iter().map(|line| row_of(line)).collect();
    let good = rows.iter().take_while(|row| row.is_some()).count();
    assert_eq!(batch.len(), good, "the first bad line is another one");
    match &error {
        None => assert_eq!(good, lines.len()),
        Some(error) => {
            is_refusal(error, &CODES);
            let place = model::Refusal::place(error);
            assert_eq!(
                (place.object(), place.row()),
                (Some(PART), Some(3 + good as u64))
            );
        }
    }
    let mut alone = framer();
    for (index, row) in rows.iter().flatten().take(good).enumerate() {
        is_framed(&batch, index, lines[index], row);
        // How rows are cut into batches changes no byte.
        let one = alone
            .frame_json_lines(PART, 0, [lines[index]])
            .expect("it was good");
        assert_eq!(one.body(0), batch.body(index));
        assert_eq!(one.ordering_key(0), batch.ordering_key(index));
    }
});

fn framer() -> Framer {
    Framer::new(&FrameSpec::new("arrivals", KEY, pins())).expect("a spec")
}

fn pins() -> Pins {
    let values = PinValues {
        manifest_fingerprint: "a".repeat(64),
        parameter_hash: "b".repeat(64),
        seed: 7,
        scenario_id: "baseline".to_owned(),
        run_id: "c".repeat(32),
        platform_run_id: "platform_20260128T090000Z".to_owned(),
        producer: "svc:fuzz".to_owned(),
        ..PinValues::default()
    };
    Pins::new(values).expect("pins")
}

/// What a line says, by the independent reader.
struct Row {
    time: EventTime,
    key: [String; 2],
}

/// The row of a line; `None` for a line that is to be refused.
fn row_of(line: &[u8]) -> Option<Row> {
    let tree = Tree::parse(line).filter(Tree::has_distinct_names)?;
    let time = EventTime::parse(tree.get("ts_utc")?.text()?).ok()?;
    let text = |name| match tree.get(name)? {
        Tree::Text(text) => Some(text.clone()),
        Tree::Unsigned(number) => Some(number.to_string()),
        Tree::Negative(number) => Some(number.to_string()),
        Tree::Bool(true) => Some("True".to_owned()),
        Tree::Bool(false) => Some("False".to_owned()),
        _ => None,
    };
    Some(Row {
        time,
        key: [text(KEY[0])?, text(KEY[1])?],
    })
}

fn is_framed(batch: &FramedBatch, index: usize, line: &[u8], row: &Row) {
    let body = batch.body(index);
    let envelope = envelope::validate(&body).expect("an envelope by its schema");
    let id = sha256_hex(format!(
        "arrivals|{}|{}|{}|{}|7|baseline",
        row.key[0],
        row.key[1],
        "a".repeat(64),
        "b".repeat(64),
    ));
    assert_eq!(envelope.event_id.to_string(), id);
    assert_eq!(batch.event_id(index).to_string(), id);
    assert_eq!(batch.time(index), row.time);
    assert_eq!(envelope.ts_utc, row.time.in_whole_micros());
    assert_eq!(
        batch.ordering_key(index),
        envelope::ordering_key(row.key[1].as_bytes())
    );
    // The payload is the row, byte for byte.
    let fields: std::collections::BTreeMap<&str, &RawValue> =
        serde_json::from_slice(&body).expect("names without escapes");
    assert_eq!(fields["payload"].get().as_bytes(), line.trim_ascii());
}
