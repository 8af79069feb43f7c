//! A running edge, as its operator changes it: another configuration, the drain.
//!
//! A new configuration takes effect whole or not at all: everything that can fail is done before
//! anything is replaced. Connections keep the limits they were accepted under.

use std::{
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::SystemTime,
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    admin::PurgeRequest,
    auth::Keyset,
    config::{Config, Faults, KeysetSource, Secret},
    dev_cert,
    geoip::GeoIp,
    handover::{self, Handed, Line},
    listen::{Current, h3, tls::Certificate},
    log::{self, AccessLog},
    metrics::Metrics,
    replaceable::Replaceable,
    serve::Edge,
    server::Error,
    upstream::{self, Upstreams},
};

/// Keys that a reload may change, and tables of such; the others are bound when the edge starts.
const CHANGEABLE: [&str; 14] = [
    "access-log",
    "admin-token",
    "cert",
    "geoip",
    "heuristic-freshness",
    "key",
    "keyset",
    "limits",
    "protect",
    "renewal-key",
    "server-timing",
    "stale-if-error",
    "watch",
    "upstream",
];

/// Steers a running edge from outside; cheap to clone.
#[derive(Clone)]
pub struct Handle(pub(crate) Arc<Running>);

/// What of an edge can be replaced, and what its admin listener answers from.
pub(crate) struct Running {
    pub edge: Arc<Edge>,
    pub metrics: Arc<Metrics>,
    pub config: Mutex<Config>,
    pub upstream: Arc<Replaceable>,
    pub log: AccessLog,
    /// None where nothing listens on TLS.
    pub certificate: Option<Arc<Certificate>>,
    pub quic: Option<Arc<h3::Common>>,
    pub current: Arc<Current<Edge>>,
    pub admin_token: ArcSwapOption<Secret>,
    /// False once a drain was asked for.
    pub ready: AtomicBool,
    /// Cancelled when a drain is asked for.
    pub stop: CancellationToken,
    /// Duplicates of what was bound, for a successor; none once a drain began, since a socket
    /// listens as long as any of them is open.
    pub sockets: Mutex<Handed>,
    /// Whether purges are taken: not from the moment a successor may read their log.
    pub purging: tokio::sync::RwLock<bool>,
    /// True from an upgrade's beginning, unless it fails.
    pub upgrading: AtomicBool,
    /// Cancelled when the admin listener is a successor's.
    pub admin_stop: CancellationToken,
    /// The process before this one, while it drains.
    pub predecessor: Mutex<Option<Arc<Line>>>,
}

impl Handle {
    /// Puts another configuration in force, and reads again the files that it names: certificate,
    /// key, keyset, renewal key, countries, authorities; the access log is opened anew. Blocks for as
    /// long as that takes.
    ///
    /// # Errors
    /// Where the configuration has faults, changes what is bound at the start, or names a file that
    /// can't be used. Nothing has changed then.
    pub fn reload(&self, config: Config) -> Result<(), Error> {
        let applied = self.0.reload(config);
        self.0.metrics.reloaded(applied.is_ok());
        match &applied {
            Ok(()) => tracing::info!("configuration reloaded"),
            Err(error) => {
                tracing::error!(%error, "configuration refused; the old one goes on");
            }
        }
        applied
    }

    /// Counts and logs a configuration that could not even be read.
    pub fn refused(&self, error: &dyn std::fmt::Display) {
        self.0.metrics.reloaded(false);
        tracing::error!(%error, "configuration refused; the old one goes on");
    }

    /// Begins the drain, as the cancelling of [`Server::run`](crate::Server::run)'s token does.
    pub fn drain(&self) {
        self.0.stop.cancel();
    }

    /// Hands everything over to a new process at the other end of `stream`, which has called
    /// [`Inherited::receive`](crate::handover::Inherited::receive), and begins the drain. Blocks
    /// until the new one serves; must run where a tokio runtime is entered.
    ///
    /// # Errors
    /// Where the new process did not get as far; this one goes on.
    pub fn hand_over(&self, stream: UnixStream) -> Result<(), handover::Error> {
        let running = &self.0;
        if running.stop.is_cancelled() || running.upgrading.swap(true, Relaxed) {
            return Err(handover::Error::UnderWay);
        }
        let handed = running.hand_over(stream);
        if handed.is_err() {
            running.upgrading.store(false, Relaxed);
            *running.purging.blocking_write() = true;
        }
        handed
    }

    /// The configuration in force.
    pub fn config(&self) -> Config {
        self.0.config.lock().clone()
    }
}

