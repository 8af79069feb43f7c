//! A server with one object and a small catalogue, over every protocol, that can be told to lie.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Frame, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;

/// How the server misbehaves, on every third range of more than one byte.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    None,
    Status,
    WrongRange,
    WrongBytes,
    CutOff,
    Hang,
    /// Every answer takes 20 ms.
    Slow,
}

type Body = BoxBody<Bytes, std::io::Error>;

pub(crate) struct Server {
    http: SocketAddr,
    https: SocketAddr,
    certificate: tempfile::NamedTempFile,
}

struct Site {
    object: Bytes,
    fault: Fault,
    ranges: AtomicU64,
}

impl Server {
    pub(crate) async fn start(fault: Fault) -> Self {
        let site = Arc::new(Site {
            object: rendition(),
            fault,
            ranges: AtomicU64::new(0),
        });
        let key = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let certificate = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(certificate.path(), key.cert.pem()).unwrap();
        let tls = |protocols: &[&str]| {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
            let chain = vec![CertificateDer::from(key.cert.der().to_vec())];
            let builder = rustls::ServerConfig::builder_with_provider(provider);
            let builder = builder
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth();
            let mut config = builder.with_single_cert(chain, private).unwrap();
            config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
            config
        };
        let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let secure = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (http, https) = (plain.local_addr().unwrap(), secure.local_addr().unwrap());
        let quic = quinn::crypto::rustls::QuicServerConfig::try_from(tls(&["h3"])).unwrap();
        let endpoint =
            quinn::Endpoint::server(quinn::ServerConfig::with_crypto(Arc::new(quic)), https)
                .unwrap();
        tokio::spawn(serve_h3(endpoint, site.clone()));
        tokio::spawn(serve_tcp(plain, None, site.clone()));
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls(&["h2", "http/1.1"])));
        tokio::spawn(serve_tcp(secure, Some(acceptor), site));
        Self {
            http,
            https,
            certificate,
        }
    }

    pub(crate) fn http(&self) -> String {
        format!("http://{}", self.http)
    }

    pub(crate) fn https(&self) -> String {
        format!("https://{}", self.https)
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.certificate.path().to_owned()
    }
}

async fn serve_tcp(listener: TcpListener, tls: Option<tokio_rustls::TlsAcceptor>, site: Arc<Site>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, site) = (tls.clone(), site.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let site = site.clone();
                async move { Ok::<_, Infallible>(site.answer(&request.map(|_| ())).await) }
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            match tls {
                None => drop(
                    builder
                        .serve_connection(TokioIo::new(stream), service)
                        .await,
                ),
                Some(tls) => {
                    let Ok(stream) = tls.accept(stream).await else {
                        return;
                    };
                    drop(
                        builder
                            .serve_connection(TokioIo::new(stream), service)
                            .await,
                    );
                }
            }
        });
    }
}

async fn serve_h3(endpoint: quinn::Endpoint, site: Arc<Site>) {
    while let Some(incoming) = endpoint.accept().await {
        let site = site.clone();
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else {
                return;
            };
            let Ok(mut connection) =
                h3::server::Connection::<_, Bytes>::new(h3_quinn::Connection::new(connection))
                    .await
            else {
                return;
            };
            while let Ok(Some(resolver)) = connection.accept().await {
                let site = site.clone();
                tokio::spawn(async move {
                    let Ok((request, mut stream)) = resolver.resolve_request().await else {
                        return;
                    };
                    let (head, body) = site.answer(&request).await.into_parts();
                    let body = body
                        .collect()
                        .await
                        .map(|b| b.to_bytes())
                        .unwrap_or_default();
                    let _ = stream.send_response(Response::from_parts(head, ())).await;
                    let _ = stream.send_data(body).await;
                    let _ = stream.finish().await;
                });
            }
        });
    }
}

