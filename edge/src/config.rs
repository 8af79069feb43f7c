//! The configuration of an edge: what it serves, where it listens, what it may use.
//!
//! Read from a file, from flags or built in code; [`Config::validate`] finds every fault at once,
//! before anything binds. Limits towards clients have a table of their own, [`Limits`].

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{auth::Keyset, listen::tls, units};
pub use crate::{limits::Limits, trace::Settings as Traces, upstream::config::UpstreamLimits};

/// Where the keys come from that tokens are verified with.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Option<PathBuf>", into = "Option<PathBuf>")]
pub enum KeysetSource {
    /// No tokens: everything is open.
    #[default]
    None,
    /// A JSON keyset file.
    File(PathBuf),
    /// Handed over by code; not expressible in a file.
    Inline(tokens::Keyset),
}

impl From<Option<PathBuf>> for KeysetSource {
    fn from(path: Option<PathBuf>) -> Self {
        path.map_or(Self::None, Self::File)
    }
}

impl From<KeysetSource> for Option<PathBuf> {
    fn from(source: KeysetSource) -> Self {
        match source {
            KeysetSource::File(path) => Some(path),
            KeysetSource::None | KeysetSource::Inline(_) => None,
        }
    }
}

impl KeysetSource {
    /// The keys; none where everything is open.
    ///
    /// # Errors
    /// Where the file can't be read or holds no keyset, with its path.
    pub(crate) fn load(&self) -> Result<Option<Keyset>, String> {
        match self {
            Self::None => Ok(None),
            Self::Inline(keyset) => Ok(Some(keyset.clone())),
            Self::File(path) => {
                let at = |e: &dyn fmt::Display| format!("{}: {e}", path.display());
                let json = std::fs::read_to_string(path).map_err(|e| at(&e))?;
                Keyset::from_json(&json).map(Some).map_err(|e| at(&e))
            }
        }
    }
}

/// What `Host` an upstream is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostPolicy {
    /// The upstream's own authority. It doesn't learn the client's, so that all names an edge is
    /// reached by share what is cached.
    #[default]
    Upstream,
    /// The client's, which is then part of the cache key: each name is cached apart.
    Client,
}

/// Freshness of responses that state none (RFC 9111 §4.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct HeuristicFreshness {
    /// Of the time since `Last-Modified`, percent, up to 100. 0: such responses are validated at
    /// every use.
    pub percent: u8,
    /// At most so long. 24 h.
    #[serde(with = "units::duration")]
    pub cap: Duration,
}

impl Default for HeuristicFreshness {
    fn default() -> Self {
        Self {
            percent: 0,
            cap: Duration::from_secs(24 * 3600),
        }
    }
}

/// Where access records go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessLog {
    /// Nowhere.
    #[default]
    Off,
    /// Standard output, one JSON object a line.
    Stdout,
    /// Appended to a file, one JSON object a line.
    File(PathBuf),
}

/// Text that appears in no log and no printed configuration.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str("***")
    }
}

