//! What listeners, the cache and upstreams hand each other: one request, one response, and the
//! traits between them. No logic beyond moving bytes.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{
    HeaderMap, Method, StatusCode,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

pub use crate::interim::Interim;

/// The protocol a request came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
    /// HTTP/3.
    H3,
}

impl Protocol {
    /// Label for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::H1 => "h1",
            Self::H2 => "h2",
            Self::H3 => "h3",
        }
    }

    /// Version as it stands in a `Via` field.
    pub fn via(self) -> &'static str {
        match self {
            Self::H1 => "1.1",
            Self::H2 => "2",
            Self::H3 => "3",
        }
    }
}

/// A streamed body of either direction: data frames, then at most one trailers frame.
pub type BoxBody = UnsyncBoxBody<Bytes, BodyError>;

/// Why a body ended before its end.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The client went away or broke the protocol.
    #[error("client: {0}")]
    Client(String),
    /// The upstream went away, stalled or sent less than it announced.
    #[error("upstream: {0}")]
    Upstream(String),
    /// Something of ours.
    #[error("internal: {0}")]
    Internal(String),
}

/// One request as a listener read it, framing already validated and removed.
pub struct Request {
    /// Any method; `CONNECT` is refused by [`Service::serve`].
    pub method: Method,
    /// The scheme of the client's connection.
    pub scheme: Scheme,
    /// `:authority`, or `Host` in HTTP/1; none only for HTTP/1.0 without `Host`.
    pub authority: Option<Authority>,
    /// Path and query exactly as received, possibly with a token inside: never log it, log
    /// [`Facts::target`].
    pub target: PathAndQuery,
    /// All fields as received; listeners have removed nothing but framing.
    pub headers: HeaderMap,
    /// The body.
    pub body: RequestBody,
    /// By which protocol.
    pub protocol: Protocol,
    /// The client's address.
    pub peer: SocketAddr,
    /// When the head was complete.
    pub received: Instant,
    /// Where interim responses go.
    pub interim: Interim,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The target and the fields may hold tokens.
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

/// A request's body. Also what an upstream is sent.
#[derive(Default)]
pub enum RequestBody {
    /// None.
    #[default]
    Empty,
    /// Streamed, `len` bytes if announced.
    Stream {
        /// The bytes.
        body: BoxBody,
        /// `Content-Length`, if there was one.
        len: Option<u64>,
    },
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Stream { body, .. } => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream { len: Some(len), .. } => SizeHint::with_exact(*len),
            Self::Stream { len: None, .. } => SizeHint::default(),
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Stream { len, .. } => f
                .debug_struct("Stream")
                .field("len", len)
                .finish_non_exhaustive(),
        }
    }
}

/// What a listener sends back.
#[derive(Debug)]
pub struct Response {
    /// Final status.
    pub status: StatusCode,
    /// All fields but framing and `Alt-Svc`, which are the listener's. `Content-Length` is set
    /// where the length is known, also for HEAD.
    pub headers: HeaderMap,
    /// The body; [`Body::Empty`] for HEAD, 204 and 304.
    pub body: Body,
    /// For the log record and the metrics.
    pub facts: Facts,
    /// The fields of a hit, which `headers` come on top of.
    pub hit: Option<crate::hit::Hit>,
}

/// How the cache dealt with a request: label of logs and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Answered from a fresh stored response.
    Hit,
    /// Answered from a stale stored response while it is revalidated, or because the upstream
    /// failed.
    Stale,
    /// A stored response was validated with the upstream and reused.
    Revalidated,
    /// Fetched, or part of a fetch.
    Miss,
    /// Waited for another request's fetch.
    Collapsed,
    /// Passed through without looking.
    Bypass,
    /// Refused before the cache: bad request, bad token, unsupported.
    Refused,
    /// The upstream failed and nothing could stand in.
    #[default]
    Failed,
}

