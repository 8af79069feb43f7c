//! An edge as one thing: bound from a configuration, run until cancelled, drained.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use http::HeaderValue;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::Admin,
    config::{Config, Faults, KeysetSource, Limits},
    dev_cert,
    exchange::{Protocol, Service},
    listen::{Shared, bind, exchange::Observer, h3, slots::Slots, tcp, tls},
    log,
    metrics::{Cut, Metrics},
    serve::{self, Edge, Settings},
    upstream,
};

pub use crate::listen::tls::Error as TlsError;

/// How long HTTP/3 clients are told where it is (`Alt-Svc`'s `ma`), in seconds.
const ALT_SVC_MAX_AGE_S: u32 = 86_400;

/// How long closing packets have to leave when a drain is over.
const CLOSING: std::time::Duration = std::time::Duration::from_secs(1);

/// Why an edge can't start or failed while running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] Faults),
    /// An address can't be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// Certificate or key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The development certificate.
    #[error(transparent)]
    DevCert(#[from] dev_cert::Error),
    /// The access log can't be opened.
    #[error("access log: {0}")]
    Log(io::Error),
    /// The upstream.
    #[error(transparent)]
    Upstream(#[from] upstream::Error),
    /// The keyset file.
    #[error("keyset: {0}")]
    Keyset(String),
    /// The cache.
    #[error("cache: {0}")]
    Cache(#[from] serve::Error),
}

/// Where an edge listens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addrs {
    /// Plaintext HTTP/1.1 and HTTP/2.
    pub http: Option<SocketAddr>,
    /// TLS on TCP and QUIC on UDP.
    pub https: Option<SocketAddr>,
    /// Health, metrics, purge.
    pub admin: Option<SocketAddr>,
}

/// A bound edge. Nothing is accepted before [`Server::run`].
pub struct Server {
    edge: Arc<Edge>,
    metrics: Arc<Metrics>,
    limits: Limits,
    admin_token: Option<crate::config::Secret>,
    access_log: (log::AccessLog, log::Writer),
    sockets: Sockets,
    addrs: Addrs,
    spki_hash: Option<String>,
}

/// What was bound.
#[derive(Default)]
struct Sockets {
    http: Vec<TcpListener>,
    https: Option<Secure>,
    admin: Option<TcpListener>,
}

/// TLS on TCP, QUIC on UDP.
struct Secure {
    listeners: Vec<TcpListener>,
    tls: Arc<ServerConfig>,
    quic: h3::Listener,
}

impl Server {
    /// Checks the configuration, binds its addresses and opens the cache. Port 0 picks free ports.
    /// Must run inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error`], naming what has to be changed.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        config.validate()?;
        let metrics = Arc::new(Metrics::default());
        // Sockets first: a second process on the same addresses must not touch the disk cache.
        let (sockets, spki_hash) = open_sockets(&config)?;
        let addrs = Addrs {
            http: sockets.http.first().and_then(|l| l.local_addr().ok()),
            https: sockets
                .https
                .as_ref()
                .and_then(|s| s.listeners.first()?.local_addr().ok()),
            admin: sockets.admin.as_ref().and_then(|l| l.local_addr().ok()),
        };
        let access_log = log::open(&config.access_log, Arc::clone(&metrics)).map_err(Error::Log)?;
        let upstream = Arc::new(upstream::Upstreams::open(&config, Arc::clone(&metrics)).await?);
        let edge = Arc::new(Edge::open(settings(&config)?, upstream).await?);
        Ok(Self {
            edge,
            metrics,
            limits: config.limits,
            admin_token: config.admin_token,
            access_log,
            sockets,
            addrs,
            spki_hash,
        })
    }

    /// Where it listens.
    pub fn addrs(&self) -> Addrs {
        self.addrs
    }

    /// The cache node behind the listeners.
    pub fn edge(&self) -> &Arc<Edge> {
        &self.edge
    }

    /// Base64 SHA-256 of the development certificate's public key, if one is in use: what
    /// Chromium's `--ignore-certificate-errors-spki-list` takes.
    pub fn spki_hash(&self) -> Option<&str> {
        self.spki_hash.as_deref()
    }

    /// Serves until `cancel`, then drains: readiness fails, clients are told, what is under way
    /// finishes, at most for [`Limits::drain`].
    ///
    /// # Errors
    /// Where the cache can't be closed cleanly.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), Error> {
        let drain = CancellationToken::new();
        let ready = Arc::new(AtomicBool::new(true));
        let observer = Observer {
            metrics: Arc::clone(&self.metrics),
            log: self.access_log.0.clone(),
        };
        let shared = Arc::new(Shared {
            service: Arc::clone(&self.edge),
            observer: Arc::new(observer),
            slots: Slots::new(self.limits.connections, self.limits.connections_per_client),
            limits: self.limits,
            alt_svc: self.addrs.https.and_then(|https| {
                HeaderValue::from_str(&format!("h3=\":{}\"; ma={ALT_SVC_MAX_AGE_S}", https.port()))
                    .ok()
            }),
            drain: drain.clone(),
            tasks: TaskTracker::new(),
        });
        let quic = accept_all(&shared, self.sockets.http, self.sockets.https);
        let admin = self.sockets.admin.map(|listener| {
            let admin = Admin {
                edge: Arc::clone(&self.edge),
                metrics: Arc::clone(&self.metrics),
                token: self.admin_token,
                ready: Arc::clone(&ready),
            };
            let stop = CancellationToken::new();
            (tokio::spawn(admin.serve(listener, stop.clone())), stop)
        });

        cancel.cancelled().await;
        ready.store(false, Relaxed);
        drain.cancel();
        shared.tasks.close();
        if tokio::time::timeout(shared.limits.drain, shared.tasks.wait())
            .await
            .is_err()
        {
            shared.observer.metrics.cut(Protocol::H1, Cut::Drain);
            tracing::warn!(
                connections = shared.tasks.len(),
                "cut off at the drain's deadline"
            );
        }
        if let Some(quic) = quic {
            quic.cancel();
            // Closing packets should leave; lost ones only cost the client its idle timeout.
            let _ = tokio::time::timeout(CLOSING, shared.tasks.wait()).await;
        }
        let closed = self.edge.close().await;
        let writer = self.access_log.1;
        let _ = tokio::task::spawn_blocking(move || writer.close()).await;
        if let Some((task, stop)) = admin {
            stop.cancel();
            let _ = task.await;
        }
        Ok(closed?)
    }
}

