//! Fuzzes a token's bytes below base64.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::envelope(data));
