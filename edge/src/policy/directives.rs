//! `Cache-Control` of requests and responses (RFC 9111 §5.2), read leniently where that can't make
//! anything fresher than meant.

use http::{
    HeaderMap,
    header::{CACHE_CONTROL, HeaderName},
};

/// Delta-seconds at or above this mean "for ever" (RFC 9111 §1.2.2).
pub(crate) const MAX_SECONDS: u64 = 1 << 31;

/// A response's directives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Response {
    /// `no-store`.
    pub(crate) no_store: bool,
    /// `no-cache` without field names.
    pub(crate) no_cache: bool,
    /// Fields named by `no-cache="…"` and `private="…"`: not stored, so that a reuse can't show
    /// them without validation.
    pub(crate) withheld: Vec<HeaderName>,
    /// `private` without field names.
    pub(crate) private: bool,
    /// `public`.
    pub(crate) public: bool,
    /// `must-revalidate`, or `proxy-revalidate`, which means the same to a shared cache.
    pub(crate) must_revalidate: bool,
    /// `must-understand`.
    pub(crate) must_understand: bool,
    /// `max-age`, seconds; 0 where the argument is invalid.
    pub(crate) max_age: Option<u64>,
    /// `s-maxage`, seconds; 0 where the argument is invalid.
    pub(crate) s_maxage: Option<u64>,
    /// `stale-while-revalidate` (RFC 5861), seconds.
    pub(crate) stale_while_revalidate: Option<u64>,
    /// `stale-if-error` (RFC 5861), seconds.
    pub(crate) stale_if_error: Option<u64>,
}

impl Response {
    /// Reads `Cache-Control`.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut all = Self::default();
        each(headers, &CACHE_CONTROL, |name, argument| {
            all.take(name, argument)
        });
        all
    }

    /// Takes one directive in.
    pub(crate) fn take(&mut self, name: &str, argument: Option<&str>) {
        let is = |expected| name.eq_ignore_ascii_case(expected);
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.no_cache |= !withhold(&mut self.withheld, argument);
        } else if is("private") {
            self.private |= !withhold(&mut self.withheld, argument);
        } else if is("public") {
            self.public = true;
        } else if is("must-revalidate") || is("proxy-revalidate") {
            self.must_revalidate = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("max-age") {
            lower(&mut self.max_age, seconds(argument).unwrap_or(0));
        } else if is("s-maxage") {
            lower(&mut self.s_maxage, seconds(argument).unwrap_or(0));
        } else if is("stale-while-revalidate") {
            lower(
                &mut self.stale_while_revalidate,
                seconds(argument).unwrap_or(0),
            );
        } else if is("stale-if-error") {
            lower(&mut self.stale_if_error, seconds(argument).unwrap_or(0));
        }
    }
}

/// A request's directives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// `no-cache`.
    pub(crate) no_cache: bool,
    /// `no-store`.
    pub(crate) no_store: bool,
    /// `only-if-cached`.
    pub(crate) only_if_cached: bool,
    /// `max-age`, seconds.
    pub(crate) max_age: Option<u64>,
    /// `min-fresh`, seconds.
    pub(crate) min_fresh: Option<u64>,
    /// `max-stale`, seconds; [`u64::MAX`] without an argument.
    pub(crate) max_stale: Option<u64>,
    /// `stale-if-error` (RFC 5861 §4), seconds.
    pub(crate) stale_if_error: Option<u64>,
}

impl Request {
    /// Reads `Cache-Control`. `Pragma` is not looked at: RFC 9111 §5.4 deprecates it.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut all = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            return all;
        }
        each(headers, &CACHE_CONTROL, |name, argument| {
            let is = |expected| name.eq_ignore_ascii_case(expected);
            if is("no-cache") {
                all.no_cache = true;
            } else if is("no-store") {
                all.no_store = true;
            } else if is("only-if-cached") {
                all.only_if_cached = true;
            } else if is("max-age") {
                all.max_age = seconds(argument).or(all.max_age);
            } else if is("min-fresh") {
                all.min_fresh = seconds(argument).or(all.min_fresh);
            } else if is("max-stale") {
                all.max_stale = if argument.is_none() {
                    Some(u64::MAX)
                } else {
                    seconds(argument).or(all.max_stale)
                };
            } else if is("stale-if-error") {
                all.stale_if_error = seconds(argument).or(all.stale_if_error);
            }
        });
        all
    }
}

