//! Fuzzes a QPACK field section.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::qpack(data));