impl Outcome {
    /// Label for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Bypass => "bypass",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// What the one log record of a request says beyond the request itself.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What the cache did.
    pub outcome: Outcome,
    /// Path and query without any token; none where the target could not be parsed.
    pub target: Option<PathAndQuery>,
    /// Subject of the verified token.
    pub subject: Option<Arc<str>>,
    /// Why a request was refused or failed; fixed text.
    pub reason: Option<&'static str>,
    /// Status of the upstream's answer, if it was asked.
    pub upstream_status: Option<StatusCode>,
    /// From asking the upstream to its response head.
    pub upstream_wait: Option<Duration>,
    /// What the player said of its playback.
    pub cmcd: Option<crate::cmcd::Cmcd>,
    /// Its place in a trace, if it is traced.
    pub trace: Option<Box<crate::trace::Trace>>,
}

/// A response body. Bytes are shared with the cache: send them without copying.
#[derive(Default)]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// One piece.
    Full(Bytes),
    /// Several pieces, all in memory.
    Chunks(VecDeque<Bytes>),
    /// As it arrives; `len` bytes if known.
    Stream {
        /// The bytes, then at most one trailers frame.
        body: BoxBody,
        /// Exact length, if known.
        len: Option<u64>,
    },
}

impl Body {
    /// Exact number of bytes left, if known.
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Full(bytes) => Some(bytes.len() as u64),
            Self::Chunks(chunks) => Some(chunks.iter().map(|c| c.len() as u64).sum()),
            Self::Stream { len, .. } => *len,
        }
    }

    /// Whether nothing is left to send, trailers included.
    pub fn is_empty(&self) -> bool {
        http_body::Body::is_end_stream(self)
    }

    /// The next frame: data (never empty), or trailers last. Cancel safe.
    ///
    /// # Errors
    /// [`BodyError`] once; the response must then be cut off so that the client notices.
    pub async fn next(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut *self), cx)).await
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = match &mut *self {
            Self::Empty => None,
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Some(bytes).filter(|b| !b.is_empty())
            }
            Self::Chunks(chunks) => loop {
                match chunks.pop_front() {
                    Some(chunk) if chunk.is_empty() => {}
                    next => break next,
                }
            },
            Self::Stream { body, len } => {
                let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
                if let (Some(Ok(frame)), Some(len)) = (&frame, len)
                    && let Some(data) = frame.data_ref()
                {
                    *len = len.saturating_sub(data.len() as u64);
                }
                return Poll::Ready(frame);
            }
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Chunks(chunks) => chunks.iter().all(Bytes::is_empty),
            Self::Stream { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.len()
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({:?} bytes)", self.len())
    }
}

/// What listeners call: the cache node, or a stand-in in tests.
pub trait Service: Send + Sync + 'static {
    /// Answers one request. Never fails: every error is a response. Dropping what comes later cancels
    /// nothing that other requests wait for.
    fn serve(self: &Arc<Self>, request: Request) -> Served;
}

/// An answer, there or to come.
#[expect(
    clippy::large_enum_variant,
    reason = "most are there, and a box would cost them"
)]
pub enum Served {
    /// There: what memory answers needs no task, and no room to wait in.
    Now(Response),
    /// To come.
    Later(Pin<Box<dyn Future<Output = Response> + Send>>),
}

impl IntoFuture for Served {
    type Output = Response;
    type IntoFuture = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        match self {
            Self::Now(response) => Box::pin(std::future::ready(response)),
            Self::Later(work) => work,
        }
    }
}

