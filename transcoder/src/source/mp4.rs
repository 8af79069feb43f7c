//! What an MP4 file says about the valid part of its sound: edit lists and iTunSMPB.
//!
//! A small bounded walk over `moov` (ISO/IEC 14496-12). Samples themselves are read elsewhere.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::error::Error;
use super::window::Tail;

/// Largest `moov` that is read, in bytes.
const MAX_MOOV_BYTES: u64 = 256 * 1024 * 1024;
/// Top-level boxes looked at before giving up on `moov`.
const MAX_TOP_LEVEL_BOXES: usize = 1 << 20;
/// Edits of a track that are read.
const MAX_EDITS: usize = 1024;

/// A `moov` box, as far as trimming needs it.
#[derive(Debug, Default)]
pub(super) struct Movie {
    /// Ticks per second of edit durations.
    timescale: u32,
    tracks: Vec<Track>,
    smpb: Option<Smpb>,
}

#[derive(Debug, Default)]
struct Track {
    id: u32,
    timescale: u32,
    edits: Vec<Edit>,
    /// Bytes of all its samples, where there is a sample table.
    bytes: u64,
}

/// One entry of `elst` (section 8.6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edit {
    /// In ticks of the movie timescale; 0 means to the end.
    duration: u64,
    /// In ticks of the media timescale; −1 is an empty edit.
    media_time: i64,
}

/// Apple's `iTunSMPB`: figures in samples of the encoder's rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Smpb {
    /// Encoder delay.
    pub(super) delay: u64,
    /// Valid samples.
    pub(super) valid: u64,
}

impl Smpb {
    /// Reads the text of the tag: hexadecimal words `0 delay padding valid …`.
    pub(super) fn parse(text: &str) -> Option<Smpb> {
        let mut words = text.split_whitespace().skip(1);
        let mut word = || u64::from_str_radix(words.next()?, 16).ok();
        let (delay, _padding, valid) = (word()?, word()?, word()?);
        (delay < 1 << 20 && valid > 0).then_some(Smpb { delay, valid })
    }
}

impl Movie {
    /// Reads `moov` of the file, wherever it is.
    ///
    /// # Errors
    /// [`Error::Damaged`] if there is none, [`Error::AbsurdHeader`] if it is too large.
    pub(super) fn read(file: &mut File, start: u64) -> Result<Movie, Error> {
        let len = file.metadata()?.len();
        let mut at = start;
        for _ in 0..MAX_TOP_LEVEL_BOXES {
            let mut header = [0; 16];
            file.seek(SeekFrom::Start(at))?;
            let got = file.by_ref().take(16).read(&mut header)?;
            let size = match u32::from_be_bytes([header[0], header[1], header[2], header[3]]) {
                _ if got < 8 => break,
                0 => len - at,
                1 => u64::from_be_bytes(array(&header[8..])),
                size => u64::from(size),
            };
            if &header[4..8] == b"moov" {
                return Movie::load(file, at, size, len);
            }
            match at.checked_add(size.max(8)) {
                Some(next) if next < len => at = next,
                _ => break,
            }
        }
        Err(Error::damaged(
            "its index (the moov box) is missing, so the file is cut off",
        ))
    }

