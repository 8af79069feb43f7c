//! HTTP/3 (RFC 9114) on quinn: an HTTP layer of our own, so that every frame is bounded before it
//! is held, and bodies reach QUIC as the cache's own shared bytes.

mod connection;
mod error;
mod frame;
mod huffman;
mod qpack;
mod request;
mod static_table;

use std::{
    io,
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use quinn::{
    Endpoint, EndpointConfig, IdleTimeout, Incoming, ServerConfig, TokioRuntime, TransportConfig,
    VarInt, congestion::CubicConfig, crypto::rustls::QuicServerConfig,
};

use super::{Shared, slots::Slot, tls};
use crate::{
    config::Limits,
    exchange::{Protocol, Service},
    metrics::Cut,
};

/// Name in ALPN.
pub(crate) const ALPN: &[u8] = b"h3";

/// Payload of our packets: 1,500 bytes on the wire under IPv6.
const MTU: u16 = 1_452;

/// Bytes sent before the first acknowledgement: one 64 KiB response and its head, where RFC 9002
/// suggests 14,720. A startup that waits for a second round trip is heard.
const INITIAL_WINDOW: u64 = 68 << 10;

/// Longest idle time offered to clients: an idle QUIC connection costs more than a TCP one.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Unidirectional streams a client may have open: control, QPACK's two, and room for grease.
const UNI_STREAMS: u32 = 8;

/// Opens the QUIC endpoint on that socket.
///
/// # Errors
/// Where TLS or the socket can't be set up.
pub(crate) fn endpoint(
    socket: UdpSocket,
    certificate: &Arc<tls::Certificate>,
    limits: &Limits,
) -> io::Result<Endpoint> {
    let tls = tls::server_config(certificate, &[ALPN]).map_err(io::Error::other)?;
    let crypto = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport(limits)));
    config.max_incoming(limits.retry_above.saturating_mul(4).max(64));
    config.incoming_buffer_size(64 << 10);
    config.incoming_buffer_size_total(16 << 20);
    Endpoint::new(
        EndpointConfig::default(),
        Some(config),
        socket,
        Arc::new(TokioRuntime),
    )
}

fn transport(limits: &Limits) -> TransportConfig {
    let varint = |value: u64| VarInt::from_u64(value).unwrap_or(VarInt::MAX);
    let mut cubic = CubicConfig::default();
    cubic.initial_window(INITIAL_WINDOW);
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(limits.streams.into())
        .max_concurrent_uni_streams(UNI_STREAMS.into())
        .stream_receive_window(varint(limits.h3_stream_window))
        .receive_window(varint(limits.h3_connection_window))
        .send_window(limits.h3_send_window)
        .max_idle_timeout(IdleTimeout::try_from(limits.idle.min(IDLE_MAX)).ok())
        .initial_mtu(MTU)
        .congestion_controller_factory(Arc::new(cubic))
        .datagram_receive_buffer_size(None)
        .enable_segmentation_offload(true);
    config
}

/// Accepts connections until the drain begins; those accepted live on.
pub(crate) async fn serve<S: Service>(shared: Arc<Shared<S>>, endpoint: Endpoint) {
    let handshakes = Arc::new(AtomicUsize::new(0));
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            () = shared.drain.cancelled() => return,
        };
        let Some(incoming) = incoming else { return };
        if handshakes.load(Relaxed) >= shared.limits.retry_above && incoming.may_retry() {
            // Whoever forges addresses never sees the token.
            let _ = incoming.retry();
            continue;
        }
        let Some(slot) = shared.slots.take(incoming.remote_address().ip()) else {
            shared.observer.metrics.cut(Protocol::H3, Cut::Connections);
            incoming.refuse();
            continue;
        };
        let theirs = Arc::clone(&shared);
        let under_way = UnderWay::new(&handshakes);
        shared
            .tasks
            .spawn(async move { connection(theirs, incoming, slot, under_way).await });
    }
}

/// A handshake that is counted until dropped.
struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

async fn connection<S: Service>(
    shared: Arc<Shared<S>>,
    incoming: Incoming,
    slot: Slot,
    under_way: UnderWay,
) {
    let handshake = async { incoming.accept()?.await };
    match tokio::time::timeout(shared.limits.handshake, handshake).await {
        Ok(Ok(quic)) => {
            drop(under_way);
            connection::serve(shared, quic).await;
        }
        Ok(Err(_)) | Err(_) => shared.observer.metrics.cut(Protocol::H3, Cut::Handshake),
    }
    drop(slot);
}
