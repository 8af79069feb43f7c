//! One HTTP/3 connection: its control streams, its requests, its end. A state machine: the shard
//! brings events and the time, and sends what QUIC has to send afterwards.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use futures_util::{
    future::{AbortHandle, Abortable},
    stream::FuturesUnordered,
};
use http::{HeaderMap, Method, StatusCode, uri::PathAndQuery, uri::Scheme};
use http_body::Frame;
use http_body_util::BodyExt;
use quinn_proto::{Dir, Event, StreamEvent, StreamId, WriteError};

use super::{
    UnderWay,
    answer::{Answer, Wrote},
    error::{Code, Fault},
    frame::{kind, put_varint},
    incoming,
    stream::{Chunk, Stream, read},
    uni::{Critical, Standing, Uni, kinds, setting},
    upload,
    wakes::{Key, Wakes},
};
use crate::{
    exchange::{Body, BodyError, Facts, Protocol, Request, RequestBody, Response, Served, Service},
    listen::{
        Shared,
        allowance::{Allowance, RESETS_PER_SECOND},
        dribble,
        exchange::Exchange,
        expect::{self, Expected},
        priority::Priority,
        slots::Slot,
    },
    metrics::Cut,
};

/// Interim responses to one request; more are dropped.
const INTERIMS: u32 = 8;

/// Bytes of a long response that QUIC is given before it has got further.
const SEND_WINDOW: u64 = 256 << 10;

/// What a request was waiting for.
pub(super) enum Done {
    /// The service's answer.
    Answered(Response),
    /// The next frame of a response's body; the body with it.
    Next(Body, Option<Result<Frame<Bytes>, BodyError>>),
}

type Work = Pin<Box<dyn Future<Output = (Key, Done)> + Send>>;

/// Requests of a shard that wait for something.
pub(super) type Jobs = FuturesUnordered<Abortable<Work>>;

/// What a connection may use of its shard.
pub(super) struct Bench<'a> {
    pub(super) now: Instant,
    pub(super) jobs: &'a mut Jobs,
    pub(super) wakes: &'a Arc<Wakes>,
}

/// A connection.
pub(super) struct Connection<S> {
    pub(super) quic: quinn_proto::Connection,
    shared: Arc<Shared<S>>,
    peer: SocketAddr,
    place: usize,
    pub(super) generation: u32,
    /// Until the handshake is through.
    handshake: Option<UnderWay>,
    /// Our control stream, since then.
    control: Option<StreamId>,
    unis: Vec<(StreamId, Uni, Instant)>,
    critical: Critical,
    streams: Vec<Stream>,
    /// Requests since the connection began.
    requests: u64,
    /// Requests the client may still give up.
    resets: Allowance,
    /// When it began, then when the last request ended.
    idle_since: Instant,
    /// No request is taken any more.
    draining: bool,
    /// When to close a drained connection: what was written must arrive first.
    close_at: Option<Instant>,
    /// When to look at timeouts next.
    check_at: Instant,
    /// Nothing of it matters any more but QUIC's own farewell.
    pub(super) closed: bool,
    /// For which a timer is armed.
    pub(super) armed: Option<Instant>,
    /// On the shard's list of those to be driven.
    pub(super) listed: bool,
    _slot: Slot,
}

impl<S: Service> Connection<S> {
    /// A connection whose handshake begins.
    pub(super) fn new(
        shared: &Arc<Shared<S>>,
        quic: quinn_proto::Connection,
        (place, generation): (usize, u32),
        (handshake, slot): (UnderWay, Slot),
        now: Instant,
    ) -> Self {
        Self {
            peer: quic.remote_address(),
            quic,
            shared: Arc::clone(shared),
            place,
            generation,
            handshake: Some(handshake),
            control: None,
            unis: Vec::new(),
            critical: Critical::default(),
            streams: Vec::new(),
            requests: 0,
            resets: Allowance::new(shared.limits.resets, RESETS_PER_SECOND, now),
            idle_since: now,
            draining: false,
            close_at: None,
            check_at: now + shared.limits.handshake,
            closed: false,
            armed: None,
            listed: false,
            _slot: slot,
        }
    }

