//! A Parquet part through `open_rows`, beside the `parquet` crate's own reader.
//!
//! The last byte of an input chooses batch size and first row; the rest is the part.
#![no_main]

libfuzzer_sys::fuzz_target!(init: wsp_fuzz::parts::let_decoders_panic(), |input: &[u8]| {
    if let Some((pick, part)) = input.split_last() {
        wsp_fuzz::parts::keeps_the_laws("parquet", part, *pick);
    }
});
