//! HTTP/3 (RFC 9114) on quinn's QUIC state machine: an HTTP layer and a driver of our own, so that
//! every frame is bounded before it is held, bodies reach QUIC as the cache's own shared bytes, and
//! datagrams leave in batches as large as the kernel takes. One shard a core; connection IDs lead
//! datagrams to theirs.

mod answer;
mod cid;
mod connection;
mod error;
mod frame;
pub(crate) mod fuzzing;
mod incoming;
mod qpack;
mod shard;
mod socket;
mod static_table;
mod stream;
mod uni;
mod upload;
mod wakes;

use std::{
    io,
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use quinn_proto::{
    AckFrequencyConfig, Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig,
    TransportConfig, VarInt, congestion::CubicConfig, crypto::rustls::QuicServerConfig,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::{
    cid::{Routing, SHARDS_MAX},
    shard::{Forwarded, Shard},
    socket::Socket,
};
use super::{Current, tls};
use crate::{config::Limits, exchange::Service};

/// Name in ALPN.
pub(crate) const ALPN: &[u8] = b"h3";

/// Payload of our packets: 1,500 bytes on the wire under IPv6.
const MTU: u16 = 1_452;

/// Payload of packets where the path bears it: 1,500 bytes on the wire under IPv4. A probe finds out.
const MTU_MOST: u16 = 1_472;

/// Bytes sent before the first acknowledgement: one 64 KiB response and its head, where RFC 9002
/// suggests 14,720. A startup that waits for a second round trip is heard.
const INITIAL_WINDOW: u64 = 68 << 10;

/// Packets that a client which can be asked (draft-ietf-quic-ack-frequency) may receive before it
/// has to acknowledge them: a quarter of a 64 KiB response. By default every second is.
const ACK_EVERY: u32 = 12;

/// Longest idle time offered to clients: an idle QUIC connection costs more than a TCP one.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Unidirectional streams a client may have open: control, QPACK's two, and room for grease.
const UNI_STREAMS: u32 = 8;

/// Datagrams that may wait for a shard which other shards received.
const FORWARDED: usize = 1024;

/// HTTP/3 on a port: shards that share it, not yet running.
pub(crate) struct Listener {
    sockets: Vec<Socket>,
    common: Arc<Common>,
    receivers: Vec<mpsc::Receiver<Forwarded>>,
}

/// What the shards of a port share.
pub(crate) struct Common {
    routing: Routing,
    /// What new connections get.
    config: ArcSwap<ServerConfig>,
    forwards: Vec<mpsc::Sender<Forwarded>>,
    /// Handshakes under way.
    handshakes: Arc<AtomicUsize>,
    /// Cancelled when connections must close at once.
    close: CancellationToken,
    /// True once the sockets are another process's to read from.
    left: AtomicBool,
}

impl Common {
    /// Gives new connections another configuration.
    pub(crate) fn set_config(&self, config: ServerConfig) {
        self.config.store(Arc::new(config));
    }

    /// Closes all connections at once.
    pub(crate) fn close(&self) {
        self.close.cancel();
    }

    /// Reads nothing from the sockets any more, which are another process's from now on, and closes
    /// all connections: their packets would go there.
    pub(crate) fn leave(&self) {
        self.left.store(true, Relaxed);
        self.close.cancel();
    }
}

impl Listener {
    /// Serves HTTP/3 on those sockets, which share one port; a shard each.
    ///
    /// # Errors
    /// Where TLS or a socket can't be set up.
    pub(crate) fn new(
        sockets: Vec<UdpSocket>,
        certificate: &Arc<tls::Certificate>,
        limits: &Limits,
    ) -> io::Result<Self> {
        let config = server_config(certificate, limits)?;
        let sockets: Vec<_> = sockets
            .into_iter()
            .take(SHARDS_MAX)
            .map(Socket::new)
            .collect::<io::Result<_>>()?;
        let (forwards, receivers) = sockets.iter().map(|_| mpsc::channel(FORWARDED)).unzip();
        Ok(Self {
            sockets,
            common: Arc::new(Common {
                routing: Routing::default(),
                config: ArcSwap::from_pointee(config),
                forwards,
                handshakes: Arc::default(),
                close: CancellationToken::new(),
                left: AtomicBool::new(false),
            }),
            receivers,
        })
    }

    /// What steers the shards once they run.
    pub(crate) fn common(&self) -> Arc<Common> {
        Arc::clone(&self.common)
    }

    /// Starts the shards, each a task of the connections'. They run until a drain has left no
    /// connection, or all are closed.
    pub(crate) fn start<S: Service>(self, current: &Arc<Current<S>>) {
        let common = self.common;
        let reset_keys = Arc::new(EndpointConfig::default());
        let parts = self.sockets.into_iter().zip(self.receivers);
        for (number, (socket, forwarded)) in parts.enumerate() {
            let mut config = (*reset_keys).clone();
            let routing = common.routing.clone();
            config.cid_generator(move || routing.generator(number));
            let server = Some(common.config.load_full());
            // Path MTU discovery is per connection and on by default.
            let endpoint = Endpoint::new(Arc::new(config), server, true, None);
            let shard = Shard::new(
                Arc::clone(current),
                Arc::clone(&common),
                number,
                (socket, endpoint),
                forwarded,
            );
            current.load().tasks.spawn(shard.run());
        }
    }
}

/// What new connections get.
///
/// # Errors
/// Where TLS can't be set up.
pub(crate) fn server_config(
    certificate: &Arc<tls::Certificate>,
    limits: &Limits,
) -> io::Result<ServerConfig> {
    let tls = tls::server_config(certificate, &[ALPN]).map_err(io::Error::other)?;
    let crypto = QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport(limits)));
    config.max_incoming(limits.retry_above.saturating_mul(4).max(64));
    config.incoming_buffer_size(64 << 10);
    config.incoming_buffer_size_total(16 << 20);
    Ok(config)
}

fn transport(limits: &Limits) -> TransportConfig {
    let varint = |value: u64| VarInt::from_u64(value).unwrap_or(VarInt::MAX);
    let mut cubic = CubicConfig::default();
    cubic.initial_window(INITIAL_WINDOW);
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(ACK_EVERY));
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(MTU_MOST);
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(limits.streams.into())
        .max_concurrent_uni_streams(UNI_STREAMS.into())
        .stream_receive_window(varint(limits.h3_stream_window))
        .receive_window(varint(limits.h3_connection_window))
        .send_window(limits.h3_send_window)
        .max_idle_timeout(IdleTimeout::try_from(limits.idle.min(IDLE_MAX)).ok())
        .initial_mtu(MTU)
        .mtu_discovery_config(Some(mtu))
        .congestion_controller_factory(Arc::new(cubic))
        .ack_frequency_config(Some(acks))
        .datagram_receive_buffer_size(None)
        .enable_segmentation_offload(true);
    config
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
