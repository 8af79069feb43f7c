//! A running edge in front of a running origin, and clients for it.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use edge::{Addrs, Config, Handle, Server, config::Limits};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tempfile::TempDir;
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// An edge that runs until dropped or drained.
pub(crate) struct Edge {
    pub(crate) addrs: Addrs,
    pub(crate) dir: TempDir,
    pub(crate) handle: Handle,
    cancel: CancellationToken,
    task: Option<JoinHandle<Result<(), edge::Error>>>,
}

/// Starts an edge on free ports, with everything open.
pub(crate) async fn edge(upstream: SocketAddr, adjust: impl FnOnce(&mut Config)) -> Edge {
    let dir = tempfile::tempdir().unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = Config {
        upstream: format!("http://{upstream}"),
        http: Some(any),
        https: Some(any),
        admin: Some(any),
        state_dir: dir.path().to_owned(),
        memory: 64 << 20,
        limits: Limits {
            drain_idle: Duration::from_millis(300),
            ..Limits::default()
        },
        ..Config::default()
    };
    adjust(&mut config);
    let server = Server::bind(config).await.unwrap();
    let addrs = server.addrs();
    let cancel = CancellationToken::new();
    let handle = server.handle();
    let task = tokio::spawn(server.run(cancel.clone()));
    Edge {
        addrs,
        dir,
        handle,
        cancel,
        task: Some(task),
    }
}

impl Edge {
    pub(crate) fn http(&self) -> SocketAddr {
        self.addrs.http.unwrap()
    }

    pub(crate) fn https(&self) -> SocketAddr {
        self.addrs.https.unwrap()
    }

    /// Begins the drain.
    pub(crate) fn drain(&self) {
        self.cancel.cancel();
    }

    /// Waits for the end of the drain.
    pub(crate) async fn ended(mut self) {
        self.task.take().unwrap().await.unwrap().unwrap();
    }

    /// The certificate it made for itself.
    pub(crate) fn roots(&self) -> rustls::RootCertStore {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.dir.path().join("dev-cert.pem")).unwrap())
            .unwrap();
        roots
    }

    /// TLS for a client that trusts this edge.
    pub(crate) fn client_tls(&self, protocol: &[u8]) -> rustls::ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        config
    }

    /// A TLS connection.
    pub(crate) async fn tls(&self, protocol: &[u8]) -> tokio_rustls::client::TlsStream<TcpStream> {
        let connector = tokio_rustls::TlsConnector::from(Arc::new(self.client_tls(protocol)));
        let tcp = TcpStream::connect(self.https()).await.unwrap();
        connector
            .connect(ServerName::try_from("localhost").unwrap(), tcp)
            .await
            .unwrap()
    }

    /// An HTTP/1.1 client over TLS.
    pub(crate) async fn h1(&self) -> Client {
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(self.tls(b"http/1.1").await))
                .await
                .unwrap();
        tokio::spawn(connection);
        Client::H1(sender)
    }

    /// An HTTP/1.1 client in the clear.
    pub(crate) async fn plain(&self) -> Client {
        plain(self.http()).await
    }

    /// An HTTP/2 client over TLS.
    pub(crate) async fn h2(&self) -> Client {
        let io = TokioIo::new(self.tls(b"h2").await);
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
            .await
            .unwrap();
        tokio::spawn(connection);
        Client::H2(sender)
    }

    /// An HTTP/2 client in the clear, by prior knowledge.
    pub(crate) async fn h2c(&self) -> Client {
        let io = TokioIo::new(TcpStream::connect(self.http()).await.unwrap());
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
            .await
            .unwrap();
        tokio::spawn(connection);
        Client::H2(sender)
    }

    /// Puts another configuration in force.
    pub(crate) async fn reload(&self, config: Config) -> Result<(), edge::Error> {
        let handle = self.handle.clone();
        tokio::task::spawn_blocking(move || handle.reload(config))
            .await
            .unwrap()
    }

    /// A TLS connection of a client that takes any certificate.
    pub(crate) async fn insecure_tls(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        let connector = tokio_rustls::TlsConnector::from(Arc::new(gullible(b"http/1.1")));
        let tcp = TcpStream::connect(self.https()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        connector.connect(name, tcp).await.unwrap()
    }

    /// A QUIC connection of a client that takes any certificate.
    pub(crate) async fn insecure_quic(&self) -> quinn::Connection {
        self.quic_with(gullible(b"h3")).await.0
    }

    /// A QUIC connection.
    pub(crate) async fn quic(&self) -> quinn::Connection {
        self.quic_with_endpoint().await.0
    }

    /// The same, with the endpoint that it is on.
    pub(crate) async fn quic_with_endpoint(&self) -> (quinn::Connection, quinn::Endpoint) {
        self.quic_with(self.client_tls(b"h3")).await
    }

    async fn quic_with(&self, tls: rustls::ClientConfig) -> (quinn::Connection, quinn::Endpoint) {
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
        let mut endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        let connecting = endpoint.connect(self.https(), "localhost").unwrap();
        (connecting.await.unwrap(), endpoint)
    }

    /// An HTTP/3 client: the `h3` crate, which shares no code with ours.
    pub(crate) async fn h3(&self) -> Client {
        let (mut driver, sender) = h3::client::new(h3_quinn::Connection::new(self.quic().await))
            .await
            .unwrap();
        tokio::spawn(async move { driver.wait_idle().await });
        Client::H3(sender)
    }

    /// The value of a metric.
    pub(crate) async fn metric(&self, line: &str) -> u64 {
        let mut admin = plain(self.addrs.admin.unwrap()).await;
        let text = admin.get("/metrics", &[]).await.text();
        let value = text
            .lines()
            .find_map(|l| l.strip_prefix(line)?.strip_prefix(' '));
        value
            .unwrap_or_else(|| panic!("{line} missing in\n{text}"))
            .parse()
            .unwrap()
    }

    /// A path below the edge's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// TLS for a client that takes any certificate.
fn gullible(protocol: &[u8]) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}

