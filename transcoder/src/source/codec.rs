//! Packets to PCM: one trait over all decoders, and the decoders that Symphonia has.

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as Fault;
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration, Timestamp};

use super::chunk::Chunk;
use super::error::Error;
use super::layout::speakers;
use crate::downmix::Speaker;

/// Rate and layout of decoded sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Samples per second.
    pub(super) rate: u32,
    /// One speaker a channel, in the order of the planes.
    pub(super) layout: Vec<Speaker>,
}

/// Why a packet gave no sound.
#[derive(Debug)]
pub(super) enum Lost {
    /// This packet is broken; the next may be fine.
    Packet(String),
    /// There is no going on.
    Codec(Error),
}

/// A decoder of one codec.
pub(super) trait Decode: Send {
    /// Decodes one packet, possibly to nothing.
    fn decode(&mut self, packet: &[u8]) -> Result<Chunk, Lost>;

    /// Rate and layout of the last chunk, or by the headers before the first.
    fn shape(&self) -> Shape;

    /// Bits per sample of a lossless codec (32 for float).
    fn bit_depth(&self) -> Option<u32> {
        None
    }

    /// Called once after the last packet.
    ///
    /// # Errors
    /// If the codec knows that the sound is not what was encoded.
    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// A decoder of Symphonia's.
pub(super) struct Symphonia {
    decoder: Box<dyn AudioDecoder>,
    shape: Shape,
    depth: Option<u32>,
    lossless: bool,
}

impl Symphonia {
    /// The decoder for those parameters.
    ///
    /// # Errors
    /// [`Error::Unsupported`] or [`Error::Damaged`].
    pub(super) fn new(params: &AudioCodecParameters) -> Result<Symphonia, Error> {
        // Vorbis hides its first block only when asked for gapless sound. Packets that carry no
        // trimming of their own are not otherwise affected.
        let options = AudioDecoderOptions::default().gapless(true).verify(true);
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(params, &options)
            .map_err(|fault| refuse(params, &fault))?;
        let name = decoder.codec_info().short_name;
        let lossless = is_lossless(name);
        let params = decoder.codec_params();
        let layout = params.channels.as_ref().map(speakers).unwrap_or_default();
        let shape = Shape {
            rate: params.sample_rate.unwrap_or(0),
            layout,
        };
        let stated = params.bits_per_sample.filter(|bits| *bits > 0);
        let cookie = || alac_depth(params.extra_data.as_deref()?);
        let depth = if name == "alac" {
            cookie().or(stated)
        } else {
            stated
        };
        Ok(Symphonia {
            decoder,
            shape,
            depth: depth.filter(|_| lossless),
            lossless,
        })
    }

    /// States the shape that the headers give, for codecs that tell only with the first packet.
    pub(super) fn set_shape(&mut self, rate: u32, channels: u8) {
        let layout = crate::downmix::wave_order(usize::from(channels)).to_vec();
        self.shape = Shape { rate, layout };
    }

    /// Codec name for people: `flac`, `pcm_s16le`, `mp3`…
    pub(super) fn name(&self) -> &'static str {
        self.decoder.codec_info().short_name
    }
}

impl Decode for Symphonia {
    fn decode(&mut self, packet: &[u8]) -> Result<Chunk, Lost> {
        let packet = PacketRef::new(0, Timestamp::ZERO, Duration::ZERO, packet);
        let sound = self
            .decoder
            .decode_ref(&packet)
            .map_err(|fault| match fault {
                Fault::DecodeError(why) => Lost::Packet(why.to_owned()),
                Fault::IoError(why) => Lost::Packet(why.to_string()),
                Fault::Unsupported(codec) => Lost::Codec(Error::Unsupported {
                    codec: codec.to_owned(),
                }),
                other => Lost::Codec(Error::damaged(other.to_string())),
            })?;
        let spec = sound.spec();
        if spec.rate() != self.shape.rate || spec.channels().count() != self.shape.layout.len() {
            self.shape = Shape {
                rate: spec.rate(),
                layout: speakers(spec.channels()),
            };
        }
        if self.lossless {
            self.depth = Some(depth(&sound, self.depth));
        }
        Ok(chunk(&sound, self.depth))
    }

    fn shape(&self) -> Shape {
        self.shape.clone()
    }

    fn bit_depth(&self) -> Option<u32> {
        self.depth
    }

