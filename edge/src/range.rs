//! Byte ranges (RFC 9110 §14): what a client asks for, what of it there is, and what the upstream
//! is asked for instead.

use std::ops::Range;

use http::{HeaderMap, HeaderValue, header::RANGE};

/// Ranges answered in one response. A request for more is answered with the whole (RFC 9110 §14.2
/// lets a server ignore `Range`), which costs no more than one object however many it names.
pub(crate) const MAX_RANGES: usize = 8;

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

/// The ranges of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ranges {
    /// One, as players ask.
    One(Spec),
    /// From two to [`MAX_RANGES`].
    Many(Box<[Spec]>),
}

/// What of a body a request's ranges mean, ends exclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// Nothing that is there (416).
    Nothing,
    /// One range, also what several grew together to.
    One(Range<u64>),
    /// Several that neither overlap nor touch, in the order they were asked for.
    Many(Vec<Range<u64>>),
}

impl Ranges {
    /// The ranges of a request. None where there is no `Range`, where it isn't sound, and where it
    /// names more than [`MAX_RANGES`]: the whole is then the answer.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(RANGE).iter();
        let (line, None) = (lines.next()?, lines.next()) else {
            return None;
        };
        let (unit, set) = line.to_str().ok()?.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let mut specs = set
            .split(',')
            .map(str::trim)
            .filter(|spec| !spec.is_empty());
        let first = Spec::parse(specs.next()?)?;
        let Some(second) = specs.next() else {
            return Some(Self::One(first));
        };
        let mut all = vec![first, Spec::parse(second)?];
        for spec in specs {
            if all.len() == MAX_RANGES {
                return None;
            }
            all.push(Spec::parse(spec)?);
        }
        Some(Self::Many(all.into()))
    }

    /// The range to ask for while the size isn't known: the one that begins first, since if there
    /// is nothing of that, there is nothing of the others but for suffixes.
    pub(crate) fn leading(&self) -> Spec {
        let specs = match self {
            Self::One(spec) => return *spec,
            Self::Many(specs) => specs,
        };
        let begins = |spec: &Spec| match spec {
            Spec::FromTo(first, _) | Spec::From(first) => *first,
            Spec::Suffix(_) => u64::MAX,
        };
        let leading = specs.iter().copied().min_by_key(begins);
        leading.unwrap_or(Spec::From(0))
    }

    /// Whether one of several counts from the end, so that it may be there though others aren't.
    pub(crate) fn has_suffix(&self) -> bool {
        match self {
            Self::One(_) => false,
            Self::Many(specs) => specs.iter().any(|spec| matches!(spec, Spec::Suffix(_))),
        }
    }

    /// What is meant of a body of `size` bytes. Ranges that overlap or touch grow together, at the
    /// place of the first of them (RFC 9110 §15.3.7.2); those beyond the body are left out.
    pub(crate) fn resolve(&self, size: u64) -> Resolved {
        let specs = match self {
            Self::One(spec) => {
                return spec.resolve(size).map_or(Resolved::Nothing, Resolved::One);
            }
            Self::Many(specs) => specs,
        };
        let mut apart: Vec<Range<u64>> = Vec::with_capacity(specs.len());
        for mut range in specs.iter().filter_map(|spec| spec.resolve(size)) {
            let mut place = apart.len();
            while let Some(n) = apart
                .iter()
                .position(|other| other.start <= range.end && range.start <= other.end)
            {
                let other = apart.remove(n);
                range = range.start.min(other.start)..range.end.max(other.end);
                place = place.min(n);
            }
            apart.insert(place.min(apart.len()), range);
        }
        match apart.len() {
            0 => Resolved::Nothing,
            1 => apart.pop().map_or(Resolved::Nothing, Resolved::One),
            _ => Resolved::Many(apart),
        }
    }
}

