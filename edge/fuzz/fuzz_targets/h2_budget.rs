//! Fuzzes HTTP/2 frame headers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::h2_budget(data));
