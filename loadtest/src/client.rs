//! One connection to the target, whatever the HTTP version, and what came of each request.

mod h3;
mod tcp;
mod tls;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode, header};

use crate::{
    args::{Args, Protocol},
    target::Target,
};

/// Most body bytes that are kept, for catalogues and indexes.
const MAX_KEPT_BYTES: u64 = 64 << 20;

/// Most connections that a request finds closed before it fails. A server that hands over to another
/// process may close the next one too, if it had let it in before.
const MAX_REPLACED: usize = 2;

/// A request to make.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    /// First and one past the last byte.
    pub(crate) range: Option<(u64, u64)>,
    /// Whether the body is wanted, rather than its length only.
    pub(crate) keep: bool,
}

impl Ask {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            range: None,
            keep: true,
        }
    }

    pub(crate) fn range(path: impl Into<String>, start: u64, end: u64) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            range: Some((start, end)),
            keep: false,
        }
    }
}

/// A good answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Got {
    /// Body bytes.
    pub(crate) length: u64,
    /// Size of the whole object.
    pub(crate) size: u64,
    /// The body, where it was wanted.
    pub(crate) body: Bytes,
    /// `hit`, or `fwd=…`, of the nearest cache.
    pub(crate) cache: Option<String>,
    /// From sending to the answer's head.
    pub(crate) first_byte: Duration,
    /// From sending to the body's end.
    pub(crate) total: Duration,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no connection: {0}")]
    Connect(String),
    /// Before anything of the request was sent: it may go on another connection.
    #[error("the connection was closed")]
    Closed,
    #[error("no answer in time")]
    Timeout,
    #[error("the connection or stream broke: {0}")]
    Broken(String),
    #[error("status {0}")]
    Status(u16),
    #[error("the body is not as long as announced")]
    Length,
    #[error("the Content-Range is not what was asked for")]
    Range,
    #[error("the bytes differ from the object's")]
    Content,
}

impl Failure {
    /// A word for counting.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Connect(_) => "connect".into(),
            Self::Closed => "closed".into(),
            Self::Timeout => "timeout".into(),
            Self::Broken(_) => "broken".into(),
            Self::Status(status) => format!("status_{status}"),
            Self::Length => "length".into(),
            Self::Range => "content_range".into(),
            Self::Content => "content".into(),
        }
    }

    /// Whether the connection is of no more use.
    fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::Connect(_) | Self::Closed | Self::Broken(_) | Self::Timeout
        )
    }
}

/// What all connections of a run share.
#[derive(Clone)]
pub(crate) struct Dialer {
    protocol: Protocol,
    target: Target,
    tls: Option<tls::Configs>,
    quic: Option<quinn::Endpoint>,
    token: Option<Arc<str>>,
    timeout: Duration,
}

impl Dialer {
    pub(crate) fn new(args: &Args, target: &Target, protocol: Protocol) -> anyhow::Result<Self> {
        anyhow::ensure!(
            target.secure || protocol != Protocol::H3,
            "HTTP/3 needs an https:// target"
        );
        let tls = target
            .secure
            .then(|| tls::Configs::new(args.insecure, args.ca.as_deref()))
            .transpose()?;
        let quic = match (&tls, protocol) {
            (Some(tls), Protocol::H3) => Some(h3::endpoint(target.address, tls)?),
            _ => None,
        };
        let token = args.token.as_deref().map(Into::into);
        Ok(Self {
            protocol,
            target: target.clone(),
            tls,
            quic,
            token,
            timeout: args.timeout,
        })
    }

    async fn dial(&self) -> Result<Sender, Failure> {
        let dialing = async {
            match (self.protocol, &self.quic) {
                (Protocol::H3, Some(quic)) => h3::dial(quic, &self.target).await.map(Sender::H3),
                (Protocol::H2, _) => tcp::dial_h2(&self.target, self.tls.as_ref())
                    .await
                    .map(Sender::H2),
                _ => tcp::dial_h1(&self.target, self.tls.as_ref())
                    .await
                    .map(Sender::H1),
            }
        };
        match tokio::time::timeout(self.timeout, dialing).await {
            Ok(outcome) => outcome.map_err(|e| Failure::Connect(format!("{e:#}"))),
            Err(_) => Err(Failure::Connect("no answer in time".into())),
        }
    }