/// Starts all accept loops; hands back what closes HTTP/3's connections at once.
fn accept_all<S: Service>(
    shared: &Arc<Shared<S>>,
    http: Vec<TcpListener>,
    https: Option<Secure>,
) -> Option<CancellationToken> {
    for listener in http {
        tokio::spawn(tcp::serve(Arc::clone(shared), listener, None));
    }
    let secure = https?;
    for listener in secure.listeners {
        tokio::spawn(tcp::serve(
            Arc::clone(shared),
            listener,
            Some(Arc::clone(&secure.tls)),
        ));
    }
    Some(secure.quic.start(shared))
}

/// QUIC shards of a port: one for each of the runtime's threads.
fn shards() -> usize {
    tokio::runtime::Handle::current().metrics().num_workers()
}

/// Binds every address of the configuration.
fn open_sockets(config: &Config) -> Result<(Sockets, Option<String>), Error> {
    let at = |address: SocketAddr| move |source| Error::Bind { address, source };
    let mut sockets = Sockets::default();
    let mut spki_hash = None;
    if let Some(address) = config.http {
        sockets.http = bind::tcp(address, 1).map_err(at(address))?;
    }
    if let Some(address) = config.admin {
        sockets.admin = bind::tcp(address, 1).map_err(at(address))?.pop();
    }
    if let Some(address) = config.https {
        let (cert, key) = match (&config.cert, &config.key) {
            (Some(cert), Some(key)) => (cert.clone(), key.clone()),
            _ => {
                let made = dev_cert::ensure(&config.state_dir)?;
                spki_hash = Some(made.spki_hash);
                (made.cert, made.key)
            }
        };
        let certificate = tls::Certificate::load(&cert, &key)?;
        let tls = Arc::new(tls::server_config(&certificate, &[b"h2", b"http/1.1"])?);
        let (listeners, udp) = bind::tcp_and_udp(address, shards()).map_err(at(address))?;
        let quic = h3::Listener::new(udp, &certificate, &config.limits).map_err(at(address))?;
        sockets.https = Some(Secure {
            listeners,
            tls,
            quic,
        });
    }
    Ok((sockets, spki_hash))
}

/// The cache's part of the configuration.
fn settings(config: &Config) -> Result<Settings, Error> {
    let keyset = match &config.keyset {
        KeysetSource::None => None,
        KeysetSource::Inline(keyset) => Some(keyset.clone()),
        KeysetSource::File(path) => {
            let json = std::fs::read_to_string(path)
                .map_err(|e| Error::Keyset(format!("{}: {e}", path.display())))?;
            let keyset = tokens::Keyset::from_json(&json);
            Some(keyset.map_err(|e| Error::Keyset(format!("{}: {e}", path.display())))?)
        }
    };
    let mut keyset = keyset;
    if let Some(keyset) = &mut keyset {
        upstream::admit_peers(keyset, &config.upstreams.peers)
            .map_err(|e| Error::Keyset(format!("upstreams.peers.secret: {e}")))?;
    }
    Ok(Settings {
        memory: config.memory,
        disk: config.disk.clone(),
        disk_size: config.disk_size,
        slice: config.slice,
        keyset: keyset.map(Arc::new),
        protect: config.protect.clone(),
        stale_if_error_s: config.stale_if_error.as_secs(),
        prefetch: config.prefetch,
        name: config.name.clone(),
    })
}
