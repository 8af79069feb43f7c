//! One HTTP/3 request stream: head and body read under their limits, the response written as
//! shared chunks.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode, header,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use quinn::{RecvStream, SendStream, WriteError};

use super::{
    error::{Code, Fault},
    frame::{Reader, kind, put_varint},
    qpack::{self, Line},
};
use crate::{
    config::Limits,
    exchange::{
        Body, BodyError, BoxBody, Facts, Protocol, Request, RequestBody, Response, Service,
    },
    listen::{Shared, exchange::Exchange},
    metrics::Cut,
};

/// Longest encoded head for which no growth is needed.
const HEAD: usize = 512;

/// A decoded head.
#[derive(Debug, Default)]
struct Head {
    method: Option<Method>,
    scheme: Option<Bytes>,
    authority: Option<Authority>,
    path: Option<PathAndQuery>,
    fields: HeaderMap,
}

/// What reading a head came to.
enum Read {
    /// A request, its length if announced.
    Head(Box<Head>, Option<u64>),
    /// Too large: answered with that status.
    TooLarge(StatusCode),
}

/// Serves one request stream.
///
/// # Errors
/// [`Fault::Connection`] where the whole connection must be closed.
pub(super) async fn serve<S: Service>(
    shared: Arc<Shared<S>>,
    peer: SocketAddr,
    mut send: SendStream,
    recv: RecvStream,
) -> Result<(), Fault> {
    let limits = &shared.limits;
    let mut reader = Reader::new(recv, limits.h3_unresolved);
    let read = tokio::time::timeout(limits.header, read_head(&mut reader, limits)).await;
    let result = match read {
        Ok(Ok(Read::Head(head, length))) => {
            exchange(&shared, peer, *head, length, reader, &mut send).await
        }
        Ok(Ok(Read::TooLarge(status))) => {
            shared.observer.metrics.cut(Protocol::H3, Cut::Limit);
            let _ = reader.stream().stop(Code::ExcessiveLoad.into());
            let response = Response {
                status,
                headers: HeaderMap::new(),
                body: Body::Empty,
                facts: Facts::default(),
            };
            write(&mut send, response, None, limits).await
        }
        Ok(Err(fault)) => {
            if fault == Fault::Connection(Code::ExcessiveLoad) {
                shared.observer.metrics.cut(Protocol::H3, Cut::Limit);
            }
            let _ = reader.stream().stop(Code::Message.into());
            Err(fault)
        }
        Err(_) => {
            shared.observer.metrics.cut(Protocol::H3, Cut::Header);
            let _ = reader.stream().stop(Code::RequestIncomplete.into());
            Err(Fault::Stream(Code::RequestIncomplete))
        }
    };
    match result {
        Err(Fault::Stream(code)) => {
            let _ = send.reset(code.into());
            Ok(())
        }
        Err(Fault::Gone) => {
            let _ = send.reset(Code::RequestCancelled.into());
            Ok(())
        }
        result => result,
    }
}

