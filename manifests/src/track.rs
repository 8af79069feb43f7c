//! The published index of a track: what `track.json` holds, as domain types.
//!
//! Owns the names, units and invariants of renditions and segments. Does not own how a file is
//! laid out (transcoder) nor how a playlist is written (the renderers beside this file).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Version of the `track.json` schema that this code writes. Readers refuse a newer one.
pub const SCHEMA: u32 = 1;

/// A stable name of a track: `t` and 20 lower-case base32 digits of the SHA-256 of its coded sound,
/// whatever the tags beside it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrackId(pub String);

/// One encoding run of a track: 16 hexadecimal digits of the digest over the source's coded sound
/// and the encoding recipe. Objects below a revision never change, but for the index: it is replaced
/// where a file of the same sound brings other tags.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub String);

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A media timescale: ticks per second. Equals the sample rate of the rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timescale(pub u32);

/// An instant or a duration in ticks of the timescale beside it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Ticks(pub u64);

impl Ticks {
    /// The same span in seconds.
    pub fn seconds(self, timescale: Timescale) -> f64 {
        self.0 as f64 / f64::from(timescale.0)
    }
}

/// A bit rate in bits per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BitrateBps(pub u32);

/// Bytes `start..start + len` of a rendition file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub start: u64,
    /// Number of bytes.
    pub len: u64,
}

impl ByteRange {
    /// Offset one past the last byte.
    pub fn end(self) -> u64 {
        self.start + self.len
    }
}

/// The index of one revision of a track, published last as `track.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The track.
    pub id: TrackId,
    /// The encoding run that made the objects named here.
    pub revision: Revision,
    /// What was ingested.
    pub source: Source,
    /// Length in seconds of valid sound: source samples after trimming its own delay and padding,
    /// divided by the source's rate.
    pub duration_s: f64,
    /// Descriptive metadata.
    pub tags: Tags,
    /// Cover art, an object beside `track.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cover: Option<Cover>,
    /// EBU R128 measurements. Samples are never altered for loudness.
    pub loudness: Loudness,
    /// The ladder, in the order of the recipe: Opus ascending, AAC ascending, FLAC.
    pub renditions: Vec<Rendition>,
    /// Rungs left out, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub omitted: Vec<Omitted>,
    /// What lossy encoders heard before the first sample, where that was not silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preroll: Option<Preroll>,
}

/// Sound before the first sample of a track: the end of the track that it runs on from. It lies in
/// the priming of lossy renditions, which no player plays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preroll {
    /// The track before.
    pub track: TrackId,
}

impl Track {
    /// The rendition of that id.
    pub fn rendition(&self, id: &str) -> Option<&Rendition> {
        self.renditions.iter().find(|r| r.id == id)
    }
}

/// The ingested file, as found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Base name of the file.
    pub file_name: String,
    /// Container, for instance `wav`, `flac`, `mp4`, `ogg`, `mp3`.
    pub container: String,
    /// Codec, for instance `pcm_s16le`, `flac`, `alac`, `mp3`, `aac`, `vorbis`, `opus`.
    pub codec: String,
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels, before any downmix.
    pub channels: u32,
    /// Bits per sample where the codec is lossless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bit_depth: Option<u32>,
    /// Average bit rate where the codec is lossy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<BitrateBps>,
    /// Valid samples a channel at `sample_rate`, encoder delay and padding removed.
    pub samples: u64,
}

/// Descriptive tags, as read from the source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tags {
    /// Title; the file's stem where the file has none.
    pub title: String,
    /// Artist of the track.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artist: Option<String>,
    /// Album title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub album: Option<String>,
    /// Artist of the album, where it differs from the track's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub album_artist: Option<String>,
    /// Position on the disc, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track_number: Option<u32>,
    /// Tracks on the disc.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track_total: Option<u32>,
    /// Disc, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disc_number: Option<u32>,
    /// Release date, ISO 8601, possibly a year only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// Genre.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub genre: Option<String>,
    /// International Standard Recording Code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isrc: Option<String>,
    /// Composer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub composer: Option<String>,
    /// Whether the release is a compilation of several artists.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub compilation: bool,
}