    /// When something is due.
    pub(super) fn due(&mut self) -> Option<Instant> {
        let ours = (!self.closed).then_some(self.check_at);
        match (self.quic.poll_timeout(), ours) {
            (Some(quic), Some(ours)) => Some(quic.min(ours)),
            (quic, ours) => quic.or(ours),
        }
    }

    /// Acts on what QUIC has learned.
    pub(super) fn events(&mut self, bench: &mut Bench<'_>) {
        while let Some(event) = self.quic.poll() {
            match event {
                Event::Connected => self.connected(bench),
                Event::ConnectionLost { .. } => self.forget(),
                _ if self.closed => {}
                Event::Stream(StreamEvent::Opened { dir: Dir::Bi }) => self.accept(bench),
                Event::Stream(StreamEvent::Opened { dir: Dir::Uni }) => self.accept_uni(bench.now),
                Event::Stream(StreamEvent::Readable { id }) if id.dir() == Dir::Bi => {
                    self.read(id, bench);
                }
                Event::Stream(StreamEvent::Readable { id }) => self.read_uni(id),
                Event::Stream(StreamEvent::Writable { id }) => self.write(id, bench),
                Event::Stream(StreamEvent::Stopped { id, .. }) => {
                    if Some(id) == self.control {
                        self.close(Code::ClosedCriticalStream, bench.now);
                    } else {
                        self.stopped(id, bench.now);
                    }
                }
                _ => {}
            }
        }
    }

    /// The handshake is through: our control stream begins with SETTINGS (RFC 9114 §6.2.1).
    fn connected(&mut self, bench: &mut Bench<'_>) {
        self.handshake = None;
        self.peer = self.quic.remote_address();
        self.shared.observer.metrics.connection_opened(Protocol::H3);
        self.idle_since = bench.now;
        self.look_again(bench.now + self.shared.limits.idle);
        let mut settings = BytesMut::new();
        for (id, value) in [
            (setting::QPACK_MAX_TABLE_CAPACITY, 0),
            (
                setting::MAX_FIELD_SECTION_SIZE,
                self.shared.limits.header_size,
            ),
            (setting::QPACK_BLOCKED_STREAMS, 0),
        ] {
            put_varint(&mut settings, id);
            put_varint(&mut settings, value);
        }
        let mut out = BytesMut::new();
        put_varint(&mut out, kinds::CONTROL);
        put_varint(&mut out, kind::SETTINGS);
        put_varint(&mut out, settings.len() as u64);
        out.extend_from_slice(&settings);
        self.control = self.quic.streams().open(Dir::Uni);
        if !self.write_control(out) {
            // A client that allows us no control stream speaks no HTTP/3.
            return self.close(Code::StreamCreation, bench.now);
        }
        self.accept_uni(bench.now);
        self.accept(bench);
    }

    fn write_control(&mut self, frame: BytesMut) -> bool {
        let Some(control) = self.control else {
            return false;
        };
        let length = frame.len();
        let wrote = self
            .quic
            .send_stream(control)
            .write_chunks(&mut [frame.freeze()]);
        wrote.is_ok_and(|wrote| wrote.bytes == length)
    }

    /// Takes new requests.
    fn accept(&mut self, bench: &mut Bench<'_>) {
        while self.control.is_some()
            && !self.closed
            && let Some(id) = self.quic.streams().accept(Dir::Bi)
        {
            if self.draining {
                let _ = self.quic.recv_stream(id).stop(Code::RequestRejected.into());
                let _ = self
                    .quic
                    .send_stream(id)
                    .reset(Code::RequestRejected.into());
                continue;
            }
            self.requests += 1;
            let stream = Stream::new(id, bench.now, &self.shared.limits);
            self.streams.push(stream);
            self.read(id, bench);
            if self.find(id).is_some_and(|i| self.streams[i].unresolved()) {
                self.look_again(bench.now + self.shared.limits.header);
            }
        }
    }

