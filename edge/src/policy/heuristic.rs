//! Freshness that nobody stated (RFC 9111 §4.2.2). Off unless an operator asks for it: a response
//! that says nothing of its lifetime is otherwise validated at every use.

use http::{
    HeaderMap, StatusCode,
    header::{DATE, LAST_MODIFIED},
};

use super::{UnixMs, date, directives::Response, storable};

/// How long a response without a stated lifetime counts as fresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heuristic {
    /// Of the time since the response was last modified, percent; 0 for not at all.
    pub(crate) percent: u8,
    /// At most, seconds.
    pub(crate) cap_s: u64,
}

impl Heuristic {
    /// Lifetime in seconds of a response received at `received` that states none; none where it
    /// may not be guessed: the status isn't one that may be, or there is no `Last-Modified` to
    /// guess from.
    pub(crate) fn lifetime(
        self,
        status: StatusCode,
        headers: &HeaderMap,
        directives: &Response,
        received: UnixMs,
    ) -> Option<u64> {
        let allowed = directives.public || storable::cacheable_by_default(status);
        if self.percent == 0 || !allowed {
            return None;
        }
        let modified = date::field(headers, &LAST_MODIFIED)?;
        let dated = date::field(headers, &DATE).unwrap_or(received.seconds());
        let unchanged = dated.checked_sub(modified)?;
        Some((unchanged.saturating_mul(self.percent.into()) / 100).min(self.cap_s))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderMap, StatusCode};

    use super::{Heuristic, Response, UnixMs};

    #[test]
    fn a_tenth_of_the_time_unchanged_up_to_a_day() {
        const NOW: UnixMs = UnixMs(1_000_000_000_000);
        const TENTH: Heuristic = Heuristic {
            percent: 10,
            cap_s: 86_400,
        };
        let minutes_ago = ("last-modified", "Sun, 09 Sep 2001 01:30:00 GMT");
        let years_ago = ("last-modified", "Sun, 09 Sep 1990 01:30:00 GMT");
        let to_come = ("last-modified", "Sun, 09 Sep 2001 02:30:00 GMT");
        let cc = ("cache-control", "public");
        for (heuristic, status, fields, expected) in [
            (TENTH, 200, &[minutes_ago][..], Some(100)),
            (TENTH, 404, &[minutes_ago], Some(100)),
            (TENTH, 200, &[years_ago], Some(86_400)),
            (TENTH, 200, &[to_come], None),
            (TENTH, 200, &[], None),
            (TENTH, 201, &[minutes_ago], None),
            (TENTH, 599, &[minutes_ago, cc], Some(100)),
            (Heuristic::default(), 200, &[minutes_ago], None),
        ] {
            let headers: HeaderMap = fields
                .iter()
                .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
                .collect();
            let directives = Response::of(&headers);
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                heuristic.lifetime(status, &headers, &directives, NOW),
                expected,
                "{status} {fields:?}"
            );
        }
    }
}
