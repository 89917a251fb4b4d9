//! A part of JSON lines through `open_rows`.
//!
//! The first byte of an input chooses batch size and first row; the rest is the part.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some((pick, part)) = input.split_first() {
        wsp_fuzz::parts::keeps_the_laws("jsonl", part, *pick);
    }
});
