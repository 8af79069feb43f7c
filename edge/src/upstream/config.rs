//! What an operator says of upstreams: which there are, how long to wait for them, when to leave
//! them alone.

use std::{collections::HashSet, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::target::Target;
use crate::{config::Secret, units};

/// Origins an edge may have; more belong behind a shield.
const ORIGINS_MAX: usize = 64;

/// Edges of one group.
const PEERS_MAX: usize = 256;

/// Waits and pools towards upstreams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct UpstreamLimits {
    /// Resolving the name. 2 s.
    #[serde(with = "units::duration")]
    pub resolve: Duration,
    /// Making a TCP connection, all addresses of the name included. 5 s.
    #[serde(with = "units::duration")]
    pub connect: Duration,
    /// TLS and HTTP handshakes. 5 s.
    #[serde(with = "units::duration")]
    pub tls: Duration,
    /// From the request sent to the response's head. 30 s.
    #[serde(with = "units::duration")]
    pub first_byte: Duration,
    /// Between two pieces of a body, either direction. 15 s.
    #[serde(with = "units::duration")]
    pub stall: Duration,
    /// How long an unused connection is kept; shorter than the upstream's own keep-alive saves
    /// retries. 30 s.
    #[serde(with = "units::duration")]
    pub idle: Duration,
    /// Requests under way to one upstream; more wait. On HTTP/1.1 each has a connection of its own,
    /// on HTTP/2 up to `streams` share one. 256.
    pub connections: usize,
    /// Requests on one HTTP/2 connection; where the upstream allows fewer, the rest wait on it. 100.
    /// Each may have 1 MiB of body unread here, and all of one connection 8 MiB.
    pub streams: usize,
    /// Unused HTTP/1.1 connections kept to one upstream. 64.
    pub idle_connections: usize,
    /// Requests that may wait for a connection to become free; more fail at once. 4096.
    pub waiters: usize,
    /// How long a request may wait for a connection to become free, in all. 2 s.
    #[serde(with = "units::duration")]
    pub queue: Duration,
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(2),
            connect: Duration::from_secs(5),
            tls: Duration::from_secs(5),
            first_byte: Duration::from_secs(30),
            stall: Duration::from_secs(15),
            idle: Duration::from_secs(30),
            connections: 256,
            streams: 100,
            idle_connections: 64,
            waiters: 4096,
            queue: Duration::from_secs(2),
        }
    }
}

impl UpstreamLimits {
    fn faults(&self, faults: &mut Vec<String>) {
        for (name, count) in [("connections", self.connections), ("streams", self.streams)] {
            if count == 0 {
                faults.push(format!("upstream-limits.{name} must be at least 1"));
            }
        }
        for (name, wait) in [
            ("resolve", self.resolve),
            ("connect", self.connect),
            ("tls", self.tls),
            ("first-byte", self.first_byte),
            ("stall", self.stall),
            ("queue", self.queue),
        ] {
            if wait.is_zero() {
                faults.push(format!("upstream-limits.{name} must not be 0"));
            }
        }
    }
}

/// Several upstreams, and how they are dealt with. `upstream` alone is short for one origin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Origins or shields: URLs, or tables with `url` and more. All serve the same objects.
    pub origins: Vec<Origin>,
    /// How requests are shared out among them.
    pub balance: Balance,
    /// Further attempts.
    pub retry: Retry,
    /// Second requests where the first takes long.
    pub hedge: Hedge,
    /// When an upstream is left alone.
    pub breaker: Breaker,
    /// Active checks.
    pub health: Health,
    /// Addresses of names.
    pub dns: Dns,
    /// The other edges of this place.
    pub peers: Peers,
}

/// One origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "OriginForm", rename_all = "kebab-case")]
pub struct Origin {
    /// Label in logs and metrics. Host and port, or the bucket, by default.
    pub name: Option<String>,
    /// `http://host:port`, `https://host` (HTTP/2 where it is offered), `h2c://host:port` (HTTP/2 in
    /// the clear by prior knowledge), or `s3://bucket/prefix?endpoint=URL`.
    pub url: String,
    /// Share of requests against the others'. 1.
    pub weight: u32,
    /// Only asked where no origin without this is available: the origin behind shields.
    pub backup: bool,
}

impl From<&str> for Origin {
    fn from(url: &str) -> Self {
        Self {
            name: None,
            url: url.into(),
            weight: 1,
            backup: false,
        }
    }
}

