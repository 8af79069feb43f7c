//! Fuzzes whole files: sniffing, containers, codecs, trimming (LAME tags, edit lists, granules).
//! Decoders of others may panic where it is caught; nothing else may, and nothing may hang.
#![no_main]

use std::io::Write as _;

use transcoder::source::{Limits, Source};

/// Blocks that are decoded: enough to come behind the beginning.
const BLOCKS: usize = 64;

libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |data: &[u8]| {
    let Ok(mut file) = tempfile::tempfile() else { return };
    if file.write_all(data).is_err() {
        return;
    }
    let Ok(mut source) = Source::read(file, &Limits::default()) else { return };
    let channels = source.format().block_channels();
    for _ in 0..BLOCKS {
        match source.next() {
            Ok(Some(block)) => {
                assert!(block.frames() > 0);
                assert_eq!(block.samples.len(), channels);
            }
            Ok(None) | Err(_) => break,
        }
    }
});
