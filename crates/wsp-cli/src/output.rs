//! Standard output: one JSON object, and nothing else.

use std::io::Write;

use serde::Serialize;

/// Prints one JSON object on standard output.
///
/// A reader that has gone away is no failure of the command.
pub fn print(value: &impl Serialize) {
    let mut out = std::io::stdout().lock();
    let _ = serde_json::to_writer(&mut out, value).map_err(std::io::Error::from);
    let _ = out.write_all(b"\n").and_then(|()| out.flush());
}
