//! Fuzzes a `Range` field.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::range(data));
