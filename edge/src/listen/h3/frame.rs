//! Frames and their headers (RFC 9114 §7), parsed from what has arrived, under a budget.

use bytes::{Buf, BufMut, Bytes, BytesMut};

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

/// What a look at the input came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken<T> {
    /// It is there.
    Got(T),
    /// More has to arrive first.
    More,
    /// The stream ended cleanly before it.
    End,
}

/// What has arrived of a stream and wasn't taken yet, and what is left of the stream's budget.
/// Everything taken counts, but DATA payload.
#[derive(Debug)]
pub(super) struct Input {
    buf: BytesMut,
    budget: u64,
    finished: bool,
}

impl Input {
    /// Nothing yet, allowing `budget` bytes of frames.
    pub(super) fn new(budget: u64) -> Self {
        Self {
            buf: BytesMut::new(),
            budget,
            finished: false,
        }
    }

    /// Allows `bytes` more.
    pub(super) fn allow(&mut self, bytes: u64) {
        self.budget = self.budget.saturating_add(bytes);
    }

    /// Takes bytes that arrived.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// The stream ends after what has arrived.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    /// Whether nothing waits to be taken.
    pub(super) fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// Whether the stream ended and everything of it was taken.
    pub(super) fn at_end(&self) -> bool {
        self.finished && self.buf.is_empty()
    }

    /// Whether the stream's end has arrived.
    pub(super) fn finished(&self) -> bool {
        self.finished
    }

    /// Spends budget.
    pub(super) fn spend(&mut self, bytes: u64) -> Result<(), Fault> {
        self.budget = self
            .budget
            .checked_sub(bytes)
            .ok_or(Fault::Connection(Code::ExcessiveLoad))?;
        Ok(())
    }

    /// Where something is cut off: more must arrive, unless nothing will (RFC 9114 §7.1).
    fn short<T>(&self) -> Result<Taken<T>, Fault> {
        match (self.finished, self.buf.is_empty()) {
            (false, _) => Ok(Taken::More),
            (true, true) => Ok(Taken::End),
            (true, false) => Err(Fault::Connection(Code::Frame)),
        }
    }

    /// The next integer.
    pub(super) fn varint(&mut self) -> Result<Taken<u64>, Fault> {
        let mut front = &self.buf[..];
        let Some(value) = get_varint(&mut front) else {
            return self.short();
        };
        let used = self.buf.len() - front.len();
        self.buf.advance(used);
        self.spend(used as u64)?;
        Ok(Taken::Got(value))
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Result<Taken<u8>, Fault> {
        if self.buf.is_empty() {
            return self.short();
        }
        self.spend(1)?;
        Ok(Taken::Got(self.buf.get_u8()))
    }

    /// The next frame's type and length. The budget of the payload is spent with it, so that a
    /// length beyond it is refused before it is waited for; but for DATA, which is free, and
    /// HEADERS, which have a limit of their own to be checked first.
    pub(super) fn header(&mut self) -> Result<Taken<(u64, u64)>, Fault> {
        let mut front = &self.buf[..];
        let (Some(kind), Some(length)) = (get_varint(&mut front), get_varint(&mut front)) else {
            return self.short();
        };
        let used = self.buf.len() - front.len();
        self.buf.advance(used);
        self.spend(used as u64)?;
        if !matches!(kind, kind::DATA | kind::HEADERS) {
            self.spend(length)?;
        }
        Ok(Taken::Got((kind, length)))
    }

    /// A payload of `length` bytes, whole, that was paid for.
    pub(super) fn payload(&mut self, length: u64) -> Result<Taken<Bytes>, Fault> {
        let length = usize::try_from(length).map_err(|_| Fault::Connection(Code::ExcessiveLoad))?;
        if self.buf.len() >= length {
            return Ok(Taken::Got(self.buf.split_to(length).freeze()));
        }
        if self.finished {
            return Err(Fault::Connection(Code::Frame));
        }
        Ok(Taken::More)
    }

    /// Forgets what is there of `left` bytes of payload; true once all of it is gone.
    pub(super) fn skip(&mut self, left: &mut u64) -> Result<bool, Fault> {
        let now = (*left).min(self.buf.len() as u64);
        self.buf.advance(now as usize);
        *left -= now;
        if *left > 0 && self.finished {
            return Err(Fault::Connection(Code::Frame));
        }
        Ok(*left == 0)
    }

    /// What is there of the next `max` bytes.
    pub(super) fn some(&mut self, max: u64) -> Bytes {
        let now = max.min(self.buf.len() as u64) as usize;
        self.buf.split_to(now).freeze()
    }
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

    #[test]
    fn headers_arrive_in_pieces_and_are_paid_for() {
        let mut input = Input::new(20);
        for byte in [0x40, 0x21, 0x40] {
            input.feed(&[byte]);
            assert_eq!(input.header(), Ok(Taken::More));
        }
        input.feed(&[0x05]);
        assert_eq!(input.header(), Ok(Taken::Got((0x21, 5))));
        let mut left = 5;
        input.feed(b"abc");
        assert_eq!(input.skip(&mut left), Ok(false));
        input.feed(b"de\x01");
        assert_eq!(input.skip(&mut left), Ok(true));
        input.finish();
        assert_eq!(input.header(), Err(Fault::Connection(Code::Frame)));

        let mut input = Input::new(20);
        input.feed(&[0x21, 0x13]);
        assert_eq!(input.header(), Err(Fault::Connection(Code::ExcessiveLoad)));
    }
}
