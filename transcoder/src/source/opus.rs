//! Opus packets to PCM: mono, stereo and mapping family 1 up to 7.1 (RFC 7845).

use opus::MSDecoder;

use super::chunk::Chunk;
use super::codec::{Decode, Lost, Shape};
use super::error::Error;
use crate::downmix::{Speaker, vorbis_order};

/// Opus always decodes at this rate here.
pub(super) const RATE: u32 = 48_000;
/// Longest packet: 120 ms (RFC 6716 section 3.2.5).
const MAX_FRAMES: usize = 5760;

/// The identification header (RFC 7845 section 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Frames at 48 kHz to drop at the start.
    pub(super) pre_skip: u16,
    /// Output gain in Q7.8 dB.
    gain: i16,
    streams: u8,
    coupled: u8,
    /// Stream channel of each output channel; 255 is silence.
    mapping: Vec<u8>,
}

/// Byte order of a header's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// `OpusHead` in Ogg and Matroska.
    Little,
    /// `dOps` in MP4 (Opus in ISOBMFF section 4.3.2).
    Big,
}

impl Head {
    /// Reads a header that starts with `OpusHead`.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Unsupported`] (families beyond 1).
    pub(super) fn parse(bytes: &[u8], order: Order) -> Result<Head, Error> {
        let odd = || Error::damaged("its Opus header is not valid");
        let b = bytes.strip_prefix(b"OpusHead").ok_or_else(odd)?;
        let fixed = b.get(..11).ok_or_else(odd)?;
        let number = |at: usize| match order {
            Order::Little => u16::from_le_bytes([fixed[at], fixed[at + 1]]),
            Order::Big => u16::from_be_bytes([fixed[at], fixed[at + 1]]),
        };
        if fixed[0] & 0xf0 != 0 {
            return Err(Error::Unsupported {
                codec: "a future version of Opus".to_owned(),
            });
        }
        let channels = usize::from(fixed[1]);
        let (streams, coupled, mapping) = match fixed[10] {
            0 if channels == 1 || channels == 2 => (1, fixed[1] - 1, vec![0, 1]),
            1 if (1..=8).contains(&channels) => {
                let table = b.get(11..13 + channels).ok_or_else(odd)?;
                (table[0], table[1], table[2..].to_vec())
            }
            0 | 1 => return Err(odd()),
            family => {
                let codec = format!("Opus with channel mapping family {family}");
                return Err(Error::Unsupported { codec });
            }
        };
        let mapping: Vec<u8> = mapping.into_iter().take(channels).collect();
        let decoded = u16::from(streams) + u16::from(coupled);
        let fits = mapping.iter().all(|m| *m == 255 || u16::from(*m) < decoded);
        if streams == 0 || coupled > streams || decoded > 255 || !fits {
            return Err(odd());
        }
        let gain = number(8) as i16;
        Ok(Head {
            pre_skip: number(2),
            gain,
            streams,
            coupled,
            mapping,
        })
    }
}

/// A decoder of Opus packets.
pub(super) struct Opus {
    decoder: MSDecoder,
    layout: &'static [Speaker],
    buffer: Vec<f32>,
}

impl Opus {
    /// The decoder for that header.
    ///
    /// # Errors
    /// [`Error::Damaged`] if libopus refuses the header.
    pub(super) fn new(head: &Head) -> Result<Opus, Error> {
        let refused = |e: opus::Error| Error::damaged(format!("libopus: {}", e.description()));
        let mut decoder =
            MSDecoder::new(RATE, head.streams, head.coupled, &head.mapping).map_err(refused)?;
        decoder.set_gain(i32::from(head.gain)).map_err(refused)?;
        let channels = head.mapping.len();
        let buffer = vec![0.0; MAX_FRAMES * channels];
        Ok(Opus {
            decoder,
            layout: vorbis_order(channels),
            buffer,
        })
    }
}

impl Decode for Opus {
    fn decode(&mut self, packet: &[u8]) -> Result<Chunk, Lost> {
        // libopus takes an empty packet for a lost one and would conceal it.
        if packet.is_empty() {
            return Err(Lost::Packet("an Opus packet is empty".to_owned()));
        }
        let frames = self
            .decoder
            .decode_float(packet, &mut self.buffer, false)
            .map_err(|e| Lost::Packet(format!("libopus: {}", e.description())))?;
        let channels = self.layout.len();
        Ok(Chunk::from_interleaved(
            &self.buffer[..frames * channels],
            channels,
        ))
    }

    fn shape(&self) -> Shape {
        Shape {
            rate: RATE,
            layout: self.layout.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn headers_are_checked_before_libopus_sees_them() {
        let head = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x01\x00";
        let parsed = Head::parse(head, Order::Little).unwrap();
        assert_eq!(
            (parsed.pre_skip, parsed.gain, parsed.mapping.len()),
            (312, 256, 2)
        );
        for (at, value) in [(9, 0), (9, 3), (8, 0x10), (18, 2)] {
            let mut bad = head.to_vec();
            bad[at] = value;
            assert!(Head::parse(&bad, Order::Little).is_err(), "byte {at}");
        }
        let surround = [
            &head[..9],
            &[6],
            &head[10..18],
            &[1, 4, 2, 0, 4, 1, 2, 3, 5],
        ]
        .concat();
        assert_eq!(
            Head::parse(&surround, Order::Little).unwrap().mapping,
            [0, 4, 1, 2, 3, 5]
        );
        assert!(Head::parse(&surround[..24], Order::Little).is_err());
    }
}
