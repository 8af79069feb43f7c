//! Sockets: TCP listeners that share a port between accept loops, and UDP beside them.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections the kernel may hold ready for us.
pub(super) const BACKLOG: i32 = 4096;

/// Kernel buffers of a UDP socket: about 50 ms of 1 Gbit/s each way.
const UDP_BUFFER: usize = 7 << 20;

/// Attempts to find a port that is free for TCP and UDP.
const PORT_ATTEMPTS: usize = 64;

/// `count` TCP listeners on one address; with port 0, all on the port the first was given.
///
/// # Errors
/// Where the address can't be bound.
pub(crate) fn tcp(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let first = tcp_one(address, count > 1)?;
    let address = first.local_addr()?;
    let mut all = vec![first];
    for _ in 1..count {
        all.push(tcp_one(address, true)?);
    }
    Ok(all)
}

fn tcp_one(address: SocketAddr, share: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if share {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// `count` UDP sockets on one address, among which the kernel spreads clients.
///
/// # Errors
/// Where the address can't be bound.
pub(crate) fn udp(address: SocketAddr, count: usize) -> io::Result<Vec<std::net::UdpSocket>> {
    let first = udp_one(address, count > 1)?;
    let address = first.local_addr()?;
    let mut all = vec![first];
    for _ in 1..count {
        all.push(udp_one(address, true)?);
    }
    Ok(all)
}

fn udp_one(address: SocketAddr, share: bool) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_nonblocking(true)?;
    // Best effort: the kernel caps them at its own limits.
    let _ = socket.set_recv_buffer_size(UDP_BUFFER);
    let _ = socket.set_send_buffer_size(UDP_BUFFER);
    if share {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A TCP listener, and `shards` UDP sockets, on one port.
///
/// # Errors
/// Where the address can't be bound, or no port is free for both.
pub(crate) fn tcp_and_udp(
    address: SocketAddr,
    shards: usize,
) -> io::Result<(Vec<TcpListener>, Vec<std::net::UdpSocket>)> {
    let mut last = None;
    for _ in 0..PORT_ATTEMPTS {
        let listeners = tcp(address, 1)?;
        let bound = listeners[0].local_addr()?;
        match udp(bound, shards) {
            Ok(sockets) => return Ok((listeners, sockets)),
            Err(e) if address.port() == 0 && e.kind() == io::ErrorKind::AddrInUse => last = Some(e),
            Err(e) => return Err(e),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}
