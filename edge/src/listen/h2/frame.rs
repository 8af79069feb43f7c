//! Frames (RFC 9113 §4.1 and §6): a header and a payload become one of these, or a fault. Nothing
//! here knows of streams' states.

use super::error::{Code, Fault};

/// Bytes of a frame's header.
pub(crate) const HEADER: usize = 9;

/// Largest payload we take: what RFC 9113 §6.5.2 begins with.
pub(crate) const PAYLOAD: usize = 16_384;

/// Largest stream id, and largest window.
pub(crate) const MAX_31: u32 = 0x7fff_ffff;

/// Frame types (RFC 9113 §6, RFC 9218 §7.1).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0x0;
    pub(crate) const HEADERS: u8 = 0x1;
    pub(crate) const PRIORITY: u8 = 0x2;
    pub(crate) const RST_STREAM: u8 = 0x3;
    pub(crate) const SETTINGS: u8 = 0x4;
    pub(crate) const PUSH_PROMISE: u8 = 0x5;
    pub(crate) const PING: u8 = 0x6;
    pub(crate) const GOAWAY: u8 = 0x7;
    pub(crate) const WINDOW_UPDATE: u8 = 0x8;
    pub(crate) const CONTINUATION: u8 = 0x9;
    pub(crate) const PRIORITY_UPDATE: u8 = 0x10;
}

/// Flags.
pub(crate) mod flag {
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// Settings (RFC 9113 §6.5.2, RFC 9218 §2.1).
pub(crate) mod setting {
    pub(crate) const ENABLE_PUSH: u16 = 0x2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 0x3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 0x4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 0x5;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 0x6;
    pub(crate) const NO_RFC7540_PRIORITIES: u16 = 0x9;
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) length: usize,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl Header {
    /// Reads one.
    pub(crate) fn read(bytes: &[u8; HEADER]) -> Self {
        let [a, b, c, kind, flags, s, t, u, v] = *bytes;
        Self {
            length: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes([s, t, u, v]) & MAX_31,
        }
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// A frame from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// Bytes of a body; `size` with padding, as flow control counts it.
    Data {
        stream: u32,
        data: &'a [u8],
        size: u32,
        ends: bool,
    },
    /// The beginning of a field section, `whole` if its end as well.
    Headers {
        stream: u32,
        block: &'a [u8],
        ends: bool,
        whole: bool,
    },
    /// The next part of a field section, `last` if there is none after it.
    Continuation {
        stream: u32,
        block: &'a [u8],
        last: bool,
    },
    Reset {
        stream: u32,
    },
    Settings(&'a [u8]),
    SettingsAck,
    Ping([u8; 8]),
    PingAck([u8; 8]),
    GoAway,
    WindowUpdate {
        stream: u32,
        increment: u32,
    },
    PriorityUpdate {
        stream: u32,
        value: &'a [u8],
    },
    /// Of no meaning to us.
    Ignored,
}

impl<'a> Frame<'a> {
    /// Takes a frame apart.
    ///
    /// # Errors
    /// [`Fault`]: its size, its stream or its padding is none of its type's.
    pub(crate) fn read(header: &Header, payload: &'a [u8]) -> Result<Self, Fault> {
        let stream = header.stream;
        match header.kind {
            kind::DATA => {
                on_stream(header)?;
                Ok(Self::Data {
                    stream,
                    data: unpadded(header, payload)?,
                    size: payload.len() as u32,
                    ends: header.has(flag::END_STREAM),
                })
            }
            kind::HEADERS => {
                on_stream(header)?;
                Ok(Self::Headers {
                    stream,
                    block: prioritised(header, unpadded(header, payload)?)?,
                    ends: header.has(flag::END_STREAM),
                    whole: header.has(flag::END_HEADERS),
                })
            }
            kind::CONTINUATION => {
                on_stream(header)?;
                Ok(Self::Continuation {
                    stream,
                    block: payload,
                    last: header.has(flag::END_HEADERS),
                })
            }
            // The scheme is obsolete (RFC 9113 §5.3.2); only its size is checked.
            kind::PRIORITY => {
                on_stream(header)?;
                if payload.len() != 5 {
                    return Err(Fault::Stream(stream, Code::FrameSize));
                }
                Ok(Self::Ignored)
            }
            kind::RST_STREAM => {
                on_stream(header)?;
                let _: [u8; 4] = exactly(payload)?;
                Ok(Self::Reset { stream })
            }
            kind::WINDOW_UPDATE => {
                let increment = u32::from_be_bytes(exactly(payload)?) & MAX_31;
                Ok(Self::WindowUpdate { stream, increment })
            }
            kind::SETTINGS => Self::settings(header, payload),
            kind::PING => {
                on_connection(header)?;
                let opaque = exactly(payload)?;
                Ok(if header.has(flag::ACK) {
                    Self::PingAck(opaque)
                } else {
                    Self::Ping(opaque)
                })
            }
            kind::GOAWAY => {
                on_connection(header)?;
                at_least(payload, 8)?;
                Ok(Self::GoAway)
            }
            kind::PRIORITY_UPDATE => {
                on_connection(header)?;
                let (stream, value) = at_least(payload, 4)?;
                let stream = u32::from_be_bytes(exactly(stream)?) & MAX_31;
                if stream == 0 {
                    return Err(Fault::Connection(Code::Protocol));
                }
                Ok(Self::PriorityUpdate { stream, value })
            }
            // Clients push nothing (RFC 9113 §8.4).
            kind::PUSH_PROMISE => Err(Fault::Connection(Code::Protocol)),
            _ => Ok(Self::Ignored),
        }
    }

    fn settings(header: &Header, payload: &'a [u8]) -> Result<Self, Fault> {
        on_connection(header)?;
        if header.has(flag::ACK) {
            let _: [u8; 0] = exactly(payload)?;
            return Ok(Self::SettingsAck);
        }
        if !payload.len().is_multiple_of(6) {
            return Err(Fault::Connection(Code::FrameSize));
        }
        Ok(Self::Settings(payload))
    }
}

fn on_stream(header: &Header) -> Result<(), Fault> {
    if header.stream == 0 {
        return Err(Fault::Connection(Code::Protocol));
    }
    Ok(())
}

fn on_connection(header: &Header) -> Result<(), Fault> {
    if header.stream != 0 {
        return Err(Fault::Connection(Code::Protocol));
    }
    Ok(())
}

fn exactly<const N: usize>(payload: &[u8]) -> Result<[u8; N], Fault> {
    payload
        .try_into()
        .map_err(|_| Fault::Connection(Code::FrameSize))
}

fn at_least(payload: &[u8], length: usize) -> Result<(&[u8], &[u8]), Fault> {
    payload
        .split_at_checked(length)
        .ok_or(Fault::Connection(Code::FrameSize))
}

/// A payload without its padding (RFC 9113 §6.1).
fn unpadded<'a>(header: &Header, payload: &'a [u8]) -> Result<&'a [u8], Fault> {
    if !header.has(flag::PADDED) {
        return Ok(payload);
    }
    let (padding, rest) = at_least(payload, 1)?;
    let length = rest
        .len()
        .checked_sub(usize::from(padding[0]))
        .ok_or(Fault::Connection(Code::Protocol))?;
    Ok(&rest[..length])
}

/// A field section behind the priority that may be in front of it (RFC 9113 §6.2).
fn prioritised<'a>(header: &Header, payload: &'a [u8]) -> Result<&'a [u8], Fault> {
    if !header.has(flag::PRIORITY) {
        return Ok(payload);
    }
    at_least(payload, 5).map(|(_, block)| block)
}

