//! Records of cursors: the frozen format, what older and foreign ones say, what is refused.

use proptest::prelude::*;

use model::{IdTally, IdsSum};

use super::*;
use crate::ReasonCode;
use crate::conformance::{assert_code, cursor, key};

const GOLDEN: &str = r#"{"checksum":"CHECKSUM","done":{"acknowledged":{"events":41,"ids_sum":"0101010101010101010101010101010101010101010101010101010101010101"},"quarantined":{"events":1,"ids_sum":"fefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefe"}},"fence":3,"format_version":3,"last_file":"runs/w1/data/part-0.parquet","last_part":"data/part-0.parquet","last_row_index":41,"last_ts_utc":"2026-01-01T00:00:00.000000Z","order":"event_time","output_id":"arrivals","pack_key":"454349e422f05297191ead13e21d3db520e5abef52055e4964b82fb213f593a1","plan_digest":"abababababababababababababababababababababababababababababababab","platform_run_id":"platform_20260128T090000Z","sequence":7,"sort_time_ns":"1769590800123456789","source":"outputs","updated_at_utc":"2026-01-28T09:00:00.000000Z"}"#;

fn tally(events: u64, byte: u8) -> IdTally {
    IdTally {
        events,
        ids_sum: IdsSum::of(&[byte; 32]),
    }
}

fn golden() -> Wire {
    let cursor = Cursor {
        order: OrderPosition::EventTime {
            sort_time_ns: 1_769_590_800_123_456_789,
        },
        done: Some(DoneTally {
            acknowledged: tally(41, 0x01),
            quarantined: tally(1, 0xfe),
        }),
        ..cursor("data/part-0.parquet", 41)
    };
    let at = "2026-01-28T09:00:00.000000Z".to_owned();
    Wire::new(&key("r", "arrivals"), &cursor, 3, 7, at)
}

