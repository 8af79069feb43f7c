//! A rendition in the making: an encoder and the writer that cuts its packets into segments.

use std::{io::Write, sync::Arc};

use manifests::Codec;

#[cfg(feature = "fdk-aac")]
use super::{aac, fdk::Aac};
use super::{flac, flac::Flac, opus, opus::Opus};
use crate::{
    Error,
    cmaf::{Config, Packaged, SourceLength, Timing, Writer, flac_block},
    recipe::{Rung, Settings},
};

/// A run of interleaved sound, shared by the encoders that take it.
#[derive(Clone, Debug)]
pub enum Pcm {
    /// At 48 kHz, nominally −1…1: for the lossy codecs.
    Resampled(Arc<[f32]>),
    /// The same in 16 bits, as AAC takes it: quantised once for all of its rungs. One track comes
    /// either so or [`Resampled`](Pcm::Resampled) throughout.
    Quantised(Arc<[i16]>),
    /// The source's own samples at its own rate, right-aligned: for FLAC.
    Native(Arc<[i32]>),
}

/// The sound that a rendition is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    /// Samples per second of the source.
    pub rate: u32,
    /// Channels, 1 or 2.
    pub channels: usize,
    /// Bits per sample of [`Pcm::Native`].
    pub depth: u8,
    /// Samples per channel at the source's rate, where known beforehand.
    pub length_hint: Option<u64>,
    /// Samples per channel at 48 kHz that [`Pcm::Resampled`] and [`Pcm::Quantised`] begin with and
    /// that are no sound of the track, but the end of the one before: for encoders to hear. 0 where
    /// it begins by itself.
    pub preroll: u64,
}

/// The encoders.
#[derive(Debug)]
enum Encoder {
    Opus(Box<Opus>),
    #[cfg(feature = "fdk-aac")]
    Aac(Box<Aac>, aac::Profile),
    Flac(Box<Flac>),
}

/// A rendition in the making.
#[derive(Debug)]
pub struct Rendition<W> {
    encoder: Encoder,
    writer: Writer<W>,
    timing: Timing,
    input: Input,
}

impl<W: Write> Rendition<W> {
    /// Opens the encoder of a rung; segments go to `spool`.
    ///
    /// # Errors
    /// [`Error::Encode`] where the encoder refuses the settings or isn't part of this build.
    pub fn new(rung: &Rung, input: Input, spool: W) -> Result<Self, Error> {
        let channels = input.channels;
        let (encoder, timing) = match rung.settings {
            Settings::Opus(settings) => {
                let source = |samples| SourceLength {
                    samples,
                    rate: input.rate,
                };
                let hint = input
                    .length_hint
                    .map(|samples| source(samples).at(opus::RATE));
                let opus = Opus::new(settings, channels, hint, input.preroll)?;
                let timing =
                    Timing::new(Codec::Opus, opus::RATE, opus::FRAME as u32, opus.priming());
                (Encoder::Opus(Box::new(opus)), timing)
            }
            #[cfg(feature = "fdk-aac")]
            Settings::Aac(settings) => {
                let aac = Aac::new(settings, channels, input.preroll)?;
                let frame = settings.profile.frame() as u32;
                let timing = Timing::new(rung.codec(), aac::RATE, frame, aac.priming());
                (Encoder::Aac(Box::new(aac), settings.profile), timing)
            }
            #[cfg(not(feature = "fdk-aac"))]
            Settings::Aac(_) => {
                return Err(Error::Encode("this build has no AAC encoder".into()));
            }
            Settings::Flac { level } => {
                let block = flac_block(input.rate);
                let settings = flac::Settings {
                    level,
                    rate: input.rate,
                    bit_depth: input.depth,
                    block,
                };
                let flac = Flac::new(settings, channels)?;
                let timing = Timing::new(Codec::Flac, input.rate, block, 0);
                (Encoder::Flac(Box::new(flac)), timing)
            }
        };
        Ok(Self {
            encoder,
            writer: Writer::new(spool, timing),
            timing,
            input,
        })
    }

    /// Encodes a run of sound.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Spool`].
    pub fn push(&mut self, pcm: &Pcm) -> Result<(), Error> {
        match (&mut self.encoder, pcm) {
            (Encoder::Opus(opus), Pcm::Resampled(pcm)) => opus.push(pcm, &mut self.writer),
            #[cfg(feature = "fdk-aac")]
            (Encoder::Aac(aac, _), Pcm::Resampled(pcm)) => aac.push(pcm, &mut self.writer),
            #[cfg(feature = "fdk-aac")]
            (Encoder::Aac(aac, _), Pcm::Quantised(pcm)) => {
                aac.push_quantised(pcm, &mut self.writer)
            }
            (Encoder::Flac(flac), Pcm::Native(pcm)) => flac.push(pcm, &mut self.writer),
            _ => Err(Error::Internal(
                "sound of the wrong kind for this encoder".into(),
            )),
        }
    }

    /// Ends the sound. `source` is the exact length of the source.
    ///
    /// # Errors
    /// As [`Rendition::push`].
    pub fn finish(mut self, source: SourceLength) -> Result<Packaged<W>, Error> {
        let (valid, config) = match self.encoder {
            Encoder::Opus(opus) => {
                // The field is informative, but Chromium refuses a file in which it differs from the
                // sample entry's rate, which for Opus is always 48 kHz.
                let config = Config::Opus { input_rate: 48_000 };
                (opus.finish(&mut self.writer)?, config)
            }
            #[cfg(feature = "fdk-aac")]
            Encoder::Aac(aac, profile) => {
                let config = Config::Aac {
                    asc: aac.config().to_vec(),
                    sbr: profile == aac::Profile::He,
                    frame: self.timing.frame,
                };
                (aac.finish(&mut self.writer)?, config)
            }
            Encoder::Flac(flac) => {
                let (valid, stream_info) = flac.finish(&mut self.writer)?;
                (
                    valid,
                    Config::Flac {
                        stream_info,
                        bit_depth: self.input.depth,
                    },
                )
            }
        };
        let body = self.writer.finish(valid, source)?;
        Packaged::new(config, self.input.channels as u16, self.timing, valid, body)
    }
}
