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
            let (needs, may): (&[&str], &[&str]) = match act {
                "step" | "pause_after" => (&["events"], &[]),
                "tap" => (&["events"], &["payload"]),
                "pause_at" => (&["event_time"], &[]),
                "resume_at" => (&["wall_time"], &[]),
                "watch" => (&[], &["every_ms"]),
                "pace" if given.contains(&"speedup") => (&["speedup"], &[]),
                "pace" => (&["rate"], &[]),
                _ => (&[], &[]),
            };
            assert!(needs.iter().all(|name| given.contains(name)), "{given:?}");
            let is_look = matches!(act, "status" | "watch");
            assert!(
                given.iter().all(|name| ["version", "act"].contains(name)
                    || needs.contains(name)
                    || may.contains(name)
                    || (*name == "on_behalf_of" && !is_look)),
                "{given:?}"
            );
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