    fn accept_uni(&mut self, now: Instant) {
        while self.control.is_some()
            && !self.closed
            && let Some(id) = self.quic.streams().accept(Dir::Uni)
        {
            self.unis.push((id, Uni::new(&self.shared.limits), now));
            self.look_again(now + self.shared.limits.header);
            self.read_uni(id);
        }
    }

    /// Reads one of the client's unidirectional streams.
    fn read_uni(&mut self, id: StreamId) {
        let Some(i) = self.unis.iter().position(|(uni, ..)| *uni == id) else {
            return;
        };
        loop {
            let uni = &mut self.unis[i].1;
            let more = match read(&mut self.quic, id) {
                Chunk::Bytes(bytes) => {
                    uni.feed(&bytes);
                    true
                }
                Chunk::End | Chunk::Reset => {
                    uni.finish();
                    false
                }
                Chunk::Blocked => return,
            };
            match uni.advance(&mut self.critical, self.requests) {
                Ok(Standing::Awaited) if more => {}
                Ok(Standing::Critical) if more => {}
                Ok(Standing::Unknown) => {
                    let _ = self.quic.recv_stream(id).stop(Code::StreamCreation.into());
                    self.unis.swap_remove(i);
                    return;
                }
                Ok(_) => {
                    self.unis.swap_remove(i);
                    return;
                }
                Err(Fault::Connection(code)) => return self.close(code, Instant::now()),
                Err(_) => return,
            }
        }
    }

    fn find(&self, id: StreamId) -> Option<usize> {
        self.streams.iter().position(|stream| stream.id == id)
    }

    fn key(&self, stream: StreamId) -> Key {
        Key {
            place: self.place,
            generation: self.generation,
            stream,
        }
    }

    /// Reads a request as far as it has arrived and there is room for it.
    pub(super) fn read(&mut self, id: StreamId, bench: &mut Bench<'_>) {
        loop {
            let Some(i) = self.find(id) else { return };
            let stream = &mut self.streams[i];
            let event = match stream.incoming.next() {
                Ok(event) => event,
                Err(fault) => {
                    if fault == Fault::Connection(Code::ExcessiveLoad) {
                        self.cut(Cut::Limit);
                    }
                    return self.fail(id, fault, bench.now);
                }
            };
            match event {
                incoming::Event::More => {
                    if !stream.receiving || !self.receive(i, bench) {
                        return;
                    }
                }
                incoming::Event::Head(head, length) => {
                    let expects = stream.receiving && expect::continues(&head.fields);
                    stream.head = Some((head, length));
                    if expects {
                        self.expect(i, bench);
                    }
                }
                incoming::Event::TooLarge(status) => return self.too_large(i, status, bench),
                incoming::Event::Data(bytes) => self.body(i, Frame::data(bytes), bench),
                incoming::Event::Trailers(fields) => self.body(i, Frame::trailers(fields), bench),
                incoming::Event::End => {
                    // What a client sends behind trailers isn't read.
                    if stream.head.is_some() {
                        self.ask(i, RequestBody::Empty, bench);
                    } else if let Some(upload) = stream.upload.take() {
                        upload.end(Ok(()));
                    }
                    return;
                }
            }
        }
    }

