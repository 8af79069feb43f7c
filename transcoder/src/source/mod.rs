//! An audio file opened, probed and decoded to planar PCM at its own rate.
//!
//! Owns containers, codecs, trimming of encoder delay and padding, the downmix to stereo, and the
//! limits on what a header may claim. Does not own resampling, loudness or tags.

mod error;

use std::path::Path;

pub use error::Error;

/// What a header may claim before the file is refused.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most channels of a source.
    pub max_channels: u32,
    /// Lowest sample rate in Hz.
    pub min_sample_rate: u32,
    /// Highest sample rate in Hz.
    pub max_sample_rate: u32,
    /// Longest sound in seconds.
    pub max_duration_s: u32,
}

impl Default for Limits {
    /// 7.1 channels, 8–192 kHz, 24 h.
    fn default() -> Limits {
        Limits {
            max_channels: 8,
            min_sample_rate: 8_000,
            max_sample_rate: 192_000,
            max_duration_s: 24 * 3_600,
        }
    }
}

/// What was found in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Container: `wav`, `aiff`, `flac`, `mp4`, `ogg`, `mp3`, `adts`, `caf`, `mkv`.
    pub container: String,
    /// Codec: `pcm_s16le`, `flac`, `alac`, `mp3`, `aac`, `vorbis`, `opus`…
    pub codec: String,
    /// Samples per second, of the file and of every [`Block`].
    pub sample_rate: u32,
    /// Channels as found in the file; blocks have `min(channels, 2)`.
    pub channels: u32,
    /// Bits per sample of a lossless codec (32 for float).
    pub bit_depth: Option<u32>,
    /// Average bit rate in bit/s of a lossy codec, from the bytes of its packets or the file.
    pub lossy_bitrate: Option<u32>,
    /// Valid samples per channel where the file says so beforehand. Only a hint (for progress).
    pub samples_hint: Option<u64>,
}

impl Format {
    /// Channels of every [`Block`]: 1 or 2.
    pub fn block_channels(&self) -> usize {
        self.channels.clamp(1, 2) as usize
    }

    /// Depth of [`Block::exact`] in bits (8–24), or `None` if blocks carry no exact samples.
    pub fn exact_depth(&self) -> Option<u32> {
        self.bit_depth.filter(|depth| *depth <= 24 && self.channels <= 2)
    }
}

/// A run of decoded sound. Never empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// `[channel][frame]`, nominally −1…1, 1 or 2 channels, each of the same length. Lossy codecs
    /// and float files may exceed ±1.
    pub samples: Vec<Vec<f32>>,
    /// The file's own integers, `[channel][frame]`, sign-extended and right-aligned to
    /// [`Format::exact_depth`] bits (as FLAC takes them). Present in every block or in none.
    pub exact: Option<Vec<Vec<i32>>>,
}

impl Block {
    /// Frames (samples per channel).
    pub fn frames(&self) -> usize {
        self.samples.first().map_or(0, Vec::len)
    }
}

/// An open audio file.
///
/// Blocks come in order, with encoder delay and padding already removed and more than two
/// channels mixed down to stereo: exactly the valid sound, no more and no less.
pub struct Source {
    format: Format,
}

impl Source {
    /// Opens and probes a file, by its content and not by its name.
    ///
    /// # Errors
    /// Any of [`Error`] but [`Error::Truncated`] and [`Error::CutOff`], which come at the end.
    pub fn open(path: &Path, limits: &Limits) -> Result<Source, Error> {
        let _ = (path, limits);
        Err(Error::NotAudio)
    }

    /// What was found.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// The next run of sound, `None` after the last.
    ///
    /// # Errors
    /// [`Error::Empty`] in place of the first `None` if there was no sample at all;
    /// [`Error::Truncated`], [`Error::CutOff`] or [`Error::Damaged`] where sound is missing:
    /// whatever was decoded before must then be discarded.
    pub fn next(&mut self) -> Result<Option<Block>, Error> {
        Ok(None)
    }
}
