//! One HTTP/1.1 connection's task: bytes between the wire and the parsers, requests to the service,
//! bodies from it.

use std::{
    cell::Cell,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{StatusCode, header, uri::Scheme};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::Sleep;

use super::{
    body::{Decoder, Part},
    encode::{self, Form, Framing},
    head::{self, Head, Refusal, Scan},
};
use crate::{
    exchange::{
        Body, BodyError, Interim, Protocol, Request, RequestBody, Response, Served, Service,
    },
    listen::{
        Shared, date,
        exchange::Exchange,
        expect::{self, Expected},
        output::Output,
        unfit,
        upload::{self, Sender, WINDOW},
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

/// Bytes of output above which no more is made.
const HIGH: usize = 96 << 10;

/// Bytes of a request's body that are read though nobody wants them, so that the connection can be
/// used again.
const WASTE: u64 = 64 << 10;

/// Bytes that are read after the last response, and for how long: what is unread when a socket is
/// closed resets it, and the response may be lost with that (RFC 9112 §9.6).
const LINGER: (u64, Duration) = (1 << 20, Duration::from_secs(1));

thread_local! {
    /// What is read into, so that a connection at rest holds no buffer.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

type Work = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Where the request under way stands.
enum Stage {
    /// There is none.
    Idle,
    /// The service is asked.
    Asked(Work),
    /// The response's head is written.
    Answering(Body, Framing),
    /// All of the response is.
    Written,
}

/// A request's body as it comes in.
struct Taking {
    decoder: Decoder,
    /// Where it goes; none where nobody wants it.
    upload: Option<Sender>,
    /// Bytes that wait for whoever reads them.
    held: u32,
    /// Left of what a body may have.
    allowed: u64,
    /// Bytes that nobody wanted.
    wasted: u64,
    /// The client waits for a word before it sends it.
    expected: bool,
}

/// A connection. Ends when there is nothing more to serve, or the client is gone.
pub(crate) struct Connection<S> {
    shared: Arc<Shared<S>>,
    vitals: Arc<Vitals>,
    wire: Wire,
    peer: SocketAddr,
    secure: bool,
    /// Read, and not acted on.
    input: Vec<u8>,
    scan: Scan,
    taking: Option<Box<Taking>>,
    stage: Stage,
    exchange: Option<Exchange>,
    form: Form,
    /// How the body's readers tell us; of the last request that had one.
    wakes: Option<Arc<Wakes>>,
    out: Output,
    /// Nothing more comes from the client.
    ended: bool,
    /// No request is served after the one under way.
    last: bool,
    /// What came couldn't be read.
    refused: bool,
    /// Since all is said.
    lingering: Option<(Pin<Box<Sleep>>, u64)>,
}

impl<S: Service> Connection<S> {
    /// A connection from `peer`, over TLS where it is `secure`.
    pub(crate) fn new(
        shared: &Arc<Shared<S>>,
        wire: &Wire,
        vitals: &Arc<Vitals>,
        (peer, secure): (SocketAddr, bool),
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            vitals: Arc::clone(vitals),
            wire: wire.clone(),
            peer,
            secure,
            input: Vec::new(),
            scan: Scan::default(),
            taking: None,
            stage: Stage::Idle,
            exchange: None,
            form: Form::default(),
            wakes: None,
            out: Output::default(),
            ended: false,
            last: false,
            refused: false,
            lingering: None,
        }
    }

    /// Does what can be done now; whether anything was.
    fn round(&mut self, cx: &mut Context<'_>) -> Result<bool, Gone> {
        let mut any = self.take_news(cx);
        any |= self.take_answer(cx);
        any |= self.receive(cx)?;
        any |= self.fill(cx)?;
        any |= self.send(cx)?;
        Ok(any)
    }

    /// What the body's readers have for us.
    fn take_news(&mut self, cx: &Context<'_>) -> bool {
        let Some(wakes) = &self.wakes else {
            return false;
        };
        wakes.register(cx.waker());
        let news = wakes.take();
        if let Some(taking) = &mut self.taking
            && let Some(upload) = &taking.upload
        {
            taking.held = taking.held.saturating_sub(upload.claim());
            // Other interim responses are not for HTTP/1.1: clients take them for the final one.
            let word = |(_, status, _): &(u32, StatusCode, _)| *status == StatusCode::CONTINUE;
            let asked = matches!(self.stage, Stage::Asked(_));
            if asked && taking.expected && news.interims.iter().any(word) {
                taking.expected = false;
                let word = b"HTTP/1.1 100 Continue\r\n\r\n";
                self.out.put(|out| out.extend_from_slice(word));
            }
        }
        !(news.read.is_empty() && news.interims.is_empty())
    }

    /// Takes the service's answer, once it is there.
    fn take_answer(&mut self, cx: &mut Context<'_>) -> bool {
        if let Stage::Asked(work) = &mut self.stage
            && let Poll::Ready(response) = work.as_mut().poll(cx)
        {
            self.answer(response);
            return true;
        }
        false
    }

    /// Reads what the client has sent, as far as it can be acted on.
    fn receive(&mut self, cx: &mut Context<'_>) -> Result<bool, Gone> {
        let mut any = false;
        if !self.input.is_empty() {
            any = self.act_on_input();
        }
        let blocked = !self.input.is_empty() && self.taking.is_some();
        let full = self.input.len() >= READ && !matches!(self.stage, Stage::Idle);
        if self.ended || self.refused || self.is_over() || blocked || full {
            return Ok(any);
        }
        let mut buf = SCRATCH.take();
        buf.resize(READ, 0);
        let received = self.wire.receive(cx, &mut buf);
        match &received {
            Poll::Ready(Ok(0)) => self.ended = true,
            Poll::Ready(Ok(n)) if self.input.is_empty() => {
                let left = self.act(&buf[..*n]);
                self.input.extend_from_slice(&buf[*n - left..*n]);
            }
            Poll::Ready(Ok(n)) => {
                self.input.extend_from_slice(&buf[..*n]);
                self.act_on_input();
            }
            Poll::Ready(Err(_)) => return Err(Gone),
            Poll::Pending => {}
        }
        SCRATCH.set(buf);
        Ok(any | received.is_ready())
    }

    /// Acts on what was read before; whether on any of it.
    fn act_on_input(&mut self) -> bool {
        let mut input = std::mem::take(&mut self.input);
        let used = input.len() - self.act(&input);
        if used < input.len() {
            input.drain(..used);
            self.input = input;
        }
        used > 0
    }

    /// Acts on bytes from the client; how many are left.
    fn act(&mut self, mut bytes: &[u8]) -> usize {
        while !bytes.is_empty() {
            let more = match self.stage {
                _ if self.taking.is_some() => self.take_body(&mut bytes),
                Stage::Idle if !self.last => self.take_head(&mut bytes),
                _ => false,
            };
            if !more {
                break;
            }
        }
        bytes.len()
    }

    /// Takes a request's head, if all of it is there; whether it was.
    fn take_head(&mut self, bytes: &mut &[u8]) -> bool {
        // Empty lines before a request are forgiven (RFC 9112 §2.2).
        while let Some(rest) = bytes.strip_prefix(b"\r\n") {
            *bytes = rest;
        }
        if matches!(bytes, [] | [b'\r']) {
            return false;
        }
        let limits = &self.shared.limits;
        match self.scan.find(bytes, limits.header_size) {
            Ok(Some(length)) => {
                self.scan = Scan::default();
                let (head, rest) = bytes.split_at(length);
                *bytes = rest;
                match head::parse(&Bytes::copy_from_slice(head), limits) {
                    Ok(head) => self.ask(head),
                    Err(refusal) => self.refuse(refusal),
                }
                true
            }
            Ok(None) => false,
            Err(refusal) => {
                self.refuse(refusal);
                false
            }
        }
    }

    /// Takes what there is of a request's body; whether all of it.
    fn take_body(&mut self, bytes: &mut &[u8]) -> bool {
        let Some(taking) = &mut self.taking else {
            return false;
        };
        loop {
            let room = match taking.upload {
                Some(_) => WINDOW.saturating_sub(taking.held) as usize,
                None => READ,
            };
            if room == 0 {
                return false;
            }
            match taking.decoder.next(bytes, room) {
                Ok(Some(Part::Data(data))) => {
                    taking.take(data);
                    self.last |= taking.wasted > WASTE;
                }
                Ok(Some(Part::End(trailers))) => {
                    taking.end(trailers);
                    self.taking = None;
                    return true;
                }
                Ok(None) => return false,
                Err(_) => {
                    if let Some(upload) = taking.upload.take() {
                        let why = "the request's body is malformed";
                        upload.end(Err(BodyError::Client(why.into())));
                    }
                    self.taking = None;
                    (self.last, self.refused) = (true, true);
                    self.shared
                        .observer
                        .metrics
                        .cut(Protocol::H1, Cut::Protocol);
                    return false;
                }
            }
        }
    }

    /// Asks the service.
    fn ask(&mut self, mut head: Head) {
        self.form = Form {
            head: head.method == http::Method::HEAD,
            chunks: head.chunks,
            trailers: trailers_taken(&head.fields),
            keep: head.keep && head.fault.is_none(),
        };
        let body = match head.fault {
            None => self.body(&mut head),
            Some(_) => RequestBody::Empty,
        };
        let request = Request {
            method: head.method,
            scheme: if self.secure {
                Scheme::HTTPS
            } else {
                Scheme::HTTP
            },
            authority: head.authority,
            target: head.target,
            headers: head.fields,
            body,
            protocol: Protocol::H1,
            peer: self.peer,
            received: Instant::now(),
            interim: Interim::default(),
        };
        let observer = &self.shared.observer;
        self.exchange = Some(Exchange::begin(observer, Some(&self.vitals), &request));
        if let Some(fault) = head.fault {
            return self.answer(unfit::refuse(&fault));
        }
        match self.shared.service.serve(request) {
            Served::Now(response) => self.answer(response),
            Served::Later(work) => self.stage = Stage::Asked(work),
        }
    }

    /// A request's body.
    fn body(&mut self, head: &mut Head) -> RequestBody {
        let Some(decoder) = Decoder::new(head.framing) else {
            return RequestBody::Empty;
        };
        let limits = &self.shared.limits;
        let wakes = Arc::<Wakes>::default();
        let (sender, receiver) = upload::channel(&wakes, 0, limits);
        let (len, expected) = (
            decoder.left(),
            head.chunks && expect::continues(&head.fields),
        );
        self.taking = Some(Box::new(Taking {
            decoder,
            upload: Some(sender),
            held: 0,
            allowed: limits.body_size,
            wasted: 0,
            expected,
        }));
        let body = if expected {
            Expected::new(receiver, wakes.interim(0)).boxed_unsync()
        } else {
            receiver.boxed_unsync()
        };
        self.wakes = Some(wakes);
        RequestBody::Stream { body, len }
    }

    /// Begins a response.
    fn answer(&mut self, mut response: Response) {
        let facts = std::mem::take(&mut response.facts);
        if let Some(exchange) = &mut self.exchange {
            exchange.answered(response.status.as_u16(), facts);
        }
        let framing = self.form.framing(&response);
        // Of a body that nobody reads the rest must go by, if the connection is to be used again.
        let unread = self
            .taking
            .as_ref()
            .is_some_and(|taking| taking.is_too_much());
        let closes = !self.form.keep
            || self.last
            || unread
            || framing == Framing::Close
            || self.shared.draining.load(Relaxed);
        self.last |= closes;
        let alt_svc = self.shared.alt_svc.as_ref().filter(|_| self.secure);
        let chunks = self.form.chunks;
        self.out.put(|out| {
            encode::put_status(out, response.status);
            encode::put_response(out, &response, framing);
            if let Some(alt_svc) = alt_svc {
                encode::put_field(out, &header::ALT_SVC, alt_svc.as_bytes());
            }
            if closes {
                out.extend_from_slice(b"connection: close\r\n");
            } else if !chunks {
                out.extend_from_slice(b"connection: keep-alive\r\n");
            }
            out.extend_from_slice(b"\r\n");
        });
        self.stage = match framing {
            Framing::Bodiless | Framing::Length(0) => Stage::Written,
            framing => Stage::Answering(response.body, framing),
        };
    }

    /// Answers what can't be read, and ends with that.
    fn refuse(&mut self, refusal: Refusal) {
        let (status, cut) = match refusal {
            Refusal::Malformed => (StatusCode::BAD_REQUEST, Cut::Protocol),
            Refusal::TooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Cut::Limit),
            Refusal::TargetTooLong => (StatusCode::URI_TOO_LONG, Cut::Limit),
        };
        self.out.put(|out| {
            encode::put_status(out, status);
            encode::put_field(out, &header::CONTENT_LENGTH, b"0");
            encode::put_field(out, &header::DATE, date::now().as_bytes());
            out.extend_from_slice(b"connection: close\r\n\r\n");
        });
        (self.last, self.refused) = (true, true);
        self.shared.observer.metrics.cut(Protocol::H1, cut);
    }

    /// Writes what there is of the response's body.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<bool, Gone> {
        let mut any = false;
        while self.out.len() < HIGH
            && let Stage::Answering(body, framing) = &mut self.stage
        {
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
                self.wait_for_us(true);
                break;
            };
            any = true;
            let done = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.out.body(framing, data, self.exchange.as_mut())?,
                    Err(frame) => self.out.end(*framing, frame.into_trailers().ok())?,
                },
                None => self.out.end(*framing, None)?,
                Some(Err(_)) => {
                    // Where its end is the connection's, the client must not take this for it.
                    self.wire.abort();
                    return Err(Gone);
                }
            };
            if done {
                self.stage = Stage::Written;
            }
            self.wait_for_us(false);
        }
        Ok(any)
    }

    fn wait_for_us(&mut self, waits: bool) {
        if let Some(exchange) = &mut self.exchange {
            exchange.wait_for_us(waits);
        }
    }

    /// Hands the wire what waits; whether it took any.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<bool, Gone> {
        let mut any = false;
        let more = matches!(self.stage, Stage::Answering(..)) || !self.input.is_empty();
        while !self.out.is_empty() {
            let sent = self
                .out
                .with_slices(|slices| self.wire.send(cx, slices, more));
            match sent {
                Poll::Ready(Ok(n @ 1..)) => self.out.advance(n),
                Poll::Ready(Ok(0) | Err(_)) => return Err(Gone),
                Poll::Pending => return Ok(any),
            }
            any = true;
        }
        if matches!(self.stage, Stage::Written) {
            self.finish();
            any = true;
        }
        Ok(any)
    }

    /// A response is with the wire.
    fn finish(&mut self) {
        self.stage = Stage::Idle;
        if let Some(mut exchange) = self.exchange.take() {
            exchange.complete();
        }
        if !self.input.is_empty() {
            // The next head has begun.
            self.vitals.read(0);
        }
    }

    /// Whether all is said.
    fn is_over(&self) -> bool {
        self.last && matches!(self.stage, Stage::Idle) && self.out.is_empty()
    }

    /// Everything that could be done is: sends it, and ends the connection if it is over.
    fn rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let flushed = self.wire.flush(cx);
        if matches!(flushed, Poll::Ready(Err(_))) {
            return Poll::Ready(());
        }
        match self.stage {
            // Nobody is left to wait for an answer; one that is on its way may still be read.
            Stage::Asked(_) if self.ended => Poll::Ready(()),
            Stage::Idle if self.ended && self.out.is_empty() => flushed.map(|_| ()),
            Stage::Idle if self.is_over() => self.close(cx),
            _ => Poll::Pending,
        }
    }

    /// Ends the connection, so that the last response arrives.
    fn close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.lingering.is_none() {
            if ready!(self.wire.shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            if !self.refused && self.taking.is_none() && self.input.is_empty() {
                return Poll::Ready(());
            }
            self.input = Vec::new();
            self.lingering = Some((Box::pin(tokio::time::sleep(LINGER.1)), LINGER.0));
        }
        let Some((sleep, left)) = &mut self.lingering else {
            return Poll::Ready(());
        };
        let mut buf = [0; 4 << 10];
        while sleep.as_mut().poll(cx).is_pending() {
            match ready!(self.wire.receive(cx, &mut buf)) {
                Ok(n @ 1..) if n as u64 <= *left => *left -= n as u64,
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

/// The client can't be reached any more, or not be told what is wrong.
#[derive(Debug)]
pub(super) struct Gone;

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

impl Taking {
    /// Takes bytes of the body.
    fn take(&mut self, data: &[u8]) {
        // A client that doesn't wait for the word needs none.
        self.expected = false;
        let length = data.len() as u64;
        let Some(upload) = &self.upload else {
            self.wasted += length;
            return;
        };
        match self.allowed.checked_sub(length) {
            Some(left) if upload.push(data) => {
                self.allowed = left;
                // No more than the window.
                self.held += data.len() as u32;
            }
            left => {
                if left.is_none() {
                    let why = "the request's body is over its limit";
                    upload.end(Err(BodyError::Client(why.into())));
                    self.wasted = u64::MAX / 2;
                }
                self.wasted += length;
                self.upload = None;
            }
        }
    }

    /// The body's end.
    fn end(&mut self, trailers: Option<http::HeaderMap>) {
        if let Some(upload) = &self.upload {
            if let Some(trailers) = trailers {
                upload.trailers(trailers);
            }
            upload.end(Ok(()));
        }
    }

    /// Whether more is to come than is read in vain.
    fn is_too_much(&self) -> bool {
        self.expected || self.decoder.left().is_none_or(|left| left > WASTE)
    }
}

impl Output {
    /// Appends bytes of a response's body; whether they are its last.
    ///
    /// # Errors
    /// Where there are more than were announced.
    fn body(
        &mut self,
        framing: &mut Framing,
        data: Bytes,
        exchange: Option<&mut Exchange>,
    ) -> Result<bool, Gone> {
        if data.is_empty() {
            return Ok(false);
        }
        if let Some(exchange) = exchange {
            exchange.sent(data.len());
        }
        match framing {
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Gone)?;
                self.push(data);
                return Ok(*left == 0);
            }
            Framing::Chunked { .. } => {
                self.put(|out| encode::put_chunk(out, data.len()));
                self.push(data);
                self.put(|out| out.extend_from_slice(b"\r\n"));
            }
            Framing::Bodiless | Framing::Close => self.push(data),
        }
        Ok(false)
    }

    /// Ends a response's body; always true.
    ///
    /// # Errors
    /// Where less came than was announced.
    fn end(&mut self, framing: Framing, trailers: Option<http::HeaderMap>) -> Result<bool, Gone> {
        match framing {
            Framing::Length(1..) => Err(Gone),
            Framing::Chunked { trailers: taken } => {
                let trailers = trailers.filter(|_| taken);
                self.put(|out| encode::put_last_chunk(out, trailers.as_ref()));
                Ok(true)
            }
            _ => Ok(true),
        }
    }
}

/// Whether a client takes trailers (RFC 9110 §6.5.1).
fn trailers_taken(fields: &http::HeaderMap) -> bool {
    fields.get_all(header::TE).iter().any(|value| {
        let mut codings = value.as_bytes().split(|b| *b == b',');
        codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}
