//! The part of CBOR (RFC 8949) that tokens use, read strictly and without copies.
//!
//! Refuses indefinite lengths, trailing bytes, anything beyond the limits, and text that isn't
//! UTF-8. Duplicate keys are refused by whoever reads a map.

use crate::{
    limits::{MAX_CBOR_DEPTH, MAX_CBOR_ITEMS, MAX_STRING_BYTES},
    reject::Reject,
};

/// Major types (RFC 8949 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Major {
    Uint,
    Negative,
    Bytes,
    Text,
    Array,
    Map,
    Tag,
    Simple,
}

/// A cursor over one buffer.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Fails where bytes are left over.
    pub(crate) fn end(&self) -> Result<(), Reject> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Reject::Malformed("trailing bytes"))
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Reject> {
        let (head, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(Reject::Malformed("truncated"))?;
        self.rest = rest;
        Ok(head)
    }

    /// The next item's major type, without consuming it.
    pub(crate) fn peek(&self) -> Result<Major, Reject> {
        let first = self.rest.first().ok_or(Reject::Malformed("truncated"))?;
        Ok(match first >> 5 {
            0 => Major::Uint,
            1 => Major::Negative,
            2 => Major::Bytes,
            3 => Major::Text,
            4 => Major::Array,
            5 => Major::Map,
            6 => Major::Tag,
            _ => Major::Simple,
        })
    }

    /// Reads a head: major type, additional information and argument.
    fn head(&mut self) -> Result<(Major, u8, u64), Reject> {
        let major = self.peek()?;
        let info = self.take(1)?[0] & 0x1f;
        let len = match info {
            0..=23 => return Ok((major, info, u64::from(info))),
            24..=27 => 1usize << (info - 24),
            28..=30 => return Err(Reject::Malformed("reserved length")),
            _ => return Err(Reject::Malformed("indefinite length")),
        };
        let argument = self
            .take(len)?
            .iter()
            .fold(0u64, |sum, b| sum << 8 | u64::from(*b));
        Ok((major, info, argument))
    }

    fn expect(&mut self, wanted: Major, what: &'static str) -> Result<u64, Reject> {
        if self.peek()? != wanted {
            return Err(Reject::Malformed(what));
        }
        Ok(self.head()?.2)
    }

    pub(crate) fn uint(&mut self) -> Result<u64, Reject> {
        self.expect(Major::Uint, "not an unsigned integer")
    }

    /// An integer of either sign that fits 64 bits.
    pub(crate) fn int(&mut self) -> Result<i64, Reject> {
        let (major, _, argument) = self.head()?;
        let magnitude =
            i64::try_from(argument).map_err(|_| Reject::Malformed("integer too large"))?;
        match major {
            Major::Uint => Ok(magnitude),
            Major::Negative => Ok(-1 - magnitude),
            _ => Err(Reject::Malformed("not an integer")),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Reject> {
        let len = self.expect(Major::Bytes, "not a byte string")?;
        self.take(usize::try_from(len).map_err(|_| Reject::Malformed("truncated"))?)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Reject> {
        let len = self.expect(Major::Text, "not a text string")?;
        if len > MAX_STRING_BYTES as u64 {
            return Err(Reject::Malformed("text too long"));
        }
        std::str::from_utf8(self.take(len as usize)?)
            .map_err(|_| Reject::Malformed("text is not UTF-8"))
    }

    pub(crate) fn tag(&mut self) -> Result<u64, Reject> {
        self.expect(Major::Tag, "not a tag")
    }

    /// Number of elements of the array that follows.
    pub(crate) fn array(&mut self) -> Result<usize, Reject> {
        items(self.expect(Major::Array, "not an array")?)
    }

    /// Number of pairs of the map that follows.
    pub(crate) fn map(&mut self) -> Result<usize, Reject> {
        items(self.expect(Major::Map, "not a map")?)
    }

    /// An instant in seconds since 1970 (RFC 8392 NumericDate): an integer, or a float as some
    /// issuers write it.
    pub(crate) fn instant(&mut self) -> Result<f64, Reject> {
        if self.peek()? != Major::Simple {
            return Ok(self.int()? as f64);
        }
        let value = match self.head()? {
            (_, 25, bits) => half(bits as u16),
            (_, 26, bits) => f64::from(f32::from_bits(bits as u32)),
            (_, 27, bits) => f64::from_bits(bits),
            _ => return Err(Reject::Malformed("not a number")),
        };
        if value.is_finite() {
            Ok(value)
        } else {
            Err(Reject::Malformed("not a finite number"))
        }
    }

    /// Steps over one item, whatever it is.
    pub(crate) fn skip(&mut self) -> Result<(), Reject> {
        self.skip_within(MAX_CBOR_DEPTH)
    }

    fn skip_within(&mut self, depth: usize) -> Result<(), Reject> {
        let depth = depth
            .checked_sub(1)
            .ok_or(Reject::Malformed("nested too deeply"))?;
        let (major, _, argument) = self.head()?;
        let children = match major {
            Major::Uint | Major::Negative | Major::Simple => 0,
            Major::Bytes | Major::Text => {
                self.take(usize::try_from(argument).map_err(|_| Reject::Malformed("truncated"))?)?;
                0
            }
            Major::Array => items(argument)?,
            Major::Map => 2 * items(argument)?,
            Major::Tag => 1,
        };
        (0..children).try_for_each(|_| self.skip_within(depth))
    }
}

fn items(count: u64) -> Result<usize, Reject> {
    match usize::try_from(count) {
        Ok(count) if count <= MAX_CBOR_ITEMS => Ok(count),
        _ => Err(Reject::Malformed("too many items")),
    }
}

/// Half-precision float (RFC 8949 appendix D).
fn half(bits: u16) -> f64 {
    let exponent = i32::from(bits >> 10 & 0x1f);
    let mantissa = f64::from(bits & 0x3ff);
    let value = match exponent {
        0 => mantissa * 2f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (mantissa + 1024.0) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -value } else { value }
}

/// Appends items in the shortest form (RFC 8949 §4.2.1).
#[derive(Default)]
pub(crate) struct Writer {
    pub(crate) out: Vec<u8>,
}

impl Writer {
    fn head(&mut self, major: u8, argument: u64) {
        let major = major << 5;
        let bytes = argument.to_be_bytes();
        match argument {
            0..=23 => self.out.push(major | argument as u8),
            24..=0xff => self.out.extend([major | 24, argument as u8]),
            0x100..=0xffff => {
                self.out.push(major | 25);
                self.out.extend(&bytes[6..]);
            }
            0x1_0000..=0xffff_ffff => {
                self.out.push(major | 26);
                self.out.extend(&bytes[4..]);
            }
            _ => {
                self.out.push(major | 27);
                self.out.extend(&bytes);
            }
        }
    }

    pub(crate) fn uint(&mut self, value: u64) {
        self.head(0, value);
    }

    pub(crate) fn int(&mut self, value: i64) {
        match u64::try_from(value) {
            Ok(value) => self.head(0, value),
            Err(_) => self.head(1, value.unsigned_abs() - 1),
        }
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.head(2, value.len() as u64);
        self.out.extend(value);
    }

    pub(crate) fn text(&mut self, value: &str) {
        self.head(3, value.len() as u64);
        self.out.extend(value.as_bytes());
    }

    pub(crate) fn array(&mut self, len: usize) {
        self.head(4, len as u64);
    }

    pub(crate) fn map(&mut self, len: usize) {
        self.head(5, len as u64);
    }

    pub(crate) fn tag(&mut self, tag: u64) {
        self.head(6, tag);
    }
}

#[cfg(test)]
mod tests {
    use super::{Reader, Writer};
    use crate::Reject;

    #[test]
    fn integers_round_trip() {
        for value in [
            0,
            23,
            24,
            255,
            256,
            65_535,
            65_536,
            u32::MAX.into(),
            i64::MAX,
            -1,
            -24,
            -25,
            i64::MIN + 1,
        ] {
            let mut writer = Writer::default();
            writer.int(value);
            let mut reader = Reader::new(&writer.out);
            assert_eq!(reader.int(), Ok(value));
            assert_eq!(reader.end(), Ok(()));
        }
    }

    #[test]
    fn hostile_shapes_are_refused() {
        let deep = [0x81u8; 64];
        assert_eq!(
            Reader::new(&deep).skip(),
            Err(Reject::Malformed("nested too deeply"))
        );
        assert_eq!(
            Reader::new(&[0x9f, 0xff]).skip(),
            Err(Reject::Malformed("indefinite length"))
        );
        assert_eq!(
            Reader::new(&[0x1c]).uint(),
            Err(Reject::Malformed("reserved length"))
        );
        let huge = [0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(
            Reader::new(&huge).bytes(),
            Err(Reject::Malformed("truncated"))
        );
        let many = [0x9b, 0, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(
            Reader::new(&many).array(),
            Err(Reject::Malformed("too many items"))
        );
    }

    #[test]
    fn floats_are_instants() {
        assert_eq!(Reader::new(&[0xf9, 0x3e, 0x00]).instant(), Ok(1.5));
        assert_eq!(
            Reader::new(&[0xfb, 0x41, 0xd9, 0x54, 0xfc, 0x40, 0x20, 0, 0]).instant(),
            Ok(1_700_000_000.5)
        );
        assert!(Reader::new(&[0xf9, 0x7c, 0x00]).instant().is_err());
        assert!(Reader::new(&[0xf6]).instant().is_err());
    }
}
