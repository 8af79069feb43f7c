//! The head of a rendition file: `ftyp`, `moov` and `sidx`.
//!
//! Everything here is a function of the codec's configuration, the track's length and its loudness. No bit rate
//! is written (no `btrt`, zero rates in `esds`), so the renditions of one codec share a
//! byte-identical init segment and a player may switch between them without a new decoder.

use manifests::{Codec, R128, Segment};

use super::{boxes::Boxes, ludt::ludt};

/// What a decoder needs to know before the first sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// Opus in ISOBMFF 1.0.0 §4.3.2.
    Opus {
        /// Sample rate of the source, informative.
        input_rate: u32,
    },
    /// AAC-LC or HE-AAC.
    Aac {
        /// AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1).
        asc: Vec<u8>,
        /// Whether the stream carries spectral band replication.
        sbr: bool,
        /// Samples a frame, for the padding that iTunSMPB tells.
        frame: u32,
    },
    /// FLAC in ISOBMFF §3.3.2.
    Flac {
        /// STREAMINFO body (RFC 9639 §8.2).
        stream_info: [u8; 34],
        /// Bits per sample.
        bit_depth: u8,
    },
}

impl Config {
    fn codec(&self) -> Codec {
        match self {
            Config::Opus { .. } => Codec::Opus,
            Config::Aac { sbr: false, .. } => Codec::AacLc,
            Config::Aac { sbr: true, .. } => Codec::HeAac,
            Config::Flac { .. } => Codec::Flac,
        }
    }
}

/// Distance in frames that a decoder has to start before the first frame it presents
/// (`roll_distance`, ISO/IEC 14496-12 §10.1): 80 ms for Opus (Opus in ISOBMFF §4.3.6.2), the
/// overlap of one frame for AAC, nothing for FLAC.
pub(super) fn roll_distance(codec: Codec) -> Option<i16> {
    match codec {
        Codec::Opus => Some(-4),
        Codec::AacLc | Codec::HeAac => Some(-1),
        Codec::Flac => None,
    }
}

/// A rendition as its `moov` describes it.
#[derive(Clone, Debug)]
pub struct Description {
    /// Decoder configuration.
    pub config: Config,
    /// Ticks per second: the sample rate of the decoded sound.
    pub rate: u32,
    /// Channels of the decoded sound, 1 or 2.
    pub channels: u16,
    /// Ticks before the presentation's start.
    pub priming: u64,
    /// Ticks of sound.
    pub valid: u64,
    /// Loudness of the track, where it was measured.
    pub loudness: R128,
}

impl Description {
    /// Bits per sample, where the codec is lossless.
    pub fn bit_depth(&self) -> Option<u8> {
        match self.config {
            Config::Flac { bit_depth, .. } => Some(bit_depth),
            _ => None,
        }
    }

    /// The init segment: `ftyp` and `moov`.
    pub fn init(&self) -> Vec<u8> {
        let mut b = Boxes::new();
        self.ftyp(&mut b);
        b.plain(b"moov", |b| {
            self.mvhd(b);
            b.plain(b"trak", |b| self.trak(b));
            b.plain(b"mvex", |b| self.mvex(b));
            if let Config::Aac {
                frame, sbr: false, ..
            } = self.config
            {
                self.gapless_tag(b, frame);
            }
        });
        b.into_bytes()
    }

    /// The segment index (ISO/IEC 14496-12 §8.16.3) for segments that follow it directly. Times
    /// are presentation times: priming lies before the first.
    ///
    /// Returns `None` where there are more segments (65,535) or larger ones than the box can name.
    pub fn index(&self, segments: &[Segment]) -> Option<Vec<u8>> {
        let count = u16::try_from(segments.len()).ok()?;
        let mut b = Boxes::new();
        b.full(b"sidx", 0, 0, |b| {
            b.u32(TRACK_ID).u32(self.rate).u32(0).u32(0);
            b.u16(0).u16(count);
        });
        let mut bytes = b.into_bytes();
        for (n, segment) in segments.iter().enumerate() {
            let size = u32::try_from(segment.bytes.len)
                .ok()
                .filter(|s| s >> 31 == 0)?;
            let cut = if n == 0 { self.priming } else { 0 };
            let duration = u32::try_from(segment.duration.0.saturating_sub(cut)).ok()?;
            bytes.extend(size.to_be_bytes());
            bytes.extend(duration.to_be_bytes());
            // Starts with a stream access point of type 1, no delta.
            bytes.extend(0x9000_0000_u32.to_be_bytes());
        }
        let size = u32::try_from(bytes.len()).ok()?;
        bytes[..4].copy_from_slice(&size.to_be_bytes());
        Some(bytes)
    }