/// The configuration of one edge.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The origin: `http://host:port`, `https://host`, `h2c://host:port` or `s3://bucket/prefix`.
    /// Where there are several, `upstreams.origins` instead.
    pub upstream: String,
    /// Several origins, peers, and how they are dealt with.
    pub upstreams: crate::upstream::config::Config,
    /// What `Host` the upstream is sent.
    pub upstream_host: HostPolicy,
    /// Waits and pools towards the upstream.
    pub upstream_limits: UpstreamLimits,
    /// PEM file of certificate authorities that an `https` upstream is checked against, instead of
    /// the public ones.
    pub upstream_ca: Option<PathBuf>,
    /// Plaintext HTTP/1.1 and HTTP/2 (prior knowledge).
    pub http: Option<SocketAddr>,
    /// HTTP/1.1 and HTTP/2 over TLS 1.3 on TCP, HTTP/3 on UDP, same port.
    pub https: Option<SocketAddr>,
    /// Health, metrics, purge. Never public.
    pub admin: Option<SocketAddr>,
    /// Bearer token of the admin listener's purge. Without one, purge is open, and `admin` must be
    /// a loopback address.
    pub admin_token: Option<Secret>,
    /// Certificate chain, PEM. With `key`, or neither: then a development certificate is made.
    pub cert: Option<PathBuf>,
    /// Private key, PEM.
    pub key: Option<PathBuf>,
    /// Where the development certificate is kept. `./segue-edge` by default.
    pub state_dir: PathBuf,
    /// Bytes the memory tier may hold. 256 MiB.
    #[serde(with = "units::size")]
    pub memory: u64,
    /// Directory of the disk tier; none keeps the cache in memory only.
    pub disk: Option<PathBuf>,
    /// Bytes the disk tier may hold. 10 GiB.
    #[serde(with = "units::size")]
    pub disk_size: u64,
    /// Bytes of a slice, the unit objects are fetched and kept in; a power of two. 256 KiB.
    #[serde(with = "units::size")]
    pub slice: u64,
    /// Bytes that may be on their way before anybody asked for them (readahead and prefetch), an
    /// eighth of it for one client; 0 turns both off. 16 MiB.
    #[serde(with = "units::size")]
    pub prefetch: u64,
    /// Keyset file for tokens.
    pub keyset: KeysetSource,
    /// Path prefixes that need a token once a keyset is set.
    pub protect: Vec<String>,
    /// Countries by address in MaxMind's DB format, for tokens that are bound to countries. Without
    /// it such tokens are refused.
    pub geoip: Option<PathBuf>,
    /// Private key (JSON Web Key) that signs renewed tokens; its public half must be in the keyset.
    /// Without it only tokens of shared secrets (HS256) are renewed.
    pub renewal_key: Option<PathBuf>,
    /// How long a stale response may stand in for an upstream that fails, where neither side says
    /// anything of it. 24 h.
    #[serde(with = "units::duration")]
    pub stale_if_error: Duration,
    /// Freshness of responses that state none. Off.
    pub heuristic_freshness: HeuristicFreshness,
    /// Name in `Cache-Status` and `Via`.
    pub name: String,
    /// Access records.
    pub access_log: AccessLog,
    /// Whether responses say in `Server-Timing` what the cache did and how long the upstream took.
    pub server_timing: bool,
    /// Traces of requests.
    pub traces: Traces,
    /// How often certificate, key and keyset are looked at; if a file has changed, everything is
    /// reloaded. 0 s leaves that to SIGHUP. 1 m.
    #[serde(with = "units::duration")]
    pub watch: Duration,
    /// Limits and timeouts towards clients.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            upstream: String::new(),
            upstreams: crate::upstream::config::Config::default(),
            upstream_host: HostPolicy::default(),
            upstream_limits: UpstreamLimits::default(),
            upstream_ca: None,
            http: None,
            https: None,
            admin: None,
            admin_token: None,
            cert: None,
            key: None,
            state_dir: PathBuf::from("segue-edge"),
            memory: 256 << 20,
            disk: None,
            disk_size: 10 << 30,
            slice: 256 << 10,
            prefetch: 16 << 20,
            keyset: KeysetSource::None,
            protect: vec!["/media/".into(), "/v1/".into()],
            geoip: None,
            renewal_key: None,
            stale_if_error: Duration::from_secs(24 * 3600),
            heuristic_freshness: HeuristicFreshness::default(),
            name: "Segue".into(),
            access_log: AccessLog::Off,
            server_timing: false,
            traces: Traces::default(),
            watch: Duration::from_secs(60),
            limits: Limits::default(),
        }
    }
}

/// Every fault of a configuration: one sentence each, which begins with the key it is about where
/// it is about one, so that tools can find its line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("configuration: {}", .0.join("; "))]
pub struct Faults(pub Vec<String>);

