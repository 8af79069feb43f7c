//! FLAC by libFLAC: the source's own samples, one frame a packet.

#![allow(unsafe_code)]

use std::{os::raw::c_void, slice};

use libflac_sys as lib;

use super::Packets;
use crate::Error;

/// Settings of the rung for one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// libFLAC's preset, 0–8.
    pub level: u8,
    /// Samples per second.
    pub rate: u32,
    /// Bits per sample, 4–24.
    pub bit_depth: u8,
    /// Samples in a block.
    pub block: u32,
}

/// What libFLAC's callbacks write to.
#[derive(Default)]
struct Output {
    data: Vec<u8>,
    sizes: Vec<usize>,
    stream_info: Option<[u8; 34]>,
}

/// A libFLAC encoder and the place its callbacks write to.
struct Handle {
    encoder: *mut lib::FLAC__StreamEncoder,
    /// From `Box::into_raw`: libFLAC keeps the pointer, so no Rust reference to it may live
    /// across a call.
    output: *mut Output,
}

// SAFETY: libFLAC's encoder has no thread affinity, and the output is reached only through this
// handle, during calls on it.
unsafe impl Send for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: both pointers came from their allocators, once; deleting the encoder may still
        // call back, so the output goes last.
        unsafe {
            lib::FLAC__stream_encoder_delete(self.encoder);
            drop(Box::from_raw(self.output));
        }
    }
}

/// An encoder of one rendition.
pub struct Flac {
    handle: Handle,
    channels: usize,
    taken: u64,
}

impl std::fmt::Debug for Flac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flac")
            .field("channels", &self.channels)
            .finish_non_exhaustive()
    }
}

impl Flac {
    /// Opens an encoder for 1 or 2 channels.
    ///
    /// # Errors
    /// [`Error::Encode`] where libFLAC refuses the settings.
    pub fn new(settings: Settings, channels: usize) -> Result<Flac, Error> {
        // SAFETY: allocates, or returns null.
        let encoder = unsafe { lib::FLAC__stream_encoder_new() };
        if encoder.is_null() {
            return Err(Error::Encode("FLAC: out of memory".into()));
        }
        let handle = Handle {
            encoder,
            output: Box::into_raw(Box::default()),
        };
        // SAFETY: the encoder is fresh; the setters only store values. The preset comes first,
        // as it overwrites others.
        let status = unsafe {
            lib::FLAC__stream_encoder_set_compression_level(encoder, u32::from(settings.level));
            lib::FLAC__stream_encoder_set_channels(encoder, channels as u32);
            lib::FLAC__stream_encoder_set_bits_per_sample(encoder, u32::from(settings.bit_depth));
            lib::FLAC__stream_encoder_set_sample_rate(encoder, settings.rate);
            lib::FLAC__stream_encoder_set_blocksize(encoder, settings.block);
            // Odd rates can't be told within the subset; blocks and orders stay within it anyway.
            lib::FLAC__stream_encoder_set_streamable_subset(encoder, 0);
            lib::FLAC__stream_encoder_init_stream(
                encoder,
                Some(on_write),
                None,
                None,
                Some(on_metadata),
                handle.output.cast(),
            )
        };
        if status != lib::FLAC__STREAM_ENCODER_INIT_STATUS_OK {
            return Err(Error::Encode(format!(
                "FLAC: start failed with code {status}"
            )));
        }
        Ok(Flac {
            handle,
            channels,
            taken: 0,
        })
    }

    /// Takes interleaved samples, right-aligned to the bit depth.
    ///
    /// # Errors
    /// [`Error::Encode`], or the sink's.
    pub fn push(&mut self, pcm: &[i32], sink: &mut impl Packets) -> Result<(), Error> {
        let frames = pcm.len() / self.channels;
        self.taken += frames as u64;
        // SAFETY: `pcm` holds `frames` interleaved samples of `channels` channels.
        let taken = unsafe {
            lib::FLAC__stream_encoder_process_interleaved(
                self.handle.encoder,
                pcm.as_ptr(),
                frames as u32,
            )
        };
        self.check(taken)?;
        self.drain(sink)
    }

