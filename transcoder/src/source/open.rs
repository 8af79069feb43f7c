//! From a path to a [`Source`]: sniff, demultiplex, find decoder and trimming, check the limits.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_AAC, CODEC_ID_OPUS};

use super::aac;
use super::codec::{Decode, Shape, Symphonia};
use super::demux::Demux;
use super::error::Error;
use super::frames::{Frames, LastPacket, Packets, Step};
use super::mp4::Movie;
use super::ogg::{self, Ogg, OggCodec};
use super::opus::{Head, Opus, Order};
use super::part::Part;
use super::sniff::{Kind, Sniffed, sniff};
use super::window::{Tail, Window};
use super::{Format, Limits, Promise, Source};
use crate::downmix::Downmix;

/// Data chunks from here on are what programs write that can't seek back to fill in the length.
const UNKNOWN_WAV_BYTES: u64 = 0x7fff_0000;
/// Frames of an MPEG stream beyond its header's count that may be garbage.
const MPEG_SLACK: u64 = 8 * 1152;

/// A track ready to decode, and what its container says about it.
struct Opened {
    frames: Box<dyn Frames>,
    codec: String,
    trim: Trim,
    /// Frames by the header, before trimming, and how many may be missing.
    promise: Option<Promise>,
    /// Length in seconds for progress and bit rate.
    seconds: Option<f64>,
    /// Bytes of coded sound.
    bytes: u64,
}

/// Where trimming comes from.
enum Trim {
    /// Known in frames.
    Frames(u64, Tail),
    /// Known in ticks, until the rate is known.
    Mp4 {
        movie: Movie,
        track: u32,
        is_aac: bool,
    },
}

/// Opens a file and decodes until its first frames.
pub(super) fn open(mut file: File, limits: &Limits) -> Result<Source, Error> {
    file.rewind()?;
    let sniffed = sniff(&mut file)?;
    let mut opened = if sniffed.kind == Kind::Ogg {
        open_ogg(file, &sniffed, limits)?
    } else {
        open_container(file, &sniffed, limits)?
    };
    let first = opened.frames.next()?;
    let shape = opened.frames.shape();
    check_shape(limits, shape.rate, shape.layout.len())?;
    let (skip, tail) = match &opened.trim {
        Trim::Frames(skip, tail) => (*skip, *tail),
        Trim::Mp4 {
            movie,
            track,
            is_aac,
        } => movie.trim(*track, shape.rate, *is_aac)?,
    };
    let promise = opened.promise.map(|p| after_trim(p, skip, tail));
    let mut source = Source {
        format: format(&sniffed, &opened, &shape, promise, skip),
        window: Window::new(skip, tail),
        mix: Downmix::new(&shape.layout),
        frames: opened.frames,
        first: None,
        shape,
        promise,
        limits: *limits,
        finished: false,
    };
    if let Step::End { cut_off } = first {
        source.check_end(cut_off)?;
    }
    source.first = Some(first);
    Ok(source)
}

/// What is left of a promise that counts all decoded frames.
fn after_trim(promise: Promise, skip: u64, tail: Tail) -> Promise {
    let rest = promise.frames.saturating_sub(skip);
    let frames = match tail {
        Tail::Open => rest,
        // Some headers count before trimming, some after.
        Tail::Exactly(n) | Tail::Edit { frames: n, .. } if promise.frames >= n => n,
        Tail::Exactly(_) | Tail::Edit { .. } => rest,
        // MPEG headers count after trimming.
        Tail::Padding { frames, .. } => frames,
    };
    Promise { frames, ..promise }
}

fn format(
    sniffed: &Sniffed,
    opened: &Opened,
    shape: &Shape,
    promise: Option<Promise>,
    skip: u64,
) -> Format {
    let rate = f64::from(shape.rate);
    let by_seconds = opened
        .seconds
        .map(|s| ((s * rate).round() as u64).saturating_sub(skip));
    let bit_depth = opened.frames.bit_depth();
    let bitrate = |seconds: f64| (opened.bytes as f64 * 8.0 / seconds).round() as u32;
    let seconds = opened.seconds.filter(|s| *s > 0.01 && bit_depth.is_none());
    Format {
        container: sniffed.kind.name().to_owned(),
        codec: opened.codec.clone(),
        sample_rate: shape.rate,
        channels: shape.layout.len() as u32,
        bit_depth,
        lossy_bitrate: seconds.map(bitrate),
        samples_hint: promise.map(|p| p.frames).or(by_seconds).filter(|n| *n > 0),
    }
}

/// Refuses what no recording has, before anything is allocated for it.
fn check_shape(limits: &Limits, rate: u32, channels: usize) -> Result<(), Error> {
    let (low, high) = (limits.min_sample_rate, limits.max_sample_rate);
    if !(low..=high).contains(&rate) {
        return Err(Error::AbsurdHeader {
            field: "the sample rate".into(),
            value: format!("{rate} Hz"),
            allowed: format!("{low}–{high} Hz"),
        });
    }
    if !(1..=limits.max_channels as usize).contains(&channels) {
        return Err(Error::AbsurdHeader {
            field: "the number of channels".into(),
            value: channels.to_string(),
            allowed: format!("1–{}", limits.max_channels),
        });
    }
    Ok(())
}

fn check_params(limits: &Limits, params: &AudioCodecParameters) -> Result<(), Error> {
    let rate = params.sample_rate.unwrap_or(limits.min_sample_rate);
    let channels = params
        .channels
        .as_ref()
        .map_or(1, |channels| channels.count());
    check_shape(limits, rate, channels)
}