    /// Takes a piece of a request from QUIC; whether there was one.
    fn receive(&mut self, i: usize, bench: &Bench<'_>) -> bool {
        let stream = &mut self.streams[i];
        if let Some(upload) = &stream.upload {
            if upload.is_abandoned() {
                // We don't need the rest (RFC 9114 §4.1): no error.
                stream.receiving = false;
                let _ = self.quic.recv_stream(stream.id).stop(Code::NoError.into());
                return false;
            }
            if !upload.has_room() {
                stream.paused = true;
                return false;
            }
        }
        match read(&mut self.quic, stream.id) {
            Chunk::Bytes(bytes) => {
                if stream.upload.is_some() {
                    if stream.paused {
                        stream.restart(bench.now);
                    }
                    stream.uploaded += bytes.len() as u64;
                }
                stream.incoming.feed(bytes);
                true
            }
            Chunk::End => {
                stream.receiving = false;
                stream.incoming.finish();
                true
            }
            Chunk::Blocked => {
                if stream.upload.is_some() {
                    let due = stream.since + self.shared.limits.stall;
                    self.look_again(due);
                }
                false
            }
            Chunk::Reset => {
                let id = stream.id;
                stream.receiving = false;
                self.fail(id, Fault::Gone, bench.now);
                false
            }
        }
    }

    /// A piece of a request's body; the first asks the service.
    fn body(&mut self, i: usize, frame: Frame<Bytes>, bench: &mut Bench<'_>) {
        let id = self.streams[i].id;
        if let Some((_, length)) = &self.streams[i].head {
            let len = *length;
            let (sender, receiver) = upload::channel(bench.wakes, self.key(id));
            sender.push(frame);
            self.streams[i].upload = Some(sender);
            self.streams[i].restart(bench.now);
            let body = receiver.boxed_unsync();
            self.ask(i, RequestBody::Stream { body, len }, bench);
        } else if let Some(upload) = &self.streams[i].upload {
            upload.push(frame);
        }
    }

    /// Asks the service though nothing of the body has come: the client waits for a word first.
    fn expect(&mut self, i: usize, bench: &mut Bench<'_>) {
        let stream = &mut self.streams[i];
        let Some((_, len)) = stream.head else { return };
        stream.restart(bench.now);
        let key = self.key(self.streams[i].id);
        let (sender, receiver) = upload::channel(bench.wakes, key);
        self.streams[i].upload = Some(sender);
        let body = Expected::new(receiver, bench.wakes.interim(key)).boxed_unsync();
        self.ask(i, RequestBody::Stream { body, len }, bench);
    }

    /// Sends an interim response, unless the final one is there.
    pub(super) fn interim(&mut self, id: StreamId, frame: Bytes, bench: &mut Bench<'_>) {
        let Some(i) = self.find(id) else { return };
        let stream = &mut self.streams[i];
        if stream.answer.is_none() && stream.interims_total < INTERIMS {
            stream.interims_total += 1;
            stream.interims.push(frame);
            self.write_interims(i, bench.now);
        }
    }

    fn write_interims(&mut self, i: usize, now: Instant) {
        let stream = &mut self.streams[i];
        let id = stream.id;
        while !stream.interims.is_empty() {
            let mut out = self.quic.send_stream(id);
            match out.write_chunks(&mut stream.interims) {
                Ok(written) => drop(stream.interims.drain(..written.chunks)),
                Err(WriteError::Blocked) => return,
                Err(_) => return self.fail(id, Fault::Gone, now),
            }
        }
    }

    /// Answers a head over its limits.
    fn too_large(&mut self, i: usize, status: StatusCode, bench: &mut Bench<'_>) {
        self.cut(Cut::Limit);
        let id = self.streams[i].id;
        self.streams[i].receiving = false;
        let _ = self.quic.recv_stream(id).stop(Code::ExcessiveLoad.into());
        let mut response = Response {
            status,
            headers: HeaderMap::new(),
            body: Body::Empty,
            facts: Facts::default(),
            hit: None,
        };
        self.streams[i].answered(&mut response);
        self.write(id, bench);
    }

