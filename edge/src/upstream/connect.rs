//! New connections to an upstream: name, TCP, TLS, HTTP handshake, all under one deadline.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::exchange::RequestBody;

/// Largest response head.
const HEAD_MAX: usize = 64 << 10;

/// Fields of a response head.
const FIELDS_MAX: usize = 200;

/// How to reach one upstream.
pub(super) struct Connector {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
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
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

impl Connector {
    /// To `host:port`, under TLS where a configuration is given.
    ///
    /// # Errors
    /// Where the host is no name that TLS can check.
    pub(super) fn new(host: &str, port: u16, tls: Option<ClientConfig>) -> io::Result<Self> {
        // A URI writes IPv6 addresses in brackets; resolvers and TLS don't.
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let tls = match tls {
            Some(config) => {
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                Some((TlsConnector::from(Arc::new(config)), name))
            }
            None => None,
        };
        Ok(Self { host, port, tls })
    }

    /// A fresh connection. The name is resolved anew each time, and each address tried in turn.
    ///
    /// # Errors
    /// The last address's failure.
    pub(super) async fn connect(&self) -> io::Result<SendRequest<RequestBody>> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in tokio::net::lookup_host((self.host.as_str(), self.port)).await? {
            match self.connect_to(address).await {
                Ok(sender) => return Ok(sender),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    async fn connect_to(&self, address: SocketAddr) -> io::Result<SendRequest<RequestBody>> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        match &self.tls {
            None => handshake(TokioIo::new(tcp)).await,
            Some((connector, name)) => {
                let tls = connector.connect(name.clone(), tcp).await?;
                handshake(TokioIo::new(tls)).await
            }
        }
    }
}

/// Puts HTTP/1.1 on a byte stream and its driver in a task, which ends with the connection.
async fn handshake<I>(io: I) -> io::Result<SendRequest<RequestBody>>
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
    Ok(sender)
}
