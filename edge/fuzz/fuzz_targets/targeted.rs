//! Fuzzes a targeted cache control field, a structured dictionary (RFC 9213, 9651).
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::targeted(data));
