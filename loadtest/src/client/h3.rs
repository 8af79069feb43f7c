//! HTTP/3 by quinn and h3.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::{Buf, Bytes};
use http::Request;
use quinn::crypto::rustls::QuicClientConfig;

use super::{Ask, Failure, Got, Receiving, tls};
use crate::target::Target;

pub(super) type H3 = h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;

/// Flow-control windows that never make the server wait for us: a stream's and the connection's.
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;

/// A socket for all connections of a run.
pub(super) fn endpoint(target: SocketAddr, tls: &tls::Configs) -> anyhow::Result<quinn::Endpoint> {
    let local: SocketAddr = if target.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0; 16], 0).into()
    };
    let mut endpoint = quinn::Endpoint::client(local).context("no UDP socket")?;
    let crypto = QuicClientConfig::try_from((*tls.h3).clone())?;
    let mut transport = quinn::TransportConfig::default();
    transport
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .keep_alive_interval(Some(Duration::from_secs(10)));
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

pub(super) async fn dial(endpoint: &quinn::Endpoint, target: &Target) -> anyhow::Result<H3> {
    let connection = endpoint.connect(target.address, &target.host)?.await?;
    let (mut driver, sender) = h3::client::new(h3_quinn::Connection::new(connection)).await?;
    tokio::spawn(async move { driver.wait_idle().await });
    Ok(sender)
}

pub(super) async fn exchange(
    h3: &mut H3,
    request: Request<()>,
    ask: &Ask,
    started: Instant,
) -> Result<Got, Failure> {
    let mut stream = h3
        .send_request(request)
        .await
        .map_err(|_| Failure::Closed)?;
    // A server may answer whole before our end reaches it, and ask for no more (RFC 9114 §4.1):
    // whether it did, its answer tells.
    let _ = stream.finish().await;
    let mut answer = stream.recv_response().await.map_err(broken)?;
    while answer.status().is_informational() {
        answer = stream.recv_response().await.map_err(broken)?;
    }
    let mut receiving = Receiving::new(ask, answer.status(), answer.headers(), started);
    while let Some(mut data) = stream.recv_data().await.map_err(broken)? {
        while data.has_remaining() {
            let chunk = data.chunk();
            let len = chunk.len();
            receiving.data(chunk);
            data.advance(len);
        }
    }
    receiving.end()
}

fn broken(error: h3::error::StreamError) -> Failure {
    Failure::Broken(error.to_string())
}
