//! The `Range` header (RFC 9110 §14): one range of bytes.

use std::ops::Range;

/// What a `Range` header asks of a representation of known size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All of it: no header, one that is malformed, of another unit, or of several ranges, which
    /// a server may ignore (§14.2).
    Whole,
    /// These bytes; never empty.
    Part(Range<u64>),
    /// Nothing that exists: 416.
    Unsatisfiable,
}

/// Reads a header's value for a representation of `size` bytes.
pub(crate) fn parse(value: &str, size: u64) -> Asked {
    let Some((unit, set)) = value.split_once('=') else {
        return Asked::Whole;
    };
    let Some((first, last)) = set.trim().split_once('-') else {
        return Asked::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Asked::Whole;
    }
    let range = match (position(first), position(last)) {
        (Some(Position::None), Some(Position::At(suffix))) => size.saturating_sub(suffix)..size,
        (Some(Position::At(first)), Some(Position::None)) => first..size,
        (Some(Position::At(first)), Some(Position::At(last))) if first <= last => {
            first..size.min(last.saturating_add(1))
        }
        _ => return Asked::Whole,
    };
    if range.start >= range.end {
        Asked::Unsatisfiable
    } else {
        Asked::Part(range)
    }
}

enum Position {
    None,
    At(u64),
}

/// A position; one beyond 64 bits is as far as one can go. `None` where it isn't a number.
fn position(text: &str) -> Option<Position> {
    match text.trim() {
        "" => Some(Position::None),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(Position::At(digits.parse().unwrap_or(u64::MAX)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ten_bytes() {
        let check =
            |value: &str, expected: Asked| assert_eq!(parse(value, 10), expected, "{value}");
        check("bytes=0-0", Asked::Part(0..1));
        check("bytes=2-", Asked::Part(2..10));
        check("bytes=-3", Asked::Part(7..10));
        check("bytes=-30", Asked::Part(0..10));
        check("Bytes = 4-99999999999999999999999", Asked::Part(4..10));
        check("bytes=10-", Asked::Unsatisfiable);
        check("bytes=99999999999999999999999-", Asked::Unsatisfiable);
        check("bytes=-0", Asked::Unsatisfiable);
        for ignored in [
            "bytes=5-2",
            "bytes=0-1,4-5",
            "items=0-1",
            "bytes",
            "bytes=-",
            "bytes=a-b",
            "bytes=+1-2",
        ] {
            check(ignored, Asked::Whole);
        }
        assert_eq!(parse("bytes=0-", 0), Asked::Unsatisfiable);
    }
}
