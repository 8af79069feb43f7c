//! Opus by libopus: 48 kHz, 20 ms frames.

use opus::{Application, Bitrate, Channels, Encoder, Signal};

use super::{Packets, approach::Approach};
use crate::Error;

/// Samples per second of every Opus rendition.
pub const RATE: u32 = 48_000;

/// Samples in a frame: 20 ms.
pub const FRAME: usize = 960;

/// More than the largest packet of one 20 ms frame (RFC 6716 §3.2.1: 1,275 bytes and a TOC).
const MAX_PACKET: usize = 1_500;

/// Settings of a rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    /// Target in bit/s, all channels together.
    pub bitrate: u32,
    /// Search effort, 0–10.
    pub complexity: u8,
    /// Whether the rate may be exceeded only as far as a small bit reservoir allows.
    pub constrained: bool,
    /// Whether to code everything as music (CELT), also what sounds like speech. Then all rungs
    /// are coded alike: switching between them meets no change of mode, and the sound is in place
    /// to the sample (SILK's part of the band is some samples early).
    pub music: bool,
}

/// An encoder of one rendition.
#[derive(Debug)]
pub struct Opus {
    encoder: Encoder,
    channels: usize,
    priming: u64,
    /// Interleaved sound not yet encoded; starts with what lengthens the encoder's look-ahead to
    /// `priming`.
    pending: Vec<f32>,
    approach: Approach,
    /// Samples pushed, with those of the pre-roll.
    taken: u64,
    emitted: u64,
    packet: Vec<u8>,
}

impl Opus {
    /// Opens an encoder for 1 or 2 channels and a track of about `length_hint` samples, before which
    /// `preroll` samples of the track before are pushed.
    ///
    /// # Errors
    /// [`Error::Encode`] where libopus refuses the settings.
    pub fn new(
        settings: Settings,
        channels: usize,
        length_hint: Option<u64>,
        preroll: u64,
    ) -> Result<Opus, Error> {
        let layout = if channels == 1 {
            Channels::Mono
        } else {
            Channels::Stereo
        };
        let mut encoder = Encoder::new(RATE, layout, Application::Audio).map_err(refused)?;
        encoder
            .set_bitrate(Bitrate::Bits(settings.bitrate as i32))
            .map_err(refused)?;
        encoder
            .set_complexity(i32::from(settings.complexity))
            .map_err(refused)?;
        encoder.set_vbr(true).map_err(refused)?;
        encoder
            .set_vbr_constraint(settings.constrained)
            .map_err(refused)?;
        let signal = if settings.music {
            Signal::Music
        } else {
            Signal::Auto
        };
        encoder.set_signal(signal).map_err(refused)?;
        let lookahead = encoder.get_lookahead().map_err(refused)? as u64;
        let priming = priming(lookahead, length_hint, preroll > 0);
        let approach = Approach::new(priming - lookahead, preroll);
        Ok(Opus {
            encoder,
            channels,
            priming,
            pending: vec![0.0; approach.silence as usize * channels],
            approach,
            taken: 0,
            emitted: 0,
            packet: vec![0; MAX_PACKET],
        })
    }

    /// Samples that a decoder yields before the sound: pre-skip and the edit list's media time.
    pub fn priming(&self) -> u64 {
        self.priming
    }

    /// Takes interleaved samples at 48 kHz.
    ///
    /// # Errors
    /// [`Error::Encode`], or the sink's.
    pub fn push(&mut self, pcm: &[f32], sink: &mut impl Packets) -> Result<(), Error> {
        self.taken += (pcm.len() / self.channels) as u64;
        let pcm = self.approach.admit(pcm, self.channels);
        self.pending.extend_from_slice(pcm);
        self.drain(sink)
    }

    /// Emits the rest. Returns the samples of sound taken.
    ///
    /// # Errors
    /// As [`Opus::push`].
    pub fn finish(mut self, sink: &mut impl Packets) -> Result<u64, Error> {
        let sound = self.approach.sound(self.taken);
        let frames = (self.priming + sound).div_ceil(FRAME as u64);
        let missing = (frames - self.emitted) as usize * FRAME * self.channels;
        self.pending.resize(missing, 0.0);
        self.drain(sink)?;
        Ok(sound)
    }

    fn drain(&mut self, sink: &mut impl Packets) -> Result<(), Error> {
        let frame = FRAME * self.channels;
        let whole = self.pending.len() / frame * frame;
        for pcm in self.pending[..whole].chunks_exact(frame) {
            let size = self
                .encoder
                .encode_float(pcm, &mut self.packet)
                .map_err(refused)?;
            sink.packet(&self.packet[..size])?;
            self.emitted += 1;
        }
        self.pending.drain(..whole);
        Ok(())
    }
}

/// The least priming, not below the encoder's look-ahead, that makes priming and sound together a
/// whole number of frames: then there is no padding at the end, and players that trim only the
/// start (or know only the pre-skip) are exact too.
///
/// The 80 ms that Opus in ISOBMFF §4.3.6 recommends are for a decoder to converge when it enters
/// a running stream; here encoder and decoder both start fresh at the file's first frame, and
/// entry further on is covered by the roll group. A shorter priming leaves less silence to
/// players that ignore edit lists. Without a length, or with a wrong one, the last frame is cut
/// short instead.
///
/// With a pre-roll it is a frame longer: the one in which an encoder's sound rises out of nothing is
/// coded worse than others, and none of the track is to be in it.
fn priming(lookahead: u64, length_hint: Option<u64>, preroll: bool) -> u64 {
    let frame = FRAME as u64;
    let rest = length_hint.map_or(0, |length| (lookahead + length) % frame);
    lookahead + (frame - rest) % frame + if preroll { frame } else { 0 }
}

fn refused(error: opus::Error) -> Error {
    Error::Encode(format!("Opus: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priming_fills_frames() {
        for length in [1, 647, 648, 649, 960, 48_000, 100_003] {
            let p = priming(312, Some(length), false);
            assert!((312..312 + 960).contains(&p));
            assert_eq!((p + length) % 960, 0);
            assert_eq!(priming(312, Some(length), true), p + 960);
        }
        assert_eq!(priming(312, None, false), 312);
    }
}