    /// Asks the service.
    fn ask(&mut self, i: usize, body: RequestBody, bench: &mut Bench<'_>) {
        let stream = &mut self.streams[i];
        let id = stream.id;
        let Some((head, _)) = stream.head.take() else {
            return;
        };
        if let Some(priority) = Priority::of(&head.fields) {
            // QUIC's grows with importance; its default is 0.
            let priority = i32::from(Priority::default().urgency) - i32::from(priority.urgency);
            let _ = self.quic.send_stream(id).set_priority(priority);
        }
        let secure = head.scheme.as_deref() != Some(b"http");
        let request = Request {
            method: head.method.unwrap_or(Method::GET),
            scheme: if secure { Scheme::HTTPS } else { Scheme::HTTP },
            authority: head.authority,
            target: head.path.unwrap_or_else(|| PathAndQuery::from_static("/")),
            headers: head.fields,
            body,
            protocol: Protocol::H3,
            peer: self.peer,
            received: bench.now,
            interim: bench.wakes.interim(self.key(id)),
        };
        let shared = &self.shared;
        self.streams[i].exchange = Some(Exchange::begin(&shared.observer, None, &request));
        match shared.service.serve(request) {
            Served::Now(response) => self.done(id, Done::Answered(response), bench),
            Served::Later(answer) => {
                let key = self.key(id);
                let work = Box::pin(async move { (key, Done::Answered(answer.await)) });
                self.launch(i, work, bench);
            }
        }
    }

    /// Runs work of a request: at once where it needs no waiting, as most does.
    fn launch(&mut self, i: usize, mut work: Work, bench: &mut Bench<'_>) {
        let mut unwoken = Context::from_waker(Waker::noop());
        match work.as_mut().poll(&mut unwoken) {
            Poll::Ready((key, done)) => self.done(key.stream, done, bench),
            Poll::Pending => {
                // Polled again, with a waker, before anything else happens.
                let (handle, registration) = AbortHandle::new_pair();
                self.streams[i].job = Some(handle);
                bench.jobs.push(Abortable::new(work, registration));
            }
        }
    }

    /// A request's work is done.
    pub(super) fn done(&mut self, id: StreamId, done: Done, bench: &mut Bench<'_>) {
        let Some(i) = self.find(id) else { return };
        let stream = &mut self.streams[i];
        stream.job = None;
        match done {
            Done::Answered(mut response) => {
                if let Some(exchange) = &mut stream.exchange {
                    let facts = std::mem::take(&mut response.facts);
                    exchange.answered(response.status.as_u16(), facts);
                }
                stream.answered(&mut response);
            }
            Done::Next(body, next) => {
                let Some(answer) = &mut stream.answer else {
                    return;
                };
                match next {
                    Some(Ok(frame)) => {
                        answer.push(frame);
                        answer.rest = Some(body);
                    }
                    None => answer.ended = true,
                    Some(Err(_)) => {
                        return self.fail(id, Fault::Stream(Code::Internal), bench.now);
                    }
                }
            }
        }
        self.streams[i].pace.restart(bench.now);
        self.write(id, bench);
    }

    /// Writes what there is of a response.
    fn write(&mut self, id: StreamId, bench: &mut Bench<'_>) {
        let Some(i) = self.find(id) else { return };
        let stream = &mut self.streams[i];
        let Some(answer) = &mut stream.answer else {
            return self.write_interims(i, bench.now);
        };
        if answer.rest.is_some() {
            // Twice of what may be on its way keeps a client that reads going; more would only be
            // held for one that doesn't.
            let most = self.shared.limits.h3_send_window;
            let window = self.quic.congestion_state().window().saturating_mul(2);
            self.quic.set_send_window(window.max(SEND_WINDOW).min(most));
        }
        let wrote = answer.write(self.quic.send_stream(id));
        let (wrote, bytes) = match wrote {
            Ok(wrote) => wrote,
            Err(fault) => return self.fail(id, fault, bench.now),
        };
        stream.pace.bytes += bytes as u64;
        if let Some(exchange) = &mut stream.exchange {
            exchange.sent(bytes);
        }
        match wrote {
            Wrote::Blocked => {
                let due = stream.pace.since + self.shared.limits.stall;
                self.look_again(due);
            }
            Wrote::All if answer.ended => self.finished(i, bench.now),
            Wrote::All => {
                if let Some(mut body) = answer.rest.take() {
                    let key = self.key(id);
                    let work = Box::pin(async move {
                        let next = body.next().await;
                        (key, Done::Next(body, next))
                    });
                    self.launch(i, work, bench);
                }
            }
        }
    }