/// What the cache asks when it can't answer by itself.
#[async_trait]
pub trait Upstream: Send + Sync + 'static {
    /// Sends one request and returns when the final response's head has arrived. The URI is in
    /// origin form (path and query); `Host` is the client's authority, which the implementation
    /// may replace; hop-by-hop fields are already gone. The body yields exactly what the upstream
    /// framed: one cut short ends with an error. Dropping the future or the body abandons the
    /// exchange. Interim responses go where the request's extension [`Interim`] says.
    ///
    /// # Errors
    /// [`UpstreamError`] where no final response head arrived.
    async fn fetch(
        &self,
        request: http::Request<RequestBody>,
    ) -> Result<http::Response<BoxBody>, UpstreamError>;

    /// Whether a request with those fields has come back from an upstream of ours: it would wait
    /// for itself.
    fn comes_back(&self, _: &HeaderMap) -> bool {
        false
    }

    /// Adds families to `/metrics`, with a label `upstream` whose values come from the
    /// configuration.
    fn render(&self, _out: &mut crate::metrics::Text) {}
}

/// What kept an upstream from answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UpstreamFault {
    /// No upstream is healthy, or the circuit is open.
    Unavailable,
    /// No connection: name, route, refusal, TLS.
    Connect,
    /// It took too long.
    Timeout,
    /// The connection broke before the response's head.
    Reset,
    /// What came was no HTTP, or exceeded a limit.
    Protocol,
    /// The request's body failed: the client's fault.
    RequestBody,
    /// The request has passed this edge before (RFC 8586).
    Loop,
}

impl UpstreamFault {
    /// Label for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "upstream-unavailable",
            Self::Connect => "upstream-connect",
            Self::Timeout => "upstream-timeout",
            Self::Reset => "upstream-reset",
            Self::Protocol => "upstream-protocol",
            Self::RequestBody => "request-body",
            Self::Loop => "upstream-loop",
        }
    }
}

/// An upstream that did not answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {detail}", fault.as_str())]
pub struct UpstreamError {
    /// What happened.
    pub fault: UpstreamFault,
    /// Whether the same request may be sent again: nothing of it reached the upstream, or it is
    /// idempotent and its body can be repeated.
    pub retryable: bool,
    /// For the log, never for the client.
    pub detail: String,
}

/// What to purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    /// One path and query (all hosts, all variants).
    Url(String),
    /// Every path that starts with this text.
    Prefix(String),
    /// Every response that carried this `Surrogate-Key`.
    SurrogateKey(String),
    /// Everything.
    All,
}

/// How to purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PurgeMode {
    /// Treat as stale: revalidate before use, but let it stand in where the upstream fails.
    Soft,
    /// Treat as gone.
    Hard,
}

/// Counters and gauges of the cache since start, for `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct CacheStats {
    /// Bytes held in the memory tier.
    pub memory_bytes: u64,
    /// Entries (records and slices) in the memory tier.
    pub memory_entries: u64,
    /// Slices or records found in memory.
    pub memory_hits: u64,
    /// Slices or records found on disk.
    pub disk_hits: u64,
    /// Slices or records found in neither.
    pub misses: u64,
    /// Entries evicted from memory.
    pub evictions: u64,
    /// Entries handed to the disk tier.
    pub disk_writes: u64,
    /// Disk entries refused: corrupt, foreign or of another version.
    pub disk_corrupt: u64,
    /// Entries meant for the disk tier that were not written: the queue was full, or the disk
    /// failed.
    pub disk_dropped: u64,
    /// Reads and writes of the disk tier that failed or took too long.
    pub disk_faults: u64,
    /// 1 while the disk tier is given up on and the memory tier works alone.
    pub disk_failed: u64,
    /// Bytes fetched before anybody asked for them.
    pub prefetch_bytes: u64,
    /// Of these, bytes that somebody asked for while they were in memory.
    pub prefetch_useful_bytes: u64,
    /// Of these, bytes evicted before anybody did.
    pub prefetch_wasted_bytes: u64,
    /// Fetches running now.
    pub fills: u64,
    /// Fetches since start.
    pub fills_total: u64,
    /// Requests that joined another's fetch.
    pub collapsed_total: u64,
    /// Body bytes received from upstreams.
    pub upstream_bytes: u64,
}
