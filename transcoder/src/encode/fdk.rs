//! AAC-LC and HE-AAC by Fraunhofer's FDK, bound directly: raw access units, no transport.

#![allow(unsafe_code)]

use std::{os::raw::c_void, ptr};

use fdk::{Encoder, sys};

use super::{
    Packets, Quantiser,
    aac::{Profile, RATE, Settings},
    approach::Approach,
};
use crate::Error;

/// Access units that are encoded and dropped before those of the priming where there is a pre-roll,
/// which begins in the last of them: the first that is kept follows on sound then. The others are silence,
/// which leaves the bit reservoir full. FDK writes the header of band replication into every tenth
/// (`DEFAULT_HEADER_PERIOD_REPETITION_RATE`), and codes that one without reference to what came
/// before: dropping ten leaves it where it is without a pre-roll.
const RUN_UP: u64 = 10;

/// More than the largest access unit of two channels (6,144 bits each).
const MAX_PACKET: usize = 8_192;

/// An FDK encoder, closed on drop.
struct Handle {
    instance: sys::HANDLE_AACENCODER,
    /// The copy of FDK that opened it.
    fdk: Encoder,
}

// SAFETY: an encoder instance has no thread affinity and shares no mutable state with others; it
// is only moved, never shared.
unsafe impl Send for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle came from the same copy and is closed once.
        unsafe { (self.fdk.close)(&mut self.instance) };
    }
}

/// An encoder of one rendition.
pub struct Aac {
    handle: Handle,
    profile: Profile,
    channels: usize,
    config: Vec<u8>,
    /// Interleaved sound not yet encoded, led by what lengthens the delay to the priming.
    pending: Vec<i16>,
    quantiser: Quantiser,
    approach: Approach,
    /// Samples pushed, with those of the pre-roll.
    taken: u64,
    /// Leading access units still to be dropped: of silence, or of the pre-roll.
    skip: u64,
    emitted: u64,
    packet: Vec<u8>,
}

impl std::fmt::Debug for Aac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aac")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

impl Aac {
    /// Opens an encoder for 1 or 2 channels, to which `preroll` samples of the track before are pushed
    /// before the sound.
    ///
    /// # Errors
    /// [`Error::Encode`] where FDK refuses the settings.
    pub fn new(settings: Settings, channels: usize, preroll: u64) -> Result<Aac, Error> {
        Aac::with(Encoder::fastest(), settings, channels, preroll)
    }

    fn with(fdk: Encoder, settings: Settings, channels: usize, preroll: u64) -> Result<Aac, Error> {
        let profile = settings.profile;
        let mut handle = Handle {
            instance: ptr::null_mut(),
            fdk,
        };
        // SAFETY: `handle.instance` is a valid place for the new instance.
        check("open", unsafe {
            (fdk.open)(&mut handle.instance, 0, channels as u32)
        })?;
        let parameters = [
            (sys::AACENC_PARAM_AACENC_AOT, profile.object_type()),
            (sys::AACENC_PARAM_AACENC_SAMPLERATE, RATE),
            // 1 is mono, 2 is stereo.
            (sys::AACENC_PARAM_AACENC_CHANNELMODE, channels as u32),
            (sys::AACENC_PARAM_AACENC_BITRATEMODE, 0),
            (sys::AACENC_PARAM_AACENC_BITRATE, settings.bitrate),
            (
                sys::AACENC_PARAM_AACENC_AFTERBURNER,
                u32::from(settings.thorough),
            ),
            // 0 is its own choice.
            (
                sys::AACENC_PARAM_AACENC_BANDWIDTH,
                settings.bandwidth.unwrap_or(0),
            ),
            // Raw access units; explicit, hierarchical signalling of band replication.
            (sys::AACENC_PARAM_AACENC_TRANSMUX, 0),
            (sys::AACENC_PARAM_AACENC_SIGNALING_MODE, 2),
        ];
        for (parameter, value) in parameters {
            // SAFETY: the handle is open.
            check("settings", unsafe {
                (fdk.set)(handle.instance, parameter, value)
            })?;
        }
        // SAFETY: null descriptors ask for initialisation only.
        check("start", unsafe {
            (fdk.encode)(
                handle.instance,
                ptr::null(),
                ptr::null(),
                ptr::null(),
                ptr::null_mut(),
            )
        })?;
        // SAFETY: a plain C struct of integers, for which zero is valid; filled by the next call.
        let mut info: sys::AACENC_InfoStruct = unsafe { std::mem::zeroed() };
        // SAFETY: the handle is open and `info` is writable.
        check("describe", unsafe {
            (fdk.info)(handle.instance, &mut info)
        })?;
        let frame = profile.frame() as u64;
        if u64::from(info.frameLength) != frame {
            return Err(Error::Encode(format!(
                "AAC: frames of {} samples",
                info.frameLength
            )));
        }
        let (room, skip) = alignment(profile.priming(), delay(profile, &info), frame);
        let run_up = if preroll > 0 { RUN_UP } else { 0 };
        let approach = Approach::new(room + run_up * frame, preroll);
        let config = info.confBuf[..(info.confSize as usize).min(info.confBuf.len())].to_vec();
        Ok(Aac {
            handle,
            profile,
            channels,
            config,
            pending: vec![0; approach.silence as usize * channels],
            quantiser: Quantiser::new(i16::BITS),
            approach,
            taken: 0,
            skip: skip + run_up,
            emitted: 0,
            packet: vec![0; MAX_PACKET],
        })
    }

