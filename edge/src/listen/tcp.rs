//! TCP: accept loops, TLS handshakes, and HTTP/1.1 or HTTP/2 on what comes of them.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::FutureExt;
use rustls::{ServerConfig, ServerConnection};
use socket2::SockRef;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{
    Current, Shared,
    bind::BACKLOG,
    guard::Guard,
    h1,
    h2::{self, PREFACE},
    slots::Slot,
    vitals::{End, Vitals, Watched},
    wire::{Blocking, Wire},
};
use crate::{
    exchange::{Protocol, Service},
    metrics::Cut,
};

/// Pause after `accept` failed for want of descriptors or memory, so that the loop doesn't spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bytes that the kernel takes of a connection before it has sent them: one 64 KiB response and
/// what goes with it. Without a bound it takes megabytes for a reader that is slow.
const UNSENT: u32 = 128 << 10;

/// Serves a TCP socket until the drain begins: TLS where `tls` is given, else in the clear.
pub(crate) async fn serve<S: Service>(
    current: Arc<Current<S>>,
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
) {
    let drain = current.load().drain.clone();
    // Connections inherit it.
    let _ = SockRef::from(&listener).set_tcp_notsent_lowat(UNSENT);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.cancelled() => break,
        };
        match accepted {
            Ok((tcp, peer)) => begin(&current, tcp, peer, tls.clone()),
            Err(e) if gone_again(&e) => {}
            Err(e) => {
                tracing::warn!(error = %e, "accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Clients that the kernel has let in already would be reset.
    for _ in 0..BACKLOG {
        match listener.accept().now_or_never() {
            Some(Ok((tcp, peer))) => begin(&current, tcp, peer, tls.clone()),
            Some(Err(e)) if gone_again(&e) => {}
            Some(Err(_)) | None => return,
        }
    }
}

/// Serves what was accepted, if its client may have one more connection.
fn begin<S: Service>(
    current: &Current<S>,
    tcp: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
) {
    let shared = current.load_full();
    let Some(slot) = shared.slots.take(peer.ip()) else {
        return shared.observer.metrics.cut(Protocol::H1, Cut::Connections);
    };
    let _ = tcp.set_nodelay(true);
    let tasks = shared.tasks.clone();
    tasks.spawn(async move { connection(shared, tcp, peer, tls, slot).await });
}

/// Whether `accept` failed since the client left before it.
fn gone_again(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// One connection from its first byte to its end.
async fn connection<S: Service>(
    shared: Arc<Shared<S>>,
    mut tcp: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    slot: Slot,
) {
    let limits = &shared.limits;
    let secure = tls.is_some();
    let (protocol, tls, prefix) = if let Some(config) = tls {
        match timeout(limits.handshake, handshake(&mut tcp, config)).await {
            Ok(Ok(tls)) if tls.alpn_protocol() == Some(b"h2") => {
                (Protocol::H2, Some(tls), Vec::new())
            }
            Ok(Ok(tls)) => (Protocol::H1, Some(tls), Vec::new()),
            Ok(Err(_)) | Err(_) => {
                return shared.observer.metrics.cut(Protocol::H1, Cut::Handshake);
            }
        }
    } else {
        // An idle connection may stay silent until its first request; from its first byte on, the
        // connection's own timeouts run. That a socket is said to be readable doesn't mean that a
        // byte is there.
        let mut byte = [0];
        let silent = timeout(limits.idle, tcp.peek(&mut byte));
        let drained = async {
            shared.drain.cancelled().await;
            tokio::time::sleep(limits.drain_idle).await;
        };
        let spoke = tokio::select! { spoke = silent => spoke, () = drained => return };
        match spoke {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) => return,
            Err(_) => return shared.observer.metrics.cut(Protocol::H1, Cut::Idle),
        }
        match timeout(limits.header, find_protocol(&mut tcp)).await {
            Ok(Some((protocol, prefix))) => (protocol, None, prefix),
            Ok(None) => return,
            Err(_) => return shared.observer.metrics.cut(Protocol::H1, Cut::Header),
        }
    };
    let vitals = Arc::new(Vitals::new(protocol == Protocol::H1));
    let guard = (protocol == Protocol::H2).then(|| Guard::new(limits));
    let wire = match tls {
        Some(tls) => Wire::tls(tcp, tls, Arc::clone(&vitals), guard),
        None => Wire::clear(tcp, prefix, Arc::clone(&vitals), guard),
    };
    shared.observer.metrics.connection_opened(protocol);
    match protocol {
        Protocol::H2 => {
            let connection = h2::Connection::new(&shared, &wire, &vitals, (peer, secure));
            let drain: fn(&mut h2::Connection<S>) = h2::Connection::drain;
            watch(&shared, wire, vitals, connection, Some(drain)).await;
        }
        _ => {
            let connection = h1::Connection::new(&shared, &wire, &vitals, (peer, secure));
            watch(&shared, wire, vitals, connection, None).await;
        }
    }
    shared.observer.metrics.connection_closed(protocol);
    drop(slot);
}

/// Completes the TLS handshake. The tickets it ends with leave with the first response.
async fn handshake(
    tcp: &mut TcpStream,
    config: Arc<ServerConfig>,
) -> io::Result<Box<ServerConnection>> {
    let mut tls = Box::new(ServerConnection::new(config).map_err(io::Error::other)?);
    // The wire stages plaintext itself and stops at its own bounds.
    tls.set_buffer_limit(None);
    poll_fn(|cx| handshake_step(&mut tls, tcp, cx)).await?;
    Ok(tls)
}

fn handshake_step(
    tls: &mut ServerConnection,
    tcp: &mut TcpStream,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    loop {
        let mut blocked = false;
        while tls.wants_write() {
            match tls.write_tls(&mut Blocking {
                tcp: &mut *tcp,
                cx: &mut *cx,
            }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    blocked = true;
                    break;
                }
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        if !tls.is_handshaking() {
            return if blocked {
                Poll::Pending
            } else {
                Poll::Ready(Ok(()))
            };
        }
        match tls.read_tls(&mut Blocking {
            tcp: &mut *tcp,
            cx: &mut *cx,
        }) {
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(e) => return Poll::Ready(Err(e)),
        }
        if let Err(e) = tls.process_new_packets() {
            // The alert that says why, if the socket takes it at once.
            let _ = tls.write_tls(&mut Blocking {
                tcp: &mut *tcp,
                cx: &mut *cx,
            });
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, e)));
        }
    }
}

