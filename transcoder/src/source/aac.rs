//! Which decoder an AAC track needs, and Fraunhofer's FDK for what Symphonia can't do: HE-AAC v1
//! and v2 (also where only the sound itself tells of it) and more than two channels.
//!
//! Plain AAC-LC stays with Symphonia, which decodes to floats; FDK has 16 bits.

#![allow(unsafe_code)]

use std::collections::VecDeque;

use symphonia::core::codecs::audio::AudioCodecParameters;

use super::codec::{Decode, Symphonia};
use super::demux::{Demux, Packet};
use super::error::Error;

/// Packets looked at to find spectral band replication.
const PROBE_PACKETS: usize = 4;

/// The decoder for that track; packets read on the way are left in `ahead`.
///
/// # Errors
/// [`Error::Unsupported`] where no decoder that is built in fits.
pub(super) fn decoder(
    demux: &mut Demux,
    ahead: &mut VecDeque<Packet>,
) -> Result<Box<dyn Decode>, Error> {
    let params = demux.params().clone();
    while ahead.len() < PROBE_PACKETS {
        match demux.next()? {
            Ok(packet) => ahead.push_back(packet),
            Err(_) => break,
        }
    }
    let config = config(&params);
    match (Symphonia::new(&params), config) {
        (Ok(plain), Some(config)) if !fdk::is_extended(&config, ahead) => Ok(Box::new(plain)),
        (Ok(plain), None) => Ok(Box::new(plain)),
        (Ok(_), Some(config)) => fdk::open(&config),
        (Err(Error::Unsupported { codec }), Some(config)) => {
            fdk::open(&config).map_err(|_| Error::Unsupported { codec })
        }
        (Err(error), _) => Err(error),
    }
}

/// The AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2.1); made up for ADTS, which has none.
fn config(params: &AudioCodecParameters) -> Option<Vec<u8>> {
    const RATES: [u32; 13] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025,
        8_000, 7_350,
    ];
    if let Some(config) = &params.extra_data {
        return Some(config.to_vec());
    }
    let rate = RATES
        .iter()
        .position(|rate| Some(*rate) == params.sample_rate)? as u16;
    let channels = match params.channels.as_ref()?.count() {
        n @ 1..=6 => n as u16,
        8 => 7,
        _ => return None,
    };
    const LOW_COMPLEXITY: u16 = 2;
    Some(
        (LOW_COMPLEXITY << 11 | rate << 7 | channels << 3)
            .to_be_bytes()
            .to_vec(),
    )
}

#[cfg(not(feature = "fdk-aac"))]
mod fdk {
    //! Stands in where FDK is left out.

    use std::collections::VecDeque;

    use super::{Decode, Error, Packet};

    pub(super) fn is_extended(_config: &[u8], _packets: &VecDeque<Packet>) -> bool {
        false
    }

    pub(super) fn open(_config: &[u8]) -> Result<Box<dyn Decode>, Error> {
        Err(Error::Unsupported {
            codec: "HE-AAC or multichannel AAC".to_owned(),
        })
    }
}

#[cfg(feature = "fdk-aac")]
mod fdk {
    //! The binding.

    use std::collections::VecDeque;

    use fdk::sys;

    use super::super::chunk::Chunk;
    use super::super::codec::{Lost, Shape};
    use super::{Decode, Error, Packet};
    use crate::downmix::wave_order;

    /// The concealment without a delay.
    const NOISE_SUBSTITUTION: i32 = 1;
    /// `AC_PS_PRESENT` of FDK_audio.h, which the bindings leave out.
    const PARAMETRIC_STEREO: u32 = 0x02_0000;
    /// 8 channels of the longest frame (2048 for HE-AAC, doubled for safety).
    const MAX_SAMPLES: usize = 8 * 4096;

    /// A decoder instance, closed on drop.
    struct Handle(sys::HANDLE_AACDECODER);

    // SAFETY: an instance has no thread affinity and shares no mutable state with others; it is
    // only moved, never shared.
    unsafe impl Send for Handle {}

    impl Drop for Handle {
        fn drop(&mut self) {
            // SAFETY: the handle came from aacDecoder_Open and is closed once.
            unsafe { sys::aacDecoder_Close(self.0) };
        }
    }

    pub(super) struct Fdk {
        handle: Handle,
        shape: Shape,
        buffer: Vec<i16>,
        extended: bool,
    }

    /// Whether plain AAC-LC in one or two channels is not the whole story.
    pub(super) fn is_extended(config: &[u8], packets: &VecDeque<Packet>) -> bool {
        let Ok(mut decoder) = Fdk::new(config) else {
            return false;
        };
        packets
            .iter()
            .any(|packet| decoder.decode(&packet.data).is_ok() && decoder.extended)
    }

