//! What happened, line by line.

use std::time::Duration;

/// What happened, line by line, and its digest.
#[derive(Default)]
pub(crate) struct Trace {
    pub(crate) keeps_lines: bool,
    pub(crate) lines: Vec<String>,
    pub(crate) digest: u64,
}

impl Trace {
    pub(super) fn note(&mut self, at: Duration, line: &str) {
        // FNV-1a: two traces that differ anywhere have other digests.
        for byte in at.as_nanos().to_le_bytes().iter().chain(line.as_bytes()) {
            self.digest = (self.digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.keeps_lines {
            self.lines.push(format!("{:>15} {line}", at.as_nanos()));
        }
    }
}
