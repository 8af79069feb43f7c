//! Fuzzes a unidirectional HTTP/3 stream.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::h3_control(data));
