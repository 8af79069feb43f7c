//! A client's preconditions against a stored response (RFC 9110 §13, RFC 9111 §4.3.2).

use http::{
    HeaderMap,
    header::{
        DATE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
        LAST_MODIFIED,
    },
};

use super::{date, directives::split_list};

/// Whether the client's copy is still good: answer 304.
pub(crate) fn not_modified(request: &HeaderMap, stored: &HeaderMap) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        let etag = stored
            .get(ETAG)
            .map(|v| String::from_utf8_lossy(v.as_bytes()));
        return request.get_all(IF_NONE_MATCH).iter().any(|line| {
            let line = String::from_utf8_lossy(line.as_bytes()).into_owned();
            line.trim() == "*"
                || etag.as_deref().is_some_and(|etag| {
                    split_list(&line).any(|known| opaque(known) == opaque(etag))
                })
        });
    }
    let Some(since) = date::field(request, &IF_MODIFIED_SINCE) else {
        return false;
    };
    date::field(stored, &LAST_MODIFIED)
        .or_else(|| date::field(stored, &DATE))
        .is_some_and(|modified| modified <= since)
}

/// Whether `Range` is to be heeded: there is no `If-Range`, or it names what is stored by a strong
/// validator (RFC 9110 §13.1.5).
pub(crate) fn range_holds(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let Some(condition) = request.get(IF_RANGE) else {
        return true;
    };
    if condition.as_bytes().starts_with(b"\"") {
        return strong_etag(stored).is_some_and(|etag| etag == condition.as_bytes());
    }
    // A date is strong if it is exactly the stored one and at least a second older than the
    // response (RFC 9110 §8.8.2.2).
    let modified = date::field(stored, &LAST_MODIFIED);
    let dated = date::field(stored, &DATE);
    date::parse(condition.as_bytes())
        .is_some_and(|c| modified == Some(c) && dated.is_some_and(|d| d > c))
}

/// Whether a request has preconditions that only the origin may evaluate.
pub(crate) fn for_origin_only(request: &HeaderMap) -> bool {
    request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE)
}

/// The entity tag, if it is a well-formed strong one.
pub(crate) fn strong_etag(headers: &HeaderMap) -> Option<&[u8]> {
    let etag = headers.get(ETAG)?.as_bytes();
    (etag.len() >= 2 && etag.starts_with(b"\"") && etag.ends_with(b"\"")).then_some(etag)
}

/// A tag without its weakness: what weak comparison compares (RFC 9110 §8.8.3.2).
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::HeaderMap;

    use super::{not_modified, range_holds};

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
            .collect()
    }

    const EARLY: &str = "Sun, 09 Sep 2001 01:46:40 GMT";
    const LATE: &str = "Sun, 09 Sep 2001 01:47:40 GMT";

    #[test]
    fn if_none_match_goes_before_if_modified_since() {
        const INM: &str = "if-none-match";
        const IMS: &str = "if-modified-since";
        for (request, stored, expected) in [
            (&[(INM, "\"a\"")][..], &[("etag", "\"a\"")][..], true),
            (&[(INM, "W/\"a\"")], &[("etag", "\"a\"")], true),
            (&[(INM, "\"x,a\", \"a\"")], &[("etag", "W/\"a\"")], true),
            (&[(INM, "*")], &[], true),
            (
                &[(INM, "\"b\""), (IMS, LATE)],
                &[("etag", "\"a\""), ("last-modified", EARLY)],
                false,
            ),
            (&[(IMS, LATE)], &[("last-modified", EARLY)], true),
            (&[(IMS, EARLY)], &[("last-modified", LATE)], false),
            (
                &[(IMS, "Sunday, 09-Sep-01 01:47:40 GMT")],
                &[("last-modified", EARLY)],
                true,
            ),
            (&[(IMS, "yesterday")], &[("last-modified", EARLY)], false),
            (&[], &[("etag", "\"a\"")], false),
        ] {
            assert_eq!(
                not_modified(&map(request), &map(stored)),
                expected,
                "{request:?} {stored:?}"
            );
        }
    }

    #[test]
    fn if_range_needs_a_strong_match() {
        for (condition, stored, expected) in [
            ("\"a\"", &[("etag", "\"a\"")][..], true),
            ("\"a\"", &[("etag", "\"b\"")], false),
            ("W/\"a\"", &[("etag", "W/\"a\"")], false),
            (EARLY, &[("last-modified", EARLY), ("date", LATE)], true),
            (EARLY, &[("last-modified", EARLY), ("date", EARLY)], false),
            (LATE, &[("last-modified", EARLY), ("date", LATE)], false),
        ] {
            assert_eq!(
                range_holds(&map(&[("if-range", condition)]), &map(stored)),
                expected,
                "{condition}"
            );
        }
    }
}
