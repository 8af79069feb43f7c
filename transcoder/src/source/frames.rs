//! Decoded frames of one track, before trimming: the trait, and packets with a decoder behind it.

use std::collections::VecDeque;

use super::chunk::Chunk;
use super::codec::{Decode, Lost, Shape};
use super::demux::{Demux, End, Packet};
use super::error::Error;

/// Broken packets of a lossy codec that are bridged with silence; beyond, the file is refused.
const MAX_LOST: usize = 64;

/// One step through a track.
#[derive(Debug)]
pub(super) enum Step {
    /// Frames, at least one.
    Chunk(Chunk),
    /// No more frames, for good.
    End {
        /// Whether the container ends in the midst of a packet.
        cut_off: bool,
    },
}

/// A track that decodes.
pub(super) trait Frames: Send {
    /// The next frames. Not called again after an end or an error.
    fn next(&mut self) -> Result<Step, Error>;

    /// Rate and layout of the last chunk, or by the headers before the first.
    fn shape(&self) -> Shape;

    /// Bits per sample of a lossless codec (32 for float).
    fn bit_depth(&self) -> Option<u32>;
}

/// What the last packet of a container may carry beyond the valid sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastPacket {
    /// It decodes to sound from first to last.
    Whole,
    /// Its duration in the container says how much of it is sound (MP4).
    ByDuration,
}

/// Packets of a container with their decoder.
pub(super) struct Packets {
    demux: Demux,
    codec: Box<dyn Decode>,
    last_packet: LastPacket,
    /// Packets read ahead while probing.
    ahead: VecDeque<Packet>,
    /// The newest chunk, held until it is known not to be the last.
    held: Option<(Chunk, Option<f64>)>,
    /// Frames of broken packets since the last good one.
    gap: u64,
    lost: usize,
    lossless: bool,
    ready: VecDeque<Chunk>,
    end: Option<Step>,
}

impl Packets {
    /// The frames of that track. `ahead` are packets already taken from the demultiplexer.
    pub(super) fn new(
        demux: Demux,
        codec: Box<dyn Decode>,
        last_packet: LastPacket,
        ahead: VecDeque<Packet>,
    ) -> Packets {
        let lossless = codec.bit_depth().is_some();
        Packets {
            demux,
            codec,
            last_packet,
            ahead,
            held: None,
            gap: 0,
            lost: 0,
            lossless,
            ready: VecDeque::new(),
            end: None,
        }
    }

    fn step(&mut self) -> Result<(), Error> {
        let packet = match self.ahead.pop_front() {
            Some(packet) => Ok(packet),
            None => self.demux.next()?,
        };
        match packet {
            Ok(packet) => self.decode(&packet),
            Err(end) => {
                // A gap at the end is garbage, not sound.
                if let Some((mut chunk, seconds)) = self.held.take() {
                    self.cut_last(&mut chunk, seconds);
                    self.ready.push_back(chunk);
                }
                self.codec.finish()?;
                self.end = Some(Step::End {
                    cut_off: end == End::CutOff,
                });
                Ok(())
            }
        }
    }

    fn decode(&mut self, packet: &Packet) -> Result<(), Error> {
        match self.codec.decode(&packet.data) {
            Ok(chunk) => {
                self.ready.extend(self.held.take().map(|(chunk, _)| chunk));
                if self.gap > 0 {
                    let channels = chunk.float.len();
                    self.ready
                        .push_back(Chunk::silence(channels, self.gap as usize, false));
                    self.gap = 0;
                }
                self.held = Some((chunk, packet.seconds));
                Ok(())
            }
            Err(Lost::Packet(why)) if self.lossless => Err(Error::damaged(why)),
            Err(Lost::Packet(why)) => {
                self.lost += 1;
                if self.lost > MAX_LOST {
                    return Err(Error::damaged(format!(
                        "too many packets are broken ({why})"
                    )));
                }
                self.gap += self.frames_of(packet.seconds).unwrap_or(0);
                Ok(())
            }
            Err(Lost::Codec(error)) => Err(error),
        }
    }

    /// Leaves only the valid frames of the last packet.
    fn cut_last(&self, chunk: &mut Chunk, seconds: Option<f64>) {
        let Some(frames) = self.frames_of(seconds) else {
            return;
        };
        // A timescale coarser than the sample rate can't say where within a tick the sound ends.
        let tick = self.frames_of(self.demux.seconds_per_tick()).unwrap_or(0);
        let excess = (chunk.frames() as u64).saturating_sub(frames);
        if self.last_packet == LastPacket::ByDuration && (tick <= 1 || excess > tick) {
            chunk.truncate(frames as usize);
        }
    }

    fn frames_of(&self, seconds: Option<f64>) -> Option<u64> {
        seconds.map(|s| (s * f64::from(self.codec.shape().rate)).round() as u64)
    }
}

impl Frames for Packets {
    fn next(&mut self) -> Result<Step, Error> {
        loop {
            match self.ready.pop_front() {
                Some(chunk) if chunk.frames() == 0 => continue,
                Some(chunk) => return Ok(Step::Chunk(chunk)),
                None => {}
            }
            match self.end.take() {
                Some(end) => return Ok(end),
                None => self.step()?,
            }
        }
    }

    fn shape(&self) -> Shape {
        self.codec.shape()
    }

    fn bit_depth(&self) -> Option<u32> {
        self.codec.bit_depth()
    }
}