    pub(super) fn open(config: &[u8]) -> Result<Box<dyn Decode>, Error> {
        Ok(Box::new(Fdk::new(config)?))
    }

    impl Fdk {
        fn new(config: &[u8]) -> Result<Fdk, Error> {
            let refused = || Error::Unsupported {
                codec: "an unknown variant of AAC".to_owned(),
            };
            // SAFETY: plain constructor; null on failure.
            let handle = unsafe { sys::aacDecoder_Open(sys::TRANSPORT_TYPE_TT_MP4_RAW, 1) };
            if handle.is_null() {
                return Err(refused());
            }
            let handle = Handle(handle);
            let mut bytes = config.to_vec();
            let (mut pointer, length) = (bytes.as_mut_ptr(), bytes.len() as u32);
            // SAFETY: one layer; `bytes` outlives the call, which copies what it needs.
            let status = unsafe { sys::aacDecoder_ConfigRaw(handle.0, &mut pointer, &length) };
            if status != sys::AAC_DECODER_ERROR_AAC_DEC_OK {
                return Err(refused());
            }
            // The limiter and the interpolating concealment would add delays, dynamic range
            // control would alter the sound.
            for (param, value) in [
                (sys::AACDEC_PARAM_AAC_PCM_LIMITER_ENABLE, 0),
                (sys::AACDEC_PARAM_AAC_CONCEAL_METHOD, NOISE_SUBSTITUTION),
                (sys::AACDEC_PARAM_AAC_DRC_REFERENCE_LEVEL, -1),
                (sys::AACDEC_PARAM_AAC_DRC_BOOST_FACTOR, 0),
                (sys::AACDEC_PARAM_AAC_DRC_ATTENUATION_FACTOR, 0),
            ] {
                // SAFETY: a live handle; unknown parameters are refused without effect.
                unsafe { sys::aacDecoder_SetParam(handle.0, param, value) };
            }
            let shape = Shape {
                rate: 0,
                layout: Vec::new(),
            };
            Ok(Fdk {
                handle,
                shape,
                buffer: vec![0; MAX_SAMPLES],
                extended: false,
            })
        }

        /// Feeds a packet and runs the decoder once. 0 is success.
        fn run(&mut self, packet: &[u8]) -> sys::AAC_DECODER_ERROR {
            let mut bytes = packet.to_vec();
            let (mut pointer, length) = (bytes.as_mut_ptr(), bytes.len() as u32);
            let mut left = length;
            // SAFETY: `bytes` is as long as said and outlives both calls; the buffer is as long
            // as said and of the binding's sample type.
            unsafe {
                let status = sys::aacDecoder_Fill(self.handle.0, &mut pointer, &length, &mut left);
                if status != sys::AAC_DECODER_ERROR_AAC_DEC_OK {
                    return status;
                }
                let room = self.buffer.len() as i32;
                sys::aacDecoder_DecodeFrame(self.handle.0, self.buffer.as_mut_ptr(), room, 0)
            }
        }
    }

    impl Decode for Fdk {
        fn decode(&mut self, packet: &[u8]) -> Result<Chunk, Lost> {
            let status = self.run(packet);
            if status != sys::AAC_DECODER_ERROR_AAC_DEC_OK {
                return Err(Lost::Packet(format!("FDK-AAC error {status:#x}")));
            }
            // SAFETY: never null for a live handle; read before the next call.
            let info = unsafe { &*sys::aacDecoder_GetStreamInfo(self.handle.0) };
            let decoded = usize::try_from(info.numChannels).unwrap_or(0);
            let frames = usize::try_from(info.frameSize).unwrap_or(0);
            let rate = u32::try_from(info.sampleRate).unwrap_or(0);
            let stereo = info.flags & PARAMETRIC_STEREO != 0;
            // HE-AAC in mono comes out twice, in case parametric stereo should follow.
            let is_mono = info.aacNumChannels == 1 && !stereo;
            let channels = if is_mono { 1 } else { decoded };
            self.extended = info.sampleRate != info.aacSampleRate || stereo || channels > 2;
            self.shape = Shape {
                rate,
                layout: wave_order(channels).to_vec(),
            };
            let samples = self.buffer.get(..frames * decoded).unwrap_or_default();
            let floats: Vec<f32> = samples.iter().map(|s| f32::from(*s) / 32_768.0).collect();
            let mut chunk = Chunk::from_interleaved(&floats, decoded.max(1));
            chunk.float.truncate(channels.max(1));
            Ok(chunk)
        }

        fn shape(&self) -> Shape {
            self.shape.clone()
        }
    }
}