impl Running {
    fn reload(&self, config: Config) -> Result<(), Error> {
        // Held throughout: of two reloads, one is after the other.
        let mut in_force = self.config.lock();
        config.validate()?;
        let changed = changed(&in_force, &config);
        let fixed: Vec<String> = changed.iter().filter_map(|key| fixed(key)).collect();
        if !fixed.is_empty() {
            return Err(Faults(fixed).into());
        }
        let keyset = keyset(&config)?;
        let geoip = geoip(&config)?;
        let renewal_key = renewal_key(&config)?;
        let certificate = match &self.certificate {
            Some(_) => certificate(&config)?.0,
            None => None,
        };
        let log = log::output(&config.access_log).map_err(Error::Log)?;
        let quic = match (&self.quic, &self.certificate) {
            (Some(_), Some(certificate)) => {
                Some(h3::server_config(certificate, &config.limits).map_err(Error::Quic)?)
            }
            _ => None,
        };
        // Only where it changed, so that its connections are kept; last, since it replaces the
        // upstreams that the metrics show.
        let secrets = in_force.upstreams != config.upstreams;
        let upstream = match secrets || changed.iter().any(|key| key.starts_with("upstream")) {
            true => {
                let opened = Upstreams::open(&config, Arc::clone(&self.metrics));
                Some(tokio::runtime::Handle::current().block_on(opened)?)
            }
            false => None,
        };

        // From here on nothing fails.
        if let (Some(ours), Some(new)) = (&self.certificate, certificate) {
            ours.replace(&new);
            self.note_expiry();
        }
        if let (Some(endpoint), Some(config)) = (&self.quic, quic) {
            endpoint.set_config(config);
        }
        if let Some(upstream) = upstream {
            self.upstream.replace(Arc::new(upstream));
        }
        self.log.redirect(log);
        self.edge.adjust(&config);
        self.edge.set_keyset(keyset.map(Arc::new));
        self.edge.set_geoip(geoip);
        self.edge.set_renewal_key(renewal_key);
        self.admin_token
            .store(config.admin_token.clone().map(Arc::new));
        let shared = self.current.load();
        let limits = &config.limits;
        shared
            .slots
            .limit(limits.connections, limits.connections_per_client);
        self.current
            .store(Arc::new(shared.with_limits(limits.clone())));
        *in_force = config;
        Ok(())
    }

    fn hand_over(self: &Arc<Self>, stream: UnixStream) -> Result<(), handover::Error> {
        let runtime = tokio::runtime::Handle::current();
        handover::send(&stream, &self.sockets.lock())?;
        let line = Line::new(stream);
        line.await_prepared()?;
        // Waits for those that are being written.
        *self.purging.blocking_write() = false;
        if let Err(error) = runtime.block_on(self.edge.close()) {
            tracing::error!(%error, "what was not flushed is fetched again");
        }
        line.released()
            .inspect_err(|_| tracing::error!("the disk tier stays closed until a restart"))?;
        // Two that read from one UDP socket would get each other's packets.
        if let Some(quic) = &self.quic {
            quic.leave();
        }
        self.admin_stop.cancel();
        line.yours()?;
        let running = Arc::clone(self);
        std::thread::spawn(move || running.purge_with(&line));
        self.stop.cancel();
        Ok(())
    }

    /// Purges what the successor purges, until it leaves.
    fn purge_with(&self, line: &Line) {
        while let Ok(asked) = line.hear(None)
            && let Ok(asked) = serde_json::from_str::<PurgeRequest>(&asked)
            && let Some((what, mode)) = asked.what()
        {
            // In force at once; that it is durable is the successor's matter.
            self.edge.purge_here(&what, mode);
            if line.say("purged").is_err() {
                return;
            }
        }
    }

    /// Puts the certificate's end into the metrics.
    pub(crate) fn note_expiry(&self) {
        let expiry = self.certificate.as_ref().and_then(|c| c.expiry_s());
        let metric = &self.metrics.certificate_expiry_s;
        metric.store(expiry.unwrap_or(0), Relaxed);
    }
}

/// Certificate and key of a configuration, and the hash of the development certificate's key where
/// it is that one.
pub(crate) fn certificate(
    config: &Config,
) -> Result<(Option<Arc<Certificate>>, Option<String>), Error> {
    if config.https.is_none() {
        return Ok((None, None));
    }
    let (cert, key, spki_hash) = match (&config.cert, &config.key) {
        (Some(cert), Some(key)) => (cert.clone(), key.clone(), None),
        _ => {
            let made = dev_cert::ensure(&config.state_dir)?;
            (made.cert, made.key, Some(made.spki_hash))
        }
    };
    Ok((Some(Certificate::load(&cert, &key)?), spki_hash))
}