    fn ftyp(&self, b: &mut Boxes) {
        b.plain(b"ftyp", |b| {
            b.bytes(b"iso6").u32(0).bytes(b"iso6cmfcdash");
            match self.config {
                // Opus in ISOBMFF §4.2.
                Config::Opus { .. } => b.bytes(b"Opus"),
                // CMAF AAC core profile (ISO/IEC 23000-19 §10.4): AAC-LC, HE-AAC up to 48 kHz.
                Config::Aac { .. } => b.bytes(b"caac"),
                Config::Flac { .. } => b,
            };
        });
    }

    /// Movie timescale equals media timescale, so that the edit list loses nothing to rounding.
    fn mvhd(&self, b: &mut Boxes) {
        b.full(b"mvhd", 0, 0, |b| {
            b.u32(0).u32(0).u32(self.rate).u32(0);
            b.u32(0x0001_0000).u16(0x0100).zeros(10);
            matrix(b);
            b.zeros(24).u32(TRACK_ID + 1);
        });
    }

    fn mvex(&self, b: &mut Boxes) {
        b.full(b"mehd", 1, 0, |b| {
            b.u64(self.valid);
        });
        // Defaults are in each `tfhd`: a segment explains itself.
        b.full(b"trex", 0, 0, |b| {
            b.u32(TRACK_ID).u32(1).u32(0).u32(0).u32(0);
        });
    }

    fn trak(&self, b: &mut Boxes) {
        // Enabled, in movie, in preview.
        b.full(b"tkhd", 0, 7, |b| {
            b.u32(0).u32(0).u32(TRACK_ID).u32(0).u32(0).zeros(8);
            b.u16(0).u16(0).u16(0x0100).u16(0);
            matrix(b);
            b.u32(0).u32(0);
        });
        b.plain(b"edts", |b| self.elst(b));
        b.plain(b"mdia", |b| {
            b.full(b"mdhd", 0, 0, |b| {
                b.u32(0)
                    .u32(0)
                    .u32(self.rate)
                    .u32(0)
                    .u16(UNDETERMINED)
                    .u16(0);
            });
            b.full(b"hdlr", 0, 0, |b| {
                b.u32(0).bytes(b"soun").zeros(12).bytes(b"Segue\0");
            });
            b.plain(b"minf", |b| self.minf(b));
        });
        if self.loudness != R128::default() {
            b.plain(b"udta", |b| ludt(b, &self.loudness));
        }
    }

    /// Presents media time `priming .. priming + valid`.
    fn elst(&self, b: &mut Boxes) {
        let long = self.valid > u64::from(u32::MAX);
        b.full(b"elst", u8::from(long), 0, |b| {
            b.u32(1);
            if long {
                b.u64(self.valid).u64(self.priming);
            } else {
                b.u32(self.valid as u32).u32(self.priming as u32);
            }
            b.u16(1).u16(0);
        });
    }

    fn minf(&self, b: &mut Boxes) {
        b.full(b"smhd", 0, 0, |b| {
            b.u32(0);
        });
        b.plain(b"dinf", |b| {
            b.full(b"dref", 0, 0, |b| {
                b.u32(1);
                // The media is in this file.
                b.full(b"url ", 0, 1, |_| {});
            });
        });
        b.plain(b"stbl", |b| {
            b.full(b"stsd", 0, 0, |b| {
                b.u32(1);
                self.sample_entry(b);
            });
            for kind in [b"stts", b"stsc"] {
                b.full(kind, 0, 0, |b| {
                    b.u32(0);
                });
            }
            b.full(b"stsz", 0, 0, |b| {
                b.u32(0).u32(0);
            });
            b.full(b"stco", 0, 0, |b| {
                b.u32(0);
            });
            if let Some(distance) = roll_distance(self.config.codec()) {
                b.full(b"sgpd", 1, 0, |b| {
                    b.bytes(b"roll").u32(2).u32(1).u16(distance as u16);
                });
            }
        });
    }

