//! Entry points of the fuzz targets: each takes any bytes, must not panic and must not take long.
//! What it can check of the answer, it checks. For fuzzing and tests; no part of the interface.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_RANGE, RANGE},
};

use crate::{
    cache_status::Told,
    config::Limits,
    listen::fuzzing as wire,
    policy::{directives, targeted as targeted_fields},
    range as ranges,
};

/// A target's name and entry point.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("range", range),
    ("content_range", content_range),
    ("cache_control", cache_control),
    ("targeted", targeted),
    ("cache_status", cache_status),
    ("cmcd", cmcd),
    ("path", path),
    ("token", token),
    ("envelope", envelope),
    ("claims", claims),
    ("qpack", qpack),
    ("h3_request", h3_request),
    ("h3_control", h3_control),
    ("h1_requests", h1_requests),
    ("h2_budget", h2_budget),
    ("hpack", hpack),
    ("h2_connection", h2_connection),
];

/// A field of that value, cut in lines at line feeds; none where it can't stand in one.
fn fields(name: &HeaderName, data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|b| *b == b'\n').take(16) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    headers
}

/// `Range`.
pub fn range(data: &[u8]) {
    let Some(asked) = ranges::Ranges::of(&fields(&RANGE, data)) else {
        return;
    };
    for size in [0, 1, 1000, u64::MAX] {
        let resolved = match asked.resolve(size) {
            ranges::Resolved::Nothing => Vec::new(),
            ranges::Resolved::One(range) => vec![range],
            ranges::Resolved::Many(ranges) => ranges,
        };
        assert!(resolved.len() <= ranges::MAX_RANGES, "{resolved:?}");
        for range in resolved {
            assert!(range.start < range.end && range.end <= size, "{range:?}");
            let _ = ranges::content_range_value(&range, Some(size));
        }
    }
    if let ranges::Ranges::One(spec) = asked {
        let _ = spec.aligned(4096);
    }
}

/// `Content-Range`.
pub fn content_range(data: &[u8]) {
    if let Some((range, size)) = ranges::content_range(&fields(&CONTENT_RANGE, data)) {
        assert!(range.start < range.end, "{range:?}");
        assert!(
            size.is_none_or(|size| range.end <= size),
            "{range:?} of {size:?}"
        );
    }
}

/// `Cache-Control`, of a request and of a response.
pub fn cache_control(data: &[u8]) {
    let headers = fields(&CACHE_CONTROL, data);
    let _ = directives::Request::of(&headers);
    let _ = directives::Response::of(&headers);
}

/// `CDN-Cache-Control`: a structured dictionary.
pub fn targeted(data: &[u8]) {
    let headers = fields(&HeaderName::from_static("cdn-cache-control"), data);
    let _ = targeted_fields::directives(&headers);
}

/// `Cache-Status` beside the upstream's own.
pub fn cache_status(data: &[u8]) {
    let mut headers = fields(&HeaderName::from_static("cache-status"), data);
    let before = headers.get_all("cache-status").iter().count();
    Told::default().append(&mut headers, "Segue", None);
    assert_eq!(headers.get_all("cache-status").iter().count(), before + 1);
}

/// CMCD of a player.
pub fn cmcd(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = crate::cmcd::parse(text).count();
    }
}

/// A request's path, as the gate reads it.
pub fn path(data: &[u8]) {
    tokens::fuzzing::path(data);
    if let Ok(path) = std::str::from_utf8(data) {
        let guarded = |path: &str| crate::auth::may_be(path, &["/media/"]);
        if path.starts_with("/media/") {
            assert!(guarded(path));
        }
        // One more encoding doesn't get past the gate, as far as anybody decodes.
        if guarded(path) && path.len() < 200 && !path.contains('%') {
            let encoded: String = path.bytes().map(|b| format!("%{b:02x}")).collect();
            assert!(guarded(&encoded), "{path}");
        }
    }
}

/// A token's text.
pub fn token(data: &[u8]) {
    tokens::fuzzing::token(data);
}

/// A token's bytes.
pub fn envelope(data: &[u8]) {
    tokens::fuzzing::envelope(data);
}

/// A token's claims.
pub fn claims(data: &[u8]) {
    tokens::fuzzing::claims(data);
}

/// A QPACK field section.
pub fn qpack(data: &[u8]) {
    wire::qpack(Bytes::copy_from_slice(data), &Limits::default());
}

/// The frames of an HTTP/3 request stream.
pub fn h3_request(data: &[u8]) {
    wire::h3_request(data, &Limits::default());
}

/// A client's unidirectional HTTP/3 stream.
pub fn h3_control(data: &[u8]) {
    wire::h3_control(data, &Limits::default());
}

/// HTTP/1.1 requests with their bodies, one after another.
pub fn h1_requests(data: &[u8]) {
    wire::h1_requests(data, &Limits::default());
}

/// Frame headers of HTTP/2.
pub fn h2_budget(data: &[u8]) {
    wire::h2_budget(data, &Limits::default());
}

/// HPACK field sections of one connection, each behind its length.
pub fn hpack(data: &[u8]) {
    wire::hpack(data, &Limits::default());
}

/// What an HTTP/2 client sends behind its preface.
pub fn h2_connection(data: &[u8]) {
    wire::h2_connection(data, &Limits::default());
}