    fn load(file: &mut File, at: u64, size: u64, len: u64) -> Result<Movie, Error> {
        if size > MAX_MOOV_BYTES {
            return Err(Error::AbsurdHeader {
                field: "the size of its index (moov)".into(),
                value: format!("{size} bytes"),
                allowed: format!("0–{MAX_MOOV_BYTES}"),
            });
        }
        if at + size > len {
            return Err(Error::damaged("its index (the moov box) is cut off"));
        }
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(at))?;
        file.take(size).read_to_end(&mut bytes)?;
        Ok(Movie::parse(bytes.get(8..).unwrap_or_default()))
    }

    fn parse(moov: &[u8]) -> Movie {
        let mut movie = Movie::default();
        for (kind, body) in Boxes(moov) {
            match &kind {
                b"mvhd" => movie.timescale = header_timescale(body).unwrap_or(0),
                b"trak" => movie.tracks.push(Track::parse(body)),
                b"udta" => movie.smpb = movie.smpb.or_else(|| find_smpb(body)),
                _ => {}
            }
        }
        movie
    }

    /// Frames to skip and where the sound ends, in frames at `rate`, for that track.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the edit list takes the sound apart.
    pub(super) fn trim(&self, track: u32, rate: u32, is_aac: bool) -> Result<(u64, Tail), Error> {
        if let (Some(smpb), true) = (self.smpb, is_aac) {
            return Ok((smpb.delay, Tail::Exactly(smpb.valid)));
        }
        let Some(track) = self.tracks.iter().find(|t| t.id == track) else {
            return Ok((0, Tail::Open));
        };
        let Some(edit) = self.one_edit(track)? else {
            return Ok((0, Tail::Open));
        };
        let skip = scale(edit.media_time.unsigned_abs(), rate, track.timescale);
        if edit.duration == 0 || self.timescale == 0 {
            return Ok((skip, Tail::Open));
        }
        let frames = scale(edit.duration, rate, self.timescale);
        let tick = u64::from(rate.div_ceil(self.timescale));
        Ok((skip, Tail::Edit { frames, tick }))
    }

    /// Bytes of that track's samples by its sample table.
    pub(super) fn bytes(&self, track: u32) -> Option<u64> {
        self.tracks
            .iter()
            .find(|t| t.id == track)
            .map(|t| t.bytes)
            .filter(|bytes| *bytes > 0)
    }

    /// The edits as one, if they follow each other in the media.
    fn one_edit(&self, track: &Track) -> Result<Option<Edit>, Error> {
        // Empty edits delay the sound against a picture; there is none here.
        let mut edits = track.edits.iter().filter(|e| e.media_time >= 0);
        let Some(mut whole) = edits.next().copied() else {
            return Ok(None);
        };
        for edit in edits {
            let end = whole.media_time.unsigned_abs()
                + scale(whole.duration, track.timescale, self.timescale);
            let gap = end.abs_diff(edit.media_time.unsigned_abs());
            if scale(gap, self.timescale, track.timescale) > 1 {
                return Err(Error::Unsupported {
                    codec: "MP4 with an edit list that rearranges the sound".to_owned(),
                });
            }
            whole.duration += edit.duration;
        }
        Ok(Some(whole))
    }
}

impl Track {
    fn parse(trak: &[u8]) -> Track {
        let mut track = Track::default();
        for (kind, body) in Boxes(trak) {
            match &kind {
                b"tkhd" => track.id = header_track_id(body).unwrap_or(0),
                b"edts" => {
                    let elst = Boxes(body).find(|(kind, _)| kind == b"elst");
                    track.edits = elst.map_or(Vec::new(), |(_, body)| parse_elst(body));
                }
                b"mdia" => {
                    let mdhd = Boxes(body).find(|(kind, _)| kind == b"mdhd");
                    track.timescale = mdhd.and_then(|(_, b)| header_timescale(b)).unwrap_or(0);
                    track.bytes = sample_bytes(body).unwrap_or(0);
                }
                _ => {}
            }
        }
        track
    }
}

/// `n` ticks of `from` in ticks of `to`, rounded.
fn scale(n: u64, to: u32, from: u32) -> u64 {
    let from = u128::from(from.max(1));
    let scaled = (u128::from(n) * u128::from(to) + from / 2) / from;
    u64::try_from(scaled)
        .unwrap_or(u64::MAX / 4)
        .min(u64::MAX / 4)
}

fn parse_elst(body: &[u8]) -> Vec<Edit> {
    let version = body.first().copied().unwrap_or(0);
    let entries = body.get(8..).unwrap_or_default();
    let edit = |entry: &[u8]| match version {
        1 => Edit {
            duration: u64::from_be_bytes(array(entry)),
            media_time: i64::from_be_bytes(array(&entry[8..])),
        },
        _ => Edit {
            duration: u64::from(u32::from_be_bytes(array(entry))),
            media_time: i64::from(i32::from_be_bytes(array(&entry[4..]))),
        },
    };
    let size = if version == 1 { 20 } else { 12 };
    entries
        .chunks_exact(size)
        .take(MAX_EDITS)
        .map(edit)
        .collect()
}

/// Sum of `minf/stbl/stsz` (section 8.7.3.2).
fn sample_bytes(mdia: &[u8]) -> Option<u64> {
    let child = |body, name: &[u8; 4]| Boxes(body).find(|(kind, _)| kind == name).map(|(_, b)| b);
    let stsz = child(child(child(mdia, b"minf")?, b"stbl")?, b"stsz")?;
    let word = |at: usize| Some(u32::from_be_bytes(array(stsz.get(at..at + 4)?)));
    match (word(4)?, word(8)?) {
        (0, _) => {
            let sizes = stsz.get(12..)?.chunks_exact(4);
            Some(
                sizes
                    .map(|size| u64::from(u32::from_be_bytes(array(size))))
                    .sum(),
            )
        }
        (size, count) => Some(u64::from(size) * u64::from(count)),
    }
}