/// Takes any certificate, but checks that the server has its key.
#[derive(Debug)]
struct Anything(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let schemes = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// An HTTP/1.1 client of any server in the clear.
pub(crate) async fn plain(address: SocketAddr) -> Client {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    Client::H1(sender)
}

/// A client of one connection.
pub(crate) enum Client {
    H1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    H2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
    H3(h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>),
}

/// A response, whole.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

impl Got {
    pub(crate) fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.get(name).map(|v| v.to_str().unwrap())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }
}

impl Client {
    pub(crate) async fn get(&mut self, target: &str, fields: &[(&str, &str)]) -> Got {
        self.send("GET", target, fields, "").await.unwrap()
    }

    /// Sends a request; the error is text, since each protocol has its own.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Got, String> {
        let text = |e: &dyn std::fmt::Debug| format!("{e:?}");
        let uri = match self {
            Self::H1(_) => target.to_owned(),
            _ => format!("https://localhost{target}"),
        };
        let mut request = Request::builder().method(method).uri(uri);
        if matches!(self, Self::H1(_)) {
            request = request.header(header::HOST, "localhost");
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let body: Bytes = body.into();
        let response: Response<Incoming> = match self {
            Self::H1(sender) => {
                sender.ready().await.map_err(|e| text(&e))?;
                sender
                    .send_request(request.body(Full::new(body)).unwrap())
                    .await
                    .map_err(|e| text(&e))?
            }
            Self::H2(sender) => {
                sender.ready().await.map_err(|e| text(&e))?;
                sender
                    .send_request(request.body(Full::new(body)).unwrap())
                    .await
                    .map_err(|e| text(&e))?
            }
            Self::H3(sender) => {
                let mut stream = sender
                    .send_request(request.body(()).unwrap())
                    .await
                    .map_err(|e| text(&e))?;
                if !body.is_empty() {
                    stream.send_data(body).await.map_err(|e| text(&e))?;
                }
                stream.finish().await.map_err(|e| text(&e))?;
                let mut head = stream.recv_response().await.map_err(|e| text(&e))?;
                while head.status().is_informational() {
                    head = stream.recv_response().await.map_err(|e| text(&e))?;
                }
                let (parts, ()) = head.into_parts();
                let mut body = Vec::new();
                while let Some(mut data) = stream.recv_data().await.map_err(|e| text(&e))? {
                    use bytes::Buf;
                    body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
                }
                let trailers = stream.recv_trailers().await.map_err(|e| text(&e))?;
                return Ok(Got {
                    status: parts.status,
                    headers: parts.headers,
                    body: body.into(),
                    trailers: trailers.unwrap_or_default(),
                });
            }
        };
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|e| text(&e))?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok(Got {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
            trailers,
        })
    }
}

/// An origin's answer.
pub(crate) type Answer = Response<BoxBody<Bytes, std::io::Error>>;

/// An origin that runs until the test ends.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<AtomicUsize>,
}

/// Starts an origin.
pub(crate) async fn origin<F, A>(answer: F) -> Origin
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (answer, count) = (answer.clone(), Arc::clone(&count));
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request| {
                    count.fetch_add(1, SeqCst);
                    let answer = answer(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let mut start = [0; 4];
                if matches!(tcp.peek(&mut start).await, Ok(4)) && start == *b"PRI " {
                    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(tcp), service)
                        .await;
                    return;
                }
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(tcp), service)
                    .await;
            });
        }
    });
    Origin { address, requests }
}

/// An answer with a body in memory.
pub(crate) fn answer(
    status: u16,
    fields: &[(&'static str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let mut response = Response::new(Full::new(body.into()).map_err(|e| match e {}).boxed());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in fields {
        response
            .headers_mut()
            .append(*name, HeaderValue::from_str(value).unwrap());
    }
    response
}

/// Bytes that differ at every offset one could confuse.
pub(crate) fn pattern(length: usize) -> Bytes {
    (0..length)
        .map(|i| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0])
        .collect()
}

/// An origin of one immutable object at every path, with ranges.
pub(crate) async fn object_origin(object: Bytes) -> Origin {
    origin(move |request| {
        let object = object.clone();
        async move {
            let base = [
                ("etag", "\"v1\""),
                ("cache-control", "public, max-age=3600"),
                ("accept-ranges", "bytes"),
            ];
            let total = object.len();
            let range = request
                .headers()
                .get(header::RANGE)
                .and_then(|r| r.to_str().ok()?.strip_prefix("bytes="));
            let Some((start, end)) = range.and_then(|r| r.split_once('-')) else {
                return answer(200, &base, object);
            };
            let end = end
                .parse::<usize>()
                .map_or(total, |end| (end + 1).min(total));
            let start = start.parse::<usize>().unwrap_or(0);
            if start >= end {
                return answer(416, &[("content-range", &format!("bytes */{total}"))], "");
            }
            let range = format!("bytes {start}-{}/{total}", end - 1);
            answer(
                206,
                &[&base[..], &[("content-range", &range)]].concat(),
                object.slice(start..end),
            )
        }
    })
    .await
}