/// Calls `take` with every directive of every line, arguments unquoted.
fn each(headers: &HeaderMap, field: &HeaderName, mut take: impl FnMut(&str, Option<&str>)) {
    for line in headers.get_all(field) {
        let Ok(line) = std::str::from_utf8(line.as_bytes()) else {
            continue;
        };
        for member in split_list(line) {
            match member.split_once('=') {
                None => take(member, None),
                Some((name, argument)) => {
                    let unquoted = argument.strip_prefix('"').and_then(|a| a.strip_suffix('"'));
                    take(name, Some(unquoted.unwrap_or(argument)));
                }
            }
        }
    }
}

/// The trimmed, non-empty members of a comma-separated list; commas inside quotes don't separate.
pub(crate) fn split_list(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let (mut quoted, mut escaped) = (false, false);
            let end = rest
                .bytes()
                .position(|b| {
                    let ends = b == b',' && !quoted;
                    match b {
                        _ if escaped => escaped = false,
                        b'\\' if quoted => escaped = true,
                        b'"' => quoted = !quoted,
                        _ => {}
                    }
                    ends
                })
                .unwrap_or(rest.len());
            let (member, after) = rest.split_at(end);
            rest = after.strip_prefix(',').unwrap_or("");
            let member = member.trim_matches([' ', '\t']);
            if !member.is_empty() {
                return Some(member);
            }
        }
    })
}

/// Delta-seconds (RFC 9111 §1.2.2), saturated at [`MAX_SECONDS`]; none where it is none.
pub(crate) fn seconds(text: Option<&str>) -> Option<u64> {
    let text = text?;
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse::<u64>().unwrap_or(MAX_SECONDS).min(MAX_SECONDS))
}

/// Keeps the lower of two values: of repeated directives the most restrictive holds (RFC 9111
/// §4.2.1).
fn lower(held: &mut Option<u64>, value: u64) {
    *held = Some(held.map_or(value, |h| h.min(value)));
}

/// Takes the field names of a qualified directive in; false where it isn't qualified.
fn withhold(fields: &mut Vec<HeaderName>, argument: Option<&str>) -> bool {
    let Some(argument) = argument else {
        return false;
    };
    let names = argument
        .split(',')
        .filter_map(|name| HeaderName::try_from(name.trim()).ok());
    let before = fields.len();
    fields.extend(names);
    fields.len() > before
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderMap, header::CACHE_CONTROL};

    use super::{Request, Response};

    fn of(lines: &[&str]) -> Response {
        Response::of(&map(lines))
    }

    fn map(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, line.parse().unwrap());
        }
        headers
    }

    #[test]
    fn arguments_are_read_strictly_and_the_lowest_holds() {
        for (lines, max_age) in [
            (&["max-age=3600"][..], Some(3600)),
            (&["MaX-aGe=003600"], Some(3600)),
            (&["max-age=\"3600\""], Some(3600)),
            (&["max-age=99999999999999999999"], Some(1 << 31)),
            (&["max-age='3600'"], Some(0)),
            (&["max-age=-3600"], Some(0)),
            (&["max-age=3600.5"], Some(0)),
            (&["max-age"], Some(0)),
            (&["max-age=1, extension=\"max-age=3600\""], Some(1)),
            (&["extension=\"a, max-age=3600\", max-age=1"], Some(1)),
            (&["max-age=1800", "max-age=1"], Some(1)),
            (&["max-age =3600"], None),
            (&[""], None),
        ] {
            assert_eq!(of(lines).max_age, max_age, "{lines:?}");
        }
    }

    #[test]
    fn qualified_forms_name_fields() {
        let cc = of(&["no-cache=\"a, b\", private=c, max-age=5"]);
        assert_eq!(cc.withheld, ["a", "b", "c"]);
        assert!(!cc.no_cache && !cc.private);
        assert!(of(&["no-cache"]).no_cache);
        assert!(of(&["No-CaChE=\"\""]).no_cache);
    }

    #[test]
    fn request_directives() {
        let cc = Request::of(&map(&[
            "max-stale, min-fresh=7",
            "only-if-cached,max-age=x",
        ]));
        assert_eq!(
            (cc.max_stale, cc.min_fresh, cc.max_age),
            (Some(u64::MAX), Some(7), None)
        );
        assert!(cc.only_if_cached && !cc.no_cache);
    }
}
