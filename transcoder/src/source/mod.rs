//! An audio file opened, probed and decoded to planar PCM at its own rate.
//!
//! Owns containers, codecs, trimming of encoder delay and padding, the downmix to stereo, and the
//! limits on what a header may claim. Does not own resampling, loudness or tags.

mod aac;
mod chunk;
mod codec;
mod demux;
mod error;
mod flac_end;
mod frames;
mod layout;
mod mp4;
mod ogg;
mod open;
mod opus;
mod page;
mod part;
mod payload;
mod sniff;
mod window;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{fs::File, path::Path};

use crate::downmix::Downmix;
use chunk::Chunk;
use codec::Shape;
use frames::{Frames, Step};
use window::Window;

pub use error::Error;
pub(crate) use payload::payload;

/// What a header may claim before the file is refused.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
        self.bit_depth
            .filter(|depth| *depth <= 24 && self.channels <= 2)
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
    frames: Box<dyn Frames>,
    /// The first step, taken when the file was opened.
    first: Option<Step>,
    shape: Shape,
    window: Window,
    mix: Option<Downmix>,
    promise: Option<Promise>,
    limits: Limits,
    finished: bool,
}

/// How much sound the headers promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Promise {
    /// Valid frames.
    frames: u64,
    /// Frames that may be missing before the file counts as truncated.
    tolerance: u64,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("format", &self.format)
            .field("window", &self.window)
            .field("promise", &self.promise)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Opens and probes a file, by its content and not by its name.
    ///
    /// # Errors
    /// Any of [`Error`].
    pub fn open(path: &Path, limits: &Limits) -> Result<Source, Error> {
        Source::read(File::open(path)?, limits)
    }

    /// The same of a file that is open, from its start.
    ///
    /// # Errors
    /// Any of [`Error`].
    pub fn read(file: File, limits: &Limits) -> Result<Source, Error> {
        guard(|| open::open(file, limits))
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
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Block>, Error> {
        while !self.finished {
            // Whatever goes wrong, there is no going on after it.
            self.finished = true;
            let step = match self.first.take() {
                Some(step) => step,
                None => guard(|| self.frames.next())?,
            };
            let valid = match step {
                Step::Chunk(chunk) => {
                    self.finished = false;
                    self.check(&chunk)?;
                    self.window.push(chunk)
                }
                Step::End { cut_off } => {
                    let rest = self.window.finish();
                    self.check_end(cut_off)?;
                    rest
                }
            };
            if valid.frames() > 0 {
                return Ok(Some(self.block(valid)));
            }
        }
        Ok(None)
    }

    /// Refuses sound that changes its shape midway or never ends.
    fn check(&self, chunk: &Chunk) -> Result<(), Error> {
        let shape = self.frames.shape();
        if shape != self.shape || chunk.float.len() != self.shape.layout.len() {
            return Err(Error::damaged(
                "its sample rate or number of channels changes midway",
            ));
        }
        let limit_s = self.limits.max_duration_s;
        if self.window.emitted() > u64::from(limit_s) * u64::from(self.shape.rate) {
            return Err(Error::TooLong { limit_s });
        }
        Ok(())
    }

    /// Compares what was found with what was promised.
    fn check_end(&self, cut_off: bool) -> Result<(), Error> {
        let found = self.window.emitted();
        let seconds = |frames: u64| frames as f64 / f64::from(self.shape.rate.max(1));
        match self.promise {
            Some(promise) if found.saturating_add(promise.tolerance) < promise.frames => {
                Err(Error::Truncated {
                    promised_s: seconds(promise.frames),
                    found_s: seconds(found),
                })
            }
            None if cut_off => Err(Error::CutOff {
                found_s: seconds(found),
            }),
            _ if found == 0 => Err(Error::Empty),
            _ => Ok(()),
        }
    }

    fn block(&self, chunk: Chunk) -> Block {
        match &self.mix {
            Some(mix) => Block {
                samples: mix.apply(&chunk.float),
                exact: None,
            },
            None => Block {
                samples: chunk.float,
                exact: chunk.exact,
            },
        }
    }
}

/// Runs decoders of others: a panic of theirs is a fault of the file.
fn guard<T>(run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(Error::damaged("its decoder gave up on it")))
}