/// Timescale of `mvhd` and `mdhd`, which agree up to it.
fn header_timescale(body: &[u8]) -> Option<u32> {
    let offset = if *body.first()? == 1 { 20 } else { 12 };
    Some(u32::from_be_bytes(array(body.get(offset..offset + 4)?)))
}

fn header_track_id(body: &[u8]) -> Option<u32> {
    let offset = if *body.first()? == 1 { 20 } else { 12 };
    Some(u32::from_be_bytes(array(body.get(offset..offset + 4)?)))
}

/// `udta/meta/ilst/----` with the name `iTunSMPB`.
fn find_smpb(udta: &[u8]) -> Option<Smpb> {
    let (_, meta) = Boxes(udta).find(|(kind, _)| kind == b"meta")?;
    let (_, ilst) = Boxes(meta.get(4..)?).find(|(kind, _)| kind == b"ilst")?;
    Boxes(ilst)
        .filter(|(kind, _)| kind == b"----")
        .find_map(|(_, item)| {
            let named = Boxes(item).any(|(kind, b)| &kind == b"name" && b.ends_with(b"iTunSMPB"));
            let (_, data) = Boxes(item).find(|(kind, _)| kind == b"data")?;
            let text = std::str::from_utf8(data.get(8..)?).ok()?;
            named.then(|| Smpb::parse(text)).flatten()
        })
}

/// The first `N` bytes, which the caller has checked to be there; zeroes otherwise.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes
        .get(..N)
        .and_then(|b| b.try_into().ok())
        .unwrap_or([0; N])
}

/// The boxes in a run of bytes, as type and body. Ends at the first that doesn't fit.
struct Boxes<'a>(&'a [u8]);

impl<'a> Iterator for Boxes<'a> {
    type Item = ([u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.0;
        let kind = array(bytes.get(4..8)?);
        let (header, size) = match u32::from_be_bytes(array(bytes)) {
            0 => (8, bytes.len() as u64),
            1 => (16, u64::from_be_bytes(array(bytes.get(8..16)?))),
            size => (8, u64::from(size)),
        };
        let size = usize::try_from(size).ok()?;
        let body = bytes.get(header..size)?;
        self.0 = &bytes[size..];
        Some((kind, body))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn movie(movie_timescale: u32, edits: &[(u64, i64)]) -> Movie {
        let edits = edits.iter().map(|&(duration, media_time)| Edit {
            duration,
            media_time,
        });
        let edits = edits.collect();
        let track = Track {
            id: 1,
            timescale: 44_100,
            edits,
            bytes: 0,
        };
        Movie {
            timescale: movie_timescale,
            tracks: vec![track],
            smpb: None,
        }
    }

    #[test]
    fn an_edit_becomes_a_skip_and_a_length_at_the_tracks_rate() {
        let (skip, tail) = movie(1000, &[(2000, 1024)]).trim(1, 44_100, true).unwrap();
        assert_eq!(
            (skip, tail),
            (
                1024,
                Tail::Edit {
                    frames: 88_200,
                    tick: 45
                }
            )
        );
        let (skip, _) = movie(1000, &[(500, -1), (2000, 1024)])
            .trim(1, 88_200, true)
            .unwrap();
        assert_eq!(skip, 2048);
        assert_eq!(
            movie(1000, &[]).trim(1, 44_100, true).unwrap(),
            (0, Tail::Open)
        );
    }

    #[test]
    fn edits_in_a_row_are_one_and_others_are_refused() {
        let two = movie(44_100, &[(1000, 0), (500, 1000)])
            .trim(1, 44_100, false)
            .unwrap();
        assert_eq!(
            two,
            (
                0,
                Tail::Edit {
                    frames: 1500,
                    tick: 1
                }
            )
        );
        let torn = movie(44_100, &[(1000, 0), (500, 9000)]).trim(1, 44_100, false);
        assert!(matches!(torn, Err(Error::Unsupported { .. })));
    }

    #[test]
    fn itunsmpb_is_read_as_itunes_writes_it() {
        let text = " 00000000 00000840 000001CA 00000000003F31F6 00000000 00000000";
        assert_eq!(
            Smpb::parse(text),
            Some(Smpb {
                delay: 2112,
                valid: 0x3f_31f6
            })
        );
        assert_eq!(Smpb::parse("nonsense"), None);
    }

    #[test]
    fn boxes_never_leave_their_bytes() {
        assert_eq!(Boxes(&[0, 0, 0, 200, b'm', b'o', b'o', b'v', 1]).count(), 0);
        assert_eq!(Boxes(&[0, 0, 0, 3, b'm', b'o', b'o', b'v']).count(), 0);
        assert_eq!(Boxes(&[0, 0, 0, 9, b'f', b'r', b'e', b'e', 1]).count(), 1);
    }
}
