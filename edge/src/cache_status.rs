//! `Cache-Status` (RFC 9211): what this cache did with a request.
//!
//! Which parameters a member has: `hit` or `fwd`, never both; `fwd-status` where the upstream
//! answered; `stored` where that answer was; `collapsed` where it was another request's; `ttl`
//! where a stored response is sent; `detail` where something kept the upstream's answer from being
//! stored or a stale response stands in; `key` wherever the request has one.

use http::{HeaderMap, HeaderValue, StatusCode, header::HeaderName};

/// The field.
pub(crate) static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

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
    /// More on the why: a token (RFC 9651 §3.3.4).
    pub(crate) detail: Option<&'static str>,
}

/// What a response is stored under, as far as people want to read it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'a> {
    /// The host, where that is part of the key.
    pub(crate) authority: Option<&'a str>,
    /// Path and query, without token.
    pub(crate) target: &'a str,
}

impl Told {
    /// Appends it as the last member: the cache closest to the client.
    pub(crate) fn append(&self, headers: &mut HeaderMap, name: &str, key: Option<Key<'_>>) {
        if let Ok(value) = HeaderValue::try_from(self.text(name, key)) {
            headers.append(&CACHE_STATUS, value);
        }
    }

    /// The member. A key that a string can't hold is left out, so that it is a sound value where the name
    /// is.
    pub(crate) fn text(&self, name: &str, key: Option<Key<'_>>) -> String {
        let length = key.map_or(0, |key| {
            key.target.len() + key.authority.map_or(0, str::len)
        });
        let mut text = String::with_capacity(96 + length);
        text.push_str(name);
        if self.hit {
            text.push_str("; hit");
        }
        if let Some(forward) = self.forward {
            text.push_str("; fwd=");
            text.push_str(forward.as_str());
        }
        if let Some(status) = self.status {
            text.push_str("; fwd-status=");
            text.push_str(status.as_str());
        }
        if let Some(ttl) = self.ttl {
            text.push_str("; ttl=");
            text.push_str(itoa::Buffer::new().format(ttl));
        }
        if self.stored {
            text.push_str("; stored");
        }
        if self.collapsed {
            text.push_str("; collapsed");
        }
        if let Some(detail) = self.detail {
            text.push_str("; detail=");
            text.push_str(detail);
        }
        if let Some(key) = key {
            key.write(&mut text);
        }
        text
    }
}

impl Key<'_> {
    /// Writes it as a string (RFC 9651 §3.3.3); not at all where it has what a string can't hold.
    fn write(self, text: &mut String) {
        let parts = [self.authority.unwrap_or_default(), self.target];
        let sound = |part: &str| part.bytes().all(|b| (0x20..=0x7e).contains(&b));
        if !parts.iter().all(|part| sound(part)) {
            return;
        }
        text.push_str("; key=\"");
        for part in parts {
            if part.contains(['"', '\\']) {
                for c in part.chars() {
                    if matches!(c, '"' | '\\') {
                        text.push('\\');
                    }
                    text.push(c);
                }
            } else {
                text.push_str(part);
            }
        }
        text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::{Forward, Key, Told};

    fn key(target: &str) -> Option<Key<'_>> {
        Some(Key {
            authority: None,
            target,
        })
    }

    #[test]
    fn members_follow_each_other() {
        let mut headers = HeaderMap::new();
        let miss = Told {
            forward: Some(Forward::UriMiss),
            status: Some(StatusCode::OK),
            stored: true,
            collapsed: true,
            detail: Some("because"),
            ..Told::default()
        };
        miss.append(&mut headers, "Shield", key("/a?b"));
        Told {
            hit: true,
            ttl: Some(-3),
            ..Told::default()
        }
        .append(&mut headers, "Segue", None);
        let all: Vec<_> = headers.get_all("cache-status").iter().collect();
        assert_eq!(
            all,
            [
                "Shield; fwd=uri-miss; fwd-status=200; stored; collapsed; detail=because; key=\"/a?b\"",
                "Segue; hit; ttl=-3"
            ]
        );
    }

    #[test]
    fn keys_are_strings_or_left_out() {
        let written = |key: Key<'_>| {
            let mut text = String::new();
            key.write(&mut text);
            text
        };
        let bare = |target| Key {
            authority: None,
            target,
        };
        assert_eq!(written(bare("/a\"b\\c")), r#"; key="/a\"b\\c""#);
        assert_eq!(written(bare("/\u{e9}")), "");
        let named = Key {
            authority: Some("a.example"),
            target: "/b",
        };
        assert_eq!(written(named), "; key=\"a.example/b\"");
    }
}