    /// Emits the rest. Returns the samples taken and STREAMINFO with its totals and MD5.
    ///
    /// # Errors
    /// As [`Flac::push`].
    pub fn finish(mut self, sink: &mut impl Packets) -> Result<(u64, [u8; 34]), Error> {
        // SAFETY: the encoder is open.
        let done = unsafe { lib::FLAC__stream_encoder_finish(self.handle.encoder) };
        self.check(done)?;
        self.drain(sink)?;
        // SAFETY: no call is under way, so nothing else reaches the output.
        let info = unsafe { (*self.handle.output).stream_info };
        let info = info.ok_or_else(|| Error::Encode("FLAC: no stream info".into()))?;
        Ok((self.taken, info))
    }

    fn check(&self, ok: lib::FLAC__bool) -> Result<(), Error> {
        if ok != 0 {
            return Ok(());
        }
        // SAFETY: the encoder exists.
        let state = unsafe { lib::FLAC__stream_encoder_get_state(self.handle.encoder) };
        Err(Error::Encode(format!("FLAC: failed in state {state}")))
    }

    fn drain(&mut self, sink: &mut impl Packets) -> Result<(), Error> {
        // SAFETY: no call is under way, so nothing else reaches the output.
        let output = unsafe { &mut *self.handle.output };
        let mut at = 0;
        for size in output.sizes.drain(..) {
            sink.packet(&output.data[at..at + size])?;
            at += size;
        }
        output.data.clear();
        Ok(())
    }
}

/// Called once a frame, and for metadata with no samples.
unsafe extern "C" fn on_write(
    _: *const lib::FLAC__StreamEncoder,
    buffer: *const lib::FLAC__byte,
    bytes: usize,
    samples: u32,
    _: u32,
    client: *mut c_void,
) -> lib::FLAC__StreamEncoderWriteStatus {
    if samples > 0 && !buffer.is_null() {
        // SAFETY: `client` is the handle's output, which no one else touches during a call;
        // libFLAC names a buffer of `bytes` bytes.
        let (output, frame) = unsafe {
            (
                &mut *client.cast::<Output>(),
                slice::from_raw_parts(buffer, bytes),
            )
        };
        output.data.extend_from_slice(frame);
        output.sizes.push(bytes);
    }
    lib::FLAC__STREAM_ENCODER_WRITE_STATUS_OK
}

/// Called at the end with STREAMINFO complete.
unsafe extern "C" fn on_metadata(
    _: *const lib::FLAC__StreamEncoder,
    metadata: *const lib::FLAC__StreamMetadata,
    client: *mut c_void,
) {
    // SAFETY: libFLAC passes STREAMINFO and nothing else here; `client` as above.
    let (info, output) = unsafe { (&(*metadata).data.stream_info, &mut *client.cast::<Output>()) };
    output.stream_info = Some(stream_info(info));
}

/// STREAMINFO's body as in a file (RFC 9639 §8.2).
fn stream_info(info: &lib::FLAC__StreamMetadata_StreamInfo) -> [u8; 34] {
    let mut body = [0; 34];
    body[0..2].copy_from_slice(&(info.min_blocksize as u16).to_be_bytes());
    body[2..4].copy_from_slice(&(info.max_blocksize as u16).to_be_bytes());
    body[4..7].copy_from_slice(&info.min_framesize.to_be_bytes()[1..]);
    body[7..10].copy_from_slice(&info.max_framesize.to_be_bytes()[1..]);
    let packed = u64::from(info.sample_rate) << 44
        | u64::from(info.channels - 1) << 41
        | u64::from(info.bits_per_sample - 1) << 36
        | info.total_samples & ((1 << 36) - 1);
    body[10..18].copy_from_slice(&packed.to_be_bytes());
    body[18..].copy_from_slice(&info.md5sum);
    body
}
