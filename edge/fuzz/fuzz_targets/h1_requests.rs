//! Fuzzes HTTP/1.1 request framing.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::h1_requests(data));
