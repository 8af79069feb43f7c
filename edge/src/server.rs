//! An edge as one thing: bound from a configuration, run until cancelled, drained.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption};
use http::HeaderValue;
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::{self, Admin, Control},
    config::{Config, Faults, HostPolicy},
    dev_cert,
    exchange::{Protocol, Service},
    governor,
    handover::{self, Handed, Inherited, Line, Role},
    listen::{Current, Shared, bind, exchange::Observer, h3, slots::Slots, tcp, tls},
    log,
    metrics::{Cut, Metrics},
    replaceable::Replaceable,
    running::{self, Handle, Running},
    serve::{self, Edge, Settings},
    trace, upstream,
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
    /// QUIC.
    #[error("QUIC: {0}")]
    Quic(io::Error),
    /// An upgrade.
    #[error("taking over: {0}")]
    Handover(handover::Error),
    /// Sockets that somebody else has bound.
    #[error("bound for this process, but at no address of the configuration: {0:?}")]
    Unwanted(Vec<SocketAddr>),
    /// The upstream.
    #[error(transparent)]
    Upstream(#[from] upstream::Error),
    /// The keyset file.
    #[error("keyset {0}")]
    Keyset(String),
    /// The GeoIP file.
    #[error(transparent)]
    GeoIp(#[from] crate::geoip::Error),
    /// The key that signs renewed tokens.
    #[error("renewal-key: {0}")]
    RenewalKey(String),
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
    running: Arc<Running>,
    control: Arc<dyn Control>,
    writer: log::Writer,
    exporter: Option<trace::Exporter>,
    /// Whether the process is the edge alone.
    alone: bool,
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
    /// Its sockets again, for a successor.
    udp: Vec<std::net::UdpSocket>,
}

impl Server {
    /// Checks the configuration, binds its addresses and opens the cache. Port 0 picks free ports.
    /// Must run inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error`] of whatever kept it from starting; nothing stays bound.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        Self::take_over(config, Inherited::default()).await
    }

    /// The same on what the process before has handed over, as far as the configuration still
    /// wants it. When it returns, that process has left the sockets: call [`Server::run`] at once.
    ///
    /// # Errors
    /// [`Error`] of whatever kept it from starting; the other process then goes on.
    pub async fn take_over(config: Config, inherited: Inherited) -> Result<Self, Error> {
        config.validate()?;
        let Inherited { mut handed, line } = inherited;
        let line = line.map(Arc::new);
        let (certificate, spki_hash) = running::certificate(&config)?;
        let sockets = open_sockets(&config, certificate.as_ref(), &mut handed)?;
        let left = handed.left();
        if line.is_none() && !left.is_empty() {
            return Err(Error::Unwanted(left));
        }
        let duplicates = sockets.duplicates()?;
        let addrs = sockets.addrs();
        let metrics = Arc::new(Metrics::default());
        let (access_log, writer) =
            log::open(&config.access_log, Arc::clone(&metrics)).map_err(Error::Log)?;
        let (tracer, exporter) = trace::start(&config.traces, &metrics).unzip();
        let upstream = upstream::Upstreams::open(&config, Arc::clone(&metrics)).await?;
        let upstream = Replaceable::new(Arc::new(upstream));
        said(line.as_ref(), Line::prepared).await?;
        let mut edge = Edge::open(settings(&config)?, Arc::clone(&upstream) as Arc<_>).await?;
        edge.trace(tracer.clone());
        edge.adjust(&config);
        edge.set_renewal_key(running::renewal_key(&config)?);
        edge.set_geoip(running::geoip(&config)?);
        let edge = Arc::new(edge);
        let observer = Arc::new(Observer {
            metrics: Arc::clone(&metrics),
            log: access_log.clone(),
            tracer,
        });
        let shared = shared(&config, Arc::clone(&edge), observer, addrs);
        let running = Arc::new(Running {
            edge,
            metrics,
            upstream,
            log: access_log,
            certificate,
            quic: sockets.https.as_ref().map(|secure| secure.quic.common()),
            current: Arc::new(ArcSwap::from_pointee(shared)),
            admin_token: ArcSwapOption::new(config.admin_token.clone().map(Arc::new)),
            ready: AtomicBool::new(true),
            stop: CancellationToken::new(),
            sockets: Mutex::new(duplicates),
            purging: tokio::sync::RwLock::new(true),
            upgrading: AtomicBool::new(false),
            admin_stop: CancellationToken::new(),
            predecessor: Mutex::new(line.clone()),
            config: Mutex::new(config),
        });
        running.note_expiry();
        said(line.as_ref(), Line::ready).await?;
        Ok(Self {
            running,
            control: Arc::new(admin::NoControl),
            writer,
            exporter,
            alone: false,
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
        &self.running.edge
    }

    /// What steers it while it runs.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.running))
    }

    /// Lets the admin listener ask the process around the edge.
    pub fn set_control(&mut self, control: Arc<dyn Control>) {
        self.control = control;
    }

    /// Says that this process is the edge alone: the cache then gives way so that all the process
    /// takes, measured, stays within the configured memory.
    pub fn set_alone(&mut self) {
        self.alone = true;
    }

    /// Base64 SHA-256 of the development certificate's public key, if one is in use: what
    /// Chromium's `--ignore-certificate-errors-spki-list` takes.
    pub fn spki_hash(&self) -> Option<&str> {
        self.spki_hash.as_deref()
    }

    /// Serves until `cancel` or [`Handle::drain`], then drains: readiness fails; after
    /// `limits.drain_delay` clients are told, what is under way finishes, at most for
    /// `limits.drain`.
    ///
    /// # Errors
    /// Where the cache can't be closed cleanly.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), Error> {
        let running = self.running;
        accept_all(&running.current, self.sockets.http, self.sockets.https);
        let admin = self.sockets.admin.map(|listener| {
            let admin = Admin {
                running: Arc::clone(&running),
                control: self.control,
            };
            tokio::spawn(admin.serve(listener, running.admin_stop.clone()))
        });
        tokio::spawn(running::watch(Handle(Arc::clone(&running))));
        let governing = self.alone.then(|| {
            let memory = running.config.lock().memory;
            tokio::spawn(governor::govern(Arc::clone(&running.edge.store), memory))
        });

        tokio::select! { () = cancel.cancelled() => {}, () = running.stop.cancelled() => {} }
        running.stop.cancel();
        running.ready.store(false, Relaxed);
        running.sockets.lock().0.clear();
        if !running.upgrading.load(Relaxed) {
            tokio::time::sleep(running.current.load().limits.drain_delay).await;
        }
        drain(&running).await;
        if let Some(quic) = &running.quic {
            quic.close();
            // Closing packets should leave; lost ones only cost the client its idle timeout.
            let tasks = running.current.load().tasks.clone();
            let _ = tokio::time::timeout(CLOSING, tasks.wait()).await;
        }
        if let Some(governing) = governing {
            governing.abort();
        }
        let closed = running.edge.close().await;
        if let Some(exporter) = self.exporter {
            exporter.close().await;
        }
        let writer = self.writer;
        let _ = tokio::task::spawn_blocking(move || writer.close()).await;
        running.admin_stop.cancel();
        if let Some(admin) = admin {
            let _ = admin.await;
        }
        Ok(closed?)
    }
}

