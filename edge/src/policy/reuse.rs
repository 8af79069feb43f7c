//! Whether a stored response answers a request (RFC 9111 §4.2, §5.2.1; RFC 5861).

use super::{UnixMs, directives::Request, freshness::Freshness};

/// What may be done with a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// Send it: fresh.
    Fresh,
    /// Send it though stale: the request asked for that.
    Stale,
    /// Send it stale and validate it meanwhile.
    StaleWhileRevalidate,
    /// Validate it first.
    Validate,
}

/// Decides at `now`. `soft_purged`: an operator declared it stale.
pub(crate) fn decide(
    freshness: &Freshness,
    request: &Request,
    soft_purged: bool,
    now: UnixMs,
) -> Reuse {
    let cc = &freshness.directives;
    if cc.no_cache || request.no_cache || soft_purged {
        return Reuse::Validate;
    }
    let left_ms = freshness.left_ms(now);
    if request
        .max_age
        .is_some_and(|max| freshness.age_ms(now) > max * 1000)
    {
        return Reuse::Validate;
    }
    let needed_ms = request
        .min_fresh
        .map_or(0, |s| i64::try_from(s * 1000).unwrap_or(i64::MAX));
    if left_ms > 0 && left_ms >= needed_ms {
        return Reuse::Fresh;
    }
    if request.min_fresh.is_some() || cc.must_revalidate {
        return Reuse::Validate;
    }
    let stale_ms = left_ms.saturating_neg();
    let within =
        |seconds: u64| stale_ms <= i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
    if request.max_stale.is_some_and(within) && cc.s_maxage.is_none() {
        Reuse::Stale
    } else if cc.stale_while_revalidate.is_some_and(within) {
        Reuse::StaleWhileRevalidate
    } else {
        Reuse::Validate
    }
}

/// Whether a stored response may stand in at `now` for an upstream that failed. `default_s` is the
/// staleness allowed, in seconds, where nobody says otherwise.
pub(crate) fn stands_in(
    freshness: &Freshness,
    request: &Request,
    default_s: u64,
    now: UnixMs,
) -> bool {
    let cc = &freshness.directives;
    if cc.no_cache || cc.must_revalidate {
        return false;
    }
    let said = cc.stale_if_error.max(request.stale_if_error);
    // Without a word on errors, `s-maxage` forbids stale use (RFC 9111 §5.2.2.10).
    let allowed_s = said.unwrap_or(if cc.s_maxage.is_some() { 0 } else { default_s });
    let stale_ms = freshness.left_ms(now).saturating_neg();
    stale_ms <= i64::try_from(allowed_s.saturating_mul(1000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderMap, header::CACHE_CONTROL};

    use super::{Freshness, Request, Reuse, UnixMs, decide, stands_in};

    fn headers(cc: &str) -> HeaderMap {
        HeaderMap::from_iter([(CACHE_CONTROL, cc.parse().unwrap())])
    }

    #[test]
    fn decisions() {
        for (response, request, age_s, expected) in [
            ("max-age=10", "", 9, Reuse::Fresh),
            ("max-age=10", "", 10, Reuse::Validate),
            ("max-age=10, no-cache", "", 1, Reuse::Validate),
            ("max-age=10", "no-cache", 1, Reuse::Validate),
            ("max-age=10", "max-age=0", 1, Reuse::Validate),
            ("max-age=10", "max-age=5", 4, Reuse::Fresh),
            ("max-age=10", "min-fresh=5", 4, Reuse::Fresh),
            ("max-age=10", "min-fresh=5", 6, Reuse::Validate),
            ("max-age=10", "max-stale", 500, Reuse::Stale),
            ("max-age=10", "max-stale=5", 15, Reuse::Stale),
            ("max-age=10", "max-stale=5", 16, Reuse::Validate),
            (
                "max-age=10, must-revalidate",
                "max-stale=5",
                12,
                Reuse::Validate,
            ),
            ("s-maxage=10", "max-stale=5", 12, Reuse::Validate),
            (
                "max-age=10, stale-while-revalidate=5",
                "",
                15,
                Reuse::StaleWhileRevalidate,
            ),
            (
                "s-maxage=10, stale-while-revalidate=5",
                "",
                16,
                Reuse::Validate,
            ),
        ] {
            let freshness = Freshness::of(&headers(response), UnixMs(0), UnixMs(0));
            let request = Request::of(&headers(request));
            let now = UnixMs(age_s * 1000);
            assert_eq!(
                decide(&freshness, &request, false, now),
                expected,
                "{response} after {age_s}"
            );
            assert_eq!(decide(&freshness, &request, true, now), Reuse::Validate);
        }
    }

    #[test]
    fn stand_ins() {
        for (response, stale_s, expected) in [
            ("max-age=10", 60, true),
            ("max-age=10", 61, false),
            ("max-age=10, stale-if-error=5", 6, false),
            ("max-age=10, stale-if-error=500", 400, true),
            ("max-age=10, must-revalidate", 1, false),
            ("max-age=10, proxy-revalidate", 1, false),
            ("max-age=10, no-cache", 1, false),
            ("s-maxage=10", 1, false),
            ("s-maxage=10, stale-if-error=5", 5, true),
        ] {
            let freshness = Freshness::of(&headers(response), UnixMs(0), UnixMs(0));
            let now = UnixMs((10 + stale_s) * 1000);
            assert_eq!(
                stands_in(&freshness, &Request::default(), 60, now),
                expected,
                "{response} +{stale_s}"
            );
        }
    }
}
