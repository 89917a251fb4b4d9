//! Failures: what they say, and the exit status of each class.

#![allow(
    unreachable_pub,
    reason = "the lists are made as other crates make them"
)]

use super::*;

crate::reason_codes! {
    /// Codes of this test.
    pub enum TestCode {
        /// A file is gone.
        Gone => "GONE", Failed, "Bring it back.";
        /// A flag is wrong.
        Flag => "FLAG", Usage, "Correct the flag.";
    }
}

crate::reason_codes! {
    /// Codes above them.
    pub enum UpperCode {
        /// It was asked to stop.
        Stopped => "STOPPED", Stopped, "Run again.";
    }
    + /// A code from below.
    Below(TestCode)
}

#[test]
fn a_message_says_what_where_and_what_to_do_and_leaves_the_cause_in_the_chain() {
    let failure = Failure::new(TestCode::Gone, "The part cannot be read")
        .object("world/part-0.parquet")
        .row(7)
        .field("ts_utc")
        .because(io::Error::other("the disk is gone"));
    let text =
        "The part cannot be read: world/part-0.parquet, row 7, field `ts_utc`. Bring it back.";
    assert_eq!(failure.to_string(), text);
    assert_eq!(failure.source().unwrap().to_string(), "the disk is gone");
    assert_eq!(
        with_causes(&failure),
        format!("{text} Cause: the disk is gone")
    );
    assert_eq!(
        with_causes(&io::Error::other(io::Error::other("inner"))),
        "inner",
        "an IO error hides what it wraps from `source`"
    );
}

#[test]
fn advice_of_a_failure_wins_over_that_of_its_code() {
    let failure = Failure::new(TestCode::Flag, "The flag is wrong").advise("Leave it out.");
    assert_eq!(failure.to_string(), "The flag is wrong. Leave it out.");
}

#[test]
fn a_failure_from_below_keeps_everything_but_the_type_of_its_code() {
    let failure = Failure::new(TestCode::Gone, "It is gone")
        .object("a")
        .retryable(true)
        .because(io::Error::other("why"))
        .map_code(UpperCode::Below);
    assert_eq!(failure.code(), UpperCode::Below(TestCode::Gone));
    assert_eq!(failure.to_string(), "It is gone: a. Bring it back.");
    assert!(failure.is_retryable() && failure.source().is_some());
}

#[test]
fn the_class_of_a_code_decides_the_exit_status() {
    let statuses = [
        UpperCode::Stopped.class(),
        UpperCode::Below(TestCode::Flag).class(),
        UpperCode::Below(TestCode::Gone).class(),
        Class::Refused,
    ];
    assert_eq!(statuses.map(Class::exit_status), [3, 2, 1, 1]);
    assert_eq!(UpperCode::ALL, [UpperCode::Stopped]);
    assert_eq!(TestCode::ALL.len(), 2);
}
