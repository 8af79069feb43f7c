//! How old a response is and how long it stays fresh (RFC 9111 §4.2).

use http::{
    HeaderMap, StatusCode,
    header::{AGE, DATE, EXPIRES},
};

use super::{
    UnixMs, date,
    directives::{self, MAX_SECONDS, Response},
    heuristic::Heuristic,
    targeted,
};

/// What reuse depends on, worked out once when a response is stored or freshened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Freshness {
    /// Freshness lifetime, seconds; none where the response says nothing of it.
    pub(crate) lifetime: Option<u64>,
    /// Age when the response arrived, milliseconds: `corrected_initial_age` of RFC 9111 §4.2.3.
    pub(crate) initial_age_ms: u64,
    /// When it arrived.
    pub(crate) received: UnixMs,
    /// The directives that hold for this cache.
    pub(crate) directives: Response,
}

impl Freshness {
    /// Works it out for a response asked for at `requested` and received at `received`.
    pub(crate) fn of(headers: &HeaderMap, requested: UnixMs, received: UnixMs) -> Self {
        let targeted = targeted::directives(headers);
        let heed_expires = targeted.is_none();
        let directives = targeted.unwrap_or_else(|| Response::of(headers));
        let date = date::field(headers, &DATE);
        let expires = heed_expires
            .then(|| expires_lifetime(headers, date, received))
            .flatten();
        Self {
            lifetime: directives.s_maxage.or(directives.max_age).or(expires),
            initial_age_ms: initial_age_ms(headers, date, requested, received),
            received,
            directives,
        }
    }

    /// With a lifetime guessed where none is stated, if `heuristic` allows it.
    pub(crate) fn or_guessed(
        mut self,
        heuristic: Heuristic,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Self {
        self.lifetime = self
            .lifetime
            .or_else(|| heuristic.lifetime(status, headers, &self.directives, self.received));
        self
    }

    /// Age at `now`, milliseconds.
    pub(crate) fn age_ms(&self, now: UnixMs) -> u64 {
        self.initial_age_ms.saturating_add(now.since(self.received))
    }

    /// Milliseconds of freshness left at `now`; negative where stale by so much.
    pub(crate) fn left_ms(&self, now: UnixMs) -> i64 {
        let lifetime = self.lifetime.unwrap_or(0).min(MAX_SECONDS) * 1000;
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        signed(lifetime).saturating_sub(signed(self.age_ms(now)))
    }
}

/// Lifetime by `Expires`, seconds: 0 where it is invalid, none where it is absent. An invalid or
/// missing `Date` counts as the time of receipt.
fn expires_lifetime(headers: &HeaderMap, date: Option<u64>, received: UnixMs) -> Option<u64> {
    let expires = headers.get(EXPIRES)?;
    let expires = date::parse(expires.as_bytes()).unwrap_or(0);
    Some(
        expires
            .saturating_sub(date.unwrap_or(received.seconds()))
            .min(MAX_SECONDS),
    )
}

/// `corrected_initial_age` in milliseconds (RFC 9111 §4.2.3).
fn initial_age_ms(
    headers: &HeaderMap,
    date: Option<u64>,
    requested: UnixMs,
    received: UnixMs,
) -> u64 {
    let apparent = date.map_or(0, |date| received.seconds().saturating_sub(date) * 1000);
    let delay = received.since(requested);
    let corrected = age_value(headers).unwrap_or(MAX_SECONDS) * 1000 + delay;
    apparent.max(corrected)
}

/// `Age` in seconds, 0 where absent. None where it can't be relied on (several lines, anything but
/// digits): such a response is taken to be very old. Of a plain list the first member counts
/// (RFC 9111 §5.1).
fn age_value(headers: &HeaderMap) -> Option<u64> {
    let mut lines = headers.get_all(AGE).iter();
    let Some(line) = lines.next() else {
        return Some(0);
    };
    if lines.next().is_some() {
        return None;
    }
    let line = line.to_str().ok()?;
    if line.bytes().any(|b| !b.is_ascii_digit() && b != b',') {
        return None;
    }
    directives::seconds(line.split(',').next())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::HeaderMap;

    use super::{Freshness, UnixMs};

    /// 2001-09-09 01:46:40 GMT.
    const NOW: UnixMs = UnixMs(1_000_000_000_000);

    fn of(fields: &[(&'static str, &str)]) -> Freshness {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        Freshness::of(&headers, NOW, NOW)
    }

    #[test]
    fn the_most_specific_lifetime_holds() {
        const EXPIRES: (&str, &str) = ("expires", "Sun, 09 Sep 2001 01:47:40 GMT");
        for (fields, lifetime) in [
            (
                &[("cache-control", "max-age=1, s-maxage=3600")][..],
                Some(3600),
            ),
            (&[("cache-control", "max-age=7"), EXPIRES], Some(7)),
            (&[EXPIRES], Some(60)),
            (
                &[EXPIRES, ("date", "Sun, 09 Sep 2001 01:46:50 GMT")],
                Some(50),
            ),
            (&[EXPIRES, ("date", "foo")], Some(60)),
            (&[("expires", "0")], Some(0)),
            (
                &[
                    ("cdn-cache-control", "max-age=9"),
                    ("cache-control", "no-store"),
                    EXPIRES,
                ],
                Some(9),
            ),
            (&[("cdn-cache-control", "public"), EXPIRES], None),
            (&[("cdn-cache-control", "="), EXPIRES], Some(60)),
            (&[], None),
        ] {
            assert_eq!(of(fields).lifetime, lifetime, "{fields:?}");
        }
    }

    #[test]
    fn age_grows_from_what_the_response_says() {
        for (fields, age_s) in [
            (&[("date", "Sun, 09 Sep 2001 01:46:30 GMT")][..], 10),
            (
                &[("age", "30"), ("date", "Sun, 09 Sep 2001 01:46:30 GMT")],
                30,
            ),
            (
                &[("age", "5"), ("date", "Sun, 09 Sep 2001 01:46:30 GMT")],
                10,
            ),
            (&[("age", "0,7200")], 0),
            (&[("age", "7200,0")], 7200),
            (&[("age", "abc")], 1 << 31),
            (&[("age", "-7200")], 1 << 31),
            (&[("age", "0"), ("age", "0")], 1 << 31),
            (&[("age", "99999999999")], 1 << 31),
        ] {
            assert_eq!(of(fields).age_ms(NOW), age_s * 1000, "{fields:?}");
        }
        let fresh = of(&[("age", "30"), ("cache-control", "max-age=60")]);
        let later = UnixMs(NOW.0 + 40_000);
        assert_eq!(fresh.age_ms(later), 70_000);
        assert_eq!(fresh.left_ms(later), -10_000);
    }
}