/// A step of an upgrade, where there is another process.
async fn said(
    line: Option<&Arc<Line>>,
    step: fn(&Line) -> Result<(), handover::Error>,
) -> Result<(), Error> {
    let Some(line) = line.cloned() else {
        return Ok(());
    };
    let said = tokio::task::spawn_blocking(move || step(&line)).await;
    said.map_err(|e| Error::Handover(io::Error::other(e).into()))?
        .map_err(Error::Handover)
}

/// Tells clients, and waits for what is under way.
async fn drain(running: &Running) {
    let shared = running.current.load_full();
    shared.draining.store(true, Relaxed);
    shared.drain.cancel();
    shared.tasks.close();
    let ended = tokio::time::timeout(shared.limits.drain, shared.tasks.wait()).await;
    if ended.is_err() {
        running.metrics.cut(Protocol::H1, Cut::Drain);
        tracing::warn!(
            connections = shared.tasks.len(),
            "cut off at the drain's deadline"
        );
    }
}

/// What the first connections get.
fn shared(
    config: &Config,
    service: Arc<Edge>,
    observer: Arc<Observer>,
    addrs: Addrs,
) -> Shared<Edge> {
    let limits = config.limits.clone();
    let ledger = Arc::clone(&service.store.ledger);
    let alt_svc = |https: SocketAddr| {
        HeaderValue::from_str(&format!("h3=\":{}\"; ma={ALT_SVC_MAX_AGE_S}", https.port())).ok()
    };
    Shared {
        service,
        observer,
        slots: Slots::new(limits.connections, limits.connections_per_client, ledger),
        limits,
        alt_svc: addrs.https.and_then(alt_svc),
        drain: CancellationToken::new(),
        draining: Arc::default(),
        tasks: TaskTracker::new(),
    }
}

/// Starts all accept loops.
fn accept_all<S: Service>(
    current: &Arc<Current<S>>,
    http: Vec<TcpListener>,
    https: Option<Secure>,
) {
    // Counted with the connections, so that the drain waits until all that was accepted is.
    let tasks = current.load().tasks.clone();
    for listener in http {
        tasks.spawn(tcp::serve(Arc::clone(current), listener, None));
    }
    let Some(secure) = https else { return };
    for listener in secure.listeners {
        let tls = Some(Arc::clone(&secure.tls));
        tasks.spawn(tcp::serve(Arc::clone(current), listener, tls));
    }
    secure.quic.start(current);
}