fn open_ogg(mut file: File, sniffed: &Sniffed, limits: &Limits) -> Result<Opened, Error> {
    file.seek(SeekFrom::Start(sniffed.start))?;
    let mut reader = BufReader::new(file);
    let (codec, serial, head) = ogg::probe(&mut reader)?;
    if codec == OggCodec::Flac {
        return open_container(reader.into_inner(), sniffed, limits);
    }
    let ogg = Ogg::open(reader, codec, serial, &head)?;
    let rate = ogg.shape().rate;
    check_shape(limits, rate, ogg.shape().layout.len())?;
    Ok(Opened {
        codec: if codec == OggCodec::Opus {
            "opus"
        } else {
            "vorbis"
        }
        .to_owned(),
        trim: Trim::Frames(ogg.pre_skip(), Tail::Open),
        promise: None,
        seconds: ogg.samples_hint().map(|n| n as f64 / f64::from(rate)),
        bytes: sniffed.end - sniffed.start,
        frames: Box::new(ogg),
    })
}

fn open_container(mut file: File, sniffed: &Sniffed, limits: &Limits) -> Result<Opened, Error> {
    let movie = match sniffed.kind {
        Kind::Mp4 => Some(Movie::read(&mut file, sniffed.start)?),
        _ => None,
    };
    let mut demux = Demux::open(Part::new(file, sniffed.start, sniffed.end)?)?;
    let params = demux.params().clone();
    check_params(limits, &params)?;
    let track = demux.track().id;
    let seconds = demux.seconds();
    let promise = promise(&demux, sniffed.kind);
    let mut bytes = sniffed.end - sniffed.start;
    let mut trim = trim(&demux, sniffed.kind);
    let mut pre_skip = 0;
    let mut ahead = VecDeque::new();
    let (codec, name): (Box<dyn Decode>, String) = if params.codec == CODEC_ID_AAC {
        (aac::decoder(&mut demux, &mut ahead)?, "aac".to_owned())
    } else if params.codec == CODEC_ID_OPUS {
        let order = if movie.is_some() {
            Order::Big
        } else {
            Order::Little
        };
        let head = Head::parse(params.extra_data.as_deref().unwrap_or_default(), order)?;
        pre_skip = u64::from(head.pre_skip);
        (Box::new(Opus::new(&head)?), "opus".to_owned())
    } else {
        let decoder = Symphonia::new(&params)?;
        let name = decoder.name().to_owned();
        (Box::new(decoder), name)
    };
    if pre_skip > 0 && movie.is_none() {
        trim = Trim::Frames(pre_skip, Tail::Open);
    }
    let mut last_packet = LastPacket::Whole;
    if let Some(movie) = movie {
        bytes = movie.bytes(track).unwrap_or(bytes);
        trim = Trim::Mp4 {
            movie,
            track,
            is_aac: params.codec == CODEC_ID_AAC,
        };
        last_packet = LastPacket::ByDuration;
    }
    let frames = Packets::new(demux, codec, last_packet, ahead);
    Ok(Opened {
        frames: Box::new(frames),
        codec: name,
        trim,
        promise,
        seconds,
        bytes,
    })
}

/// Delay and padding that the container itself states (LAME tags, CAF packet tables).
fn trim(demux: &Demux, kind: Kind) -> Trim {
    let track = demux.track();
    let (Some(frames), true) = (
        track.num_frames,
        track.delay.is_some() || track.padding.is_some(),
    ) else {
        return Trim::Frames(0, Tail::Open);
    };
    let padding = u64::from(track.padding.unwrap_or(0));
    let delay = u64::from(track.delay.unwrap_or(0));
    let slack = MPEG_SLACK;
    let tail = match kind {
        Kind::Mpeg => Tail::Padding {
            frames,
            padding,
            slack,
        },
        // Packet tables are exact, and lossless packets leave the padding out by themselves.
        _ => Tail::Exactly(frames),
    };
    Trim::Frames(delay, tail)
}

/// What the header promises, and how much of it may be missing.
fn promise(demux: &Demux, kind: Kind) -> Option<Promise> {
    let track = demux.track();
    let params = demux.params();
    let rate = u64::from(params.sample_rate?);
    let frames = track.num_frames.filter(|n| *n > 0);
    let by_seconds = || Some((demux.seconds()? * rate as f64).round() as u64).filter(|n| *n > 0);
    let (frames, tolerance) = match kind {
        Kind::Wav | Kind::Aiff => {
            let channels = params.channels.as_ref().map_or(1, |c| c.count()) as u64;
            let width = u64::from(params.bits_per_sample.unwrap_or(32).div_ceil(8));
            let known = |n: &u64| n.saturating_mul(channels * width) < UNKNOWN_WAV_BYTES;
            (frames.filter(known)?, rate / 20)
        }
        Kind::Flac | Kind::Ogg => (frames?, 0),
        // Some writers round up to whole packets.
        Kind::Caf => (frames?, rate / 20 + 4096),
        Kind::Mp4 => (frames.or_else(by_seconds)?, rate / 10),
        Kind::Matroska => (by_seconds()?, rate),
        // Without a LAME tag the length of an MPEG stream is a guess.
        Kind::Mpeg if track.delay.is_some() => (frames?, 3 * 1152),
        Kind::Mpeg | Kind::Adts => return None,
    };
    Some(Promise { frames, tolerance })
}
