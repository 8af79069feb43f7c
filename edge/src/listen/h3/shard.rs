//! A shard: one UDP socket, the connections whose IDs lead to it, and the one task that serves them
//! all. Datagrams in, requests begun, answers written, datagrams out, without another task or lock
//! between: what a core does for HTTP/3 stays on that core.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Instant,
};

use bytes::BytesMut;
use futures_util::StreamExt;
use quinn_proto::{
    ConnectionEvent, ConnectionHandle, DatagramEvent, EcnCodepoint, Endpoint, Incoming, Transmit,
};
use tokio::{sync::mpsc, time::Sleep};

use super::{
    Common, UnderWay,
    cid::destination,
    connection::{Bench, Connection, Done, Jobs},
    error::Code,
    socket::Socket,
    wakes::{Key, Wakes},
};
use crate::{
    exchange::{Protocol, Service},
    listen::{Current, Shared, slots},
    metrics::Cut,
};

/// Rounds a poll may take before other tasks have their turn.
const ROUNDS: usize = 16;

/// Bytes a connection may send before others have their turn.
const TURN: usize = 256 << 10;

/// A datagram that reached the wrong shard: its client has moved.
pub(super) struct Forwarded {
    from: SocketAddr,
    local_ip: Option<IpAddr>,
    ecn: Option<EcnCodepoint>,
    bytes: BytesMut,
}

/// A shard.
pub(super) struct Shard<S> {
    current: Arc<Current<S>>,
    shared: Arc<Shared<S>>,
    common: Arc<Common>,
    number: usize,
    socket: Socket,
    endpoint: Endpoint,
    connections: Vec<Option<Box<Connection<S>>>>,
    open: usize,
    generation: u32,
    forwarded: mpsc::Receiver<Forwarded>,
    jobs: Jobs,
    wakes: Arc<Wakes>,
    woken: Vec<Key>,
    /// Of the batch of datagrams at hand.
    arrived: Vec<Arrived>,
    timers: BinaryHeap<Reverse<(Instant, usize, u32)>>,
    sleep: Pin<Box<Sleep>>,
    /// Connections to be driven.
    listed: Vec<usize>,
    out: Vec<u8>,
    /// A transmit the socket did not take yet.
    stuck: Option<(Transmit, Vec<u8>)>,
    draining: bool,
    closing: bool,
}

impl<S: Service> Shard<S> {
    /// A shard on that socket.
    pub(super) fn new(
        current: Arc<Current<S>>,
        common: Arc<Common>,
        number: usize,
        (socket, endpoint): (Socket, Endpoint),
        forwarded: mpsc::Receiver<Forwarded>,
    ) -> Self {
        Self {
            shared: current.load_full(),
            current,
            common,
            number,
            socket,
            endpoint,
            connections: Vec::new(),
            open: 0,
            generation: 0,
            forwarded,
            jobs: Jobs::new(),
            wakes: Arc::default(),
            woken: Vec::new(),
            arrived: Vec::new(),
            timers: BinaryHeap::new(),
            sleep: Box::pin(tokio::time::sleep(std::time::Duration::ZERO)),
            listed: Vec::new(),
            out: Vec::new(),
            stuck: None,
            draining: false,
            closing: false,
        }
    }

    /// Serves until the drain is over: no connection is left, or all are to be closed.
    pub(super) async fn run(mut self) {
        let (drain, close) = (self.shared.drain.clone(), self.common.close.clone());
        let mut drained = std::pin::pin!(drain.cancelled());
        let mut closed = std::pin::pin!(close.cancelled());
        std::future::poll_fn(|cx| {
            if !self.draining && drained.as_mut().poll(cx).is_ready() {
                self.draining = true;
                self.each(Connection::drain);
            }
            if !self.closing && closed.as_mut().poll(cx).is_ready() {
                self.closing = true;
                self.each(|connection, now| connection.close(Code::NoError, now));
            }
            self.poll(cx)
        })
        .await;
    }

