//! Reason codes are API: one table documents them, and it is the whole truth.

use std::collections::BTreeSet;

#[test]
fn the_table_of_reason_codes_is_the_list_in_the_code() {
    let table = include_str!("../../../docs/reason-codes.md");
    let documented: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(code, _)| code)
        .collect();
    let unique: BTreeSet<&str> = documented.iter().copied().collect();
    assert_eq!(unique.len(), documented.len(), "a code is documented twice");
    let in_code: BTreeSet<&str> = wsp::all_reason_codes().into_iter().collect();
    let missing: Vec<_> = in_code.difference(&unique).collect();
    let stale: Vec<_> = unique.difference(&in_code).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "undocumented {missing:?}, stale {stale:?}"
    );
}

#[test]
fn codes_are_upper_snake_case() {
    for code in wsp::all_reason_codes() {
        assert!(
            code.bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'),
            "{code}"
        );
    }
}
