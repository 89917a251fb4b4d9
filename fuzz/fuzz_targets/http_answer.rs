//! The answer of a gate, head and body, beside hyper.
//!
//! The first byte of an input says how many bytes come at once.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some((step, bytes)) = input.split_first() {
        wsp_fuzz::gate::keeps_the_laws(bytes, usize::from(*step));
    }
});
