//! Packets out of the containers that Symphonia reads.

use std::io::ErrorKind;

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::errors::Error as Fault;
use symphonia::core::formats::{FormatReader, Track, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::packet::Packet as RawPacket;

use super::error::Error;
use super::part::Part;

/// One packet of the chosen track.
#[derive(Debug)]
pub(super) struct Packet {
    /// The codec's bytes.
    pub(super) data: Box<[u8]>,
    /// Duration in seconds by the container, if it says anything.
    pub(super) seconds: Option<f64>,
}

/// The end of the packets.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum End {
    /// As the container has it.
    Regular,
    /// In the midst of what the container promises.
    CutOff,
}

/// An open container and its chosen track.
pub(super) struct Demux {
    reader: Box<dyn FormatReader>,
    track: Track,
    params: AudioCodecParameters,
    seconds_per_tick: Option<f64>,
}

impl Demux {
    /// Opens a container of which the kind is known from its first bytes.
    ///
    /// # Errors
    /// [`Error::NoAudioTrack`], [`Error::Unsupported`], [`Error::Damaged`] or [`Error::Io`].
    pub(super) fn open(part: Part) -> Result<Demux, Error> {
        let stream = MediaSourceStream::new(Box::new(part), Default::default());
        let reader = symphonia::default::get_probe()
            .probe(
                &Default::default(),
                stream,
                Default::default(),
                Default::default(),
            )
            .map_err(|fault| match fault {
                Fault::IoError(e) if e.kind() == ErrorKind::UnexpectedEof => {
                    Error::CutOff { found_s: 0.0 }
                }
                Fault::IoError(e) => Error::Io(e),
                Fault::Unsupported(why) => Error::damaged(format!("its header is odd ({why})")),
                other => Error::damaged(other.to_string()),
            })?;
        let track = reader
            .default_track(TrackType::Audio)
            .or_else(|| reader.first_track(TrackType::Audio))
            .cloned()
            .ok_or(Error::NoAudioTrack)?;
        let Some(CodecParameters::Audio(params)) = track.codec_params.clone() else {
            return Err(Error::NoAudioTrack);
        };
        let seconds_per_tick = track.time_base.map(f64::from);
        Ok(Demux {
            reader,
            track,
            params,
            seconds_per_tick,
        })
    }

    /// The chosen track.
    pub(super) fn track(&self) -> &Track {
        &self.track
    }

    /// Its codec's parameters.
    pub(super) fn params(&self) -> &AudioCodecParameters {
        &self.params
    }

    /// Length of a tick of the container's clock in seconds.
    pub(super) fn seconds_per_tick(&self) -> Option<f64> {
        self.seconds_per_tick
    }

    /// Length of the track in seconds by the container. A guess for MPEG streams.
    pub(super) fn seconds(&self) -> Option<f64> {
        Some(self.track.duration?.get() as f64 * self.seconds_per_tick?)
    }

    /// The next packet of the track.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Unsupported`] or [`Error::Io`].
    pub(super) fn next(&mut self) -> Result<Result<Packet, End>, Error> {
        loop {
            match self.reader.next_packet() {
                Ok(Some(raw)) if raw.track_id == self.track.id => return Ok(Ok(self.packet(raw))),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(Err(End::Regular)),
                Err(Fault::IoError(e)) if e.kind() == ErrorKind::UnexpectedEof => {
                    return Ok(Err(End::CutOff));
                }
                Err(Fault::IoError(e)) => return Err(Error::Io(e)),
                Err(Fault::ResetRequired) => {
                    return Err(Error::Unsupported {
                        codec: "a chain of several streams in one file".to_owned(),
                    });
                }
                Err(fault) => return Err(Error::damaged(fault.to_string())),
            }
        }
    }

    fn packet(&self, raw: RawPacket) -> Packet {
        let seconds = |ticks: u64| self.seconds_per_tick.map(|tick| ticks as f64 * tick);
        Packet {
            seconds: seconds(raw.block_dur().get()).filter(|s| *s > 0.0),
            data: raw.data,
        }
    }
}
