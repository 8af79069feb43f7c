//! Fuzzes CMCD of a player.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::cmcd(data));
