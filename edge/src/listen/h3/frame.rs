//! Frames and their headers (RFC 9114 §7), read from a stream under a budget.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quinn::{ReadError, RecvStream};

use super::error::{Code, Fault};

/// Frame types we know.
pub(super) mod kind {
    pub(crate) const DATA: u64 = 0x0;
    pub(crate) const HEADERS: u64 = 0x1;
    pub(crate) const CANCEL_PUSH: u64 = 0x3;
    pub(crate) const SETTINGS: u64 = 0x4;
    pub(crate) const PUSH_PROMISE: u64 = 0x5;
    pub(crate) const GOAWAY: u64 = 0x7;
    pub(crate) const MAX_PUSH_ID: u64 = 0xd;
    /// HTTP/2's PRIORITY, PING, WINDOW_UPDATE and CONTINUATION, which must not appear.
    pub(crate) const RESERVED: [u64; 4] = [0x2, 0x6, 0x8, 0x9];
}

/// Most bytes taken from QUIC at a time.
const CHUNK: usize = 16 << 10;

/// A QUIC variable-length integer at the front of `buf` (RFC 9000 §16), if it is complete.
pub(super) fn get_varint(buf: &mut impl Buf) -> Option<u64> {
    let first = *buf.chunk().first()?;
    let length = 1 << (first >> 6);
    if buf.remaining() < length {
        return None;
    }
    let mut value = u64::from(buf.get_u8() & 0x3f);
    for _ in 1..length {
        value = value << 8 | u64::from(buf.get_u8());
    }
    Some(value)
}

/// Appends a variable-length integer; values are below 2^62.
pub(super) fn put_varint(buf: &mut impl BufMut, value: u64) {
    match value {
        0..0x40 => buf.put_u8(value as u8),
        0x40..0x4000 => buf.put_u16(value as u16 | 0x4000),
        0x4000..0x4000_0000 => buf.put_u32(value as u32 | 0x8000_0000),
        _ => buf.put_u64(value | 0xc000_0000_0000_0000),
    }
}

/// A stream's bytes with what is left of its budget. Everything read counts, but DATA payload.
pub(super) struct Reader {
    stream: RecvStream,
    buf: BytesMut,
    budget: u64,
    finished: bool,
}

impl Reader {
    /// Reads `stream`, allowing `budget` bytes of frames.
    pub(super) fn new(stream: RecvStream, budget: u64) -> Self {
        Self {
            stream,
            buf: BytesMut::new(),
            budget,
            finished: false,
        }
    }

    /// Allows `bytes` more.
    pub(super) fn allow(&mut self, bytes: u64) {
        self.budget = self.budget.saturating_add(bytes);
    }

    /// The stream, to stop it.
    pub(super) fn stream(&mut self) -> &mut RecvStream {
        &mut self.stream
    }

    /// Whether the client finished the stream and everything of it was read.
    pub(super) fn at_end(&self) -> bool {
        self.finished && self.buf.is_empty()
    }

    /// Reads more; false at the stream's end.
    async fn fill(&mut self) -> Result<bool, Fault> {
        match self.stream.read_chunk(CHUNK, true).await {
            Ok(Some(chunk)) => {
                self.buf.extend_from_slice(&chunk.bytes);
                Ok(true)
            }
            Ok(None) => {
                self.finished = true;
                Ok(false)
            }
            Err(e) => Err(gone(&e)),
        }
    }

    /// Spends budget.
    fn spend(&mut self, bytes: u64) -> Result<(), Fault> {
        self.budget = self
            .budget
            .checked_sub(bytes)
            .ok_or(Fault::Connection(Code::ExcessiveLoad))?;
        Ok(())
    }

    /// The next integer; none at a clean end before it.
    pub(super) async fn varint(&mut self) -> Result<Option<u64>, Fault> {
        loop {
            let mut front = &self.buf[..];
            if let Some(value) = get_varint(&mut front) {
                let used = self.buf.len() - front.len();
                self.buf.advance(used);
                self.spend(used as u64)?;
                return Ok(Some(value));
            }
            if !self.fill().await? {
                // A frame cut in two (RFC 9114 §7.1).
                return if self.buf.is_empty() {
                    Ok(None)
                } else {
                    Err(Fault::Connection(Code::Frame))
                };
            }
        }
    }

    /// The next byte; none at the end.
    pub(super) async fn byte(&mut self) -> Result<Option<u8>, Fault> {
        if self.buf.is_empty() && !self.fill().await? {
            return Ok(None);
        }
        self.spend(1)?;
        Ok(Some(self.buf.get_u8()))
    }

    /// The next frame's type and length; none at a clean end.
    pub(super) async fn header(&mut self) -> Result<Option<(u64, u64)>, Fault> {
        let Some(kind) = self.varint().await? else {
            return Ok(None);
        };
        let length = self.varint().await?.ok_or(Fault::Connection(Code::Frame))?;
        Ok(Some((kind, length)))
    }

    /// A payload of `length` bytes, whole. The caller has checked the length against a limit.
    pub(super) async fn payload(&mut self, length: u64) -> Result<Bytes, Fault> {
        self.spend(length)?;
        let length = usize::try_from(length).map_err(|_| Fault::Connection(Code::ExcessiveLoad))?;
        while self.buf.len() < length {
            if !self.fill().await? {
                return Err(Fault::Connection(Code::Frame));
            }
        }
        Ok(self.buf.split_to(length).freeze())
    }

    /// Reads `length` bytes and forgets them. They count: a client may not spend our time for
    /// nothing.
    pub(super) async fn skip(&mut self, length: u64) -> Result<(), Fault> {
        self.spend(length)?;
        let mut left = length;
        loop {
            let now = left.min(self.buf.len() as u64);
            self.buf.advance(now as usize);
            left -= now;
            if left == 0 {
                return Ok(());
            }
            if !self.fill().await? {
                return Err(Fault::Connection(Code::Frame));
            }
        }
    }

    /// At most `max` bytes of a DATA payload, as they come, uncopied where possible.
    pub(super) async fn data(&mut self, max: u64, stall: Duration) -> Result<Bytes, Fault> {
        if !self.buf.is_empty() {
            let now = max.min(self.buf.len() as u64) as usize;
            return Ok(self.buf.split_to(now).freeze());
        }
        let max = usize::try_from(max).unwrap_or(CHUNK).min(CHUNK);
        match tokio::time::timeout(stall, self.stream.read_chunk(max, true)).await {
            Err(_) => Err(Fault::Stream(Code::RequestIncomplete)),
            Ok(Ok(Some(chunk))) => Ok(chunk.bytes),
            Ok(Ok(None)) => Err(Fault::Connection(Code::Frame)),
            Ok(Err(e)) => Err(gone(&e)),
        }
    }
}

/// What a failed read means.
fn gone(_: &ReadError) -> Fault {
    Fault::Gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_the_rfc() {
        // RFC 9000 §A.1.
        let check = |coded: &[u8], value: u64| {
            assert_eq!(get_varint(&mut &coded[..]), Some(value));
            for short in 0..coded.len() {
                assert_eq!(get_varint(&mut &coded[..short]), None);
            }
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out, coded);
        };
        check(
            &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c],
            151_288_809_941_952_652,
        );
        check(&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333);
        check(&[0x7b, 0xbd], 15_293);
        check(&[0x25], 37);
        assert_eq!(get_varint(&mut &[0x40, 0x25][..]), Some(37));
    }
}