    fn finish(&mut self) -> Result<(), Error> {
        match self.decoder.finalize().verify_ok {
            Some(false) => Err(Error::damaged(
                "its sound doesn't match its own checksum (MD5)",
            )),
            _ => Ok(()),
        }
    }
}

/// Whether a codec of that name keeps every sample.
fn is_lossless(name: &str) -> bool {
    let companded = matches!(name, "pcm_alaw" | "pcm_mulaw");
    matches!(name, "flac" | "alac") || (name.starts_with("pcm_") && !companded)
}

/// Bit depth of an ALAC configuration, which old files wrap in `frma` and `alac` boxes.
fn alac_depth(mut cookie: &[u8]) -> Option<u32> {
    for wrapper in [b"frma", b"alac"] {
        if cookie.get(4..8) == Some(wrapper) {
            cookie = cookie.get(12..)?;
        }
    }
    cookie
        .get(5)
        .map(|depth| u32::from(*depth))
        .filter(|depth| *depth > 0)
}

/// The error for a decoder that can't be made.
fn refuse(params: &AudioCodecParameters, fault: &Fault) -> Error {
    let registry = symphonia::default::get_codecs();
    let known = registry
        .get_audio_decoder(params.codec)
        .map(|d| d.codec.info.short_name);
    match (fault, known) {
        (Fault::Unsupported(why), Some("aac")) if why.contains("too complex") => {
            Error::Unsupported {
                codec: "HE-AAC or multichannel AAC".to_owned(),
            }
        }
        (Fault::Unsupported(why), Some(name)) => Error::Unsupported {
            codec: format!("a variant of {name} ({why})"),
        },
        (_, Some(_)) => Error::damaged(fault.to_string()),
        (_, None) => Error::Unsupported {
            codec: codec_name(params),
        },
    }
}

/// A name for codecs that are recognised but not decoded.
fn codec_name(params: &AudioCodecParameters) -> String {
    use symphonia::core::codecs::audio::well_known::{
        CODEC_ID_AC3, CODEC_ID_AC4, CODEC_ID_DCA, CODEC_ID_EAC3, CODEC_ID_SPEEX, CODEC_ID_WMA,
    };
    let name = match params.codec {
        CODEC_ID_AC3 => "AC-3",
        CODEC_ID_EAC3 => "E-AC-3",
        CODEC_ID_AC4 => "AC-4",
        CODEC_ID_DCA => "DTS",
        CODEC_ID_SPEEX => "Speex",
        CODEC_ID_WMA => "Windows Media Audio",
        other => return format!("an unknown codec ({other})"),
    };
    name.to_owned()
}

/// Bits per sample of a lossless buffer: what the codec says, within what the buffer can hold.
fn depth(sound: &GenericAudioBufferRef<'_>, stated: Option<u32>) -> u32 {
    use GenericAudioBufferRef::{F32, F64, S8, S16, S24, S32, U8, U16, U24, U32};
    match sound {
        U8(_) | S8(_) => 8,
        U16(_) | S16(_) => 16,
        U24(_) | S24(_) => 24,
        F32(_) | F64(_) => 32,
        U32(_) | S32(_) => stated.unwrap_or(32).clamp(4, 32),
    }
}

/// Copies a decoded buffer. Buffers of integers are left-aligned whatever their depth.
fn chunk(sound: &GenericAudioBufferRef<'_>, depth: Option<u32>) -> Chunk {
    use GenericAudioBufferRef::{F32, F64};
    let integers = !matches!(sound, F32(_) | F64(_));
    let Some(depth) = depth.filter(|depth| integers && *depth <= 24) else {
        let mut float: Vec<Vec<f32>> = Vec::new();
        sound.copy_to_vecs_planar(&mut float);
        return Chunk::float(float);
    };
    let mut exact: Vec<Vec<i32>> = Vec::new();
    sound.copy_to_vecs_planar(&mut exact);
    let full_scale = 1.0 / (1u32 << (depth - 1)) as f32;
    for sample in exact.iter_mut().flatten() {
        *sample >>= 32 - depth;
    }
    // Exact: at most 24 bits times a power of two.
    let scale = |plane: &Vec<i32>| plane.iter().map(|s| *s as f32 * full_scale).collect();
    Chunk {
        float: exact.iter().map(scale).collect(),
        exact: Some(exact),
    }
}
