//! Conditional requests against a strong validator (RFC 9110 §13).
//!
//! There are no dates: nothing here has a `Last-Modified`, so date conditions never hold for a
//! range and are otherwise ignored.

use http::{HeaderMap, HeaderName, Method, StatusCode, header};

/// A strong entity tag, in quotes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ETag(String);

impl ETag {
    /// Wraps text without quotes or controls.
    pub(crate) fn new(opaque: &str) -> Self {
        Self(format!("\"{opaque}\""))
    }

    /// Of a body, from its SHA-256.
    pub(crate) fn of(body: &[u8]) -> Self {
        use sha2::{Digest, Sha256};
        Self::new(&hex::encode(&Sha256::digest(body)[..16]))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What the preconditions demand instead of a body, in the order of §13.2.2.
    pub(crate) fn precondition(&self, method: &Method, headers: &HeaderMap) -> Option<StatusCode> {
        if headers.contains_key(header::IF_MATCH) && !self.listed(headers, header::IF_MATCH, false)
        {
            return Some(StatusCode::PRECONDITION_FAILED);
        }
        if self.listed(headers, header::IF_NONE_MATCH, true) {
            let safe = *method == Method::GET || *method == Method::HEAD;
            let failed = StatusCode::PRECONDITION_FAILED;
            return Some(if safe {
                StatusCode::NOT_MODIFIED
            } else {
                failed
            });
        }
        None
    }

    /// Whether a `Range` header counts: there is no `If-Range`, or it names this very tag (§13.1.5).
    pub(crate) fn permits_range(&self, headers: &HeaderMap) -> bool {
        headers
            .get(header::IF_RANGE)
            .is_none_or(|v| v.as_bytes() == self.0.as_bytes())
    }

    fn listed(&self, headers: &HeaderMap, name: HeaderName, weakly: bool) -> bool {
        let lines = headers.get_all(name);
        let mut tags = lines
            .iter()
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(','))
            .map(str::trim);
        tags.any(|tag| {
            let tag = if weakly {
                tag.strip_prefix("W/").unwrap_or(tag)
            } else {
                tag
            };
            tag == "*" || tag == self.0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, http::HeaderValue::from_static(value))])
    }

    #[test]
    fn preconditions_compare_as_specified() {
        let tag = ETag::new("a");
        let outcome = |method: Method, name: HeaderName, value| {
            tag.precondition(&method, &headers(name, value))
                .map(|s| s.as_u16())
        };
        assert_eq!(
            outcome(Method::GET, header::IF_NONE_MATCH, "\"b\", W/\"a\""),
            Some(304)
        );
        assert_eq!(outcome(Method::HEAD, header::IF_NONE_MATCH, "*"), Some(304));
        assert_eq!(outcome(Method::PUT, header::IF_NONE_MATCH, "*"), Some(412));
        assert_eq!(outcome(Method::GET, header::IF_NONE_MATCH, "\"b\""), None);
        assert_eq!(outcome(Method::GET, header::IF_MATCH, "\"a\""), None);
        assert_eq!(outcome(Method::GET, header::IF_MATCH, "W/\"a\""), Some(412));
        assert!(tag.permits_range(&headers(header::IF_RANGE, "\"a\"")));
        assert!(!tag.permits_range(&headers(header::IF_RANGE, "W/\"a\"")));
        assert!(!tag.permits_range(&headers(header::IF_RANGE, "Tue, 01 Jan 2030 00:00:00 GMT")));
    }
}