    /// A response is with QUIC to its end.
    fn finished(&mut self, i: usize, now: Instant) {
        let mut stream = self.streams.swap_remove(i);
        if let Some(exchange) = &mut stream.exchange {
            exchange.complete();
        }
        if stream.receiving && !stream.incoming.at_end() {
            // We don't need the rest (RFC 9114 §4.1): no error.
            let _ = self.quic.recv_stream(stream.id).stop(Code::NoError.into());
        }
        self.ended(now);
    }

    /// A request is lost, or the connection with it.
    fn fail(&mut self, id: StreamId, fault: Fault, now: Instant) {
        let code = match fault {
            Fault::Connection(code) => return self.close(code, now),
            Fault::Stream(code) => code,
            Fault::Gone => Code::RequestCancelled,
        };
        let Some(i) = self.find(id) else { return };
        // Asking and giving up costs a client nothing (CVE-2023-44487).
        if fault == Fault::Gone && !self.resets.spend(1.0, || now) {
            return self.close(Code::ExcessiveLoad, now);
        }
        let stream = self.streams.swap_remove(i);
        if stream.receiving {
            let _ = self.quic.recv_stream(id).stop(code.into());
        }
        let _ = self.quic.send_stream(id).reset(code.into());
        self.ended(now);
    }

    /// The client wants no more of a response.
    fn stopped(&mut self, id: StreamId, now: Instant) {
        if self.find(id).is_some() {
            return self.fail(id, Fault::Gone, now);
        }
        // All of it is with QUIC, which would go on sending: that has cost as much.
        let _ = self
            .quic
            .send_stream(id)
            .reset(Code::RequestCancelled.into());
        if !self.resets.spend(1.0, || now) {
            self.close(Code::ExcessiveLoad, now);
        }
    }

    /// One request less.
    fn ended(&mut self, now: Instant) {
        if self.streams.is_empty() {
            self.idle_since = now;
            if self.draining && self.close_at.is_none() {
                // What was written must arrive: the client's silence shows that it has.
                let patience = self.quic.rtt() * 4;
                let patience = patience.clamp(Duration::from_millis(50), Duration::from_secs(1));
                self.close_at = Some(now + patience);
                self.look_again(now + patience);
            }
        }
    }

    /// Announces the end, lets requests under way finish, refuses new ones.
    pub(super) fn drain(&mut self, now: Instant) {
        if self.closed || std::mem::replace(&mut self.draining, true) {
            return;
        }
        if self.control.is_none() {
            return self.close(Code::NoError, now);
        }
        // Requests on streams from this one on are not processed (RFC 9114 §5.2). Client-initiated
        // bidirectional stream n has the id 4n.
        let mut id = BytesMut::new();
        put_varint(&mut id, self.requests * 4);
        let mut out = BytesMut::new();
        put_varint(&mut out, kind::GOAWAY);
        put_varint(&mut out, id.len() as u64);
        out.extend_from_slice(&id);
        if self.write_control(out) {
            self.ended(now);
        } else {
            self.close(Code::NoError, now);
        }
    }

    /// Ends the connection.
    pub(super) fn close(&mut self, code: Code, now: Instant) {
        if self.closed {
            return;
        }
        match code {
            Code::NoError => {}
            Code::ExcessiveLoad => self.cut(Cut::Limit),
            _ => self.cut(Cut::Protocol),
        }
        self.quic.close(now, code.into(), Bytes::new());
        self.forget();
    }

    /// Lets go of everything but QUIC's own farewell.
    fn forget(&mut self) {
        self.closed = true;
        self.streams = Vec::new();
        self.unis = Vec::new();
        if self.control.take().is_some() {
            self.shared.observer.metrics.connection_closed(Protocol::H3);
        }
        if self.handshake.take().is_some() {
            self.cut(Cut::Handshake);
        }
    }

