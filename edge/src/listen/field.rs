//! What HPACK and QPACK have in common: integers, strings, and the lines they are put together to
//! (RFC 7541 §5, taken over by RFC 9204 §4.1).

use bytes::{Buf, BufMut, Bytes};
use http::{HeaderName, HeaderValue};

use super::huffman;

/// What is wrong with a field section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// It can't be decoded: the connection is lost (RFC 9204 §6, RFC 9113 §4.3).
    Decompression,
    /// Larger than the limit, or more fields.
    TooLarge,
    /// So much larger that nobody means it: the connection is lost.
    Bomb,
    /// Decodable, but no sound name or value: the request is malformed (RFC 9114 §4.2, RFC 9113
    /// §8.2.1).
    Malformed,
}

/// A decoded line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// `:name` and value.
    Pseudo(Bytes, Bytes),
    /// A field.
    Field(HeaderName, HeaderValue),
}

/// Limits of a field section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Names, values and 32 bytes a field (RFC 9114 §4.2.2, RFC 9113 §6.5.2).
    pub(crate) size: u64,
    /// Fields.
    pub(crate) count: usize,
}

/// A line of two literals.
///
/// # Errors
/// [`Error::Malformed`]: upper case, or what no name or value may have.
pub(crate) fn literal_line(name: Bytes, value: Bytes) -> Result<Line, Error> {
    if name.first() == Some(&b':') {
        return Ok(Line::Pseudo(name, value));
    }
    if name.iter().any(u8::is_ascii_uppercase) {
        return Err(Error::Malformed);
    }
    let name = HeaderName::from_bytes(&name).map_err(|_| Error::Malformed)?;
    Ok(Line::Field(name, field_value(value)?))
}

/// A field's value.
///
/// # Errors
/// [`Error::Malformed`].
pub(crate) fn field_value(value: Bytes) -> Result<HeaderValue, Error> {
    // Leading or trailing white space is malformed (RFC 9113 §8.2.1; RFC 9114 §10.3 with RFC 9110
    // §5.5).
    let edge = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if edge(value.first()) || edge(value.last()) {
        return Err(Error::Malformed);
    }
    HeaderValue::from_maybe_shared(value).map_err(|_| Error::Malformed)
}

/// A prefixed integer (RFC 7541 §5.1) of `bits` bits, and the flags above it.
///
/// # Errors
/// [`Error::Decompression`]: it has no end, or is larger than anything we accept.
pub(crate) fn get_int(buf: &mut impl Buf, bits: u32) -> Result<(u8, u64), Error> {
    let mask = ((1_u16 << bits) - 1) as u8;
    let first = next(buf)?;
    let flags = first & !mask;
    let mut value = u64::from(first & mask);
    if value < u64::from(mask) {
        return Ok((flags, value));
    }
    for shift in (0..=28).step_by(7) {
        let byte = next(buf)?;
        value += u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((flags, value));
        }
    }
    // Above 2^35: nothing we accept is that long.
    Err(Error::Decompression)
}

fn next(buf: &mut impl Buf) -> Result<u8, Error> {
    if buf.has_remaining() {
        Ok(buf.get_u8())
    } else {
        Err(Error::Decompression)
    }
}

/// A string literal whose length has `bits` bits, below its Huffman flag; of at most `max` bytes.
/// `buf` is one piece.
///
/// # Errors
/// [`Error::Decompression`], or [`Error::TooLarge`] where only `max` is in the way; the string is
/// behind us then.
pub(crate) fn get_string(buf: &mut impl Buf, bits: u32, max: u64) -> Result<Bytes, Error> {
    let (flags, length) = get_int(buf, bits)?;
    let length = usize::try_from(length).map_err(|_| Error::Decompression)?;
    if length > buf.remaining() {
        return Err(Error::Decompression);
    }
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    if flags & 1 << bits == 0 {
        if length > max {
            buf.advance(length);
            return Err(Error::TooLarge);
        }
        return Ok(buf.copy_to_bytes(length));
    }
    let text = huffman::decode(&buf.chunk()[..length], max);
    buf.advance(length);
    // A Huffman string is never more than 8/5 of its length; only then is the limit the reason.
    match text {
        Some(text) => Ok(text.into()),
        None if length * 8 / 5 > max => Err(Error::TooLarge),
        None => Err(Error::Decompression),
    }
}

/// Appends a prefixed integer of `bits` bits below `flags`.
pub(crate) fn put_int(out: &mut impl BufMut, flags: u8, bits: u32, value: u64) {
    let mask = (1_u64 << bits) - 1;
    if value < mask {
        return out.put_u8(flags | value as u8);
    }
    out.put_u8(flags | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// Appends a string whose length has `bits` bits below `flags`, as it is: bytes are cheaper than
/// bits here.
pub(crate) fn put_string(out: &mut impl BufMut, flags: u8, bits: u32, text: &[u8]) {
    put_int(out, flags, bits, text.len() as u64);
    out.put_slice(text);
}