    fn request(&self, ask: &Ask) -> Result<Request<()>, Failure> {
        let mut request = Request::builder()
            .method(&ask.method)
            .header(header::USER_AGENT, "segue-loadtest");
        request = match self.protocol {
            Protocol::H1 => request
                .uri(&ask.path)
                .header(header::HOST, &self.target.authority),
            _ => {
                let Target { authority, .. } = &self.target;
                request.uri(format!(
                    "{}://{authority}{}",
                    self.target.scheme(),
                    ask.path
                ))
            }
        };
        if let Some((start, end)) = ask.range {
            request = request.header(header::RANGE, format!("bytes={start}-{}", end - 1));
        }
        if let Some(token) = &self.token {
            request = request.header("cta-common-access-token", &**token);
        }
        if ask.method == Method::POST {
            request = request.header(header::CONTENT_LENGTH, 0);
        }
        request.body(()).map_err(|e| Failure::Broken(e.to_string()))
    }
}

/// The sending half of a connection.
enum Sender {
    H1(tcp::H1),
    H2(tcp::H2),
    H3(h3::H3),
}

impl Sender {
    /// Another handle on the same connection, where the protocol has streams.
    fn share(&self) -> Option<Self> {
        match self {
            Self::H1(_) => None,
            Self::H2(sender) => Some(Self::H2(sender.clone())),
            Self::H3(sender) => Some(Self::H3(sender.clone())),
        }
    }
}

/// A connection that is made when first needed and again when it broke; shared by its streams.
pub(crate) struct Link {
    dialer: Dialer,
    current: tokio::sync::Mutex<(u64, Option<Sender>)>,
}

impl Link {
    pub(crate) fn new(dialer: Dialer) -> Self {
        Self {
            dialer,
            current: tokio::sync::Mutex::new((0, None)),
        }
    }

    /// Connects ahead of the first request, so that this isn't measured as latency.
    pub(crate) async fn warm(&self) -> Result<(), Failure> {
        let mut current = self.current.lock().await;
        if current.1.is_none() {
            current.1 = Some(self.dialer.dial().await?);
        }
        Ok(())
    }

    /// Makes one request and checks its answer: status, range and length. A connection that was
    /// closed before the request went out is replaced first, as every client does.
    pub(crate) async fn fetch(&self, ask: &Ask) -> Result<Got, Failure> {
        for _ in 0..MAX_REPLACED {
            match self.attempt(ask).await {
                Err(Failure::Closed) => {}
                outcome => return outcome,
            }
        }
        self.attempt(ask).await
    }

    async fn attempt(&self, ask: &Ask) -> Result<Got, Failure> {
        let (epoch, sender) = self.take().await?;
        let started = Instant::now();
        let limit = self.dialer.timeout;
        let outcome = tokio::time::timeout(limit, self.exchange(sender, ask, started)).await;
        let (sender, outcome) = match outcome {
            Ok((sender, outcome)) => (sender, outcome),
            Err(_) => (None, Err(Failure::Timeout)),
        };
        self.give_back(epoch, sender, outcome.as_ref().err()).await;
        outcome
    }

    async fn take(&self) -> Result<(u64, Sender), Failure> {
        let mut current = self.current.lock().await;
        let sender = match current.1.take() {
            Some(sender) => sender,
            None => self.dialer.dial().await?,
        };
        // On HTTP/1.1 the connection is lent; the one stream brings it back.
        current.1 = sender.share();
        Ok((current.0, sender))
    }

    async fn give_back(&self, epoch: u64, sender: Option<Sender>, failure: Option<&Failure>) {
        let mut current = self.current.lock().await;
        if failure.is_some_and(Failure::ends_connection) {
            // Others of the same connection may have replaced it by now.
            if current.0 == epoch {
                *current = (epoch + 1, None);
            }
        } else if current.1.is_none() && current.0 == epoch {
            current.1 = sender;
        }
    }