    fn cut(&self, why: Cut) {
        self.shared.observer.metrics.cut(Protocol::H3, why);
    }

    fn look_again(&mut self, at: Instant) {
        self.check_at = self.check_at.min(at);
    }

    /// Enforces timeouts, if it is time to.
    pub(super) fn check(&mut self, now: Instant) {
        if self.closed || now < self.check_at {
            return;
        }
        let limits = self.shared.limits.clone();
        if self.handshake.is_some() {
            return self.close(Code::NoError, now);
        }
        if self
            .close_at
            .is_some_and(|at| at <= now && self.streams.is_empty())
        {
            return self.close(Code::NoError, now);
        }
        if self.streams.is_empty() && now >= self.idle_since + limits.idle {
            // Pings keep QUIC's own idle timer from ending connections that ask for nothing.
            self.cut(Cut::Idle);
            return self.close(Code::NoError, now);
        }
        self.check_at = self.idle_since.max(now) + limits.idle;
        if self.streams.is_empty() {
            self.check_at = self.idle_since + limits.idle;
        }
        if let Some(at) = self.close_at {
            self.look_again(at.max(now + Duration::from_millis(1)));
        }
        self.check_unis(now, limits.header);
        let ids: Vec<StreamId> = self.streams.iter().map(|stream| stream.id).collect();
        for id in ids {
            self.check_stream(id, now);
        }
    }

    /// Streams that don't say what they are, or SETTINGS that don't come.
    fn check_unis(&mut self, now: Instant, patience: Duration) {
        let mut i = 0;
        while i < self.unis.len() {
            let (id, uni, since) = &mut self.unis[i];
            let due = *since + patience;
            match uni.advance(&mut self.critical, self.requests) {
                Ok(Standing::Awaited) if due > now => {
                    self.check_at = self.check_at.min(due);
                    i += 1;
                }
                Ok(Standing::Awaited) if uni.is_control() => {
                    return self.close(Code::MissingSettings, now);
                }
                Ok(Standing::Awaited) => {
                    let _ = self.quic.recv_stream(*id).stop(Code::StreamCreation.into());
                    self.unis.swap_remove(i);
                }
                _ => i += 1,
            }
        }
    }

    /// One request's timeouts.
    fn check_stream(&mut self, id: StreamId, now: Instant) {
        let Some(i) = self.find(id) else { return };
        let limits = &self.shared.limits;
        let stream = &mut self.streams[i];
        if stream.unresolved() && stream.answer.is_none() {
            let due = stream.since + limits.header;
            if due <= now {
                self.cut(Cut::Header);
                return self.fail(id, Fault::Stream(Code::RequestIncomplete), now);
            }
            self.look_again(due);
            return;
        }
        if let Some(upload) = &stream.upload
            && stream.receiving
            && upload.has_room()
        {
            let due = stream.since + limits.stall;
            let slow = !stream.paused && stream.uploaded < dribble::least(limits);
            if due <= now && slow {
                upload.end(Err(BodyError::Client("the request's body stalled".into())));
                self.cut(Cut::Stall);
                return self.fail(id, Fault::Stream(Code::RequestIncomplete), now);
            }
            let next = if due <= now {
                stream.restart(now);
                now + limits.stall
            } else {
                due
            };
            self.look_again(next);
        }
        let stream = &mut self.streams[i];
        if stream.answer.as_ref().is_some_and(Answer::waits) {
            match stream.pace.judge(now, &self.shared.limits) {
                Some(due) => self.look_again(due),
                None => {
                    self.cut(Cut::Stall);
                    self.fail(id, Fault::Stream(Code::RequestCancelled), now);
                }
            }
        }
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        if self.control.take().is_some() {
            self.shared.observer.metrics.connection_closed(Protocol::H3);
        }
    }
}
