//! The cache node: its settings, its opening, and what its operator may do to it. How it answers is
//! in [`crate::serve`].

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;

use crate::{
    auth::{Gate, Keyset},
    cache::{Directory, Disk, ahead::Ahead, store::Store},
    config::{Config, HostPolicy},
    exchange::{CacheStats, Purge, PurgeMode, Upstream},
    geoip::GeoIp,
    policy::{UnixMs, heuristic::Heuristic, rules::Rules},
    purge::{MAX_TARGET_BYTES, Purges},
    rates::Rates,
    trace::Tracer,
};

/// Settings of the cache node's inside; listeners and upstreams have their own.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes the memory tier may hold.
    pub memory: u64,
    /// Directory of the disk tier and of purge state; none for memory only.
    pub disk: Option<PathBuf>,
    /// Bytes the disk tier may hold.
    pub disk_size: u64,
    /// Bytes a slice holds; a power of two from 4 KiB to 8 MiB.
    pub slice: u64,
    /// Keys that tokens are verified with; none lets everyone in.
    pub keyset: Option<Arc<Keyset>>,
    /// Path prefixes that need a token once a keyset is set.
    pub protect: Vec<String>,
    /// Seconds a response may be stale and still stand in for an upstream that fails, where neither
    /// side says anything of it.
    pub stale_if_error_s: u64,
    /// Bytes that may be on their way before anybody asked for them: readahead and prefetch. 0
    /// turns both off.
    pub prefetch: u64,
    /// Freshness of a response that states none, in percent of the time since it was last modified
    /// (RFC 9111 §4.2.2); 0 for none.
    pub heuristic_percent: u8,
    /// Seconds such a response counts as fresh at most.
    pub heuristic_cap_s: u64,
    /// Whether the client's host is sent to the upstream, and is then part of the cache key. If
    /// not, all hosts share what is stored.
    pub host_in_key: bool,
    /// Name in `Cache-Status` and `Via`.
    pub name: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            disk: None,
            disk_size: 10 << 30,
            slice: 256 << 10,
            keyset: None,
            protect: vec!["/media/".into(), "/v1/".into()],
            stale_if_error_s: 24 * 3600,
            prefetch: 16 << 20,
            heuristic_percent: 0,
            heuristic_cap_s: 24 * 3600,
            host_in_key: false,
            name: "Segue".into(),
        }
    }
}

impl Settings {
    fn check(&self) -> Result<(), Error> {
        if self.slice.is_power_of_two() && (4 << 10..=8 << 20).contains(&self.slice) {
            return Ok(());
        }
        Err(Error::Settings(
            "slice must be a power of two from 4 KiB to 8 MiB".into(),
        ))
    }

    fn rules(&self) -> Rules {
        Rules {
            name: self.name.as_str().into(),
            host_in_key: self.host_in_key,
            stale_if_error_s: self.stale_if_error_s,
            heuristic: Heuristic {
                percent: self.heuristic_percent.min(100),
                cap_s: self.heuristic_cap_s,
            },
        }
    }
}

