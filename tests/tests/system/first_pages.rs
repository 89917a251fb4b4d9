//! What a service's author asks is answered from the first page of a crate: each question stands
//! there beside the item that answers it.

use std::path::Path;

/// The crate, the question as its page asks it, and the item that answers.
const ASKED: [(&str, &str, &str); 14] = [
    ("gates", "may I read this world?", "[`attest`]"),
    ("gates", "why not, and what do I do?", "[`AttestError`]"),
    (
        "envelope",
        "what is this event's id?",
        "[`EventId::of_payload`]",
    ),
    ("envelope", "is this an envelope", "[`validate`]"),
    ("oracle-store", "from when to when?", "[`part_span`]"),
    ("oracle-store", "from noon on?", "[`open_rows_from`]"),
    ("push", "how do I push an event?", "[`Pusher::push`]"),
    ("push", "has the gate taken it?", "[`PushOutcome`]"),
    ("checkpoint", "where am I?", "[`CheckpointStore::load`]"),
    ("wsp", "where am I?", "[`cursors::show`]"),
    ("wsp", "why does it stand still?", "[`Progress`]"),
    ("wsp", "stop now", "[`Stream::ending`]"),
    (
        "wsp",
        "a stream without a profile",
        "StreamRequest::builder",
    ),
    ("replay", "does a retry help?", "[`Refusal`]"),
];

/// The documentation of a crate's root.
fn first_page(name: &str) -> String {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let text = std::fs::read_to_string(crates.join(name).join("src/lib.rs")).unwrap();
    let page = text.lines().take_while(|line| line.starts_with("//!"));
    page.collect::<Vec<_>>().join("\n")
}

#[test]
fn each_question_stands_beside_its_answer_on_a_first_page() {
    for (name, question, answer) in ASKED {
        let page = first_page(name);
        let asked = page.lines().find(|line| line.contains(question));
        let asked = asked.unwrap_or_else(|| panic!("{name} is not asked: {question}"));
        assert!(asked.contains(answer), "{asked}");
    }
}

#[test]
fn each_page_says_which_threads_stay() {
    for name in [
        "durable",
        "oracle-store",
        "gates",
        "envelope",
        "push",
        "checkpoint",
        "replay",
        "wsp",
    ] {
        let page = first_page(name);
        assert!(
            page.contains("thread"),
            "{name} does not say which threads stay"
        );
    }
}