    /// Does something with every connection.
    fn each(&mut self, act: impl Fn(&mut Connection<S>, Instant)) {
        let now = Instant::now();
        for place in 0..self.connections.len() {
            if let Some(connection) = &mut self.connections[place] {
                act(connection, now);
                self.list(place);
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            let now = Instant::now();
            let mut progress = self.receive(cx, now);
            progress |= self.take_forwarded(cx, now);
            progress |= self.take_woken(cx, now);
            progress |= self.work(cx, now);
            progress |= self.time_out(cx, now);
            progress |= self.transmit(cx, now);
            if self.draining && self.listed.is_empty() && self.all_closed() {
                return Poll::Ready(());
            }
            if !progress {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn all_closed(&self) -> bool {
        self.open == 0 || self.connections.iter().flatten().all(|c| c.closed)
    }

    /// Takes a batch of datagrams.
    fn receive(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.common.left.load(Relaxed) {
            return false;
        }
        let mut arrived = std::mem::take(&mut self.arrived);
        let (number, common) = (self.number, &self.common);
        let (endpoint, out) = (&mut self.endpoint, &mut self.out);
        let received = self.socket.poll_recv(cx, |datagram| {
            if common.forwards.len() > 1
                && let Some(cid) = destination(datagram.bytes)
                && let Some(shard) = common.routing.shard(cid)
                && shard != number
                && let Some(to) = common.forwards.get(shard)
            {
                // Full means that shard is overwhelmed; QUIC takes it for loss.
                let _ = to.try_send(Forwarded {
                    from: datagram.from,
                    local_ip: datagram.local_ip,
                    ecn: datagram.ecn,
                    bytes: datagram.bytes.into(),
                });
                return;
            }
            out.clear();
            let event = endpoint.handle(
                now,
                datagram.from,
                datagram.local_ip,
                datagram.ecn,
                datagram.bytes.into(),
                out,
            );
            match event {
                Some(DatagramEvent::Response(transmit)) => {
                    arrived.push(Arrived::Response(transmit, out.clone()));
                }
                Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                    arrived.push(Arrived::Event(handle, event));
                }
                Some(DatagramEvent::NewConnection(incoming)) => {
                    arrived.push(Arrived::Connection(Box::new(incoming)));
                }
                None => {}
            }
        });
        if let Poll::Ready(Err(e)) = &received {
            tracing::warn!(error = %e, "receiving QUIC");
        }
        for arrived in arrived.drain(..) {
            self.take(arrived, now);
        }
        self.arrived = arrived;
        self.begin_requests(now);
        received.is_ready()
    }

    fn take(&mut self, arrived: Arrived, now: Instant) {
        match arrived {
            Arrived::Response(transmit, bytes) => {
                let _ = self.socket.send(&transmit, &bytes);
            }
            Arrived::Connection(incoming) => self.accept(*incoming, now),
            Arrived::Event(handle, event) => {
                if let Some(connection) = self.connection(handle.0) {
                    connection.quic.handle_event(event);
                    self.list(handle.0);
                }
            }
        }
    }

    fn connection(&mut self, place: usize) -> Option<&mut Box<Connection<S>>> {
        self.connections.get_mut(place)?.as_mut()
    }

    fn list(&mut self, place: usize) {
        if let Some(Some(connection)) = self.connections.get_mut(place)
            && !std::mem::replace(&mut connection.listed, true)
        {
            self.listed.push(place);
        }
    }

    /// A client wants a connection.
    fn accept(&mut self, incoming: Incoming, now: Instant) {
        self.out.clear();
        if self.draining {
            let refusal = self.endpoint.refuse(incoming, &mut self.out);
            let _ = self.socket.send(&refusal, &self.out);
            return;
        }
        self.shared = self.current.load_full();
        let handshakes = &self.common.handshakes;
        if handshakes.load(Relaxed) >= self.shared.limits.retry_above && incoming.may_retry() {
            // Whoever forges addresses never sees the token.
            if let Ok(retry) = self.endpoint.retry(incoming, &mut self.out) {
                let _ = self.socket.send(&retry, &self.out);
            }
            return;
        }
        let Some(mut slot) = self.shared.slots.take(incoming.remote_address().ip()) else {
            self.shared
                .observer
                .metrics
                .cut(Protocol::H3, Cut::Connections);
            let refusal = self.endpoint.refuse(incoming, &mut self.out);
            let _ = self.socket.send(&refusal, &self.out);
            return;
        };
        let config = Some(self.common.config.load_full());
        match self.endpoint.accept(incoming, now, &mut self.out, config) {
            Ok((ConnectionHandle(place), quic)) => {
                self.generation = self.generation.wrapping_add(1);
                slot.takes(slots::QUIC_MEMORY);
                let hold = (UnderWay::new(handshakes), slot);
                let identity = (place, self.generation);
                let connection = Connection::new(&self.shared, quic, identity, hold, now);
                if self.connections.len() <= place {
                    self.connections.resize_with(place + 1, || None);
                }
                self.connections[place] = Some(Box::new(connection));
                self.open += 1;
                self.list(place);
            }
            Err(error) => {
                self.shared
                    .observer
                    .metrics
                    .cut(Protocol::H3, Cut::Handshake);
                if let Some(response) = error.response {
                    let _ = self.socket.send(&response, &self.out);
                }
            }
        }
    }

    /// Takes datagrams that reached other shards.
    fn take_forwarded(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut any = false;
        while let Poll::Ready(Some(datagram)) = self.forwarded.poll_recv(cx) {
            any = true;
            self.out.clear();
            let event = self.endpoint.handle(
                now,
                datagram.from,
                datagram.local_ip,
                datagram.ecn,
                datagram.bytes,
                &mut self.out,
            );
            match event {
                Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                    self.take(Arrived::Event(handle, event), now);
                }
                Some(DatagramEvent::Response(transmit)) => {
                    let _ = self.socket.send(&transmit, &self.out);
                }
                Some(DatagramEvent::NewConnection(incoming)) => self.endpoint.ignore(incoming),
                None => {}
            }
        }
        if any {
            self.begin_requests(now);
        }
        any
    }

    /// Acts on the events of all connections that have some.
    fn begin_requests(&mut self, now: Instant) {
        let mut bench = Bench {
            now,
            jobs: &mut self.jobs,
            wakes: &self.wakes,
        };
        for place in &self.listed {
            if let Some(Some(connection)) = self.connections.get_mut(*place) {
                connection.events(&mut bench);
            }
        }
    }

    /// Lets requests go on whose bodies have room again, or whose readers are gone.
    fn take_woken(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        self.wakes.take(&mut self.woken, cx.waker());
        let mut woken = std::mem::take(&mut self.woken);
        let any = self.interims(now) || !woken.is_empty();
        for key in woken.drain(..) {
            self.go_on(key, now, |connection, bench| {
                connection.read(key.stream, bench);
            });
        }
        self.woken = woken;
        any
    }

    /// Sends interim responses.
    fn interims(&mut self, now: Instant) -> bool {
        let interims = self.wakes.interims();
        let any = !interims.is_empty();
        for (key, frame) in interims {
            self.go_on(key, now, |connection, bench| {
                connection.interim(key.stream, frame, bench);
            });
        }
        any
    }

    /// Finishes what requests were waiting for.
    fn work(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut any = false;
        while let Poll::Ready(Some(result)) = self.jobs.poll_next_unpin(cx) {
            any = true;
            // What came before a final response goes out before it.
            self.interims(now);
            let Ok((key, done)) = result else { continue };
            self.finish(key, done, now);
        }
        any
    }

    fn finish(&mut self, key: Key, done: Done, now: Instant) {
        self.go_on(key, now, |connection, bench| {
            connection.done(key.stream, done, bench);
        });
    }

    fn go_on(
        &mut self,
        key: Key,
        now: Instant,
        act: impl FnOnce(&mut Connection<S>, &mut Bench<'_>),
    ) {
        let mut bench = Bench {
            now,
            jobs: &mut self.jobs,
            wakes: &self.wakes,
        };
        if let Some(Some(connection)) = self.connections.get_mut(key.place)
            && connection.generation == key.generation
        {
            act(connection, &mut bench);
            self.list(key.place);
        }
    }

    /// Lets time pass for connections whose time has come.
    fn time_out(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut any = false;
        while let Some(Reverse((at, place, generation))) = self.timers.peek().copied() {
            if at > now {
                if self.sleep.deadline() != at.into() {
                    self.sleep.as_mut().reset(at.into());
                }
                if self.sleep.as_mut().poll(cx).is_pending() {
                    break;
                }
                // Due by now.
                any = true;
                break;
            }
            self.timers.pop();
            let Some(connection) = self.connection(place) else {
                continue;
            };
            if connection.generation != generation || connection.armed != Some(at) {
                continue;
            }
            connection.armed = None;
            if connection.quic.poll_timeout().is_some_and(|due| due <= now) {
                connection.quic.handle_timeout(now);
            }
            connection.check(now);
            self.list(place);
            any = true;
        }
        any
    }

    /// Drives all listed connections: events, farewells, datagrams, timers.
    fn transmit(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if let Some((transmit, bytes)) = self.stuck.take()
            && !(self.socket.poll_writable(cx) && self.socket.send(&transmit, &bytes))
        {
            self.stuck = Some((transmit, bytes));
            // Registers interest again where readiness was stale.
            return self.socket.poll_writable(cx);
        }
        let mut listed = std::mem::take(&mut self.listed);
        let any = !listed.is_empty();
        let mut left = listed.drain(..);
        for place in left.by_ref() {
            self.drive(place, now);
            if self.stuck.is_some() {
                break;
            }
        }
        self.listed.extend(left);
        any
    }

    fn drive(&mut self, place: usize, now: Instant) {
        let Some(Some(connection)) = self.connections.get_mut(place) else {
            return;
        };
        connection.listed = false;
        let mut bench = Bench {
            now,
            jobs: &mut self.jobs,
            wakes: &self.wakes,
        };
        connection.events(&mut bench);
        while let Some(event) = connection.quic.poll_endpoint_events() {
            let reply = self.endpoint.handle_event(ConnectionHandle(place), event);
            if let Some(reply) = reply {
                connection.quic.handle_event(reply);
            }
        }
        if connection.quic.is_drained() {
            self.connections[place] = None;
            self.open -= 1;
            return;
        }
        let mut sent = 0;
        loop {
            self.out.clear();
            let segments = self.socket.segments(connection.quic.current_mtu());
            let Some(transmit) = connection.quic.poll_transmit(now, segments, &mut self.out) else {
                break;
            };
            sent += transmit.size;
            if !self.socket.send(&transmit, &self.out) {
                self.stuck = Some((transmit, self.out.clone()));
                connection.listed = true;
                self.listed.push(place);
                return;
            }
            if sent >= TURN {
                connection.listed = true;
                self.listed.push(place);
                break;
            }
        }
        let due = connection.due();
        // An earlier timer that fires in vain costs less than one moved with every packet.
        if let Some(due) = due
            && connection.armed.is_none_or(|armed| due < armed)
        {
            connection.armed = Some(due);
            let generation = connection.generation;
            self.timers.push(Reverse((due, place, generation)));
        }
    }
}

/// What a datagram was.
enum Arrived {
    /// Something of a connection's.
    Event(ConnectionHandle, ConnectionEvent),
    /// A new connection.
    Connection(Box<Incoming>),
    /// To be answered without a connection.
    Response(Transmit, Vec<u8>),
}
