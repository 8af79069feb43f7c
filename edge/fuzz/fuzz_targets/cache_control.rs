//! Fuzzes `Cache-Control` of either side.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::cache_control(data));
