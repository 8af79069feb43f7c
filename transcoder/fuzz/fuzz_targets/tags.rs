//! Fuzzes tags and covers of any format.
#![no_main]

use std::io::Write as _;

libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |data: &[u8]| {
    let Ok(mut file) = tempfile::NamedTempFile::new() else { return };
    if file.write_all(data).is_err() {
        return;
    }
    let (tags, cover) = transcoder::tags::read(file.path());
    assert!(!tags.title.is_empty(), "a file without tags is called as it is");
    assert!(cover.is_none_or(|cover| cover.bytes.len() as u64 <= transcoder::tags::MAX_COVER_BYTES));
});