/// The format is frozen: whoever changes this text changes `FORMAT_VERSION` too.
#[test]
fn a_record_is_spelt_as_ever() {
    let text = golden().to_json();
    let content = GOLDEN.replace(r#""checksum":"CHECKSUM","#, "");
    let expected = GOLDEN.replace("CHECKSUM", Hex64::sha256_of(content).as_str());
    assert_eq!(text, expected);
}

#[test]
fn a_record_of_the_first_format_is_read() {
    let mut first = golden();
    first.format_version = 1;
    first.last_file = "data/part-0.parquet".to_owned();
    (first.last_part, first.source, first.done) = (None, None, None);
    first.checksum = first.expected_checksum();
    let text = first.to_json();
    assert!(!text.contains("last_part"), "{text}");
    let record = Record::parse(text.as_bytes(), &key("r", "arrivals"), "here").unwrap();
    let StoredCursor::Ours(cursor) = record.cursor else {
        panic!("it is ours");
    };
    assert_eq!(cursor.last_part, "data/part-0.parquet");
    assert_eq!(cursor.source, RowSource::Outputs);
}

#[test]
fn a_record_of_the_second_format_is_read_and_its_tally_is_not_known() {
    let mut second = golden();
    second.format_version = 2;
    second.done = None;
    second.checksum = second.expected_checksum();
    let text = second.to_json();
    assert!(!text.contains("done"), "{text}");
    let key = key("r", "arrivals");
    let record = Record::parse(text.as_bytes(), &key, "here").unwrap();
    let StoredCursor::Ours(cursor) = &record.cursor else {
        panic!("it is ours");
    };
    assert_eq!((cursor.last_row_index, cursor.done), (41, None));
    second.done = golden().done;
    second.checksum = second.expected_checksum();
    let parsed = Record::parse(second.to_json().as_bytes(), &key, "here");
    assert_code(parsed, ReasonCode::Corrupt);
}

#[test]
fn a_record_of_the_existing_producer_is_read_as_foreign() {
    let key = key("r", "arrivals");
    let text = format!(
        r#"{{"last_file": "/w/data/p.parquet", "last_row_index": 9, "last_ts_utc": null, "output_id": "arrivals", "pack_key": "{}", "updated_at_utc": "2026-01-28T09:00:00.000000+00:00"}}"#,
        key.pack_key()
    );
    let record = Record::parse(text.as_bytes(), &key, "here").unwrap();
    assert!(record.is_foreign());
    assert_eq!((record.fence, record.sequence), (None, 0));
    assert_eq!(record.cursor.last_row_index(), 9);
}

#[test]
fn anything_else_is_refused_by_its_reason() {
    let key = key("r", "arrivals");
    let text = golden().to_json();
    let parse = |text: &str| Record::parse(text.as_bytes(), &key, "/c/cursor.json");
    assert!(parse(&text).is_ok());
    for wrong in [
        "",
        "null",
        "[]",
        "{}",
        "not json",
        &text[..text.len() - 1],
        &text.replace(r#""fence":3,"#, ""),
        &text.replace(r#""fence":3,"#, r#""fence":3,"fence":3,"#),
        &text.replace(r#""fence":3,"#, r#""fence":3,"more":1,"#),
        &text.replace("_index\":41", "_index\":42"),
        &text.replace("_index\":41", "_index\":-1"),
        &text.replace("_index\":41", "_index\":41.5"),
        &text.replace("\"events\":41", "\"events\":42"),
        &text.replace("event_time", "as_written"),
    ] {
        let error = assert_code(parse(wrong), ReasonCode::Corrupt);
        assert!(error.to_string().contains("/c/cursor.json"), "{error}");
    }
    for version in ["0", "4", "\"1\"", "null", "99999999999999999999"] {
        let newer = text.replace(
            r#""format_version":3"#,
            &format!(r#""format_version":{version}"#),
        );
        assert_code(parse(&newer), ReasonCode::VersionUnsupported);
    }
    let other = crate::conformance::key("r", "departures");
    let error = assert_code(
        Record::parse(text.as_bytes(), &other, "here"),
        ReasonCode::KeyMismatch,
    );
    assert!(error.to_string().contains("arrivals"), "{error}");
}

#[test]
fn a_count_beyond_63_bits_is_refused_however_right_the_checksum_is() {
    let key = key("r", "arrivals");
    let refused = |mut wire: Wire| {
        wire.checksum = wire.expected_checksum();
        let parsed = Record::parse(wire.to_json().as_bytes(), &key, "here");
        assert_code(parsed, ReasonCode::Corrupt);
    };
    let beyond = i64::MAX as u64 + 1;
    let mut wires = [golden(), golden(), golden()];
    wires[0].last_row_index = beyond;
    wires[1].sequence = beyond;
    wires[2].fence = u64::MAX;
    wires.into_iter().for_each(refused);
    let foreign = format!(
        r#"{{"last_file":"p","last_row_index":{},"output_id":"arrivals","pack_key":"{}","updated_at_utc":""}}"#,
        u64::MAX,
        key.pack_key()
    );
    let parsed = Record::parse(foreign.as_bytes(), &key, "here");
    assert_code(parsed, ReasonCode::Corrupt);
    assert_code(next_count(i64::MAX as u64, &key), ReasonCode::Corrupt);
    assert_eq!(next_count(7, &key).unwrap(), 8);
}

#[test]
fn only_the_form_of_a_reset_is_a_line_of_history_beside_records() {
    let key = key("r", "arrivals");
    let line = reset_line("now".to_owned(), golden().to_json().as_bytes());
    assert!(HistoryEntry::parse(&line, &key).is_some());
    let longer = line.replacen('{', r#"{"more":1,"#, 1);
    assert_eq!(HistoryEntry::parse(&longer, &key), None);
    let saved = line.replace(r#""event":"reset""#, r#""event":"saved""#);
    assert_ne!(saved, line);
    assert_eq!(HistoryEntry::parse(&saved, &key), None);
    let values: BTreeMap<String, Value> = serde_json::from_str(&line).unwrap();
    let list = serde_json::to_string(&values.values().collect::<Vec<_>>()).unwrap();
    assert_eq!(HistoryEntry::parse(&list, &key), None);
}

proptest! {
    #[test]
    fn a_cursor_survives_its_record(
        last_file in ".*", row in 0..=i64::MAX as u64, ts in proptest::option::of(".*"),
        time in proptest::option::of(any::<i128>()), fence in 0..=i64::MAX as u64,
    ) {
        let key = key("r", "o");
        let order = time.map_or(OrderPosition::AsWritten, |sort_time_ns| {
            OrderPosition::EventTime { sort_time_ns }
        });
        let saved = Cursor { last_part: last_file.clone(), last_file, last_row_index: row, last_ts_utc: ts, order, ..cursor("", 0) };
        let text = Wire::new(&key, &saved, fence, 1, String::new()).to_json();
        let record = Record::parse(text.as_bytes(), &key, "here").unwrap();
        prop_assert_eq!(record.cursor, StoredCursor::Ours(saved));
    }

    #[test]
    fn one_wrong_byte_is_never_read_as_another_position(at in 0..600_usize, bit in 0..8_u8) {
        let key = key("r", "arrivals");
        let whole = golden().to_json();
        let mut bytes = whole.clone().into_bytes();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(record) = Record::parse(&bytes, &key, "here") {
            prop_assert_eq!(record, Record::parse(whole.as_bytes(), &key, "here").unwrap());
        }
    }
}