impl Config {
    /// Checks everything that can be checked without binding.
    ///
    /// # Errors
    /// All faults, one sentence each.
    pub fn validate(&self) -> Result<(), Faults> {
        let mut faults = Vec::new();
        self.upstream_faults(&mut faults);
        if self.http.is_none() && self.https.is_none() {
            faults.push("http and https are not set: nothing to listen on".into());
        }
        self.tls_faults(&mut faults);
        self.cache_faults(&mut faults);
        if let Some(admin) = self.admin
            && !admin.ip().is_loopback()
            && self.admin_token.is_none()
        {
            faults.push(format!(
                "admin address {admin} is not loopback: set admin-token"
            ));
        }
        if self
            .admin_token
            .as_ref()
            .is_some_and(|token| token.expose().len() < 16)
        {
            faults.push("admin-token is shorter than 16 characters".into());
        }
        if let Some(ca) = &self.upstream_ca {
            readable("upstream-ca", ca, &mut faults);
        }
        if let Err(fault) = self.keyset.load() {
            faults.push(format!("keyset {fault}"));
        }
        self.traces.faults(&mut faults);
        if !self.watch.is_zero() && self.watch < Duration::from_secs(1) {
            faults.push("watch must be 0s or at least 1s".into());
        }
        for (name, path) in [("geoip", &self.geoip), ("renewal-key", &self.renewal_key)] {
            if let Some(path) = path {
                readable(name, path, &mut faults);
            }
        }
        self.limits.faults(&mut faults);
        if faults.is_empty() {
            Ok(())
        } else {
            Err(Faults(faults))
        }
    }

    /// Faults of certificate and key.
    fn tls_faults(&self, faults: &mut Vec<String>) {
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                if let Err(fault) = tls::Certificate::load(cert, key) {
                    faults.push(format!("cert {fault}"));
                }
            }
            (Some(_), None) => faults.push("cert is set without key".into()),
            (None, Some(_)) => faults.push("key is set without cert".into()),
            (None, None) => {}
        }
    }

    /// Faults of sizes and names.
    fn cache_faults(&self, faults: &mut Vec<String>) {
        if !self.slice.is_power_of_two() || !(4 << 10..=8 << 20).contains(&self.slice) {
            faults.push(format!(
                "slice is {}; it must be a power of two between 4KiB and 8MiB",
                self.slice
            ));
        }
        if self.memory < 4 << 20 {
            faults.push(format!(
                "memory is {}; it must be at least 4MiB",
                self.memory
            ));
        }
        if self.disk.is_some() && self.disk_size < 64 << 20 {
            faults.push(format!(
                "disk-size is {}; it must be at least 64MiB",
                self.disk_size
            ));
        }
        if self.heuristic_freshness.percent > 100 {
            faults.push("heuristic-freshness.percent must be between 0 and 100".into());
        }
        if self.protect.iter().any(|prefix| !prefix.starts_with('/')) {
            faults.push("protect: every prefix must start with /".into());
        }
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if !self.name.starts_with(|c: char| c.is_ascii_alphabetic())
            || !self.name.chars().all(token)
        {
            faults.push(format!(
                "name `{}` must be a token that starts with a letter",
                self.name
            ));
        }
    }
}

/// A fault if the file can't be opened.
fn readable(name: &str, path: &std::path::Path, faults: &mut Vec<String>) {
    if let Err(e) = std::fs::File::open(path) {
        faults.push(format!("{name} {}: {e}", path.display()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_fault_is_reported_at_once() {
        let config = Config {
            upstream: "ftp://origin".into(),
            cert: Some("/nonexistent/cert.pem".into()),
            slice: 3000,
            admin: Some("0.0.0.0:9090".parse().unwrap()),
            protect: vec!["media/".into()],
            limits: Limits {
                header: Duration::ZERO,
                ..Limits::default()
            },
            ..Config::default()
        };
        let faults = config.validate().unwrap_err().0;
        for word in [
            "upstream",
            "nothing to listen on",
            "without key",
            "slice",
            "admin",
            "protect",
            "limits.header",
        ] {
            assert!(
                faults.iter().any(|f| f.contains(word)),
                "{word} missing in {faults:?}"
            );
        }
    }

    #[test]
    fn units_are_read_and_unknown_fields_refused() {
        let config: Config = serde_json::from_str(
            r#"{"upstream":"http://o:1","memory":"1GiB","keyset":"k.json","access-log":{"file":"a.log"},"limits":{"idle":"90s","header-size":"32KiB"}}"#,
        )
        .unwrap();
        assert_eq!(config.memory, 1 << 30);
        assert_eq!(config.limits.idle, Duration::from_secs(90));
        assert_eq!(config.limits.header_size, 32 << 10);
        assert!(matches!(config.keyset, KeysetSource::File(_)));
        assert_eq!(config.access_log, AccessLog::File("a.log".into()));
        let fault = serde_json::from_str::<Config>(r#"{"upstraem":"http://o:1"}"#)
            .unwrap_err()
            .to_string();
        assert!(fault.contains("upstraem"), "{fault}");
    }
}
