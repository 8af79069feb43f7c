//! Fuzzes the frames of an HTTP/3 request stream.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::h3_request(data));
