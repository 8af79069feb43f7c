//! Fuzzes HPACK field sections.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::hpack(data));