    fn sample_entry(&self, b: &mut Boxes) {
        match &self.config {
            Config::Opus { input_rate } => b.plain(b"Opus", |b| {
                self.audio(b, 16, self.rate);
                b.plain(b"dOps", |b| {
                    b.u8(0).u8(self.channels as u8).u16(self.priming as u16);
                    b.u32(*input_rate).u16(0).u8(0);
                });
            }),
            Config::Aac { asc, .. } => b.plain(b"mp4a", |b| {
                self.audio(b, 16, self.rate);
                b.full(b"esds", 0, 0, |b| esds(b, asc));
            }),
            Config::Flac {
                stream_info,
                bit_depth,
            } => b.plain(b"fLaC", |b| {
                self.audio(b, u16::from(*bit_depth), expressible_rate(self.rate));
                b.full(b"dfLa", 0, 0, |b| {
                    // The last metadata block, STREAMINFO.
                    b.u8(0x80).u24(stream_info.len() as u32).bytes(stream_info);
                });
            }),
        }
    }

    /// AudioSampleEntry (ISO/IEC 14496-12 §12.2.3) without its box header.
    fn audio(&self, b: &mut Boxes, sample_size: u16, rate: u32) {
        b.zeros(6).u16(1).zeros(8);
        b.u16(self.channels)
            .u16(sample_size)
            .u16(0)
            .u16(0)
            .u32(rate << 16);
    }

    /// iTunSMPB below `udta`: priming, padding and length for players that know no edit list.
    /// Only in AAC-LC: in HE-AAC readers disagree on whose samples it counts, and ffmpeg 5 drops
    /// twice the priming, which is sound.
    fn gapless_tag(&self, b: &mut Boxes, frame: u32) {
        let coded = (self.priming + self.valid).next_multiple_of(u64::from(frame));
        let padding = coded - self.priming - self.valid;
        let mut text = format!(
            " 00000000 {:08X} {padding:08X} {:016X}",
            self.priming, self.valid
        );
        text.push_str(&" 00000000".repeat(8));
        b.plain(b"udta", |b| {
            b.full(b"meta", 0, 0, |b| {
                b.full(b"hdlr", 0, 0, |b| {
                    b.u32(0).bytes(b"mdirappl").zeros(9);
                });
                b.plain(b"ilst", |b| {
                    b.plain(b"----", |b| {
                        b.full(b"mean", 0, 0, |b| {
                            b.bytes(b"com.apple.iTunes");
                        });
                        b.full(b"name", 0, 0, |b| {
                            b.bytes(b"iTunSMPB");
                        });
                        // Type 1 is UTF-8; then the locale, none.
                        b.full(b"data", 0, 1, |b| {
                            b.u32(0).bytes(text.as_bytes());
                        });
                    });
                });
            });
        });
    }
}

/// The one track of a rendition file.
pub(super) const TRACK_ID: u32 = 1;

/// ISO 639-2/T code `und`, packed in three letters of five bits.
const UNDETERMINED: u16 = 0x55c4;

/// The unity transformation matrix.
fn matrix(b: &mut Boxes) {
    for value in [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000] {
        b.u32(value);
    }
}

/// ES descriptor (ISO/IEC 14496-14 §5.6.1) of AAC, with unknown buffer size and bit rates.
fn esds(b: &mut Boxes, asc: &[u8]) {
    b.descriptor(3, |b| {
        b.u16(0).u8(0);
        b.descriptor(4, |b| {
            // MPEG-4 audio; audio stream.
            b.u8(0x40).u8(0x15).u24(0).u32(0).u32(0);
            b.descriptor(5, |b| {
                b.bytes(asc);
            });
        });
        b.descriptor(6, |b| {
            b.u8(2);
        });
    });
}

/// The rate that the 16.16 field of a FLAC sample entry holds: the true rate halved until it
/// fits, or the largest value where that isn't whole (FLAC in ISOBMFF §3.3.1: 96 and 192 kHz are
/// both told as 48 kHz; STREAMINFO has the true one).
fn expressible_rate(rate: u32) -> u32 {
    let halved = (0..8).map(|shift| (rate >> shift, rate >> shift << shift == rate));
    halved
        .into_iter()
        .find(|(r, whole)| *r <= 65_535 && *whole)
        .map_or(65_535, |(r, _)| r)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn high_rates_are_divided() {
        assert_eq!(expressible_rate(44_100), 44_100);
        assert_eq!(expressible_rate(96_000), 48_000);
        assert_eq!(expressible_rate(176_400), 44_100);
        assert_eq!(expressible_rate(192_000), 48_000);
    }
}
