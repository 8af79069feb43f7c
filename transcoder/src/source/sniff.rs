//! What kind of file this is, by its bytes: where the sound's container starts and ends.
//!
//! Names are never looked at. MPEG and ADTS streams have no magic number, so a run of frame headers
//! that agree with each other and follow at the right distances stands in for one; a single sync
//! word occurs in any picture.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::error::Error;
use super::flac_end;

/// Bytes searched for the first MPEG or ADTS frame.
const HEAD_BYTES: u64 = 256 * 1024;
/// Frame headers in a row that make an MPEG or ADTS stream.
const RUN: usize = 4;
/// ID3v2 tags skipped in a row; some taggers add one more each time.
const MAX_ID3_TAGS: usize = 16;

/// A container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Wav,
    Aiff,
    Flac,
    Ogg,
    Mp4,
    Matroska,
    Caf,
    Mpeg,
    Adts,
}

impl Kind {
    /// The name in [`Format::container`](super::Format::container).
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Wav => "wav",
            Kind::Aiff => "aiff",
            Kind::Flac => "flac",
            Kind::Ogg => "ogg",
            Kind::Mp4 => "mp4",
            Kind::Matroska => "mkv",
            Kind::Caf => "caf",
            Kind::Mpeg => "mp3",
            Kind::Adts => "adts",
        }
    }
}

/// A container and the bytes `start..end` that it takes up in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sniffed {
    pub(super) kind: Kind,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Looks at the beginning (and for MPEG, the end) of a file.
///
/// # Errors
/// [`Error::ZeroBytes`], [`Error::NotAudio`], [`Error::Unsupported`] or [`Error::Io`].
pub(super) fn sniff(file: &mut File) -> Result<Sniffed, Error> {
    let len = file.metadata()?.len();
    if len == 0 {
        return Err(Error::ZeroBytes);
    }
    let start = skip_id3v2(file, len)?;
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.take(HEAD_BYTES).read_to_end(&mut head)?;
    let end = trailing_tags(file, start, len)?;
    if let Some(kind) = by_magic(&head)? {
        let end = match kind {
            Kind::Flac => flac_end::find(file, start, end)?,
            _ => len,
        };
        return Ok(Sniffed { kind, start, end });
    }
    let body = &head[..head.len().min((end - start) as usize)];
    let whole = end - start <= HEAD_BYTES;
    for kind in [Kind::Mpeg, Kind::Adts] {
        if let Some(offset) = find_run(body, kind, whole) {
            return Ok(Sniffed {
                kind,
                start: start + offset as u64,
                end,
            });
        }
    }
    Err(Error::NotAudio)
}

/// Offset after all ID3v2 tags at the beginning (ID3v2.4 section 3.1).
fn skip_id3v2(file: &mut File, len: u64) -> Result<u64, Error> {
    let mut start = 0;
    for _ in 0..MAX_ID3_TAGS {
        let mut header = [0; 10];
        file.seek(SeekFrom::Start(start))?;
        if start + 10 > len || file.read_exact(&mut header).is_err() || &header[..3] != b"ID3" {
            break;
        }
        let size = header[6..]
            .iter()
            .fold(0, |n, b| n << 7 | u64::from(b & 0x7f));
        let footer = if header[5] & 0x10 != 0 { 10 } else { 0 };
        start += 10 + size + footer;
        if start >= len {
            return Err(Error::NotAudio);
        }
    }
    Ok(start)
}

/// Offset where ID3v1 and APEv2 tags at the end begin.
fn trailing_tags(file: &mut File, start: u64, len: u64) -> Result<u64, Error> {
    let mut end = len;
    let mut read_back = |end: u64, n: u64| -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        if end >= start + n {
            file.seek(SeekFrom::Start(end - n))?;
            file.take(n).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    };
    if read_back(end, 128)?.starts_with(b"TAG") {
        end -= 128;
    }
    let footer = read_back(end, 32)?;
    if footer.starts_with(b"APETAGEX") {
        let size = u64::from(u32::from_le_bytes([
            footer[12], footer[13], footer[14], footer[15],
        ]));
        let header = if footer[23] & 0x80 != 0 { 32 } else { 0 };
        if end >= start + size + header {
            end -= size + header;
        }
    }
    Ok(end)
}

