//! A request on the control socket.
#![no_main]

use wsp::control::Request;
use wsp_fuzz::json::Tree;

/// A request is no longer than this, its line feed included.
const LONGEST: usize = 4_096;

libfuzzer_sys::fuzz_target!(|line: &[u8]| {
    // The socket reads no more, and no other, than one line.
    if line.len() >= LONGEST || line.contains(&b'\n') {
        return;
    }
    match Request::parse(line) {
        Ok(request) => {
            let tree = Tree::parse_unique(line).expect("a request is one JSON object");
            assert_eq!(tree.get("version"), Some(&Tree::Unsigned(1)));
            let act = tree.get("act").and_then(Tree::text).expect("an act");
            let given: Vec<&str> = tree
                .fields()
                .filter(|(_, value)| **value != Tree::Null)
                .map(|(name, _)| name)
                .collect();
            let needs = match act {
                "step" | "pause_after" => Some("events"),
                "pace" => Some("speedup")
                    .filter(|name| given.contains(name))
                    .or(Some("rate")),
                _ => None,
            };
            assert_eq!(given.len(), 2 + usize::from(needs.is_some()), "{given:?}");
            assert!(needs.is_none_or(|name| given.contains(&name)), "{given:?}");
            let again = request.to_line();
            assert!(
                again.len() <= LONGEST,
                "it is {} bytes when written again",
                again.len()
            );
            assert_eq!(again.find('\n'), Some(again.len() - 1), "it is one line");
            assert_eq!(Request::parse(again.as_bytes()), Ok(request));
        }
        Err(why) => assert!(
            !why.is_empty() && why.len() < 2 * LONGEST,
            "{} bytes",
            why.len()
        ),
    }
});