    /// AudioSpecificConfig.
    pub fn config(&self) -> &[u8] {
        &self.config
    }

    /// Samples that a decoder yields before the sound.
    pub fn priming(&self) -> u64 {
        self.profile.priming()
    }

    /// Takes interleaved samples at 48 kHz, nominally −1…1; louder ones are clipped. FDK takes 16
    /// bits: finer sound is dithered.
    ///
    /// # Errors
    /// [`Error::Encode`], or the sink's.
    pub fn push(&mut self, pcm: &[f32], sink: &mut impl Packets) -> Result<(), Error> {
        self.taken += (pcm.len() / self.channels) as u64;
        let pcm = self.approach.admit(pcm, self.channels);
        let quantiser = &mut self.quantiser;
        self.pending
            .extend(pcm.iter().map(|s| quantiser.sample(*s) as i16));
        self.drain(sink, u64::MAX)
    }

    /// Takes what [`Aac::push`] takes, quantised to 16 bits already.
    ///
    /// # Errors
    /// As [`Aac::push`].
    pub fn push_quantised(&mut self, pcm: &[i16], sink: &mut impl Packets) -> Result<(), Error> {
        self.taken += (pcm.len() / self.channels) as u64;
        let pcm = self.approach.admit(pcm, self.channels);
        self.pending.extend_from_slice(pcm);
        self.drain(sink, u64::MAX)
    }

    /// Emits the rest. Returns the samples of sound taken.
    ///
    /// # Errors
    /// As [`Aac::push`].
    pub fn finish(mut self, sink: &mut impl Packets) -> Result<u64, Error> {
        let sound = self.approach.sound(self.taken);
        let wanted = (self.priming() + sound).div_ceil(self.profile.frame() as u64);
        while self.emitted < wanted {
            let frame = self.profile.frame() * self.channels;
            self.pending.resize(self.pending.len().max(frame), 0);
            self.drain(sink, wanted)?;
        }
        Ok(sound)
    }

    /// Encodes whole frames while fewer than `limit` packets were emitted.
    fn drain(&mut self, sink: &mut impl Packets, limit: u64) -> Result<(), Error> {
        let frame = self.profile.frame() * self.channels;
        let mut at = 0;
        while self.pending.len() - at >= frame && self.emitted < limit {
            let (read, size) = encode(
                &self.handle,
                &mut self.pending[at..at + frame],
                &mut self.packet,
            )?;
            if read == 0 && size == 0 {
                return Err(Error::Encode("AAC: the encoder took no sound".into()));
            }
            at += read;
            if size == 0 {
                continue;
            }
            if self.skip > 0 {
                self.skip -= 1;
            } else {
                sink.packet(&self.packet[..size])?;
                self.emitted += 1;
            }
        }
        self.pending.drain(..at);
        Ok(())
    }
}

/// Samples between input and decoded output. For band replication FDK rounds the decoder's share
/// up: it names 962 samples, the filter bank has 577 and the adjuster 384 (measured, too: sound
/// placed by FDK's figure comes out one sample early).
fn delay(profile: Profile, info: &sys::AACENC_InfoStruct) -> u64 {
    u64::from(info.nDelay) - u64::from(profile == Profile::He)
}