/// Appends a frame's header.
pub(crate) fn put(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    out.extend_from_slice(&header(length, kind, flags, stream));
}

/// A frame's header. Lengths are at most 2^24 - 1.
pub(crate) fn header(length: usize, kind: u8, flags: u8, stream: u32) -> [u8; HEADER] {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [s, t, u, v] = stream.to_be_bytes();
    [a, b, c, kind, flags, s, t, u, v]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<Frame<'_>, Fault> {
        let header = Header::read(&header(payload.len(), kind, flags, stream));
        Frame::read(&header, payload)
    }

    #[test]
    fn headers_come_back() {
        let read = Header::read(&header(0x01_0203, 0x9, 0x4, 5));
        assert_eq!(
            (read.length, read.kind, read.flags, read.stream),
            (0x01_0203, 0x9, 0x4, 5)
        );
        // The reserved bit is ignored (RFC 9113 §4.1).
        assert_eq!(
            Header::read(&[0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]).stream,
            MAX_31
        );
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let padded = [2, b'h', b'i', 0, 0];
        assert_eq!(
            read(kind::DATA, flag::PADDED | flag::END_STREAM, 1, &padded),
            Ok(Frame::Data {
                stream: 1,
                data: b"hi",
                size: 5,
                ends: true
            })
        );
        let both = [1, 0, 0, 0, 0, 9, b'x', 0];
        assert_eq!(
            read(
                kind::HEADERS,
                flag::PADDED | flag::PRIORITY | flag::END_HEADERS,
                1,
                &both
            ),
            Ok(Frame::Headers {
                stream: 1,
                block: b"x",
                ends: false,
                whole: true
            })
        );
    }

    #[test]
    fn faults() {
        let protocol = Err(Fault::Connection(Code::Protocol));
        let size = Err(Fault::Connection(Code::FrameSize));
        for (kind, flags, stream, payload, fault) in [
            (kind::DATA, 0, 0, &[][..], protocol),
            (kind::DATA, flag::PADDED, 1, &[], size),
            (kind::DATA, flag::PADDED, 1, &[1], protocol),
            (kind::HEADERS, 0, 0, &[], protocol),
            (kind::HEADERS, flag::PRIORITY, 1, &[0; 4], size),
            (kind::HEADERS, flag::PADDED, 1, &[9, 0], protocol),
            (kind::CONTINUATION, 0, 0, &[], protocol),
            (kind::PRIORITY, 0, 0, &[0; 5], protocol),
            (kind::RST_STREAM, 0, 0, &[0; 4], protocol),
            (kind::RST_STREAM, 0, 1, &[0; 5], size),
            (kind::SETTINGS, 0, 1, &[], protocol),
            (kind::SETTINGS, 0, 0, &[0; 7], size),
            (kind::SETTINGS, flag::ACK, 0, &[0; 6], size),
            (kind::PUSH_PROMISE, 0, 1, &[0; 4], protocol),
            (kind::PING, 0, 1, &[0; 8], protocol),
            (kind::PING, 0, 0, &[0; 7], size),
            (kind::GOAWAY, 0, 1, &[0; 8], protocol),
            (kind::GOAWAY, 0, 0, &[0; 7], size),
            (kind::WINDOW_UPDATE, 0, 1, &[0; 3], size),
            (kind::PRIORITY_UPDATE, 0, 1, &[0; 4], protocol),
            (kind::PRIORITY_UPDATE, 0, 0, &[0; 4], protocol),
            (kind::PRIORITY_UPDATE, 0, 0, &[0; 3], size),
        ] {
            assert_eq!(read(kind, flags, stream, payload), fault, "{kind:#x}");
        }
        assert_eq!(
            read(kind::PRIORITY, 0, 1, &[0; 4]),
            Err(Fault::Stream(1, Code::FrameSize))
        );
        assert_eq!(read(0xbb, 0xff, 7, b"grease"), Ok(Frame::Ignored));
    }
}
