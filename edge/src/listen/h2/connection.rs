//! One HTTP/2 connection's task: bytes between the wire and the state, requests to the service,
//! bodies from it.

use std::{
    cell::Cell,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    future::{AbortHandle, Abortable},
    stream::FuturesUnordered,
};
use http::{
    Method,
    uri::{PathAndQuery, Scheme},
};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;

use super::{core::Core, error::Code, requests::Asked, stream::Stream};
use crate::{
    exchange::{Body, BodyError, Protocol, Request, RequestBody, Response, Served, Service},
    listen::{
        Shared,
        exchange::Exchange,
        expect::{self, Expected},
        unfit,
        vitals::Vitals,
        wakes::Wakes,
        wire::Wire,
    },
    metrics::Cut,
};

/// Rounds of reading and writing a poll may take before other tasks have their turn.
const ROUNDS: usize = 16;

/// Most plaintext read at a time: a TLS record.
const READ: usize = 16 << 10;

thread_local! {
    /// What is read into, so that a connection at rest holds no buffer.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a request was waiting for.
enum Done {
    /// The service's answer.
    Answered(Response),
    /// The next frame of a response's body; the body with it.
    Next(Body, Option<Result<Frame<Bytes>, BodyError>>),
}

type Work = Pin<Box<dyn Future<Output = (u32, Done)> + Send>>;

/// A connection. Ends when there is nothing more to serve, or the client is gone.
pub(crate) struct Connection<S> {
    shared: Arc<Shared<S>>,
    vitals: Arc<Vitals>,
    wire: Wire,
    peer: SocketAddr,
    secure: bool,
    core: Core,
    /// Read, but not acted on before output has left: less than [`READ`].
    backlog: Vec<u8>,
    /// Requests that wait for something.
    jobs: Option<Box<FuturesUnordered<Abortable<Work>>>>,
    wakes: Arc<Wakes>,
    /// Nothing more comes from the client.
    ended: bool,
}

impl<S: Service> Connection<S> {
    /// A connection from `peer`, over TLS where it is `secure`.
    pub(crate) fn new(
        shared: &Arc<Shared<S>>,
        wire: &Wire,
        vitals: &Arc<Vitals>,
        (peer, secure): (SocketAddr, bool),
    ) -> Self {
        let alt_svc = shared.alt_svc.clone().filter(|_| secure);
        Self {
            shared: Arc::clone(shared),
            vitals: Arc::clone(vitals),
            wire: wire.clone(),
            peer,
            secure,
            core: Core::new(&shared.limits, alt_svc, Instant::now()),
            backlog: Vec::new(),
            jobs: None,
            wakes: Arc::default(),
            ended: false,
        }
    }

    /// Lets requests under way finish, then ends the connection. Poll it afterwards.
    pub(crate) fn drain(&mut self) {
        self.core.drain();
    }

    /// Does what can be done now; whether anything was.
    fn round(&mut self, cx: &mut Context<'_>) -> Result<bool, Gone> {
        let now = Instant::now();
        self.wakes.register(cx.waker());
        let mut any = self.take_news();
        any |= self.take_done(cx);
        any |= self.receive(cx, now)?;
        for _ in 0..self.core.cut_stalled(now) {
            self.shared.observer.metrics.cut(Protocol::H2, Cut::Stall);
            any = true;
        }
        self.core.pump();
        self.ask_bodies();
        any |= self.send(cx)?;
        Ok(any)
    }

    /// Lets clients send more of what was read, and sends interim responses.
    fn take_news(&mut self) -> bool {
        let news = self.wakes.take();
        for (id, status, headers) in &news.interims {
            self.core.interim(*id, *status, headers);
        }
        news.read.iter().for_each(|stream| self.core.read(*stream));
        !(news.read.is_empty() && news.interims.is_empty())
    }

    /// Goes on with what requests were waiting for.
    fn take_done(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        while let Some(jobs) = &mut self.jobs {
            match jobs.poll_next_unpin(cx) {
                Poll::Ready(Some(result)) => {
                    any = true;
                    // What came before a final response goes out before it.
                    self.take_news();
                    if let Ok((id, done)) = result {
                        self.finish(id, done);
                    }
                }
                Poll::Ready(None) => self.jobs = None,
                Poll::Pending => break,
            }
        }
        any
    }

    fn finish(&mut self, id: u32, done: Done) {
        match done {
            Done::Answered(response) => {
                if let Some(mut stream) = self.core.streams.take(id) {
                    stream.job = None;
                    self.answer(stream, response);
                }
            }
            Done::Next(body, next) => self.core.feed(id, body, next),
        }
    }

    /// Reads what the client has sent, as far as it can be acted on.
    fn receive(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, Gone> {
        if !self.backlog.is_empty() {
            let backlog = std::mem::take(&mut self.backlog);
            let left = self.act(&backlog, now);
            let used = backlog.len() - left;
            self.backlog = backlog;
            self.backlog.drain(..used);
            if left > 0 {
                return Ok(used > 0);
            }
            self.backlog = Vec::new();
        }
        if self.ended || self.core.closing.is_some() || self.core.is_full() {
            return Ok(false);
        }
        let mut buf = SCRATCH.take();
        buf.resize(READ, 0);
        let received = self.wire.receive(cx, &mut buf);
        match &received {
            Poll::Ready(Ok(0)) => self.ended = true,
            Poll::Ready(Ok(n)) => {
                let left = self.act(&buf[..*n], now);
                self.backlog.extend_from_slice(&buf[*n - left..*n]);
            }
            Poll::Ready(Err(_)) if self.wire.cut().is_some() => {
                self.core.close(Code::EnhanceYourCalm);
            }
            Poll::Ready(Err(_)) => return Err(Gone),
            Poll::Pending => {}
        }
        SCRATCH.set(buf);
        Ok(received.is_ready())
    }

    /// Acts on bytes from the client; how many are left.
    fn act(&mut self, mut bytes: &[u8], now: Instant) -> usize {
        while let Some(asked) = self.core.next(&mut bytes, now) {
            self.ask(asked, now);
        }
        bytes.len()
    }

    /// Asks the service.
    fn ask(&mut self, mut asked: Asked, now: Instant) {
        let body = match asked.fault {
            None => self.body(&mut asked),
            Some(_) => RequestBody::Empty,
        };
        let Asked {
            mut stream,
            head,
            fault,
            ..
        } = asked;
        let request = Request {
            method: head.method.unwrap_or(Method::GET),
            scheme: if self.secure {
                Scheme::HTTPS
            } else {
                Scheme::HTTP
            },
            authority: head.authority,
            target: head.path.unwrap_or_else(|| PathAndQuery::from_static("/")),
            headers: head.fields,
            body,
            protocol: Protocol::H2,
            peer: self.peer,
            received: now,
            interim: self.wakes.interim(stream.id),
        };
        let exchange = Exchange::begin(&self.shared.observer, Some(&self.vitals), &request);
        stream.exchange = Some(exchange);
        if let Some(fault) = fault {
            return self.answer(stream, unfit::refuse(&fault));
        }
        let (answer, id) = match self.shared.service.serve(request) {
            Served::Now(response) => return self.answer(stream, response),
            Served::Later(answer) => (answer, stream.id),
        };
        let work = Box::pin(async move { (id, Done::Answered(answer.await)) });
        match self.launch(work) {
            Ok((_, Done::Answered(response))) => self.answer(stream, response),
            Ok(_) => {}
            Err(job) => {
                stream.job = Some(job);
                self.core.streams.put(stream);
            }
        }
    }

    /// A request's body.
    fn body(&self, asked: &mut Asked) -> RequestBody {
        let Some(body) = asked.body(&self.wakes, &self.shared.limits) else {
            return RequestBody::Empty;
        };
        let body = if expect::continues(&asked.head.fields) {
            Expected::new(body, self.wakes.interim(asked.stream.id)).boxed_unsync()
        } else {
            body.boxed_unsync()
        };
        RequestBody::Stream {
            body,
            len: asked.length,
        }
    }

    /// Runs work: at once where it needs no waiting, as most does.
    fn launch(&mut self, mut work: Work) -> Result<(u32, Done), AbortHandle> {
        let mut unwoken = Context::from_waker(Waker::noop());
        match work.as_mut().poll(&mut unwoken) {
            Poll::Ready(done) => Ok(done),
            Poll::Pending => {
                // Polled again, with a waker, before the task rests.
                let (handle, registration) = AbortHandle::new_pair();
                let jobs = self.jobs.get_or_insert_default();
                jobs.push(Abortable::new(work, registration));
                Err(handle)
            }
        }
    }

    fn answer(&mut self, mut stream: Box<Stream>, mut response: Response) {
        if let Some(exchange) = &mut stream.exchange {
            let facts = std::mem::take(&mut response.facts);
            exchange.answered(response.status.as_u16(), facts);
        }
        self.core.respond(stream, response);
    }

    /// Asks bodies that were written as far as they had come.
    fn ask_bodies(&mut self) {
        while let Some((id, mut body)) = self.core.hungry() {
            let mut unwoken = Context::from_waker(Waker::noop());
            if let Poll::Ready(next) = Pin::new(&mut body).poll_frame(&mut unwoken) {
                self.core.feed(id, body, next);
                self.core.pump();
                continue;
            }
            let work = Box::pin(async move {
                let next = body.next().await;
                (id, Done::Next(body, next))
            });
            match self.launch(work) {
                Ok((id, done)) => self.finish(id, done),
                Err(job) => self.core.wait(id, job),
            }
        }
    }

    /// Hands the wire what waits; whether it took any.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<bool, Gone> {
        let mut any = false;
        while !self.core.sending.out.is_empty() {
            let more = !self.backlog.is_empty() || !self.core.sending.ready.is_empty();
            let out = &mut self.core.sending.out;
            match out.with_slices(|slices| self.wire.send(cx, slices, more)) {
                Poll::Ready(Ok(n @ 1..)) => out.advance(n),
                Poll::Ready(Ok(0) | Err(_)) => return Err(Gone),
                Poll::Pending => break,
            }
            any = true;
        }
        Ok(any)
    }

    /// Everything that could be done is: sends it, and ends the connection if it is over.
    fn rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let flushed = self.wire.flush(cx);
        if self.ended || self.wire.cut().is_some() || matches!(flushed, Poll::Ready(Err(_))) {
            return Poll::Ready(());
        }
        if self.core.is_over() && self.core.sending.out.is_empty() {
            return self.wire.shutdown(cx).map(|_| ());
        }
        Poll::Pending
    }
}

/// The client can't be reached any more.
#[derive(Debug)]
struct Gone;

impl<S: Service> Future for Connection<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            match self.round(cx) {
                Ok(true) => {}
                Ok(false) => return self.rest(cx),
                Err(Gone) => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        self.rest(cx)
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        let why = match self.core.closing {
            None | Some(Code::NoError) => return,
            // Counted as what the guard has found.
            Some(_) if self.wire.cut().is_some() => return,
            Some(Code::EnhanceYourCalm) => Cut::Limit,
            Some(_) => Cut::Protocol,
        };
        self.shared.observer.metrics.cut(Protocol::H2, why);
    }
}
