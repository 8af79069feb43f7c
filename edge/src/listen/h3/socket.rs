//! A shard's UDP socket: datagrams in by batches with GRO, out by batches with GSO.

use std::{
    io::{self, IoSliceMut},
    net::SocketAddr,
    task::{Context, Poll},
};

use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use tokio::{io::Interest, net::UdpSocket};

/// Bytes one receive can bring for each of a batch: what GRO may join.
const JOINED: usize = 64 << 10;

/// Most bytes of one transmit: an IP packet's, before the kernel cuts it up.
const TRANSMIT_MAX: usize = 65_000;

/// A socket.
pub(super) struct Socket {
    udp: UdpSocket,
    state: UdpSocketState,
    buffer: Box<[u8]>,
}

/// A datagram as received.
pub(super) struct Datagram<'a> {
    pub(super) from: SocketAddr,
    pub(super) local_ip: Option<std::net::IpAddr>,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) bytes: &'a [u8],
}

impl Socket {
    /// Takes over a bound socket. Inside a tokio runtime.
    ///
    /// # Errors
    /// Where the kernel refuses an option that QUIC needs.
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let udp = UdpSocket::from_std(socket)?;
        let state = UdpSocketState::new((&udp).into())?;
        let joined = if state.gro_segments() > 1 {
            JOINED
        } else {
            2 << 10
        };
        Ok(Self {
            udp,
            state,
            buffer: vec![0; joined * BATCH_SIZE].into(),
        })
    }

    /// Datagrams a transmit may hold, each of at most `mtu` bytes.
    pub(super) fn segments(&self, mtu: u16) -> usize {
        let fit = TRANSMIT_MAX / usize::from(mtu.max(1));
        self.state.max_gso_segments().min(fit).max(1)
    }

    /// Hands over a batch of datagrams. Pending where there is none.
    pub(super) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(Datagram<'_>),
    ) -> Poll<io::Result<()>> {
        loop {
            if self.udp.poll_recv_ready(cx)?.is_pending() {
                return Poll::Pending;
            }
            let mut metas = [RecvMeta::default(); BATCH_SIZE];
            let each = self.buffer.len() / BATCH_SIZE;
            let mut parts = self.buffer.chunks_mut(each).map(IoSliceMut::new);
            let mut bufs: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| parts.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
            let (udp, state) = (&self.udp, &self.state);
            let received = udp.try_io(Interest::READABLE, || {
                state.recv(udp.into(), &mut bufs, &mut metas)
            });
            let count = match received {
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
                // An earlier datagram of ours was refused: of no interest to QUIC.
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => continue,
                Err(e) => return Poll::Ready(Err(e)),
            };
            for (meta, buf) in metas[..count].iter().zip(&bufs) {
                for bytes in buf[..meta.len].chunks(meta.stride.max(1)) {
                    take(Datagram {
                        from: meta.addr,
                        local_ip: meta.dst_ip,
                        ecn: meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
                        bytes,
                    });
                }
            }
            return Poll::Ready(Ok(()));
        }
    }

    /// Sends what QUIC wants sent; false where the socket takes nothing for now. Whatever else
    /// fails is as good as lost on the way.
    pub(super) fn send(&self, transmit: &Transmit, contents: &[u8]) -> bool {
        let transmit = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: transmit
                .ecn
                .and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
            contents: &contents[..transmit.size.min(contents.len())],
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        let sent = self.udp.try_io(Interest::WRITABLE, || {
            self.state.send((&self.udp).into(), &transmit)
        });
        !sent.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the socket takes something again.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> bool {
        self.udp.poll_send_ready(cx).is_ready()
    }
}