/// A URL alone, or a table.
#[derive(Deserialize)]
#[serde(untagged)]
enum OriginForm {
    Url(String),
    Table(OriginTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct OriginTable {
    name: Option<String>,
    url: String,
    #[serde(default = "one")]
    weight: u32,
    #[serde(default)]
    backup: bool,
}

fn one() -> u32 {
    1
}

impl From<OriginForm> for Origin {
    fn from(form: OriginForm) -> Self {
        match form {
            OriginForm::Url(url) => Self::from(url.as_str()),
            OriginForm::Table(table) => Self {
                name: table.name,
                url: table.url,
                weight: table.weight,
                backup: table.backup,
            },
        }
    }
}

/// How requests are shared out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// To the less busy of two drawn by weight: for origins that all have everything.
    #[default]
    Load,
    /// By the object's key, with bounded load: for shields, so that each object is at one of them.
    Key,
}

/// Further attempts, of requests that are idempotent and have no body, before a response's head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Retry {
    /// Attempts of one request in all. 2; 1 turns retries off.
    pub attempts: u32,
    /// Retries and hedges per hundred requests. At most 10, the default.
    pub budget: u32,
    /// Retries and hedges that may come at once after a calm time. 10.
    pub burst: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 2,
            budget: 10,
            burst: 10,
        }
    }
}

/// To whom a second request goes where the first takes longer than 95 % of those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HedgeTo {
    /// Nobody.
    Off,
    /// Another upstream, if one is available: the same would likely wait for the same thing.
    #[default]
    Other,
    /// Another upstream, else the same once more: for a name behind which there are many.
    Any,
}

/// Second requests: GETs only, within the retry budget; the slower of the two is cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Hedge {
    /// To whom.
    pub to: HedgeTo,
    /// Never sooner than this, however fast the upstream is. 10 ms.
    #[serde(with = "units::duration")]
    pub min_delay: Duration,
}

impl Default for Hedge {
    fn default() -> Self {
        Self {
            to: HedgeTo::default(),
            min_delay: Duration::from_millis(10),
        }
    }
}

/// When an upstream is left alone, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Breaker {
    /// Requests in a row that got no response. 5.
    pub failures: u32,
    /// Over at least this time, where there is no other origin to ask: what breaks all at once, such
    /// as connections through one balancer, may be whole again at once. 500 ms.
    #[serde(with = "units::duration")]
    pub failing_for: Duration,
    /// Per cent of the window's requests that got no response, or 502, 503 or 504. 50.
    pub error_rate: u32,
    /// Requests in the window below which the rate says nothing. 20.
    pub min_requests: u32,
    /// Length of the window. 10 s.
    #[serde(with = "units::duration")]
    pub window: Duration,
    /// How long it is left alone, ± 20 %; doubled each time it fails again. 1 s.
    #[serde(with = "units::duration")]
    pub open: Duration,
    /// The longest it is left alone. 30 s.
    #[serde(with = "units::duration")]
    pub open_max: Duration,
    /// Requests at a time that find out whether it is back. 1.
    pub probes: u32,
    /// Of those, how many must succeed. 2.
    pub successes: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 5,
            failing_for: Duration::from_millis(500),
            error_rate: 50,
            min_requests: 20,
            window: Duration::from_secs(10),
            open: Duration::from_secs(1),
            open_max: Duration::from_secs(30),
            probes: 1,
            successes: 2,
        }
    }
}

/// Active checks. An origin that is down gets no requests while another is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Health {
    /// What is asked for by GET; a status below 400 is good. No checks without.
    pub path: Option<String>,
    /// From check to check, ± 10 %. 5 s.
    #[serde(with = "units::duration")]
    pub interval: Duration,
    /// For the response's head. 2 s.
    #[serde(with = "units::duration")]
    pub timeout: Duration,
    /// Good checks in a row that bring an origin up. 2.
    pub rise: u32,
    /// Bad checks in a row that take it down. 3.
    pub fall: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            path: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
        }
    }
}

/// Addresses of names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dns {
    /// From one look at a name to the next; the system's resolver doesn't tell how long its answers
    /// are good for. Where a look fails, the last addresses stay. 30 s.
    #[serde(with = "units::duration")]
    pub interval: Duration,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
        }
    }
}

/// The edges of one place, each of which owns a share of all objects: the others ask it before they
/// ask an origin. All must have the same list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Peers {
    /// Their URLs (`https://`, `http://` or `h2c://`), this edge's own included. None: no peers.
    pub members: Vec<String>,
    /// Which of them this edge is.
    pub this: String,
    /// Name of the group: an edge that is asked by a member of its own group asks the origin, not
    /// another member. `pop`.
    pub group: String,
    /// What members know each other by, at least 32 characters; needed where there is a keyset.
    pub secret: Option<Secret>,
    /// PEM file of certificate authorities that members' certificates are checked against, instead
    /// of the public ones.
    pub ca: Option<PathBuf>,
    /// Making a connection to a member, which is near. 500 ms.
    #[serde(with = "units::duration")]
    pub connect: Duration,
    /// From the request sent to a member to its response's head; then the origin is asked. 5 s.
    #[serde(with = "units::duration")]
    pub first_byte: Duration,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            this: String::new(),
            group: "pop".into(),
            secret: None,
            ca: None,
            connect: Duration::from_millis(500),
            first_byte: Duration::from_secs(5),
        }
    }
}

