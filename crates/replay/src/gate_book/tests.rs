//! What is counted, told, listed and judged.

use model::Clock as _;

use super::*;

fn output() -> OutputId {
    OutputId::new("flows")
}

fn open(root: &Path, at_most: Option<u64>) -> Result<GateBook, Error> {
    let terms = GateQuarantineTerms {
        at_most,
        ..GateQuarantineTerms::default()
    };
    GateBook::open(terms, root)
}

fn quarantine(book: &mut GateBook, events: std::ops::Range<u64>) -> Result<(), Error> {
    let details = AnswerDetails {
        reason_codes: vec!["SCHEMA_FAIL".to_owned()],
        receipt_ref: Some("r/1".to_owned()),
        ..AnswerDetails::default()
    };
    events.into_iter().try_for_each(|event| {
        book.note(
            &output(),
            ("part", event),
            &format!("{event:064x}"),
            &details,
        )
    })
}

fn all(quarantine: u64) -> Decisions {
    Decisions {
        quarantine,
        ..Decisions::default()
    }
}

#[test]
fn the_limit_counts_different_events_over_all_runs() {
    let root = tempfile::tempdir().unwrap();
    let mut book = open(root.path(), Some(10)).unwrap();
    quarantine(&mut book, 0..6).unwrap();
    quarantine(&mut book, 0..6).unwrap();
    assert_eq!(book.report().unwrap().events, 12);
    drop(book);
    let mut book = open(root.path(), Some(10)).unwrap();
    quarantine(&mut book, 3..9).unwrap();
    let error = quarantine(&mut book, 9..10).unwrap_err();
    assert_eq!(error.code(), "GATE_QUARANTINE_LIMIT");
    assert!(error.detail().contains("r/1"), "{}", error.detail());
    drop(book);
    let again = open(root.path(), Some(10)).unwrap_err();
    assert_eq!(again.code(), "GATE_QUARANTINE_LIMIT");
    assert!(open(root.path(), Some(11)).is_ok());
    assert!(open(root.path(), None).is_ok());
}

#[test]
fn a_damaged_line_of_the_list_does_not_make_the_limit_wider() {
    let root = tempfile::tempdir().unwrap();
    let mut book = open(root.path(), Some(10)).unwrap();
    quarantine(&mut book, 0..9).unwrap();
    drop(book);
    let [list, _] = gate_book_places(root.path());
    let text = std::fs::read_to_string(&list).unwrap();
    std::fs::write(&list, text.replacen("event_id", "event_xx", 3)).unwrap();
    let mut book = open(root.path(), Some(10)).unwrap();
    let error = quarantine(&mut book, 9..10).unwrap_err();
    assert_eq!(error.code(), "GATE_QUARANTINE_LIMIT");
}

#[test]
fn a_verdict_stands_until_an_admit_or_a_reset() {
    let root = tempfile::tempdir().unwrap();
    let mut book = open(root.path(), None).unwrap();
    assert!(book.close(all(19)).is_none(), "too few to judge");
    assert_eq!(book.close(all(20)).unwrap().code(), "GATE_QUARANTINED_ALL");
    // Nothing is left to stream: the next run says so again.
    let mut next = open(root.path(), None).unwrap();
    let repeated = next.close(Decisions::default()).unwrap();
    assert_eq!(repeated.code(), "GATE_QUARANTINED_ALL");
    assert!(next.judge(all(20)).is_err() && next.judge(all(19)).is_ok());
    next.admitted();
    assert!(
        open(root.path(), None)
            .unwrap()
            .close(Decisions::default())
            .is_none()
    );
    next.close(all(20));
    clear_verdict(root.path()).unwrap();
    assert!(!open(root.path(), None).unwrap().is_judged_all());
}

#[test]
fn a_thousand_and_nothing_else_is_all() {
    let book = GateBook::default();
    assert!(book.judge(all(999)).is_ok());
    assert!(book.judge(all(1_000)).is_err());
    let known = Decisions {
        duplicate: 1,
        ..all(1_000)
    };
    assert!(book.judge(known).is_ok());
}

#[test]
fn a_reason_is_told_of_once_a_second_and_at_the_end() {
    let mut book = GateBook::default();
    let now = durable::TokioClock.now();
    quarantine(&mut book, 0..1).unwrap();
    let first = book.tell(now, false);
    assert_eq!((first.len(), first[0].events), (1, 1));
    quarantine(&mut book, 1..5).unwrap();
    assert!(book.tell(now, false).is_empty());
    let later = book.tell(now + TELL, false);
    assert_eq!((later[0].events, later[0].in_all), (4, 5));
    assert_eq!(later[0].example.row, 1);
    quarantine(&mut book, 5..6).unwrap();
    assert_eq!(book.tell(now + TELL, true).len(), 1);
    assert!(book.tell(now + TELL, true).is_empty());
    let report = book.report().unwrap();
    assert_eq!(report.by_reason[0].first.len(), EXAMPLES);
    assert_eq!(report.by_reason[0].reason_code, "SCHEMA_FAIL");
}
