//! Fuzzes a `Content-Range` field.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::content_range(data));