    async fn exchange(
        &self,
        mut sender: Sender,
        ask: &Ask,
        started: Instant,
    ) -> (Option<Sender>, Result<Got, Failure>) {
        let request = match self.dialer.request(ask) {
            Ok(request) => request,
            Err(failure) => return (Some(sender), Err(failure)),
        };
        let outcome = match &mut sender {
            Sender::H1(h1) => tcp::exchange_h1(h1, request, ask, started).await,
            Sender::H2(h2) => tcp::exchange_h2(h2, request, ask, started).await,
            Sender::H3(h3) => h3::exchange(h3, request, ask, started).await,
        };
        (Some(sender), outcome)
    }
}

/// An answer being received and checked.
struct Receiving<'a> {
    ask: &'a Ask,
    got: Got,
    announced: Option<u64>,
    body: BytesMut,
    started: Instant,
    /// A fault of the head; the body is still read, so that the connection stays usable.
    fault: Option<Failure>,
}

impl<'a> Receiving<'a> {
    fn new(ask: &'a Ask, status: StatusCode, headers: &HeaderMap, started: Instant) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let announced = text("content-length").and_then(|text| text.parse().ok());
        let mut receiving = Self {
            ask,
            got: Got {
                first_byte: started.elapsed(),
                ..Got::default()
            },
            announced,
            body: BytesMut::new(),
            started,
            fault: None,
        };
        receiving.got.cache = text("cache-status").map(nearest_cache);
        receiving.got.size = announced.unwrap_or(0);
        let wanted = if ask.range.is_some() {
            StatusCode::PARTIAL_CONTENT
        } else {
            StatusCode::OK
        };
        let fine = status == wanted || ask.range.is_none() && status.is_success();
        if !fine {
            receiving.fault = Some(Failure::Status(status.as_u16()));
        } else if let Some((start, end)) = ask.range {
            match text("content-range").and_then(content_range) {
                Some((first, last, size)) if first == start && last + 1 == end.min(size) => {
                    receiving.got.size = size;
                    receiving.announced = receiving.announced.or(Some(last + 1 - first));
                    if receiving.announced != Some(last + 1 - first) {
                        receiving.fault = Some(Failure::Length);
                    }
                }
                _ => receiving.fault = Some(Failure::Range),
            }
        }
        receiving
    }

    fn data(&mut self, bytes: &[u8]) {
        self.got.length += bytes.len() as u64;
        if self.ask.keep && self.got.length <= MAX_KEPT_BYTES {
            self.body.extend_from_slice(bytes);
        }
    }

    fn end(mut self) -> Result<Got, Failure> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let bodiless = self.ask.method == Method::HEAD;
        if self
            .announced
            .is_some_and(|announced| announced != self.got.length)
            && !bodiless
        {
            return Err(Failure::Length);
        }
        self.got.total = self.started.elapsed();
        self.got.body = self.body.freeze();
        Ok(self.got)
    }
}

/// First and last byte and size of `bytes 0-9/100`.
fn content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size) = (first.parse().ok()?, last.parse().ok()?, size.parse().ok()?);
    (first <= last && last < size).then_some((first, last, size))
}

/// The outcome at the cache nearest to us: the last list member (RFC 9211 §2).
fn nearest_cache(field: &str) -> String {
    // Strings, such as keys, may hold commas.
    let bare: String = field.split('"').step_by(2).collect();
    let nearest = bare.rsplit(',').next().unwrap_or_default();
    let outcome = nearest
        .split(';')
        .map(str::trim)
        .find(|p| *p == "hit" || p.starts_with("fwd="));
    outcome.unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::{content_range, nearest_cache};

    #[test]
    fn fields() {
        assert_eq!(content_range("bytes 0-9/100"), Some((0, 9, 100)));
        assert_eq!(content_range("bytes 9-0/100"), None);
        assert_eq!(content_range("bytes 0-100/100"), None);
        assert_eq!(content_range("bytes */100"), None);
        assert_eq!(nearest_cache("shield; fwd=miss, edge; hit; ttl=5"), "hit");
        assert_eq!(nearest_cache("edge;fwd=uri-miss;stored"), "fwd=uri-miss");
        assert_eq!(nearest_cache("edge; hit; key=\"/a,b;c\""), "hit");
    }
}
