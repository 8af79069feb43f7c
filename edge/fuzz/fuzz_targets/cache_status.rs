//! Fuzzes `Cache-Status` as told, and fields that come with one.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::cache_status(data));