/// Reads frames up to and including HEADERS.
async fn read_head(reader: &mut Reader, limits: &Limits) -> Result<Read, Fault> {
    loop {
        let Some((kind, length)) = reader.header().await? else {
            return Err(Fault::Stream(Code::RequestIncomplete));
        };
        match kind {
            // The section is smaller than what it decodes to, or larger by bits: either is refused.
            kind::HEADERS if length > limits.header_size => {
                return Ok(Read::TooLarge(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
            }
            kind::HEADERS => {
                let section = reader.payload(length).await?;
                return parse(section, limits);
            }
            kind if forbidden(kind) || kind == kind::DATA => {
                return Err(Fault::Connection(Code::FrameUnexpected));
            }
            _ => reader.skip(length).await?,
        }
    }
}

/// Whether a known frame may not appear on a request stream (RFC 9114 §7.2).
fn forbidden(kind: u64) -> bool {
    matches!(
        kind,
        kind::CANCEL_PUSH | kind::SETTINGS | kind::PUSH_PROMISE | kind::GOAWAY | kind::MAX_PUSH_ID
    ) || kind::RESERVED.contains(&kind)
}

/// A request's head from its field section.
fn parse(section: Bytes, limits: &Limits) -> Result<Read, Fault> {
    let mut head = Head::default();
    let bounds = qpack::Limits {
        size: limits.header_size,
        count: limits.header_count,
    };
    match qpack::decode(section, bounds, |line| head.take(line)) {
        Ok(()) => {}
        Err(qpack::Error::Decompression) => {
            return Err(Fault::Connection(Code::QpackDecompression));
        }
        Err(qpack::Error::Malformed) => return Err(Fault::Stream(Code::Message)),
        Err(qpack::Error::TooLarge) => {
            return Ok(Read::TooLarge(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        }
    }
    let length = head.check().ok_or(Fault::Stream(Code::Message))?;
    if head
        .path
        .as_ref()
        .is_some_and(|path| path.as_str().len() as u64 > limits.target_size)
    {
        return Ok(Read::TooLarge(StatusCode::URI_TOO_LONG));
    }
    if length.is_some_and(|length| length > limits.body_size) {
        return Ok(Read::TooLarge(StatusCode::PAYLOAD_TOO_LARGE));
    }
    Ok(Read::Head(Box::new(head), length))
}

impl Head {
    /// Takes one line; pseudo-header fields come first and once (RFC 9114 §4.3).
    fn take(&mut self, line: Line) -> Result<(), qpack::Error> {
        const BAD: qpack::Error = qpack::Error::Malformed;
        match line {
            Line::Field(name, value) => {
                if hop_by_hop(&name) || (name == header::TE && value != "trailers") {
                    return Err(BAD);
                }
                // Cookie crumbs are one field elsewhere (RFC 9114 §4.2.1).
                self.fields.append(name, value);
                Ok(())
            }
            Line::Pseudo(..) if !self.fields.is_empty() => Err(BAD),
            Line::Pseudo(name, value) => {
                let fresh = match &name[..] {
                    b":method" => self
                        .method
                        .replace(Method::from_bytes(&value).map_err(|_| BAD)?)
                        .is_none(),
                    b":scheme" => self.scheme.replace(value).is_none(),
                    b":authority" => self
                        .authority
                        .replace(Authority::from_maybe_shared(value).map_err(|_| BAD)?)
                        .is_none(),
                    b":path" => {
                        if value.first() != Some(&b'/') && &value[..] != b"*" {
                            return Err(BAD);
                        }
                        self.path
                            .replace(PathAndQuery::from_maybe_shared(value).map_err(|_| BAD)?)
                            .is_none()
                    }
                    _ => false,
                };
                if fresh { Ok(()) } else { Err(BAD) }
            }
        }
    }

    /// Checks the whole (RFC 9114 §4.3.1); the announced length of the body, or none where the
    /// request is malformed.
    fn check(&mut self) -> Option<Option<u64>> {
        let method = self.method.as_ref()?;
        if *method == Method::CONNECT {
            (self.scheme.is_none() && self.path.is_none() && self.authority.is_some())
                .then_some(())?;
        } else {
            (self.scheme.is_some() && self.path.is_some()).then_some(())?;
        }
        let mut hosts = self.fields.get_all(header::HOST).iter();
        let host = hosts.next();
        if hosts.next().is_some() {
            return None;
        }
        let host = host
            .map(|h| h.to_str().ok()?.parse::<Authority>().ok())
            .map_or(Some(None), |h| h.map(Some))?;
        match (&self.authority, host) {
            (Some(authority), Some(host)) if *authority != host => return None,
            (None, Some(host)) => self.authority = Some(host),
            (None, None) => return None,
            (Some(_), _) => {}
        }
        if self
            .authority
            .as_ref()
            .is_some_and(|a| a.as_str().contains('@'))
        {
            return None;
        }
        let mut lengths = self.fields.get_all(header::CONTENT_LENGTH).iter();
        let length = lengths.next();
        if lengths.next().is_some() {
            return None;
        }
        let length = match length {
            Some(length) => {
                let digits = length.as_bytes();
                (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then_some(())?;
                Some(length.to_str().ok()?.parse().ok()?)
            }
            None => None,
        };
        self.fields.remove(header::CONTENT_LENGTH);
        Some(length)
    }
}

/// Fields that mean a connection and may not be sent over HTTP/3 (RFC 9114 §4.2).
fn hop_by_hop(name: &http::HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::TRANSFER_ENCODING
        || *name == header::UPGRADE
        || name == "keep-alive"
        || name == "proxy-connection"
}

/// Asks the service and writes its answer.
async fn exchange<S: Service>(
    shared: &Shared<S>,
    peer: SocketAddr,
    head: Head,
    length: Option<u64>,
    reader: Reader,
    send: &mut SendStream,
) -> Result<(), Fault> {
    let limits = &shared.limits;
    let (method, secure) = (
        head.method.unwrap_or_default(),
        head.scheme.as_deref() != Some(b"http"),
    );
    if let Some(urgency) = urgency(&head.fields) {
        let _ = send.set_priority(urgency);
    }
    let first =
        tokio::time::timeout(limits.header, Received::new(reader, length, limits).begin()).await;
    let body = match first.map_err(|_| Fault::Stream(Code::RequestIncomplete))?? {
        None => RequestBody::Empty,
        Some(body) => RequestBody::Stream { body, len: length },
    };
    let request = Request {
        method,
        scheme: if secure { Scheme::HTTPS } else { Scheme::HTTP },
        authority: head.authority,
        target: head.path.unwrap_or_else(|| PathAndQuery::from_static("/")),
        headers: head.fields,
        body,
        protocol: Protocol::H3,
        peer,
        received: Instant::now(),
    };
    let mut exchange = Exchange::begin(&shared.observer, None, &request);
    let mut response = shared.service.serve(request).await;
    exchange.answered(
        response.status.as_u16(),
        std::mem::take(&mut response.facts),
    );
    let result = write(send, response, Some(&mut exchange), limits).await;
    if result == Err(Fault::Stream(Code::RequestCancelled)) {
        shared.observer.metrics.cut(Protocol::H3, Cut::Stall);
    }
    result
}

/// QUIC's priority for a request's urgency (RFC 9218 §4.1): 3 is the default and 0 the most urgent.
fn urgency(fields: &HeaderMap) -> Option<i32> {
    let value = fields.get("priority")?.to_str().ok()?;
    let urgency = value
        .split(',')
        .find_map(|item| item.trim().strip_prefix("u="))?;
    let urgency: i32 = urgency.parse().ok().filter(|u| (0..=7).contains(u))?;
    Some(3 - urgency)
}

/// A body being received.
struct Received {
    reader: Reader,
    /// Left of the current DATA frame.
    frame: u64,
    /// Left of the announced length.
    announced: Option<u64>,
    /// Left of the limit.
    allowed: u64,
    limits: qpack::Limits,
    stall: Duration,
    ended: bool,
}

impl Drop for Received {
    fn drop(&mut self) {
        if !self.reader.at_end() {
            // We don't need the rest (RFC 9114 §4.1): no error.
            let _ = self.reader.stream().stop(Code::NoError.into());
        }
    }
}

/// What comes next in a body.
enum Next {
    /// A DATA frame that isn't empty.
    Data,
    /// Trailers.
    Trailers(HeaderMap),
    /// The end.
    End,
}

impl Received {
    fn new(mut reader: Reader, length: Option<u64>, limits: &Limits) -> Self {
        // Trailers and unknown frames between DATA frames.
        reader.allow(limits.header_size);
        Self {
            reader,
            frame: 0,
            announced: length,
            allowed: limits.body_size,
            limits: qpack::Limits {
                size: limits.header_size,
                count: limits.header_count,
            },
            stall: limits.stall,
            ended: false,
        }
    }

    /// The body, once it is known that there is one: clients may put frames of no meaning, or the
    /// stream's end, behind the head.
    async fn begin(mut self) -> Result<Option<BoxBody>, Fault> {
        let trailers = match self.advance().await? {
            Next::End => return Ok(None),
            Next::Data => None,
            Next::Trailers(fields) => {
                self.ended = true;
                Some(Ok(Frame::trailers(fields)))
            }
        };
        let frames = stream::unfold((self, trailers), |(mut received, trailers)| async move {
            if let Some(trailers) = trailers {
                return Some((trailers, (received, None)));
            }
            if received.ended {
                return None;
            }
            let next = received.next().await;
            received.ended = !matches!(&next, Ok(Some(frame)) if frame.is_data());
            let item = match next {
                Ok(Some(frame)) => Ok(frame),
                Ok(None) => return None,
                Err(fault) => Err(BodyError::Client(format!("{fault:?}"))),
            };
            Some((item, (received, None)))
        });
        Ok(Some(BodyExt::boxed_unsync(StreamBody::new(frames))))
    }

    /// The next frame of the body, data or trailers.
    async fn next(&mut self) -> Result<Option<Frame<Bytes>>, Fault> {
        if self.frame == 0 {
            let next = tokio::time::timeout(self.stall, self.advance()).await;
            match next.map_err(|_| Fault::Stream(Code::RequestIncomplete))?? {
                Next::Data => {}
                Next::Trailers(fields) => return Ok(Some(Frame::trailers(fields))),
                Next::End => return Ok(None),
            }
        }
        let data = self.reader.data(self.frame, self.stall).await?;
        self.frame -= data.len() as u64;
        Ok(Some(Frame::data(data)))
    }

    /// Reads frame headers up to one that matters.
    async fn advance(&mut self) -> Result<Next, Fault> {
        let malformed = Fault::Stream(Code::Message);
        loop {
            match self.reader.header().await? {
                None if self.announced.is_some_and(|left| left > 0) => return Err(malformed),
                None => return Ok(Next::End),
                Some((kind::DATA, length)) => {
                    self.allowed = self
                        .allowed
                        .checked_sub(length)
                        .ok_or(Fault::Stream(Code::ExcessiveLoad))?;
                    if let Some(left) = &mut self.announced {
                        *left = left.checked_sub(length).ok_or(malformed)?;
                    }
                    self.frame = length;
                    // Frames of useful size pay for their headers.
                    self.reader.allow((length / 16).min(16));
                    if length > 0 {
                        return Ok(Next::Data);
                    }
                }
                Some((kind::HEADERS, length)) if length <= self.limits.size => {
                    return Ok(Next::Trailers(self.trailers(length).await?));
                }
                Some((kind::HEADERS, _)) => return Err(Fault::Stream(Code::ExcessiveLoad)),
                Some((kind, _)) if forbidden(kind) => {
                    return Err(Fault::Connection(Code::FrameUnexpected));
                }
                Some((_, length)) => self.reader.skip(length).await?,
            }
        }
    }

    async fn trailers(&mut self, length: u64) -> Result<HeaderMap, Fault> {
        let malformed = Fault::Stream(Code::Message);
        if self.announced.is_some_and(|left| left > 0) {
            return Err(malformed);
        }
        let section = self.reader.payload(length).await?;
        let mut fields = HeaderMap::new();
        let taken = qpack::decode(section, self.limits, |line| match line {
            Line::Field(name, value) => {
                fields.append(name, value);
                Ok(())
            }
            Line::Pseudo(..) => Err(qpack::Error::Malformed),
        });
        taken.map_err(|_| malformed)?;
        Ok(fields)
    }
}

/// Writes a response and finishes the stream.
async fn write(
    send: &mut SendStream,
    mut response: Response,
    mut exchange: Option<&mut Exchange>,
    limits: &Limits,
) -> Result<(), Fault> {
    let length = response.body.len();
    // One DATA frame for the whole body where its length is known.
    let framed = length.filter(|length| *length > 0);
    let mut pace = Pace::new(limits);
    let mut chunks = Vec::with_capacity(4);
    chunks.push(head(&mut response, framed));
    loop {
        // Take what is there at once, so that head, body and end leave together.
        let framing = chunks.len();
        let ended = match &mut response.body {
            Body::Empty => true,
            Body::Full(bytes) => {
                chunks.push(std::mem::take(bytes));
                true
            }
            Body::Chunks(all) => {
                chunks.extend(all.drain(..));
                true
            }
            Body::Stream { .. } => false,
        };
        let bytes: usize = chunks[framing..].iter().map(Bytes::len).sum();
        pace.write(send, &mut chunks).await?;
        if let Some(exchange) = &mut exchange {
            exchange.sent(bytes);
        }
        chunks.clear();
        if ended {
            break;
        }
        let next = response.body.next().await;
        pace = Pace::new(limits);
        let Some(frame) = next else { break };
        let frame = frame.map_err(|_| Fault::Stream(Code::Internal))?;
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        frame_chunks(frame, framed.is_some(), &mut chunks);
        pace.write(send, &mut chunks).await?;
        if let Some(exchange) = &mut exchange {
            exchange.sent(bytes);
        }
        chunks.clear();
    }
    if let Some(exchange) = &mut exchange {
        exchange.complete();
    }
    send.finish().map_err(|_| Fault::Gone)
}

/// The HEADERS frame, and the header of the DATA frame that follows where the length is known.
fn head(response: &mut Response, length: Option<u64>) -> Bytes {
    if !response.headers.contains_key(header::DATE) {
        let now = httpdate::fmt_http_date(std::time::SystemTime::now());
        if let Ok(now) = HeaderValue::from_str(&now) {
            response.headers.insert(header::DATE, now);
        }
    }
    let mut section = BytesMut::with_capacity(HEAD);
    qpack::encode(&mut section, response.status, &response.headers);
    let mut out = BytesMut::with_capacity(section.len() + 24);
    put_varint(&mut out, kind::HEADERS);
    put_varint(&mut out, section.len() as u64);
    out.put_slice(&section);
    if let Some(length) = length {
        put_varint(&mut out, kind::DATA);
        put_varint(&mut out, length);
    }
    out.freeze()
}

/// A frame of a streamed body as chunks; data goes bare where one DATA frame holds the whole body.
fn frame_chunks(frame: Frame<Bytes>, framed: bool, chunks: &mut Vec<Bytes>) {
    match frame.into_data() {
        Ok(data) => {
            if !framed {
                chunks.push(frame_header(kind::DATA, data.len()));
            }
            chunks.push(data);
        }
        Err(frame) => {
            if let Ok(fields) = frame.into_trailers() {
                let mut section = BytesMut::new();
                qpack::encode_trailers(&mut section, &fields);
                chunks.push(frame_header(kind::HEADERS, section.len()));
                chunks.push(section.freeze());
            }
        }
    }
}

fn frame_header(kind: u64, length: usize) -> Bytes {
    let mut out = BytesMut::with_capacity(16);
    put_varint(&mut out, kind);
    put_varint(&mut out, length as u64);
    out.freeze()
}

/// Writing under the stall timeout and the minimum rate.
struct Pace {
    since: Instant,
    bytes: u64,
    stall: Duration,
    least: u64,
}

impl Pace {
    fn new(limits: &Limits) -> Self {
        let least = (limits.min_rate as f64 * limits.stall.as_secs_f64()) as u64;
        Self {
            since: Instant::now(),
            bytes: 0,
            stall: limits.stall,
            least,
        }
    }

    /// Writes all chunks.
    async fn write(&mut self, send: &mut SendStream, chunks: &mut [Bytes]) -> Result<(), Fault> {
        let mut left = &mut chunks[..];
        while !left.is_empty() {
            let deadline = self.since + self.stall;
            match tokio::time::timeout_at(deadline.into(), send.write_chunks(left)).await {
                Ok(Ok(written)) => {
                    self.bytes += written.bytes as u64;
                    left = &mut left[written.chunks..];
                }
                Ok(Err(WriteError::Stopped(_) | WriteError::ConnectionLost(_))) => {
                    return Err(Fault::Gone);
                }
                Ok(Err(_)) => return Err(Fault::Stream(Code::Internal)),
                Err(_) if self.bytes >= self.least.max(1) => {
                    self.since = Instant::now();
                    self.bytes = 0;
                }
                Err(_) => return Err(Fault::Stream(Code::RequestCancelled)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A head of those lines, as far as it is one.
    fn check(lines: &[(&str, &str)]) -> Option<(Head, Option<u64>)> {
        let mut head = Head::default();
        for (name, value) in lines {
            let line = if name.starts_with(':') {
                Line::Pseudo(
                    Bytes::copy_from_slice(name.as_bytes()),
                    Bytes::copy_from_slice(value.as_bytes()),
                )
            } else {
                Line::Field(name.parse().unwrap(), HeaderValue::from_str(value).unwrap())
            };
            head.take(line).ok()?;
        }
        let length = head.check()?;
        Some((head, length))
    }

    const GET: [(&str, &str); 3] = [(":method", "GET"), (":scheme", "https"), (":path", "/a?b")];

    fn get(more: &[(&str, &str)]) -> Option<(Head, Option<u64>)> {
        check(&[&GET[..], more].concat())
    }

    #[test]
    fn sound_heads() {
        let (head, length) = get(&[(":authority", "a.example:1"), ("range", "bytes=0-1")]).unwrap();
        assert_eq!(head.path.unwrap(), "/a?b");
        assert_eq!(
            (head.authority.unwrap().as_str(), length),
            ("a.example:1", None)
        );
        let (head, length) = get(&[("host", "a.example"), ("content-length", "12")]).unwrap();
        assert_eq!(
            (head.authority.unwrap().as_str(), length),
            ("a.example", Some(12))
        );
        assert!(!head.fields.contains_key("content-length"));
        assert!(check(&[(":method", "CONNECT"), (":authority", "a.example:443")]).is_some());
    }

    #[test]
    fn malformed_heads() {
        for bad in [
            &[][..],
            &[(":authority", "a"), ("host", "b")],
            &[(":authority", "a"), (":authority", "a")],
            &[(":authority", "u@a")],
            &[(":authority", "a"), (":status", "200")],
            &[(":authority", "a"), ("accept", "x"), (":protocol", "y")],
            &[(":authority", "a"), ("connection", "close")],
            &[(":authority", "a"), ("transfer-encoding", "chunked")],
            &[(":authority", "a"), ("te", "gzip")],
            &[(":authority", "a"), ("content-length", "+1")],
            &[
                (":authority", "a"),
                ("content-length", "1"),
                ("content-length", "1"),
            ],
            &[("host", "a"), ("host", "a")],
        ] {
            assert!(get(bad).is_none(), "{bad:?}");
        }
        assert!(
            check(&[
                (":method", "GET"),
                (":scheme", "https"),
                (":path", "a"),
                (":authority", "a")
            ])
            .is_none()
        );
        assert!(check(&[(":method", "GET"), (":path", "/"), (":authority", "a")]).is_none());
        assert!(check(&[(":method", "CONNECT"), (":authority", "a"), (":path", "/")]).is_none());
    }

    #[test]
    fn urgencies() {
        let of = |value: &'static str| {
            let mut fields = HeaderMap::new();
            fields.insert("priority", HeaderValue::from_static(value));
            urgency(&fields)
        };
        assert_eq!(of("u=0"), Some(3));
        assert_eq!(of("i, u=5"), Some(-2));
        assert_eq!(of("u=9"), None);
        assert_eq!(of("i"), None);
    }
}