/// The keys of a configuration, those of its peers included.
pub(crate) fn keyset(config: &Config) -> Result<Option<Keyset>, Error> {
    let mut keyset = config.keyset.load().map_err(Error::Keyset)?;
    if let Some(keyset) = &mut keyset {
        upstream::admit_peers(keyset, &config.upstreams.peers)
            .map_err(|e| Error::Keyset(format!("upstreams.peers.secret: {e}")))?;
    }
    Ok(keyset)
}

/// Countries by address.
pub(crate) fn geoip(config: &Config) -> Result<Option<Arc<GeoIp>>, Error> {
    let geoip = config.geoip.as_deref().map(GeoIp::open).transpose()?;
    Ok(geoip.map(Arc::new))
}

/// The key that signs renewed tokens. The keyset must hold its public half, or nobody would take
/// what it signs.
pub(crate) fn renewal_key(config: &Config) -> Result<Option<Arc<tokens::SigningKey>>, Error> {
    let Some(path) = &config.renewal_key else {
        return Ok(None);
    };
    let fault =
        |what: &dyn std::fmt::Display| Error::RenewalKey(format!("{}: {what}", path.display()));
    let json = std::fs::read_to_string(path).map_err(|e| fault(&e))?;
    let key = tokens::SigningKey::from_json(&json).map_err(|e| fault(&e))?;
    let keyset = config.keyset.load().map_err(Error::Keyset)?;
    let known = keyset.as_ref().and_then(|keyset| keyset.key(key.kid()));
    if known.is_some_and(|known| known.belongs_to(&key)) {
        Ok(Some(Arc::new(key)))
    } else {
        Err(fault(&"its public half is not in the keyset"))
    }
}

/// Keys whose values differ.
fn changed(old: &Config, new: &Config) -> Vec<String> {
    let fields = |config| match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (old, new) = (fields(old), fields(new));
    let keys = new
        .iter()
        .filter(|(key, value)| old.get(*key) != Some(*value));
    keys.map(|(key, _)| key.clone()).collect()
}

/// The fault, where a key can't change while the edge runs.
fn fixed(key: &str) -> Option<String> {
    // All of the upstreams' keys begin alike.
    let changeable = CHANGEABLE.contains(&key) || key.starts_with("upstream");
    (!changeable).then(|| format!("{key} can't change in a running edge: upgrade or restart it"))
}

/// Reloads when a file that the configuration names has changed, looking as often as it says. Ends
/// with the drain.
pub(crate) async fn watch(handle: Handle) {
    let mut seen = handle.0.files();
    loop {
        let every = match handle.config().watch {
            // A reload may turn it on.
            off if off.is_zero() => std::time::Duration::from_secs(60),
            every => every,
        };
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = handle.0.stop.cancelled() => return,
        }
        let theirs = handle.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let config = theirs.config();
            if config.watch.is_zero() {
                return None;
            }
            if config.https.is_some() && config.cert.is_none() {
                // Renews it where that is due.
                let _ = dev_cert::ensure(&config.state_dir);
            }
            Some((theirs.0.files(), config))
        });
        let Ok(Some((now, config))) = looked.await else {
            continue;
        };
        if now == seen {
            continue;
        }
        // A file that is half written is refused, and looked at again once it is whole.
        seen = now;
        tracing::info!("a file that the configuration names has changed");
        let theirs = handle.clone();
        let _ = tokio::task::spawn_blocking(move || theirs.reload(config)).await;
    }
}

/// What tells one version of a file from another: when it was written, its length, its inode.
type Stamp = Option<(SystemTime, u64, u64)>;

impl Running {
    /// The watched files' stamps.
    fn files(&self) -> Vec<Stamp> {
        use std::os::unix::fs::MetadataExt;
        let config = self.config.lock().clone();
        let mut paths: Vec<PathBuf> = Vec::new();
        if config.https.is_some() {
            let of_ours = || config.state_dir.join("dev-cert.pem");
            paths.push(config.cert.clone().unwrap_or_else(of_ours));
            paths.extend(config.key.clone());
        }
        if let KeysetSource::File(path) = &config.keyset {
            paths.push(path.clone());
        }
        paths.extend(config.geoip.clone());
        paths.extend(config.renewal_key.clone());
        let stamp = |path: PathBuf| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.modified().ok()?, meta.len(), meta.ino()))
        };
        paths.into_iter().map(stamp).collect()
    }
}