/// Cover art stored beside the renditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cover {
    /// Object name below the revision, after the picture's digest: `cover-0f343b093112.jpg`.
    pub name: String,
    /// Media type.
    pub mime: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// Loudness of a track and, where it was ingested with its album, of the album.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loudness {
    /// Of this track.
    pub track: R128,
    /// Of the album that this track was ingested with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub album: Option<R128>,
}

/// EBU R128 / ITU-R BS.1770 figures. `None` where the sound is silent or too short to measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct R128 {
    /// Integrated loudness in LUFS.
    pub integrated_lufs: Option<f64>,
    /// Loudness range in LU (EBU Tech 3342).
    pub range_lu: Option<f64>,
    /// True peak in dBTP (BS.1770 annex 2).
    pub true_peak_dbtp: Option<f64>,
}

/// Codec of a rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// Opus (RFC 6716), 48 kHz, 20 ms frames.
    Opus,
    /// MPEG-4 AAC-LC, 1024-sample frames.
    AacLc,
    /// MPEG-4 HE-AAC v1 (LC + SBR), 2048-sample frames.
    HeAac,
    /// FLAC (RFC 9639).
    Flac,
}

impl Codec {
    /// The `codecs` parameter of RFC 6381, as MSE, HLS and DASH take it.
    pub fn rfc6381(self) -> &'static str {
        match self {
            Codec::Opus => "opus",
            Codec::AacLc => "mp4a.40.2",
            Codec::HeAac => "mp4a.40.5",
            Codec::Flac => "fLaC",
        }
    }

    /// Whether the rendition equals the source, sample by sample.
    pub fn is_lossless(self) -> bool {
        matches!(self, Codec::Flac)
    }
}

/// One encoding of a track: one CMAF file `{id}.mp4`, laid out `ftyp moov sidx (moof mdat)*`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rendition {
    /// Name within the ladder: `opus-96`, `aac-128`, `flac`.
    pub id: String,
    /// Codec.
    pub codec: Codec,
    /// Samples per second of the decoded sound.
    pub sample_rate: u32,
    /// Channels of the decoded sound.
    pub channels: u32,
    /// Bits per sample, for lossless codecs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bit_depth: Option<u32>,
    /// Ticks per second of every time in this rendition.
    pub timescale: Timescale,
    /// Encoder delay at the start, which the edit list removes.
    pub priming: Ticks,
    /// Valid sound after the priming: the edit list's duration.
    pub valid: Ticks,
    /// Encoder padding after the valid sound, 0 where the last sample's duration is shortened.
    pub padding: Ticks,
    /// Mean bit rate over the whole file's segments.
    pub average: BitrateBps,
    /// Highest bit rate of any one segment.
    pub peak: BitrateBps,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// `ftyp` and `moov`.
    pub init: ByteRange,
    /// `sidx`.
    pub index: ByteRange,
    /// Segments in order, without gaps in time or bytes; the first starts at media time 0, which
    /// lies `priming` ticks before the presentation's start.
    pub segments: Vec<Segment>,
}

impl Rendition {
    /// Bytes from the file's start that hold init, index and the first `segments` segments: what
    /// one ranged request fetches to start playing.
    pub fn start_bytes(&self, segments: usize) -> u64 {
        let last = segments.min(self.segments.len());
        self.segments[..last]
            .last()
            .map_or(self.index.end(), |s| s.bytes.end())
    }
}

/// One segment: a `moof` and its `mdat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Media time of its first sample (`tfdt`), priming included.
    pub start: Ticks,
    /// Sum of its sample durations.
    pub duration: Ticks,
    /// Where it lies in the file.
    pub bytes: ByteRange,
}

/// A rung of the recipe that this track does without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Omitted {
    /// The rendition's id.
    pub id: String,
    /// Why, in a sentence for people.
    pub reason: String,
}
