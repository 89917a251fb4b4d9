//! Cursors: which follow which, and what they are bound to.

use std::cmp::Ordering;

use proptest::prelude::*;

use super::*;
use crate::ReasonCode;
use crate::conformance::{cursor, key};

fn by_time(part: &str, row: u64, sort_time_ns: i128) -> Cursor {
    Cursor {
        order: OrderPosition::EventTime { sort_time_ns },
        ..cursor(part, row)
    }
}

/// The module's table, row by row: part, row, time, done as written, done by time.
#[test]
fn a_row_is_done_as_the_truth_table_says() {
    let t = 1_000;
    for (part, row, time, as_written, event_time) in [
        ("a", 9, t - 1, true, true),
        ("a", 9, t, true, true),
        ("a", 9, t + 1, true, false),
        ("b", 5, t, true, true),
        ("b", 4, t, true, true),
        ("b", 5, t + 1, true, false),
        ("b", 6, t - 1, false, true),
        ("b", 6, t, false, false),
        ("c", 0, t - 1, false, true),
        ("c", 0, t, false, false),
    ] {
        let row_of = format!("{part} {row} {time}");
        assert_eq!(
            cursor("b", 5).is_done(part, row, time),
            as_written,
            "{row_of}"
        );
        assert_eq!(
            by_time("b", 5, t).is_done(part, row, time),
            event_time,
            "{row_of}"
        );
    }
}

#[test]
fn only_whole_parts_and_done_rows_are_passed_over() {
    let stored = cursor("b", 5);
    assert_eq!(stored.first_open_row("a"), None);
    assert_eq!(stored.first_open_row("b"), Some(6));
    assert_eq!(stored.first_open_row("c"), Some(0));
    for part in ["a", "b", "c"] {
        assert_eq!(by_time("b", 5, 0).first_open_row(part), Some(0));
    }
}

#[test]
fn no_other_order_follows() {
    let key = key("order", "o");
    let stored = StoredCursor::Ours(by_time("a", 0, 0));
    let error = cursor("b", 1).check_follows(&key, &stored).unwrap_err();
    assert_eq!(error.code(), ReasonCode::OrderMismatch);
}

#[test]
fn a_foreign_cursor_is_followed_by_no_earlier_row_of_its_part() {
    let key = key("foreign", "o");
    let stored = StoredCursor::Foreign(ForeignCursor {
        last_file: "/worlds/w1/data/part-1.parquet".to_owned(),
        last_row_index: 5,
        last_ts_utc: None,
    });
    let follows = |row| cursor("data/part-1.parquet", row).check_follows(&key, &stored);
    assert!(follows(5).is_ok());
    assert_eq!(follows(4).unwrap_err().code(), ReasonCode::Regression);
    assert!(
        cursor("ata/part-1.parquet", 0)
            .check_follows(&key, &stored)
            .is_ok()
    );
}

fn any_cursor() -> impl Strategy<Value = Cursor> {
    ("[ab/]{1,3}", 0..4_u64, proptest::option::of(-2..2_i128)).prop_map(|(part, row, time)| {
        time.map_or_else(|| cursor(&part, row), |time| by_time(&part, row, time))
    })
}

fn time_of(cursor: &Cursor) -> i128 {
    match cursor.order {
        OrderPosition::AsWritten => 0,
        OrderPosition::EventTime { sort_time_ns } => sort_time_ns,
    }
}

proptest! {
    /// What follows has everything done that was done before, and more unless it is equal.
    #[test]
    fn a_cursor_follows_another_exactly_if_it_has_that_row_done(
        old in any_cursor(), new in any_cursor()
    ) {
        let key = key("follows", "o");
        let outcome = new.check_follows(&key, &StoredCursor::Ours(old.clone()));
        let has_old_done = new.is_done(&old.last_part, old.last_row_index, time_of(&old));
        if new.order.mode() == old.order.mode() {
            prop_assert_eq!(outcome.is_ok(), has_old_done);
        } else {
            prop_assert_eq!(outcome.unwrap_err().code(), ReasonCode::OrderMismatch);
        }
    }

    /// In each order the done rows are a prefix: no open row comes before a done one.
    #[test]
    fn the_done_rows_are_a_prefix_of_the_order(
        stored in any_cursor(),
        rows in proptest::collection::vec(("[ab/]{1,3}", 0..4_u64, -2..2_i128), 0..20)
    ) {
        let mut rows = rows;
        rows.sort_by(|a, b| match stored.order {
            OrderPosition::AsWritten => (&a.0, a.1).cmp(&(&b.0, b.1)),
            OrderPosition::EventTime { .. } => (a.2, &a.0, a.1).cmp(&(b.2, &b.0, b.1)),
        });
        let done: Vec<bool> = rows.iter().map(|r| stored.is_done(&r.0, r.1, r.2)).collect();
        prop_assert!(done.is_sorted_by(|a, b| a.cmp(b) != Ordering::Less), "{:?}", done);
    }
}
