//! Byte ranges (RFC 9110 §14): what a client asks for, what of it there is, and what the upstream
//! is asked for instead.

use std::ops::Range;

use http::{HeaderMap, HeaderValue, header::RANGE};

/// One range as asked for, before the size is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spec {
    /// `first-last`, both inclusive.
    FromTo(u64, u64),
    /// `first-`.
    From(u64),
    /// `-length`: the last bytes.
    Suffix(u64),
}

impl Spec {
    /// The one range of a request. None where there is no `Range`, where it isn't sound, and where
    /// it asks for several: the whole is then the answer.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(RANGE).iter();
        let (line, None) = (lines.next()?, lines.next()) else {
            return None;
        };
        let (unit, spec) = line.to_str().ok()?.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = spec.trim().split_once('-')?;
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Some(Self::FromTo(first, last)),
            (Some(first), None) if last.is_empty() => Some(Self::From(first)),
            (None, Some(length)) if first.is_empty() => Some(Self::Suffix(length)),
            _ => None,
        }
    }

    /// The bytes of a body of `size` that are meant, end exclusive; none where there are none
    /// (416).
    pub(crate) fn resolve(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::FromTo(first, last) => first..last.saturating_add(1).min(size),
            Self::From(first) => first..size,
            Self::Suffix(length) => size.saturating_sub(length)..size,
        };
        (range.start < range.end).then_some(range)
    }

    /// `Range` to ask the upstream for while the size isn't known: whole slices of `slice` bytes,
    /// so at most one slice more at each end. A suffix can't be aligned yet.
    pub(crate) fn aligned(self, slice: u64) -> HeaderValue {
        let text = match self {
            Self::FromTo(first, last) => {
                let first = first / slice * slice;
                let last = (last / slice).saturating_add(1).saturating_mul(slice) - 1;
                format!("bytes={first}-{last}")
            }
            Self::From(first) => format!("bytes={}-", first / slice * slice),
            Self::Suffix(length) => format!("bytes=-{length}"),
        };
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("bytes=0-"))
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// `Content-Range` of a 206: the bytes, end exclusive, and the whole size if told.
pub(crate) fn content_range(headers: &HeaderMap) -> Option<(Range<u64>, Option<u64>)> {
    let text = headers.get(http::header::CONTENT_RANGE)?.to_str().ok()?;
    let (bytes, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = bytes.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let size = if size == "*" {
        None
    } else {
        Some(number(size)?)
    };
    let sound = first <= last && size.is_none_or(|size| last < size);
    sound.then_some((first..last + 1, size))
}

/// `Content-Range` to send with `range` (end exclusive) of a body of `size`.
pub(crate) fn content_range_value(range: &Range<u64>, size: u64) -> HeaderValue {
    HeaderValue::try_from(format!("bytes {}-{}/{size}", range.start, range.end - 1))
        .unwrap_or_else(|_| HeaderValue::from_static("bytes */*"))
}

/// `Content-Range` to send with a 416.
pub(crate) fn unsatisfied_value(size: u64) -> HeaderValue {
    HeaderValue::try_from(format!("bytes */{size}"))
        .unwrap_or_else(|_| HeaderValue::from_static("bytes */*"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderMap, header::RANGE};

    use super::{Spec, content_range};

    fn of(text: &str) -> Option<Spec> {
        Spec::of(&HeaderMap::from_iter([(RANGE, text.parse().unwrap())]))
    }

    #[test]
    fn parsing() {
        for (text, expected) in [
            ("bytes=0-0", Some(Spec::FromTo(0, 0))),
            ("Bytes=5-", Some(Spec::From(5))),
            ("bytes=-5", Some(Spec::Suffix(5))),
            ("bytes=5-4", None),
            ("bytes=0-1,3-4", None),
            ("bytes=-", None),
            ("bytes=+1-2", None),
            ("bytes=1-99999999999999999999999", None),
            ("items=0-1", None),
            ("", None),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn resolution_and_alignment() {
        let range = |text| of(text).unwrap();
        assert_eq!(range("bytes=0-99").resolve(10), Some(0..10));
        assert_eq!(range("bytes=9-").resolve(10), Some(9..10));
        assert_eq!(range("bytes=10-").resolve(10), None);
        assert_eq!(range("bytes=-0").resolve(10), None);
        assert_eq!(range("bytes=-99").resolve(10), Some(0..10));
        assert_eq!(range("bytes=0-").resolve(0), None);
        assert_eq!(
            range("bytes=5-18446744073709551615").resolve(10),
            Some(5..10)
        );
        assert_eq!(
            range("bytes=5-18446744073709551615").aligned(4),
            "bytes=4-18446744073709551614"
        );
        assert_eq!(range("bytes=5-7").aligned(4), "bytes=4-7");
        assert_eq!(range("bytes=5-8").aligned(4), "bytes=4-11");
        assert_eq!(range("bytes=5-").aligned(4), "bytes=4-");
    }

    #[test]
    fn content_ranges() {
        let of = |text: &str| {
            content_range(&HeaderMap::from_iter([(
                http::header::CONTENT_RANGE,
                text.parse().unwrap(),
            )]))
        };
        assert_eq!(of("bytes 0-4/10"), Some((0..5, Some(10))));
        assert_eq!(of("bytes 0-4/*"), Some((0..5, None)));
        for bad in [
            "bytes 4-0/10",
            "bytes 0-10/10",
            "bytes */10",
            "0-4/10",
            "bytes 0-4",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