/// Why the cache could not open, or a purge not be made durable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of range; the text says which.
    #[error("{0}")]
    Settings(String),
    /// The disk tier or the purge state failed.
    #[error("{what}: {source}")]
    Disk {
        /// The operation.
        what: &'static str,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The cache node.
pub struct Edge {
    pub(crate) store: Arc<Store>,
    pub(crate) ahead: Arc<Ahead>,
    pub(crate) gate: Gate,
    pub(crate) rates: Rates,
    pub(crate) rules: ArcSwap<Rules>,
    pub(crate) server_timing: AtomicBool,
    pub(crate) tracer: Option<Tracer>,
}

impl Edge {
    /// Opens the cache, taking up what a former run left on disk. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error`] where settings or the disk directory are unusable.
    pub async fn open(settings: Settings, upstream: Arc<dyn Upstream>) -> Result<Self, Error> {
        settings.check()?;
        let purges = Purges::open(settings.disk.as_deref(), UnixMs::now())?;
        let disk = match &settings.disk {
            Some(directory) => {
                let directory = directory.join("slices");
                let shelf = Directory::new(&directory, settings.disk_size, settings.slice);
                Some(Disk::open(shelf).await?)
            }
            None => None,
        };
        Self::over(settings, purges, disk, upstream)
    }

    /// As [`Edge::open`], over what is open already.
    pub(crate) fn over(
        settings: Settings,
        purges: Purges,
        disk: Option<Arc<Disk>>,
        upstream: Arc<dyn Upstream>,
    ) -> Result<Self, Error> {
        settings.check()?;
        let rules = ArcSwap::from_pointee(settings.rules());
        let Settings { memory, slice, .. } = settings;
        let store = Arc::new(Store::new(memory, disk, purges, slice, upstream));
        Ok(Self {
            ahead: Ahead::new(store.clone(), settings.prefetch),
            store,
            gate: Gate::new(settings.keyset, settings.protect),
            rates: Rates::new(std::time::Instant::now()),
            rules,
            server_timing: AtomicBool::new(false),
            tracer: None,
        })
    }

    /// Traces requests from now on.
    pub(crate) fn trace(&mut self, tracer: Option<Tracer>) {
        self.tracer = tracer;
    }

    /// What a reload may change beside the keys.
    pub(crate) fn adjust(&self, config: &Config) {
        self.gate.set_protect(config.protect.clone());
        let limits = &config.limits;
        self.rates
            .set(limits.requests_per_client, limits.requests_burst);
        self.server_timing.store(config.server_timing, Relaxed);
        let rules = Rules {
            name: self.rules.load().name.clone(),
            host_in_key: config.upstream_host == HostPolicy::Client,
            stale_if_error_s: config.stale_if_error.as_secs(),
            heuristic: Heuristic {
                percent: config.heuristic_freshness.percent,
                cap_s: config.heuristic_freshness.cap.as_secs(),
            },
        };
        self.rules.store(Arc::new(rules));
    }

    /// Replaces the keys; verdicts so far are forgotten.
    pub fn set_keyset(&self, keyset: Option<Arc<Keyset>>) {
        self.gate.set_keyset(keyset);
    }

    /// Replaces what tells a client's country, which tokens may demand.
    pub fn set_geoip(&self, geoip: Option<Arc<GeoIp>>) {
        self.gate.set_geoip(geoip);
    }

    /// Replaces the key that signs renewed tokens.
    pub fn set_renewal_key(&self, key: Option<Arc<tokens::SigningKey>>) {
        self.gate.set_renewal_key(key);
    }

    /// Purges; durable and in force when it returns.
    ///
    /// # Errors
    /// [`Error::Settings`] where the target is too long; [`Error::Disk`] where it could not be made
    /// durable: it is then in force until a restart.
    pub async fn purge(&self, what: Purge, mode: PurgeMode) -> Result<(), Error> {
        let length = match &what {
            Purge::Url(text) | Purge::Prefix(text) | Purge::SurrogateKey(text) => text.len(),
            Purge::All => 0,
        };
        if length > MAX_TARGET_BYTES {
            return Err(Error::Settings(format!(
                "a purge target has at most {MAX_TARGET_BYTES} bytes"
            )));
        }
        self.store.purges.purge(what, mode).await
    }

    /// What a restart would read from the purge log.
    #[cfg(test)]
    pub(crate) fn purges_after_restart(&self) -> Purges {
        self.store.purges.restarted()
    }

    /// Fails where a slice is being brought by two fills.
    #[cfg(test)]
    pub(crate) fn assert_one_fill_a_slice(&self, seed: u64) {
        self.store.assert_one_fill_a_slice(seed);
    }

    /// Purges until this process ends: where the log is another process's.
    pub(crate) fn purge_here(&self, what: &Purge, mode: PurgeMode) {
        self.store.purges.note(what, mode);
    }

    /// Counters for `/metrics`.
    pub fn stats(&self) -> CacheStats {
        self.store.stats()
    }

    /// Flushes the disk tier; call once, after the last request.
    ///
    /// # Errors
    /// [`Error::Disk`] where the flush failed; what was not flushed is fetched again.
    pub async fn close(&self) -> Result<(), Error> {
        self.store.close().await
    }
}