/// Reads until it is clear whether the client speaks HTTP/2 by prior knowledge; with what was read.
/// None where the client left.
async fn find_protocol(tcp: &mut TcpStream) -> Option<(Protocol, Vec<u8>)> {
    let mut prefix = Vec::with_capacity(PREFACE.len());
    loop {
        let mut more = [0; PREFACE.len()];
        let want = PREFACE.len() - prefix.len();
        let n = tcp.read(&mut more[..want]).await.ok().filter(|n| *n > 0)?;
        prefix.extend_from_slice(&more[..n]);
        if !PREFACE.starts_with(&prefix) {
            return Some((Protocol::H1, prefix));
        }
        if prefix.len() == PREFACE.len() {
            return Some((Protocol::H2, prefix));
        }
    }
}

/// Runs a connection under its timeouts; a drain lets it finish what is under way. Where a protocol
/// has no word for it (HTTP/1.1), closing an idle connection would meet the request that is on its
/// way: its next answer says that it was the last, and only silence ends it.
async fn watch<S, C>(
    shared: &Shared<S>,
    wire: Wire,
    vitals: Arc<Vitals>,
    connection: C,
    drain: Option<fn(&mut C)>,
) where
    C: Future<Output = ()> + Unpin,
{
    let protocol = if vitals.reads_are_heads() {
        Protocol::H1
    } else {
        Protocol::H2
    };
    let mut watched = Watched::new(connection, vitals, &shared.limits);
    let mut drained = pin!(shared.drain.cancelled());
    let (mut draining, mut asked) = (false, false);
    let end = poll_fn(|cx| {
        // Asked once, it wakes this task, whose waker is always the same; the flag is set before.
        if !draining && (!asked || shared.draining.load(Relaxed)) {
            asked = true;
            draining = drained.as_mut().poll(cx).is_ready();
            match drain {
                Some(drain) if draining => drain(watched.connection()),
                None if draining => watched.drain(shared.limits.drain_idle),
                _ => {}
            }
        }
        Pin::new(&mut watched).poll(cx)
    })
    .await;
    let why = match end {
        End::Cut(why) => Some(why),
        End::Done(()) => wire.cut(),
    };
    if let Some(why) = why {
        if why == Cut::Stall {
            wire.abort();
        }
        shared.observer.metrics.cut(protocol, why);
    }
}