/// QUIC shards of a port: one for each of the runtime's threads.
fn shards() -> usize {
    tokio::runtime::Handle::current().metrics().num_workers()
}

impl Sockets {
    /// What a successor is handed.
    fn duplicates(&self) -> Result<Handed, Error> {
        let mut handed = Handed::default();
        let mut add = |role, sockets: &[TcpListener]| {
            let mut sockets = sockets.iter();
            sockets.try_for_each(|socket| handed.add(role, socket))
        };
        add(Role::Http, &self.http)
            .and_then(|()| add(Role::Admin, self.admin.as_slice()))
            .and_then(|()| {
                self.https
                    .as_ref()
                    .map_or(Ok(()), |s| add(Role::Https, &s.listeners))
            })
            .and_then(|()| {
                let mut udp = self.https.iter().flat_map(|secure| &secure.udp);
                udp.try_for_each(|socket| handed.add(Role::Quic, socket))
            })
            .map_err(|e| Error::Handover(e.into()))?;
        Ok(handed)
    }

    fn addrs(&self) -> Addrs {
        let of = |listener: Option<&TcpListener>| listener.and_then(|l| l.local_addr().ok());
        let secure = self.https.as_ref();
        Addrs {
            http: of(self.http.first()),
            https: of(secure.and_then(|secure| secure.listeners.first())),
            admin: of(self.admin.as_ref()),
        }
    }
}

/// Binds every address of the configuration.
fn open_sockets(
    config: &Config,
    certificate: Option<&Arc<tls::Certificate>>,
    handed: &mut Handed,
) -> Result<Sockets, Error> {
    let at = |address: SocketAddr| move |source| Error::Bind { address, source };
    let mut sockets = Sockets::default();
    let mut tcp = |role, address| match handed.tcp(role, address)? {
        none if none.is_empty() => bind::tcp(address, 1),
        handed => handed.into_iter().map(TcpListener::from_std).collect(),
    };
    if let Some(address) = config.http {
        sockets.http = tcp(Role::Http, address).map_err(at(address))?;
    }
    if let Some(address) = config.admin {
        sockets.admin = tcp(Role::Admin, address).map_err(at(address))?.pop();
    }
    if let (Some(address), Some(certificate)) = (config.https, certificate) {
        let tls = Arc::new(tls::server_config(certificate, &[b"h2", b"http/1.1"])?);
        let (listeners, udp) = secure_sockets(address, handed).map_err(at(address))?;
        let duplicates: io::Result<_> = udp.iter().map(std::net::UdpSocket::try_clone).collect();
        let duplicates = duplicates.map_err(at(address))?;
        let quic = h3::Listener::new(udp, certificate, &config.limits).map_err(at(address))?;
        sockets.https = Some(Secure {
            listeners,
            tls,
            quic,
            udp: duplicates,
        });
    }
    Ok(sockets)
}

/// TCP and UDP on one port, handed over or bound.
fn secure_sockets(
    address: SocketAddr,
    handed: &mut Handed,
) -> io::Result<(Vec<TcpListener>, Vec<std::net::UdpSocket>)> {
    let tcp = handed.tcp(Role::Https, address)?;
    // All of them: one that nobody reads from would still get its share of the clients.
    let udp = handed.udp(Role::Quic, address)?;
    let tcp: io::Result<Vec<_>> = tcp.into_iter().map(TcpListener::from_std).collect();
    let tcp = tcp?;
    match (tcp.first(), udp.first()) {
        (None, None) => bind::tcp_and_udp(address, shards()),
        (Some(bound), None) => {
            let udp = bind::udp(bound.local_addr()?, shards())?;
            Ok((tcp, udp))
        }
        (None, Some(bound)) => Ok((bind::tcp(bound.local_addr()?, 1)?, udp)),
        (Some(_), Some(_)) => Ok((tcp, udp)),
    }
}

/// The cache's part of the configuration.
fn settings(config: &Config) -> Result<Settings, Error> {
    let keyset = running::keyset(config)?;
    Ok(Settings {
        memory: config.memory,
        disk: config.disk.clone(),
        disk_size: config.disk_size,
        slice: config.slice,
        keyset: keyset.map(Arc::new),
        protect: config.protect.clone(),
        stale_if_error_s: config.stale_if_error.as_secs(),
        prefetch: config.prefetch,
        heuristic_percent: config.heuristic_freshness.percent,
        heuristic_cap_s: config.heuristic_freshness.cap.as_secs(),
        host_in_key: config.upstream_host == HostPolicy::Client,
        name: config.name.clone(),
    })
}
