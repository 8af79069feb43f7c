//! Where the last frame of a FLAC file ends (RFC 9639 section 9).
//!
//! Some taggers leave bytes behind the sound, which a decoder that looks for the next frame would
//! take for a part of the last one.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Bytes at the end of the file in which the last frame is looked for. Frames of 4,608 samples in
/// eight channels of 24 bits fit.
const TAIL_BYTES: u64 = 256 * 1024;

/// The offset one past the last whole frame in `start..end` of a file, or `end` if none is found.
///
/// # Errors
/// If the file can't be read.
pub(super) fn find(file: &mut File, start: u64, end: u64) -> io::Result<u64> {
    let from = start.max(end.saturating_sub(TAIL_BYTES));
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.take(end - from).read_to_end(&mut tail)?;
    let last = (0..tail.len()).rev().find(|at| is_frame(&tail[*at..]));
    Ok(last
        .and_then(|at| Some(from + at as u64 + frame_len(&tail[at..])?))
        .unwrap_or(end))
}

/// Whether a frame header with the right checksum starts here (section 9.1).
fn is_frame(bytes: &[u8]) -> bool {
    let [0xff, 0xf8 | 0xf9, sizes, channels, rest @ ..] = bytes else {
        return false;
    };
    let (block, rate) = (sizes >> 4, sizes & 15);
    if block == 0 || rate == 15 || channels & 1 != 0 || channels >> 4 > 10 {
        return false;
    }
    // The frame or sample number is coded like UTF-8, in up to seven bytes.
    let number = match rest.first().map(|first| first.leading_ones()) {
        Some(0) => 1,
        Some(n @ 2..=7) => n as usize,
        _ => return false,
    };
    let extra = |code: u8, one: &[u8], two: &[u8]| {
        usize::from(one.contains(&code)) + 2 * usize::from(two.contains(&code))
    };
    let (block, rate) = (extra(block, &[6], &[7]), extra(rate, &[12], &[13, 14]));
    let len = 4 + number + block + rate;
    bytes.get(..=len).is_some_and(|header| crc8(header) == 0)
}

/// Bytes up to the last place where the frame's checksum, which ends it, comes out as zero.
fn frame_len(bytes: &[u8]) -> Option<u64> {
    let (mut crc, mut end) = (0u16, None);
    for (n, byte) in bytes.iter().enumerate() {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 != 0 {
                crc << 1 ^ 0x8005
            } else {
                crc << 1
            };
        }
        // A header alone is no frame.
        if crc == 0 && n > 8 {
            end = Some(n as u64 + 1);
        }
    }
    end
}

/// CRC-8 with polynomial 0x07; zero over a header that includes its checksum.
fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ byte,
            |c, _| if c & 0x80 != 0 { c << 1 ^ 7 } else { c << 1 },
        )
    })
}
