//! A part of a representation that stands for itself: a stored 206 that no strong validator ties to
//! a revision (RFC 9111 §3.3). It answers requests for what lies within it, and is never joined
//! with anything else.

use std::ops::Range;

use http::{HeaderValue, header::RANGE};

use crate::{
    asked::Asked,
    range::{Ranges, Resolved, Spec},
};

/// Where a stored 206 lies in its representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Offset of its first byte.
    pub(crate) first: u64,
    /// Bytes of the whole representation, if told.
    pub(crate) total: Option<u64>,
    /// The `Range` it was asked for with.
    pub(crate) asked: HeaderValue,
}

/// What of a piece answers a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// All of it, as it came: it is what the upstream said to the very same `Range`.
    All,
    /// These bytes, counted in the representation.
    Bytes(Range<u64>),
}

impl Piece {
    /// What answers `asked` of a piece that is `length` bytes long; none where it lacks some of it.
    pub(crate) fn cut(&self, length: u64, asked: &Asked) -> Option<Cut> {
        let wanted = self.wanted(asked.range.as_ref()?);
        let held = self.first..self.first.saturating_add(length);
        match wanted {
            Some(wanted) if held.start <= wanted.start && wanted.end <= held.end => {
                Some(Cut::Bytes(wanted))
            }
            _ => (asked.headers.get(RANGE) == Some(&self.asked)).then_some(Cut::All),
        }
    }

    /// The one range of the representation that is asked for.
    fn wanted(&self, ranges: &Ranges) -> Option<Range<u64>> {
        match (self.total, ranges) {
            (Some(total), ranges) => match ranges.resolve(total) {
                Resolved::One(wanted) => Some(wanted),
                Resolved::Nothing | Resolved::Many(_) => None,
            },
            (None, Ranges::One(Spec::FromTo(first, last))) => Some(*first..last.checked_add(1)?),
            (None, _) => None,
        }
    }
}