impl Spec {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        match (position(first), position(last)) {
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

/// Digits as a number; none where it doesn't fit.
fn number(text: &str) -> Option<u64> {
    digits(text).then(|| text.parse().ok()).flatten()
}

/// Digits as an offset or a length: larger than any body where it doesn't fit.
fn position(text: &str) -> Option<u64> {
    digits(text).then(|| text.parse().unwrap_or(u64::MAX))
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
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
    let end = last.checked_add(1).filter(|_| sound)?;
    Some((first..end, size))
}

/// `Content-Range` to send with `range` (end exclusive) of a body of `size`, if that is known.
pub(crate) fn content_range_value(range: &Range<u64>, size: Option<u64>) -> HeaderValue {
    let (first, last) = (range.start, range.end.saturating_sub(1));
    let text = match size {
        Some(size) => format!("bytes {first}-{last}/{size}"),
        None => format!("bytes {first}-{last}/*"),
    };
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("bytes */*"))
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

    use super::{Ranges, Resolved, Spec, content_range};

    fn of(text: &str) -> Option<Ranges> {
        Ranges::of(&HeaderMap::from_iter([(RANGE, text.parse().unwrap())]))
    }

    #[test]
    fn parsing() {
        let one = |spec| Some(Ranges::One(spec));
        let many = |specs: &[Spec]| Some(Ranges::Many(specs.into()));
        for (text, expected) in [
            ("bytes=0-0", one(Spec::FromTo(0, 0))),
            ("Bytes=5-", one(Spec::From(5))),
            ("bytes=-5", one(Spec::Suffix(5))),
            ("bytes= 5-6 ,", one(Spec::FromTo(5, 6))),
            (
                "bytes=0-1, ,3-4",
                many(&[Spec::FromTo(0, 1), Spec::FromTo(3, 4)]),
            ),
            ("bytes=-1,0-", many(&[Spec::Suffix(1), Spec::From(0)])),
            ("bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16", None),
            ("bytes=0-1,4-3", None),
            ("bytes=5-4", None),
            ("bytes=-", None),
            ("bytes=", None),
            ("bytes=+1-2", None),
            (
                "bytes=1-99999999999999999999999",
                one(Spec::FromTo(1, u64::MAX)),
            ),
            ("items=0-1", None),
            ("", None),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
        let eight = "bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14";
        assert!(matches!(of(eight), Some(Ranges::Many(specs)) if specs.len() == 8));
    }

    #[test]
    fn resolution() {
        for (text, size, expected) in [
            ("bytes=0-99", 10, Resolved::One(0..10)),
            ("bytes=9-", 10, Resolved::One(9..10)),
            ("bytes=10-", 10, Resolved::Nothing),
            ("bytes=-0", 10, Resolved::Nothing),
            ("bytes=-99", 10, Resolved::One(0..10)),
            ("bytes=0-", 0, Resolved::Nothing),
            ("bytes=5-18446744073709551615", 10, Resolved::One(5..10)),
            ("bytes=0-1,3-4", 10, Resolved::Many(vec![0..2, 3..5])),
            ("bytes=3-4,0-1", 10, Resolved::Many(vec![3..5, 0..2])),
            ("bytes=0-1,2-4", 10, Resolved::One(0..5)),
            ("bytes=0-5,3-4", 10, Resolved::One(0..6)),
            ("bytes=0-1,20-", 10, Resolved::One(0..2)),
            ("bytes=20-,30-40", 10, Resolved::Nothing),
            (
                "bytes=8-9,0-1,4-5,2-3",
                10,
                Resolved::Many(vec![8..10, 0..6]),
            ),
            ("bytes=0-1,8-9,2-7", 10, Resolved::One(0..10)),
        ] {
            assert_eq!(of(text).unwrap().resolve(size), expected, "{text}");
        }
    }

    #[test]
    fn alignment() {
        let aligned = |text| of(text).unwrap().leading().aligned(4);
        assert_eq!(
            aligned("bytes=5-18446744073709551615"),
            "bytes=4-18446744073709551614"
        );
        assert_eq!(aligned("bytes=5-7"), "bytes=4-7");
        assert_eq!(aligned("bytes=-3,9-,5-8"), "bytes=4-11");
        assert_eq!(aligned("bytes=5-"), "bytes=4-");
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
            "bytes 0-18446744073709551615/*",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
