//! A request's head from its field section, in HTTP/2 and HTTP/3 (RFC 9113 §8.3, RFC 9114 §4.3).

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, header,
    uri::{Authority, PathAndQuery},
};

use super::field::{self, Line};

/// A decoded head.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub(crate) method: Option<Method>,
    pub(crate) scheme: Option<Bytes>,
    pub(crate) authority: Option<Authority>,
    pub(crate) path: Option<PathAndQuery>,
    pub(crate) fields: HeaderMap,
}

impl Head {
    /// Takes one line; pseudo-header fields come first and once (RFC 9113 §8.3).
    pub(crate) fn take(&mut self, line: Line) -> Result<(), field::Error> {
        const BAD: field::Error = field::Error::Malformed;
        match line {
            Line::Field(name, value) => {
                if hop_by_hop(&name) || (name == header::TE && value != "trailers") {
                    return Err(BAD);
                }
                self.fields.append(name, value);
                Ok(())
            }
            Line::Pseudo(..) if !self.fields.is_empty() => Err(BAD),
            Line::Pseudo(name, value) => {
                let fresh = match &name[..] {
                    b":method" => self
                        .method
                        .replace(Method::from_bytes(&value).map_err(|_| BAD)?)
                        .is_none(),
                    b":scheme" => self.scheme.replace(value).is_none(),
                    b":authority" => self
                        .authority
                        .replace(Authority::from_maybe_shared(value).map_err(|_| BAD)?)
                        .is_none(),
                    b":path" => {
                        if value.first() != Some(&b'/') && &value[..] != b"*" {
                            return Err(BAD);
                        }
                        self.path
                            .replace(PathAndQuery::from_maybe_shared(value).map_err(|_| BAD)?)
                            .is_none()
                    }
                    _ => false,
                };
                if fresh { Ok(()) } else { Err(BAD) }
            }
        }
    }

    /// Checks the whole (RFC 9113 §8.3.1, RFC 9114 §4.3.1); the announced length of the body, or none where the
    /// request is malformed.
    pub(crate) fn check(&mut self) -> Option<Option<u64>> {
        let method = self.method.as_ref()?;
        if *method == Method::CONNECT {
            (self.scheme.is_none() && self.path.is_none() && self.authority.is_some())
                .then_some(())?;
        } else {
            (self.scheme.is_some() && self.path.is_some()).then_some(())?;
        }
        let mut hosts = self.fields.get_all(header::HOST).iter();
        let host = hosts.next();
        if hosts.next().is_some() {
            return None;
        }
        let host = host
            .map(|h| h.to_str().ok()?.parse::<Authority>().ok())
            .map_or(Some(None), |h| h.map(Some))?;
        match (&self.authority, host) {
            (Some(authority), Some(host)) if *authority != host => return None,
            (None, Some(host)) => self.authority = Some(host),
            (None, None) => return None,
            (Some(_), _) => {}
        }
        if self
            .authority
            .as_ref()
            .is_some_and(|a| a.as_str().contains('@'))
        {
            return None;
        }
        let mut lengths = self.fields.get_all(header::CONTENT_LENGTH).iter();
        let length = lengths.next();
        if lengths.next().is_some() {
            return None;
        }
        let length = match length {
            Some(length) => {
                let digits = length.as_bytes();
                (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then_some(())?;
                Some(length.to_str().ok()?.parse().ok()?)
            }
            None => None,
        };
        self.fields.remove(header::CONTENT_LENGTH);
        self.join_cookies();
        Some(length)
    }

    /// Cookie crumbs are one field elsewhere (RFC 9113 §8.2.3, RFC 9114 §4.2.1).
    fn join_cookies(&mut self) {
        let mut crumbs = self.fields.get_all(header::COOKIE).iter();
        if let (Some(first), Some(_)) = (crumbs.next(), crumbs.next()) {
            let mut joined = first.as_bytes().to_vec();
            for crumb in self.fields.get_all(header::COOKIE).iter().skip(1) {
                joined.extend_from_slice(b"; ");
                joined.extend_from_slice(crumb.as_bytes());
            }
            // Sound values joined by sound bytes are sound.
            if let Ok(joined) = HeaderValue::from_bytes(&joined) {
                self.fields.insert(header::COOKIE, joined);
            }
        }
    }
}

/// Fields that mean a connection and may not be sent over HTTP/2 and 3 (RFC 9113 §8.2.2, RFC 9114
/// §4.2).
fn hop_by_hop(name: &http::HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::TRANSFER_ENCODING
        || *name == header::UPGRADE
        || name == "keep-alive"
        || name == "proxy-connection"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A head of those lines, as far as it is one.
    fn check(lines: &[(&str, &str)]) -> Option<(Head, Option<u64>)> {
        let mut head = Head::default();
        for (name, value) in lines {
            let line = if name.starts_with(':') {
                Line::Pseudo(
                    Bytes::copy_from_slice(name.as_bytes()),
                    Bytes::copy_from_slice(value.as_bytes()),
                )
            } else {
                Line::Field(name.parse().unwrap(), HeaderValue::from_str(value).unwrap())
            };
            head.take(line).ok()?;
        }
        let length = head.check()?;
        Some((head, length))
    }

    const GET: [(&str, &str); 3] = [(":method", "GET"), (":scheme", "https"), (":path", "/a?b")];

    fn get(more: &[(&str, &str)]) -> Option<(Head, Option<u64>)> {
        check(&[&GET[..], more].concat())
    }

    #[test]
    fn sound_heads() {
        let (head, length) = get(&[(":authority", "a.example:1"), ("range", "bytes=0-1")]).unwrap();
        assert_eq!(head.path.unwrap(), "/a?b");
        assert_eq!(
            (head.authority.unwrap().as_str(), length),
            ("a.example:1", None)
        );
        let (head, length) = get(&[("host", "a.example"), ("content-length", "12")]).unwrap();
        assert_eq!(
            (head.authority.unwrap().as_str(), length),
            ("a.example", Some(12))
        );
        assert!(!head.fields.contains_key("content-length"));
        assert!(check(&[(":method", "CONNECT"), (":authority", "a.example:443")]).is_some());
        let crumbs = [(":authority", "a"), ("cookie", "a=1"), ("cookie", "b=2")];
        assert_eq!(get(&crumbs).unwrap().0.fields["cookie"], "a=1; b=2");
    }

    #[test]
    fn malformed_heads() {
        for bad in [
            &[][..],
            &[(":authority", "a"), ("host", "b")],
            &[(":authority", "a"), (":authority", "a")],
            &[(":authority", "u@a")],
            &[(":authority", "a"), (":status", "200")],
            &[(":authority", "a"), ("accept", "x"), (":protocol", "y")],
            &[(":authority", "a"), ("connection", "close")],
            &[(":authority", "a"), ("transfer-encoding", "chunked")],
            &[(":authority", "a"), ("te", "gzip")],
            &[(":authority", "a"), ("content-length", "+1")],
            &[
                (":authority", "a"),
                ("content-length", "1"),
                ("content-length", "1"),
            ],
            &[("host", "a"), ("host", "a")],
        ] {
            assert!(get(bad).is_none(), "{bad:?}");
        }
        assert!(
            check(&[
                (":method", "GET"),
                (":scheme", "https"),
                (":path", "a"),
                (":authority", "a")
            ])
            .is_none()
        );
        assert!(check(&[(":method", "GET"), (":path", "/"), (":authority", "a")]).is_none());
        assert!(check(&[(":method", "CONNECT"), (":authority", "a"), (":path", "/")]).is_none());
    }
}