/// An origin with its parsed URL and its name.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) target: Target,
    pub(super) weight: u32,
    pub(super) backup: bool,
}

impl crate::config::Config {
    /// All origins: `upstream`, or those of `upstreams`.
    fn listed(&self) -> Vec<Origin> {
        match self.upstream.as_str() {
            "" => self.upstreams.origins.clone(),
            one => vec![Origin::from(one)],
        }
    }

    /// All origins, their URLs parsed; faults are skipped.
    pub(super) fn named_origins(&self) -> Vec<Named> {
        let named = |origin: Origin| {
            let target = Target::parse(&origin.url).ok()?;
            Some(Named {
                name: origin.name.unwrap_or_else(|| target.label()),
                target,
                weight: origin.weight,
                backup: origin.backup,
            })
        };
        self.listed().into_iter().filter_map(named).collect()
    }

    /// Every fault of what is said of upstreams.
    pub(crate) fn upstream_faults(&self, faults: &mut Vec<String>) {
        let routing = &self.upstreams;
        if !self.upstream.is_empty() && !routing.origins.is_empty() {
            faults.push("both upstream and upstreams.origins are set; keep one of them".into());
        }
        let listed = self.listed();
        if listed.is_empty() {
            faults.push("upstream is not set; write for example http://127.0.0.1:3000".into());
        }
        if listed.len() > ORIGINS_MAX {
            faults.push(format!(
                "upstreams.origins has {} entries; at most {ORIGINS_MAX} are possible",
                listed.len()
            ));
        }
        for origin in &listed {
            if let Err(fault) = Target::parse(&origin.url) {
                faults.push(format!("upstream {fault}"));
            }
            if !(1..=1000).contains(&origin.weight) {
                faults.push(format!(
                    "upstream `{}`: weight must be from 1 to 1000",
                    shown(&origin.url)
                ));
            }
        }
        if !listed.is_empty() && listed.iter().all(|origin| origin.backup) {
            faults.push("all of upstreams.origins are backups; one must not be".into());
        }
        names(&self.named_origins(), faults);
        self.upstream_limits.faults(faults);
        routing.policy_faults(faults);
        routing.peers.faults(faults);
        if !matches!(self.keyset, crate::config::KeysetSource::None)
            && !routing.peers.members.is_empty()
            && routing.peers.secret.is_none()
        {
            faults.push(
                "upstreams.peers.secret is not set; with a keyset, peers need one to let each \
                 other in"
                    .into(),
            );
        }
    }
}

/// Names are labels: short, plain and each used once.
fn names(origins: &[Named], faults: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for origin in origins {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:/[]".contains(c);
        if origin.name.is_empty() || origin.name.len() > 64 || !origin.name.chars().all(plain) {
            faults.push(format!(
                "upstream name `{}` must be 1 to 64 letters, digits or -._:/",
                origin.name
            ));
        }
        if !seen.insert(&origin.name) {
            faults.push(format!(
                "two upstreams are named `{}`; give one another `name`",
                origin.name
            ));
        }
    }
}

/// A URL without what may be secret in it.
fn shown(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, host)| host)
}

impl Config {
    fn policy_faults(&self, faults: &mut Vec<String>) {
        let breaker = &self.breaker;
        for (name, value, least, most) in [
            ("retry.attempts", self.retry.attempts, 1, 5),
            ("retry.budget", self.retry.budget, 0, 10),
            ("retry.burst", self.retry.burst, 0, 1000),
            ("breaker.failures", breaker.failures, 1, 1_000_000),
            ("breaker.error-rate", breaker.error_rate, 1, 100),
            ("breaker.min-requests", breaker.min_requests, 1, 1_000_000),
            ("breaker.probes", breaker.probes, 1, 100),
            ("breaker.successes", breaker.successes, 1, 100),
            ("health.rise", self.health.rise, 1, 100),
            ("health.fall", self.health.fall, 1, 100),
        ] {
            if !(least..=most).contains(&value) {
                faults.push(format!(
                    "upstreams.{name} is {value}; it must be from {least} to {most}"
                ));
            }
        }
        for (name, value) in [
            ("hedge.min-delay", self.hedge.min_delay),
            ("breaker.window", breaker.window),
            ("breaker.open", breaker.open),
            ("health.interval", self.health.interval),
            ("health.timeout", self.health.timeout),
            ("dns.interval", self.dns.interval),
            ("peers.connect", self.peers.connect),
            ("peers.first-byte", self.peers.first_byte),
        ] {
            if value < Duration::from_millis(1) || value > Duration::from_secs(24 * 3600) {
                faults.push(format!("upstreams.{name} must be from 1ms to 1d"));
            }
        }
        if breaker.open_max < breaker.open {
            faults.push("upstreams.breaker.open-max must not be below breaker.open".into());
        }
        if let Some(path) = &self.health.path
            && (!path.starts_with('/') || path.parse::<http::uri::PathAndQuery>().is_err())
        {
            faults.push(format!(
                "upstreams.health.path `{path}` must be a path such as /healthz"
            ));
        }
    }
}

