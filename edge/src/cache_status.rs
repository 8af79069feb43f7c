//! `Cache-Status` (RFC 9211): what this cache did with a request.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderValue, StatusCode, header::HeaderName};

static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Why a request was forwarded (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    /// The cache was told not to handle it.
    Bypass,
    /// Its method isn't answered from the cache.
    Method,
    /// Nothing is stored for its URI.
    UriMiss,
    /// What is stored for its URI is for other requests.
    VaryMiss,
    /// Its own directives asked for it.
    Request,
    /// What is stored is stale.
    Stale,
    /// What is stored lacks some of the bytes.
    Partial,
}

impl Forward {
    fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// One request's story.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Answered without asking the upstream.
    pub(crate) hit: bool,
    /// Why the upstream was asked.
    pub(crate) forward: Option<Forward>,
    /// What it answered.
    pub(crate) status: Option<StatusCode>,
    /// Whether its answer was stored.
    pub(crate) stored: bool,
    /// Whether the request waited for another's.
    pub(crate) collapsed: bool,
    /// Seconds of freshness left; negative where stale.
    pub(crate) ttl: Option<i64>,
}

impl Told {
    /// Appends it as the last member: the cache closest to the client.
    pub(crate) fn append(&self, headers: &mut HeaderMap, name: &str) {
        let mut text = String::with_capacity(64);
        text.push_str(name);
        if self.hit {
            text.push_str("; hit");
        }
        // Writing to a string can't fail.
        if let Some(forward) = self.forward {
            let _ = write!(text, "; fwd={}", forward.as_str());
        }
        if let Some(status) = self.status {
            let _ = write!(text, "; fwd-status={}", status.as_u16());
        }
        if let Some(ttl) = self.ttl {
            let _ = write!(text, "; ttl={ttl}");
        }
        if self.stored {
            text.push_str("; stored");
        }
        if self.collapsed {
            text.push_str("; collapsed");
        }
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.append(&CACHE_STATUS, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::{Forward, Told};

    #[test]
    fn members_follow_each_other() {
        let mut headers = HeaderMap::new();
        let miss = Told {
            forward: Some(Forward::UriMiss),
            status: Some(StatusCode::OK),
            stored: true,
            collapsed: true,
            ..Told::default()
        };
        miss.append(&mut headers, "Shield");
        Told {
            hit: true,
            ttl: Some(-3),
            ..Told::default()
        }
        .append(&mut headers, "Segue");
        let all: Vec<_> = headers.get_all("cache-status").iter().collect();
        assert_eq!(
            all,
            [
                "Shield; fwd=uri-miss; fwd-status=200; stored; collapsed",
                "Segue; hit; ttl=-3"
            ]
        );
    }
}
