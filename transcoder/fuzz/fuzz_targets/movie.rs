//! Fuzzes what is in a `moov` box: edit lists, iTunSMPB, sample tables.
#![no_main]

use std::io::Write as _;

use transcoder::source::{Limits, Source};

libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |data: &[u8]| {
    let Ok(mut file) = tempfile::tempfile() else { return };
    let length = (data.len() as u32 + 8).to_be_bytes();
    let brand = b"\0\0\0\x10ftypM4A \0\0\0\0";
    let sound = [b"\0\0\x04\x08mdat".as_slice(), &[0; 1024]].concat();
    for part in [brand.as_slice(), &length, b"moov", data, &sound] {
        if file.write_all(part).is_err() {
            return;
        }
    }
    if let Ok(mut source) = Source::read(file, &Limits::default()) {
        while let Ok(Some(block)) = source.next() {
            assert!(block.frames() > 0);
        }
    }
});