impl Peers {
    fn faults(&self, faults: &mut Vec<String>) {
        if self.members.is_empty() {
            return;
        }
        if self.members.len() > PEERS_MAX {
            faults.push(format!(
                "upstreams.peers.members has {} entries; at most {PEERS_MAX} are possible",
                self.members.len()
            ));
        }
        let mut seen = HashSet::new();
        for member in &self.members {
            match Target::parse(member) {
                Ok(Target::Http(_)) => {}
                Ok(Target::S3(_)) => faults.push(format!("peer `{member}` is no edge")),
                Err(fault) => faults.push(format!("peer {fault}")),
            }
            if !seen.insert(member) {
                faults.push(format!("peer `{member}` is listed twice"));
            }
        }
        if !self.members.contains(&self.this) {
            faults.push(format!(
                "upstreams.peers.this is `{}`; it must be one of peers.members: this edge's own",
                self.this
            ));
        }
        if self.group.is_empty()
            || !self
                .group
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
        {
            faults.push("upstreams.peers.group must be letters, digits or -._".into());
        }
        if self.secret.as_ref().is_some_and(|s| s.expose().len() < 32) {
            faults.push("upstreams.peers.secret is shorter than 32 characters".into());
        }
        if let Some(ca) = &self.ca
            && let Err(e) = std::fs::File::open(ca)
        {
            faults.push(format!("upstreams.peers.ca {}: {e}", ca.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    fn faults(edge: &crate::config::Config) -> Vec<String> {
        let mut faults = Vec::new();
        edge.upstream_faults(&mut faults);
        faults
    }

    fn read(json: &str) -> crate::config::Config {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn one_url_a_list_of_urls_or_tables() {
        let one = read(r#"{"upstream": "http://127.0.0.1:3000"}"#);
        assert!(faults(&one).is_empty());
        let list = read(
            r#"{"upstreams": {"origins": ["https://a.example",
                {"url": "h2c://b.example:81", "name": "b", "weight": 3, "backup": true}],
                "balance": "key", "health": {"path": "/healthz", "interval": "1s"}}}"#,
        );
        assert_eq!(faults(&list), [""; 0]);
        let origins = list.named_origins();
        let told: Vec<_> = origins
            .iter()
            .map(|o| (o.name.as_str(), o.weight, o.backup))
            .collect();
        assert_eq!(told, [("a.example:443", 1, false), ("b", 3, true)]);
        let typo = r#"{"upstreams": {"origins": [{"url": "http://a", "wieght": 2}]}}"#;
        assert!(serde_json::from_str::<crate::config::Config>(typo).is_err());
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let bad = read(
            r#"{"upstreams": {
                "origins": [{"url": "ftp://a", "backup": true},
                    {"url": "http://user:hidden@b", "backup": true},
                    {"url": "http://c", "weight": 0, "backup": true, "name": "same"},
                    {"url": "http://d", "backup": true, "name": "same"}],
                "retry": {"budget": 50}, "breaker": {"open": "5s", "open-max": "1s"},
                "health": {"path": "healthz"}, "dns": {"interval": "0s"},
                "peers": {"members": ["https://x", "https://x"], "secret": "short"}},
                "keyset": "keys.json", "upstream-limits": {"tls": "0s"}}"#,
        );
        let faults = faults(&bad);
        for word in [
            "ftp://a",
            "credentials",
            "weight",
            "backups",
            "`same`",
            "retry.budget",
            "open-max",
            "health.path",
            "dns.interval",
            "listed twice",
            "peers.this",
            "peers.secret",
            "upstream-limits.tls",
        ] {
            assert!(
                faults.iter().any(|f| f.contains(word)),
                "{word}: {faults:#?}"
            );
        }
        assert!(!faults.iter().any(|f| f.contains("hidden")), "{faults:#?}");
        let both = read(r#"{"upstream": "http://a", "upstreams": {"origins": ["http://b"]}}"#);
        assert!(self::faults(&both)[0].contains("keep one"));
    }
}
