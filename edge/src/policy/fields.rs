//! Which fields travel on: hop-by-hop fields removed (RFC 9110 §7.6.1), `Via` added.

use http::{
    HeaderMap, HeaderValue,
    header::{self, HeaderName},
};

/// Fields that concern one connection only, whether `Connection` names them or not.
static HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Removes what concerns the connection a message came by.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .filter_map(|name| HeaderName::try_from(name.trim()).ok())
            // Naming these would let a sender strip what routing and framing depend on.
            .filter(|name| {
                !matches!(
                    *name,
                    header::HOST | header::CONTENT_LENGTH | header::CACHE_CONTROL
                )
            })
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Appends this node to `Via` (RFC 9110 §7.6.3).
pub(crate) fn add_via(headers: &mut HeaderMap, version: &str, pseudonym: &str) {
    let mut via = String::new();
    for line in headers.get_all(header::VIA) {
        via.push_str(line.to_str().unwrap_or_default());
        via.push_str(", ");
    }
    via.push_str(version);
    via.push(' ');
    via.push_str(pseudonym);
    if let Ok(value) = HeaderValue::try_from(via) {
        headers.insert(header::VIA, value);
    }
}

/// Fields by which proxies and frameworks let a request claim another URI, method, host or scheme.
/// They aren't in the cache key, so that what is stored must not depend on them.
static OVERRIDES: [HeaderName; 22] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("front-end-https"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-path"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-protocol"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("x-forwarded-uri"),
    HeaderName::from_static("x-host"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("x-original-host"),
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-scheme"),
    HeaderName::from_static("x-url-scheme"),
];

/// Whether a field never reaches the upstream with a request whose answer may be stored.
pub(super) fn is_override(name: &HeaderName) -> bool {
    OVERRIDES.contains(name)
}

/// Removes what would let a client poison what is stored.
pub(crate) fn strip_overrides(headers: &mut HeaderMap) {
    for name in &OVERRIDES {
        headers.remove(name);
    }
}

/// Fields that make a request conditional or partial.
static CONDITIONS: [HeaderName; 6] = [
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    header::RANGE,
];

/// Removes what makes a request conditional or partial, so that the answer can be stored.
pub(crate) fn strip_conditions(headers: &mut HeaderMap) {
    for name in &CONDITIONS {
        headers.remove(name);
    }
}

/// Whether a field can make a request's answer another than what everyone gets.
pub(super) fn makes_special(name: &HeaderName) -> bool {
    CONDITIONS.contains(name) || OVERRIDES.contains(name)
}

/// Counts `Max-Forwards` down (RFC 9110 §7.6.2).
pub(crate) fn count_hop(headers: &mut HeaderMap) {
    let left = headers
        .get(header::MAX_FORWARDS)
        .and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    if let Some(left) = left {
        headers.insert(
            header::MAX_FORWARDS,
            HeaderValue::from(left.saturating_sub(1)),
        );
    }
}
