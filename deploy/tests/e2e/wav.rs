//! Writes WAV files, plain and damaged ones: the sources of all fixtures.

use std::path::Path;

/// How a sample is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sample {
    U8,
    S16,
    S24,
    S32,
    F32,
}

impl Sample {
    fn bytes(self) -> u16 {
        match self {
            Self::U8 => 1,
            Self::S16 => 2,
            Self::S24 => 3,
            Self::S32 | Self::F32 => 4,
        }
    }

    /// The integer that a sample is stored as, `None` for floats.
    pub(crate) fn quantise(self, sample: f32) -> Option<i32> {
        let scale = match self {
            Self::U8 => 127.0,
            Self::S16 => 32767.0,
            Self::S24 => 8_388_607.0,
            Self::S32 => 2_147_483_647.0,
            Self::F32 => return None,
        };
        Some((f64::from(sample) * scale).round() as i32)
    }

    fn push(self, out: &mut Vec<u8>, sample: f32) {
        match (self, self.quantise(sample)) {
            (Self::U8, Some(v)) => out.push((v + 128) as u8),
            (Self::S16, Some(v)) => out.extend_from_slice(&(v as i16).to_le_bytes()),
            (Self::S24, Some(v)) => out.extend_from_slice(&v.to_le_bytes()[..3]),
            (_, Some(v)) => out.extend_from_slice(&v.to_le_bytes()),
            (_, None) => out.extend_from_slice(&sample.to_le_bytes()),
        }
    }
}

/// A WAV file of `channels[channel][frame]`, extensible where there are more than two channels.
pub(crate) fn encode(channels: &[Vec<f32>], rate: u32, sample: Sample) -> Vec<u8> {
    let count = channels.len() as u16;
    let frames = channels.first().map_or(0, Vec::len);
    let block = count * sample.bytes();
    let float = sample == Sample::F32;
    let mut format = Vec::new();
    let tag: u16 = if count > 2 {
        0xfffe
    } else if float {
        3
    } else {
        1
    };
    format.extend_from_slice(&tag.to_le_bytes());
    format.extend_from_slice(&count.to_le_bytes());
    format.extend_from_slice(&rate.to_le_bytes());
    format.extend_from_slice(&(rate * u32::from(block)).to_le_bytes());
    format.extend_from_slice(&block.to_le_bytes());
    format.extend_from_slice(&(sample.bytes() * 8).to_le_bytes());
    if count > 2 {
        // Speakers in mask order: 5.1 and 7.1 as ffmpeg and Windows name them.
        let mask: u32 = if count == 6 { 0x3f } else { 0x63f };
        format.extend_from_slice(&22_u16.to_le_bytes());
        format.extend_from_slice(&(sample.bytes() * 8).to_le_bytes());
        format.extend_from_slice(&mask.to_le_bytes());
        format.extend_from_slice(&[if float { 3 } else { 1 }, 0]);
        format.extend_from_slice(b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71");
    }
    let mut data = Vec::with_capacity(frames * usize::from(block));
    for frame in 0..frames {
        for channel in channels {
            sample.push(&mut data, channel[frame]);
        }
    }
    riff(&format, &data, data.len() as u32)
}

/// A RIFF file whose header claims `claimed` bytes of sound.
pub(crate) fn riff(format: &[u8], data: &[u8], claimed: u32) -> Vec<u8> {
    let mut file = Vec::with_capacity(data.len() + 64);
    file.extend_from_slice(b"RIFF");
    let size = claimed.saturating_add(20 + format.len() as u32);
    file.extend_from_slice(&size.to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&(format.len() as u32).to_le_bytes());
    file.extend_from_slice(format);
    file.extend_from_slice(b"data");
    file.extend_from_slice(&claimed.to_le_bytes());
    file.extend_from_slice(data);
    if data.len() % 2 == 1 {
        file.push(0);
    }
    file
}

/// Writes a WAV file.
pub(crate) fn write(path: &Path, channels: &[Vec<f32>], rate: u32, sample: Sample) {
    std::fs::write(path, encode(channels, rate, sample)).unwrap();
}
