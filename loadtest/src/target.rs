//! Where requests go, and whether they may.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use http::Uri;

/// A server, resolved once.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Whether TLS is spoken.
    pub(crate) secure: bool,
    /// Host as in the URL, for the certificate.
    pub(crate) host: String,
    /// Host and port as in the URL, for requests.
    pub(crate) authority: String,
    /// Where to connect.
    pub(crate) address: SocketAddr,
    /// Path and query of the URL; `/` where it has none.
    pub(crate) path: String,
}

impl Target {
    /// Reads and resolves a URL.
    ///
    /// # Errors
    /// Where it is no http(s) URL, doesn't resolve, or lies elsewhere without permission.
    pub(crate) async fn resolve(url: &str, allow_remote: bool) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("`{url}` is no URL"))?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => bail!("`{url}` must start with http:// or https://"),
        };
        let authority = uri
            .authority()
            .with_context(|| format!("`{url}` names no host"))?;
        ensure!(
            !authority.as_str().contains('@'),
            "a user name in the URL is not supported"
        );
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority
            .port_u16()
            .unwrap_or(if secure { 443 } else { 80 });
        let found = tokio::net::lookup_host((host.as_str(), port)).await;
        let addresses: Vec<_> = found
            .with_context(|| format!("`{host}` can't be resolved"))?
            .collect();
        let remote = addresses
            .iter()
            .find(|address| !address.ip().to_canonical().is_loopback());
        if let Some(remote) = remote.filter(|_| !allow_remote) {
            bail!(
                "{} is not this machine: a load test of another needs --allow-remote, and its owner's consent",
                remote.ip()
            );
        }
        Ok(Self {
            secure,
            host,
            authority: authority.as_str().to_owned(),
            address: *addresses.first().context("the host has no address")?,
            path: uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
        })
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Target;

    #[tokio::test]
    async fn only_this_machine_unless_allowed() {
        let target = Target::resolve("https://127.0.0.1:8443", false)
            .await
            .unwrap();
        assert_eq!((target.secure, target.path.as_str()), (true, "/"));
        assert!(
            Target::resolve("http://[::1]:80/x?y", false)
                .await
                .unwrap()
                .path
                == "/x?y"
        );
        for url in [
            "http://192.0.2.1/x",
            "http://10.0.0.1/",
            "http://[2001:db8::1]/",
            "http://0.0.0.0/",
        ] {
            let error = Target::resolve(url, false).await.unwrap_err().to_string();
            assert!(error.contains("--allow-remote"), "{url}: {error}");
            assert!(Target::resolve(url, true).await.is_ok(), "{url}");
        }
        for url in [
            "",
            "127.0.0.1:80",
            "ftp://127.0.0.1/",
            "/x",
            "http://u:p@127.0.0.1/",
        ] {
            assert!(Target::resolve(url, true).await.is_err(), "{url}");
        }
    }
}
