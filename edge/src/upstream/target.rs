//! An upstream's URL, parsed once.

use http::Uri;

use super::s3::Bucket;

/// How HTTP is spoken to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speech {
    /// HTTP/1.1 in the clear.
    Http1,
    /// HTTP/2 in the clear, by prior knowledge (RFC 9113 §3.3).
    H2c,
    /// TLS, and HTTP/2 or HTTP/1.1 as ALPN settles.
    Tls,
}

/// An HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) speech: Speech,
    /// Name or address, IPv6 without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// As it stands in `Host`.
    pub(super) authority: String,
}

/// What an upstream's URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// An HTTP server.
    Http(Server),
    /// Objects in an S3 bucket.
    S3(Bucket),
}

impl Target {
    /// Reads an upstream's URL.
    ///
    /// # Errors
    /// A sentence for the operator that starts with the URL.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        if url.starts_with("s3://") {
            return Bucket::parse(url).map(Self::S3);
        }
        Server::parse(url).map(Self::Http)
    }

    /// What it is called where it has no name.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Http(server) if server.host.contains(':') => {
                format!("[{}]:{}", server.host, server.port)
            }
            Self::Http(server) => format!("{}:{}", server.host, server.port),
            Self::S3(bucket) => bucket.label(),
        }
    }
}

impl Server {
    /// Reads `http://`, `https://` or `h2c://` and a host, without a path.
    ///
    /// # Errors
    /// A sentence for the operator that starts with the URL.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        // What stands before an `@` may be a password.
        let shown = url.rsplit_once('@').map_or(url, |(_, host)| host);
        let uri: Uri = url
            .parse()
            .map_err(|e| format!("`{shown}` is no URL: {e}"))?;
        let speech = match uri.scheme_str() {
            Some("http") => Speech::Http1,
            Some("h2c") => Speech::H2c,
            Some("https") => Speech::Tls,
            _ => {
                return Err(format!(
                    "`{shown}` must start with http://, https://, h2c:// or s3:// and a host"
                ));
            }
        };
        let authority = uri.authority().map_or("", http::uri::Authority::as_str);
        if authority.contains('@') {
            return Err(format!("`{shown}` must not hold credentials"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(format!(
                "`{shown}` has a path; paths are forwarded as clients send them"
            ));
        }
        let host = uri.host().unwrap_or_default();
        if host.is_empty() {
            return Err(format!("`{shown}` names no host"));
        }
        let default = if speech == Speech::Tls { 443 } else { 80 };
        Ok(Self {
            speech,
            // A URI writes IPv6 addresses in brackets; resolvers and TLS don't.
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port: uri.port_u16().unwrap_or(default),
            authority: authority.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn servers() {
        let check = |url: &str, expected: Option<(Speech, &str, u16)>| {
            let read = Server::parse(url).ok();
            let told = read.as_ref().map(|s| (s.speech, s.host.as_str(), s.port));
            assert_eq!(told, expected, "{url}");
        };
        check(
            "http://127.0.0.1:3000",
            Some((Speech::Http1, "127.0.0.1", 3000)),
        );
        check("https://o.example/", Some((Speech::Tls, "o.example", 443)));
        check("h2c://[::1]:81", Some((Speech::H2c, "::1", 81)));
        check("origin.example", None);
        check("http://user:pw@origin", None);
        check("http://origin/path", None);
        check("http://origin?x", None);
        check("", None);
    }
}
