//! HTTP/1.1 and HTTP/2 by hyper, with or without TLS.

use std::{error::Error as _, time::Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
    rt::{Read, Write},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Ask, Failure, Got, Receiving, tls};
use crate::target::Target;

pub(super) type H1 = http1::SendRequest<Empty<Bytes>>;
pub(super) type H2 = http2::SendRequest<Empty<Bytes>>;

/// HTTP/2 windows that never make the server wait for us: a stream's and the connection's.
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;

async fn connect(target: &Target) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(target.address)
        .await
        .with_context(|| target.address.to_string())?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn secure(
    target: &Target,
    config: &std::sync::Arc<rustls::ClientConfig>,
) -> anyhow::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let name = ServerName::try_from(target.host.clone())?;
    let stream = TlsConnector::from(config.clone())
        .connect(name, connect(target).await?)
        .await?;
    let agreed = stream.get_ref().1.alpn_protocol();
    let wanted = config.alpn_protocols.first().map(Vec::as_slice);
    // Without ALPN a server means HTTP/1.1.
    ensure!(
        agreed == wanted || agreed.is_none() && wanted == Some(b"http/1.1"),
        "the server does not speak this HTTP version"
    );
    Ok(stream)
}

pub(super) async fn dial_h1(target: &Target, tls: Option<&tls::Configs>) -> anyhow::Result<H1> {
    match tls {
        Some(tls) => handshake_h1(TokioIo::new(secure(target, &tls.h1).await?)).await,
        None => handshake_h1(TokioIo::new(connect(target).await?)).await,
    }
}

async fn handshake_h1(io: impl Read + Write + Unpin + Send + 'static) -> anyhow::Result<H1> {
    let (sender, connection) = http1::Builder::new().handshake(io).await?;
    // Ends with its sender; what goes wrong on it, the request at hand reports.
    tokio::spawn(connection);
    Ok(sender)
}

pub(super) async fn dial_h2(target: &Target, tls: Option<&tls::Configs>) -> anyhow::Result<H2> {
    match tls {
        Some(tls) => handshake_h2(TokioIo::new(secure(target, &tls.h2).await?)).await,
        None => handshake_h2(TokioIo::new(connect(target).await?)).await,
    }
}

async fn handshake_h2(io: impl Read + Write + Unpin + Send + 'static) -> anyhow::Result<H2> {
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake(io)
        .await?;
    tokio::spawn(connection);
    Ok(sender)
}

pub(super) async fn exchange_h1(
    h1: &mut H1,
    request: Request<()>,
    ask: &Ask,
    started: Instant,
) -> Result<Got, Failure> {
    h1.ready().await.map_err(|_| Failure::Closed)?;
    let answer = h1.try_send_request(request.map(|()| Empty::new())).await;
    receive(answer.map_err(unsent)?, ask, started).await
}

pub(super) async fn exchange_h2(
    h2: &mut H2,
    request: Request<()>,
    ask: &Ask,
    started: Instant,
) -> Result<Got, Failure> {
    h2.ready().await.map_err(|_| Failure::Closed)?;
    let answer = h2.try_send_request(request.map(|()| Empty::new())).await;
    receive(answer.map_err(unsent)?, ask, started).await
}

async fn receive(
    answer: http::Response<Incoming>,
    ask: &Ask,
    started: Instant,
) -> Result<Got, Failure> {
    let mut receiving = Receiving::new(ask, answer.status(), answer.headers(), started);
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame.map_err(broken)?.data_ref() {
            receiving.data(data);
        }
    }
    receiving.end()
}

/// The failure of a request that got no answer: one that comes back was not sent at all.
fn unsent(mut error: TrySendError<Request<Empty<Bytes>>>) -> Failure {
    if error.take_message().is_some() {
        return Failure::Closed;
    }
    let error = error.into_error();
    if is_unprocessed(&error) {
        return Failure::Closed;
    }
    broken(error)
}

/// Whether an HTTP/2 server says that it has not looked at the request (RFC 9113 §8.7): it may go on
/// another connection. Streams below the number in a GOAWAY are answered and don't come here.
fn is_unprocessed(error: &hyper::Error) -> bool {
    let told = error.source().and_then(|e| e.downcast_ref::<h2::Error>());
    told.is_some_and(|e| {
        e.is_remote()
            && (e.reason() == Some(h2::Reason::REFUSED_STREAM)
                || e.is_go_away() && e.reason() == Some(h2::Reason::NO_ERROR))
    })
}

fn broken(error: hyper::Error) -> Failure {
    Failure::Broken(error.to_string())
}
