//! Fuzzes a token's claims.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::claims(data));