/// Samples to put before the sound, and access units to drop, so that the delay becomes `priming`.
/// Where they are silence, what is dropped decodes to silence, and one unit of silence stays before
/// the first that sounds.
fn alignment(priming: u64, delay: u64, frame: u64) -> (u64, u64) {
    let skip = delay.saturating_sub(priming).div_ceil(frame);
    (priming + skip * frame - delay, skip)
}

/// Feeds one frame. Returns samples read (all channels) and bytes written.
fn encode(handle: &Handle, pcm: &mut [i16], packet: &mut [u8]) -> Result<(usize, usize), Error> {
    let mut input: *mut c_void = pcm.as_mut_ptr().cast();
    let mut input_id = sys::AACENC_BufferIdentifier_IN_AUDIO_DATA as i32;
    let mut input_bytes = size_of_val(pcm) as i32;
    let mut input_element = size_of::<i16>() as i32;
    let source = sys::AACENC_BufDesc {
        numBufs: 1,
        bufs: &mut input,
        bufferIdentifiers: &mut input_id,
        bufSizes: &mut input_bytes,
        bufElSizes: &mut input_element,
    };
    let mut output: *mut c_void = packet.as_mut_ptr().cast();
    let mut output_id = sys::AACENC_BufferIdentifier_OUT_BITSTREAM_DATA as i32;
    let mut output_bytes = packet.len() as i32;
    let mut output_element = 1;
    let target = sys::AACENC_BufDesc {
        numBufs: 1,
        bufs: &mut output,
        bufferIdentifiers: &mut output_id,
        bufSizes: &mut output_bytes,
        bufElSizes: &mut output_element,
    };
    let arguments = sys::AACENC_InArgs {
        numInSamples: pcm.len() as i32,
        numAncBytes: 0,
    };
    // SAFETY: a plain C struct of integers, for which zero is valid.
    let mut result: sys::AACENC_OutArgs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptors point to buffers of the sizes they name, which outlive the call.
    check("encode", unsafe {
        (handle.fdk.encode)(handle.instance, &source, &target, &arguments, &mut result)
    })?;
    Ok((
        result.numInSamples.max(0) as usize,
        result.numOutBytes.max(0) as usize,
    ))
}

fn check(what: &str, code: sys::AACENC_ERROR) -> Result<(), Error> {
    if code == sys::AACENC_ERROR_AACENC_OK {
        Ok(())
    } else {
        Err(Error::Encode(format!(
            "AAC: {what} failed with code {code:#x}"
        )))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::print_stderr)]
    use super::*;

    struct Kept(Vec<Vec<u8>>);

    impl Packets for Kept {
        fn packet(&mut self, packet: &[u8]) -> Result<(), Error> {
            self.0.push(packet.to_vec());
            Ok(())
        }
    }

    /// Tones that come and go, clicks and noise, from a seed: all kinds of blocks.
    fn sound(channels: usize) -> Vec<f32> {
        let mut random = 7_u64;
        let mut out = Vec::new();
        for n in 0..RATE as usize * 4 {
            let t = n as f32 / RATE as f32;
            for channel in 0..channels {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let noise = (random >> 40) as f32 / 8_388_608.0 - 1.0;
                let tone = (t * (900.0 + 700.0 * channel as f32) * (1.0 + t)).sin();
                let click = if n % 9_001 < 3 { 0.8 } else { 0.0 };
                out.push(0.3 * tone * (t * 5.0).sin() + 0.1 * noise * (t - 1.5).max(0.0) + click);
            }
        }
        out
    }

    #[test]
    fn every_processor_writes_the_same_bytes() {
        let Some(v3) = Encoder::v3() else {
            eprintln!("skipped: neither this processor nor this build has AVX2");
            return;
        };
        for (profile, bitrate) in [
            (Profile::He, 64_000),
            (Profile::Lc, 128_000),
            (Profile::Lc, 256_000),
        ] {
            for channels in [1, 2] {
                let made = [Encoder::PORTABLE, v3].map(|fdk| {
                    let settings = Settings {
                        profile,
                        bitrate,
                        bandwidth: (bitrate >= 256_000).then_some(20_000),
                        thorough: profile == Profile::He,
                    };
                    let mut aac = Aac::with(fdk, settings, channels, 0).unwrap();
                    let mut kept = Kept(vec![aac.config().to_vec()]);
                    aac.push(&sound(channels), &mut kept).unwrap();
                    aac.finish(&mut kept).unwrap();
                    kept.0
                });
                assert!(made[0].len() > 90);
                assert!(made[0] == made[1], "{profile:?} {bitrate}, {channels} ch");
            }
        }
    }
}
