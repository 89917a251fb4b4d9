//! What a framed batch is to the stream: shared bodies, keys that order, values that travel.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray, UInt8Array};
use envelope::{FramedBatch, Framer, ordering_key};

use super::{batch, framer, parted};

fn integers(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

#[test]
fn bodies_lie_side_by_side_in_one_buffer() {
    let rows = batch(vec![("k", integers(0..50))]);
    let (framed, _) = parted(framer("output", &["k"]).frame("p", 0, &rows));
    let all: Vec<_> = (0..50).map(|row| framed.body(row)).collect();
    for pair in all.windows(2) {
        assert_eq!(pair[0].as_ptr_range().end, pair[1].as_ptr_range().start);
    }
    assert_eq!(
        all.iter().map(bytes::Bytes::len).sum::<usize>(),
        framed.body_bytes()
    );
}

#[test]
fn bodies_in_flight_are_left_alone_by_later_batches() {
    let mut framer = framer("output", &["k"]);
    let mut in_flight = Vec::new();
    let mut expected = Vec::new();
    for start in 0..20 {
        let rows = batch(vec![("k", integers(start * 10..(start + 1) * 10))]);
        let (framed, _) = parted(framer.frame("p", 0, &rows));
        let kept = (start as usize * 7) % 10;
        in_flight.push(framed.body(kept));
        expected.push(framed.body(kept).to_vec());
    }
    assert_eq!(in_flight, expected);
}

#[test]
fn one_value_is_one_ordering_key_in_every_output_and_type() {
    let texts = Arc::new(StringArray::from(vec!["7", "8"]));
    let keys_of = |output: &str, key: &[&str], column: ArrayRef| {
        let rows = batch(vec![("flow_id", column), ("seed", integers([1, 2]))]);
        let (framed, error) = parted(framer(output, key).frame("p", 0, &rows));
        assert!(error.is_none());
        [framed.ordering_key(0), framed.ordering_key(1)]
    };
    let keys = keys_of("one", &["seed", "flow_id"], integers([7, 8]));
    assert_eq!(keys, [ordering_key(b"7"), ordering_key(b"8")]);
    assert_eq!(
        keys_of("two", &["flow_id"], Arc::new(UInt8Array::from(vec![7, 8]))),
        keys
    );
    assert_eq!(keys_of("three", &["flow_id", "seed"], texts), keys);
    // Constant in the batch, and therefore hashed once.
    assert_eq!(
        keys_of("four", &["flow_id"], integers([7, 7])),
        [keys[0]; 2]
    );

    let pins_only = keys_of("five", &["seed"], integers([7, 8]));
    assert_eq!(pins_only, [ordering_key(b"five"); 2]);

    let line = br#"{"ts_utc":"2026-01-28T08:55:40Z","flow_id":8,"seed":1}"#;
    let mut lines = framer("six", &["seed", "flow_id"]);
    let (framed, _) = parted(lines.frame_json_lines("p", 0, [&line[..]]));
    assert_eq!(framed.ordering_key(0), keys[1]);
}

#[test]
fn a_row_has_one_id_in_both_formats() {
    let rows = batch(vec![
        ("k", integers([i64::MIN])),
        ("flag", Arc::new(StringArray::from(vec!["True"]))),
    ]);
    let key = ["k", "flag"];
    let (framed, _) = parted(framer("output", &key).frame("p", 0, &rows));
    let line = format!(
        r#"{{"ts_utc":"2026-01-28T08:55:40.100195Z","k":{},"flag":true}}"#,
        i64::MIN
    );
    let (lines, _) = parted(framer("output", &key).frame_json_lines("p", 0, [line.as_bytes()]));
    assert_eq!(framed.event_id(0), lines.event_id(0));
    assert_eq!(framed.time(0), lines.time(0));
}

#[test]
fn one_huge_row_does_not_reserve_for_all() {
    const ROWS: usize = 20_000;
    let huge = "x".repeat(16 << 20);
    let mut texts = vec!["short"; ROWS];
    texts[0] = &huge;
    let columns = vec![
        ("k", integers(0..ROWS as i64)),
        ("v", Arc::new(StringArray::from(texts)) as _),
    ];
    let (framed, error) = parted(framer("output", &["k"]).frame("p", 0, &batch(columns)));
    // Memory for all rows at the length of the first would be a third of a terabyte.
    assert!(error.is_none() && framed.len() == ROWS);
}

#[test]
fn framers_and_batches_may_change_threads() {
    fn travels<T: Send>() {}
    fn is_shared<T: Send + Sync>() {}
    travels::<Framer>();
    is_shared::<FramedBatch>();
}