impl Site {
    async fn answer(&self, request: &Request<()>) -> Response<Body> {
        if self.fault == Fault::Slow {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let path = request.uri().path();
        let path = path.strip_prefix("/~secret").unwrap_or(path);
        match path {
            "/object" | "/media/t/r/opus-96.mp4" => self.object(request.headers()).await,
            "/api/v1/session" => {
                json(r#"{"token":"secret","expires_at":9999999999,"prefix":"/~secret"}"#)
            }
            "/api/v1/albums" => json(r#"{"albums":[{"id":"a","title":"x"}]}"#),
            "/api/v1/albums/a" => json(&format!(
                r#"{{"id":"a","tracks":[{{"id":"t","renditions":[{{"id":"opus-96","url":"/media/t/r/opus-96.mp4",
                "bytes":{},"start_bytes":{}}}]}}]}}"#,
                self.object.len(),
                INDEX_END + 2 * 8000,
            )),
            _ => status(StatusCode::NOT_FOUND),
        }
    }

    async fn object(&self, headers: &HeaderMap) -> Response<Body> {
        let size = self.object.len();
        let Some(range) = headers.get("range") else {
            return Response::new(full(self.object.clone()));
        };
        let (first, last) = range
            .to_str()
            .unwrap()
            .strip_prefix("bytes=")
            .unwrap()
            .split_once('-')
            .unwrap();
        let first: usize = first.parse().unwrap();
        let last = last.parse::<usize>().unwrap().min(size - 1);
        let mut bytes = self.object.slice(first..=last);
        let third = last > first && self.ranges.fetch_add(1, Ordering::Relaxed) % 3 == 2;
        let mut told = first;
        match self.fault {
            Fault::Status if third => return status(StatusCode::SERVICE_UNAVAILABLE),
            Fault::WrongRange if third => told = first + 1,
            Fault::WrongBytes if third => bytes = bytes.iter().map(|b| b ^ 1).collect(),
            Fault::Hang if third => std::future::pending().await,
            _ => {}
        }
        let length = bytes.len();
        let body = if self.fault == Fault::CutOff && third {
            let part = bytes.slice(..length / 2);
            let frames = [Ok(Frame::data(part)), Err(std::io::Error::other("cut off"))];
            BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))
        } else {
            full(bytes)
        };
        Response::builder()
            .status(StatusCode::PARTIAL_CONTENT)
            .header("content-range", format!("bytes {told}-{last}/{size}"))
            .header("content-length", length)
            .header("cache-status", "origin; fwd=miss, edge; hit; ttl=60")
            .body(body)
            .unwrap()
    }
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

fn json(text: &str) -> Response<Body> {
    Response::new(full(Bytes::copy_from_slice(text.as_bytes())))
}

fn status(status: StatusCode) -> Response<Body> {
    Response::builder()
        .status(status)
        .body(full(Bytes::new()))
        .unwrap()
}

/// Segments of the object: ten of a second and 8,000 bytes each.
const SEGMENTS: usize = 10;
/// Where the index ends: `ftyp`, and a `sidx` of 32 bytes and 12 for each segment.
const INDEX_END: usize = 8 + 32 + 12 * SEGMENTS;

/// A file with an index that players can follow; its sound is noise.
fn rendition() -> Bytes {
    let mut file = [&8u32.to_be_bytes()[..], b"ftyp"].concat();
    file.extend((32 + 12 * SEGMENTS as u32).to_be_bytes());
    file.extend(b"sidx");
    for field in [0, 1, 48_000, 0, 0, SEGMENTS as u32] {
        file.extend(u32::to_be_bytes(field));
    }
    for _ in 0..SEGMENTS {
        file.extend(
            [8000u32, 48_000, 0x9000_0000]
                .map(u32::to_be_bytes)
                .concat(),
        );
    }
    assert_eq!(file.len(), INDEX_END);
    file.extend((0..SEGMENTS * 8000).map(|i| (i * 31 % 251) as u8));
    file.into()
}
