//! New connections to an upstream: name, TCP, TLS, HTTP handshake, each under a deadline of its own.

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::{
    config::UpstreamLimits,
    resolve::Name,
    target::{Server, Speech},
};
use crate::exchange::{RequestBody, UpstreamError, UpstreamFault};

/// Largest response head.
const HEAD_MAX: usize = 64 << 10;

/// Fields of a response head.
const FIELDS_MAX: usize = 200;

/// Unread bytes of one HTTP/2 response.
const STREAM_WINDOW: u32 = 1 << 20;

/// Unread bytes of all responses on one HTTP/2 connection.
const CONNECTION_WINDOW: u32 = 8 << 20;

/// How long an address may take before the next is tried beside it (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);

/// A sender of requests.
pub(super) enum Sender {
    /// On HTTP/1.1.
    H1(http1::SendRequest<RequestBody>),
    /// On HTTP/2.
    H2(http2::SendRequest<RequestBody>),
}

/// How to reach one upstream.
pub(super) struct Connector {
    pub(super) name: Arc<Name>,
    speech: Speech,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    limits: UpstreamLimits,
}

/// TLS towards upstreams: public authorities, or those of `ca`.
///
/// # Errors
/// Where the file is unreadable or holds no authority.
pub(super) fn client_config(ca: Option<&Path>) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let certificates = CertificateDer::pem_file_iter(path).map_err(io::Error::other)?;
            for certificate in certificates {
                roots
                    .add(certificate.map_err(io::Error::other)?)
                    .map_err(io::Error::other)?;
            }
            if roots.is_empty() {
                return Err(io::Error::other("no certificate in it"));
            }
        }
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

impl Connector {
    /// To a server, under TLS where it is spoken.
    ///
    /// # Errors
    /// Where the host is no name that TLS can check.
    pub(super) fn new(
        name: Arc<Name>,
        server: &Server,
        tls: &Arc<ClientConfig>,
        limits: UpstreamLimits,
    ) -> io::Result<Self> {
        let tls = if server.speech == Speech::Tls {
            let name = ServerName::try_from(server.host.clone()).map_err(io::Error::other)?;
            Some((TlsConnector::from(Arc::clone(tls)), name))
        } else {
            None
        };
        Ok(Self {
            name,
            speech: server.speech,
            tls,
            limits,
        })
    }

    /// Whether connections may turn out to be HTTP/2.
    pub(super) fn may_share(&self) -> bool {
        self.speech != Speech::Http1
    }

    /// A fresh connection, and the address it goes to.
    ///
    /// # Errors
    /// [`UpstreamFault::Connect`], or [`UpstreamFault::Timeout`] with the phase that took too long.
    pub(super) async fn connect(&self) -> Result<(Sender, SocketAddr), UpstreamError> {
        let known = phase("resolving", self.limits.resolve, self.name.addresses()).await?;
        let tcp = phase("connecting", self.limits.connect, race(&known.current)).await?;
        let address = tcp.peer_addr().map_err(|e| failed("connecting", e))?;
        let sender = phase("the handshake", self.limits.tls, self.speak(tcp)).await?;
        Ok((sender, address))
    }

    async fn speak(&self, tcp: TcpStream) -> io::Result<Sender> {
        tcp.set_nodelay(true)?;
        let Some((connector, name)) = &self.tls else {
            return match self.speech {
                Speech::H2c => http2_on(TokioIo::new(tcp), self.limits.stall).await,
                _ => http1_on(TokioIo::new(tcp)).await,
            };
        };
        let tls = connector.connect(name.clone(), tcp).await?;
        if tls.get_ref().1.alpn_protocol() == Some(b"h2") {
            http2_on(TokioIo::new(tls), self.limits.stall).await
        } else {
            http1_on(TokioIo::new(tls)).await
        }
    }
}

/// Puts one phase under its deadline.
async fn phase<T>(
    what: &'static str,
    limit: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, UpstreamError> {
    match timeout(limit, work).await {
        Ok(done) => done.map_err(|e| failed(what, e)),
        Err(_) => Err(UpstreamError {
            fault: UpstreamFault::Timeout,
            retryable: true,
            detail: format!("{what} took longer than {limit:?}"),
        }),
    }
}

fn failed(what: &'static str, error: io::Error) -> UpstreamError {
    UpstreamError {
        fault: UpstreamFault::Connect,
        retryable: true,
        detail: format!("{what}: {error}"),
    }
}

/// The first of several addresses that answers. The next is tried where one fails, or beside it
/// where it is slow.
async fn race(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    // The usual case, without a set of futures.
    if let [only] = addresses {
        return TcpStream::connect(*only).await;
    }
    let mut rest = addresses.iter();
    let mut trying = FuturesUnordered::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        match rest.next() {
            Some(address) => trying.push(TcpStream::connect(*address)),
            None if trying.is_empty() => return Err(last),
            None => {}
        }
        let patience = async {
            match rest.len() {
                0 => std::future::pending().await,
                _ => tokio::time::sleep(STAGGER).await,
            }
        };
        tokio::select! {
            done = trying.next() => match done {
                Some(Ok(tcp)) => return Ok(tcp),
                Some(Err(e)) => last = e,
                None => {}
            },
            () = patience => {}
        }
    }
}

/// Puts HTTP/1.1 on a byte stream and its driver in a task, which ends with the connection.
async fn http1_on<I>(io: I) -> io::Result<Sender>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_headers(FIELDS_MAX)
        .max_buf_size(HEAD_MAX * 4)
        .handshake(io)
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(async move {
        if let Err(e) = connection.await {
            tracing::debug!(error = %e, "upstream connection");
        }
    });
    Ok(Sender::H1(sender))
}

/// Puts HTTP/2 on a byte stream. A connection on which nothing comes for `stall` while requests
/// wait is pinged, and given up where no answer comes in the same time.
async fn http2_on<I>(io: I, stall: Duration) -> io::Result<Sender>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEAD_MAX as u32)
        .keep_alive_interval(stall)
        .keep_alive_timeout(stall)
        .handshake(io)
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(async move {
        if let Err(e) = connection.await {
            tracing::debug!(error = %e, "upstream connection");
        }
    });
    Ok(Sender::H2(sender))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn the_next_address_is_tried_where_one_fails_or_is_slow() {
        let good = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = good.local_addr().unwrap();
        let refused = {
            let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            gone.local_addr().unwrap()
        };
        // A full backlog: further connections get no answer.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let silent = socket.listen(1).unwrap();
        let mute = silent.local_addr().unwrap();
        let mut full = Vec::new();
        while let Ok(Ok(tcp)) = timeout(Duration::from_millis(200), TcpStream::connect(mute)).await
        {
            full.push(tcp);
        }
        let tcp = race(&[mute, refused, address]).await.unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), address);
        assert!(race(&[refused, refused]).await.is_err());
        assert!(race(&[]).await.is_err());
    }
}
