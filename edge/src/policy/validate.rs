//! Validation of a stored response with the upstream, and freshening it by a 304 (RFC 9111 §4.3).

use http::{
    HeaderMap, HeaderValue,
    header::{
        CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, IF_MODIFIED_SINCE,
        IF_NONE_MATCH, LAST_MODIFIED,
    },
};

/// Fields that describe the stored bytes: a 304 doesn't change them (RFC 9111 §3.2).
static OF_THE_BYTES: [HeaderName; 5] = [
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    HeaderName::from_static("content-md5"),
    CONTENT_RANGE,
    ETAG,
];

/// Entity tags sent of variants that a request doesn't select, and bytes of each.
const TAGS_MAX: usize = 8;
const TAG_BYTES: usize = 128;

/// Makes a request conditional on what is stored; false where that has no validator.
pub(crate) fn add_conditions(request: &mut HeaderMap, stored: &HeaderMap) -> bool {
    if let Some(etag) = stored.get(ETAG) {
        request.insert(IF_NONE_MATCH, etag.clone());
    }
    if let Some(modified) = stored.get(LAST_MODIFIED) {
        request.insert(IF_MODIFIED_SINCE, modified.clone());
    }
    stored.contains_key(ETAG) || stored.contains_key(LAST_MODIFIED)
}

/// Makes a request conditional on several stored responses, by their entity tags (RFC 9111 §4.3.1);
/// false where none has one. At most [`TAGS_MAX`] are sent.
pub(crate) fn add_tags<'a>(
    request: &mut HeaderMap,
    stored: impl Iterator<Item = &'a HeaderMap>,
) -> bool {
    let mut tags: Vec<&[u8]> = Vec::new();
    for tag in stored.filter_map(|fields| fields.get(ETAG)) {
        let tag = tag.as_bytes();
        if tag.len() <= TAG_BYTES && !tags.contains(&tag) && tags.len() < TAGS_MAX {
            tags.push(tag);
        }
    }
    let Ok(list) = HeaderValue::from_bytes(&tags.join(&b", "[..])) else {
        return false;
    };
    if !tags.is_empty() {
        request.insert(IF_NONE_MATCH, list);
    }
    !tags.is_empty()
}

/// The stored fields, updated by those of a 304 (RFC 9111 §3.2). `update` has no hop-by-hop fields
/// any more.
pub(crate) fn freshen(stored: &HeaderMap, update: &HeaderMap) -> HeaderMap {
    let mut fields = stored.clone();
    // A new `Date` without `Age` is a new age: the old one must not outlive it.
    fields.remove(http::header::AGE);
    for name in update.keys().filter(|name| !OF_THE_BYTES.contains(name)) {
        fields.remove(name);
        for value in update.get_all(name) {
            fields.append(name, value.clone());
        }
    }
    fields
}

/// Whether a 200 to a HEAD describes the stored bytes: nothing that both say of them differs (RFC
/// 9111 §4.3.5).
pub(crate) fn describes(head: &HeaderMap, stored: &HeaderMap) -> bool {
    [CONTENT_LENGTH, ETAG, LAST_MODIFIED].iter().all(|name| {
        let both = head.get(name).zip(stored.get(name));
        both.is_none_or(|(told, held)| told == held)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::HeaderMap;

    use super::freshen;

    #[test]
    fn a_304_updates_all_but_what_describes_the_bytes() {
        let map = |fields: &[(&'static str, &str)]| -> HeaderMap {
            fields
                .iter()
                .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
                .collect()
        };
        let stored = map(&[
            ("etag", "\"a\""),
            ("content-length", "5"),
            ("x", "1"),
            ("kept", "1"),
            ("age", "9"),
        ]);
        let update = map(&[("etag", "\"b\""), ("content-length", "0"), ("x", "2")]);
        let expected = map(&[
            ("etag", "\"a\""),
            ("content-length", "5"),
            ("x", "2"),
            ("kept", "1"),
        ]);
        assert_eq!(freshen(&stored, &update), expected);
    }
}
