//! The chunks of an answer's body, beside hyper.
//!
//! The first byte of an input says how many bytes come at once.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some((step, chunks)) = input.split_first() {
        let head: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        wsp_fuzz::gate::keeps_the_laws(&[head, chunks].concat(), usize::from(*step));
    }
});