fn by_magic(head: &[u8]) -> Result<Option<Kind>, Error> {
    let at = |offset: usize, magic: &[u8]| {
        head.get(offset..)
            .is_some_and(|rest| rest.starts_with(magic))
    };
    let unsupported = |codec: &str| {
        Err(Error::Unsupported {
            codec: codec.to_owned(),
        })
    };
    if at(0, b"RIFF") && at(8, b"WAVE") {
        return Ok(Some(Kind::Wav));
    }
    if at(0, b"FORM") && (at(8, b"AIFF") || at(8, b"AIFC")) {
        return Ok(Some(Kind::Aiff));
    }
    for (offset, magic, kind) in [
        (0, &b"fLaC"[..], Kind::Flac),
        (0, b"OggS", Kind::Ogg),
        (4, b"ftyp", Kind::Mp4),
        (0, b"\x1a\x45\xdf\xa3", Kind::Matroska),
        (0, b"caff", Kind::Caf),
    ] {
        if at(offset, magic) {
            return Ok(Some(kind));
        }
    }
    for (magic, name) in [
        (&b"RF64"[..], "RF64 (a WAV above 4 GiB)"),
        (b"BW64", "BW64 (a WAV above 4 GiB)"),
        (b"riff\x2e\x91\xcf\x11", "Wave64"),
        (b"MAC ", "Monkey's Audio"),
        (b"wvpk", "WavPack"),
        (b"TTA1", "True Audio"),
        (b"MPCK", "Musepack"),
        (b"MP+", "Musepack"),
        (b"DSD ", "DSD"),
        (b"FRM8", "DSD"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media Audio"),
    ] {
        if at(0, magic) {
            return unsupported(name);
        }
    }
    Ok(None)
}

/// Offset of the first of [`RUN`] consecutive frames; fewer will do where the whole file is that
/// short and the frames fill it.
fn find_run(body: &[u8], kind: Kind, whole: bool) -> Option<usize> {
    (0..body.len().saturating_sub(6)).find(|first| {
        let mut at = *first;
        let mut identity = None;
        for _ in 0..RUN {
            let Some((len, id)) = body.get(at..).and_then(|rest| frame(rest, kind)) else {
                // A file that ends within or right after its frames.
                return whole && at + 6 >= body.len() && at > *first;
            };
            if *identity.get_or_insert(id) != id {
                return false;
            }
            at += len;
        }
        true
    })
}

/// Length of the frame in bytes and what must not change from frame to frame.
fn frame(bytes: &[u8], kind: Kind) -> Option<(usize, u32)> {
    match kind {
        Kind::Adts => adts_frame(bytes),
        _ => mpeg_frame(bytes),
    }
}

/// ISO/IEC 13818-7 section 6.2.
fn adts_frame(bytes: &[u8]) -> Option<(usize, u32)> {
    let b = bytes.get(..7)?;
    let len = usize::from(b[3] & 3) << 11 | usize::from(b[4]) << 3 | usize::from(b[5]) >> 5;
    let rate = b[2] >> 2 & 15;
    (b[0] == 0xff && b[1] & 0xf6 == 0xf0 && rate < 13 && len > 7)
        .then(|| (len, u32::from(b[1]) << 8 | u32::from(b[2] & 0xfc)))
}

/// ISO/IEC 11172-3 section 2.4.2.3; free format (bit rate index 0) is left out.
fn mpeg_frame(bytes: &[u8]) -> Option<(usize, u32)> {
    const V1: [[u32; 14]; 3] = [
        [
            32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448,
        ],
        [
            32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384,
        ],
        [
            32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
        ],
    ];
    const V2: [[u32; 14]; 2] = [
        [
            32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256,
        ],
        [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    let b = bytes.get(..4)?;
    let (version, layer) = (b[1] >> 3 & 3, 4 - (b[1] >> 1 & 3));
    let (bitrate, rate) = (usize::from(b[2] >> 4), usize::from(b[2] >> 2 & 3));
    if b[0] != 0xff || b[1] < 0xe0 || version == 1 || layer == 4 || rate == 3 {
        return None;
    }
    let row = if version == 3 {
        &V1[usize::from(layer) - 1]
    } else {
        &V2[usize::from(layer > 1)]
    };
    let bitrate = row.get(bitrate.checked_sub(1)?)? * 1000;
    let divisor = [4, 1, 2, 1][usize::from(version)];
    let rate = [44_100, 48_000, 32_000][rate] / divisor;
    let padding = u32::from(b[2] >> 1 & 1);
    let len = match layer {
        1 => (12 * bitrate / rate + padding) * 4,
        3 if version != 3 => 72 * bitrate / rate + padding,
        _ => 144 * bitrate / rate + padding,
    };
    Some((
        len as usize,
        u32::from(b[1] & 0xfe) << 8 | u32::from(b[2] & 0x0c),
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_run_of_frames_is_found_behind_junk_and_a_lone_sync_word_is_not() {
        // MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes.
        let mut frame = vec![0; 417];
        frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x64]);
        assert_eq!(mpeg_frame(&frame).unwrap().0, 417);
        let mut file = vec![7; 100];
        file.extend_from_slice(&frame);
        file.extend(vec![7; 2000]);
        assert_eq!(find_run(&file, Kind::Mpeg, true), None);
        let mut file = vec![7; 100];
        (0..4).for_each(|_| file.extend_from_slice(&frame));
        file.extend(vec![7; 2000]);
        assert_eq!(find_run(&file, Kind::Mpeg, false), Some(100));
        assert_eq!(find_run(&frame.repeat(2), Kind::Mpeg, true), Some(0));
    }

    #[test]
    fn adts_headers_give_their_length() {
        // AAC-LC, 44.1 kHz, stereo, 371 bytes.
        let header = [0xff, 0xf1, 0x50, 0x80, 0x2e, 0x7f, 0xfc];
        assert_eq!(adts_frame(&header).unwrap().0, 371);
        assert_eq!(adts_frame(&[0xff, 0xfb, 0x90, 0x64, 0, 0, 0]), None);
    }
}
