//! An origin in memory that counts what it is asked, and a client of the cache node in front of it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use edge::{
    exchange::{
        Body, BodyError, BoxBody, Protocol, Request, RequestBody, Response, Service, Upstream,
        UpstreamError, UpstreamFault,
    },
    serve::{Edge, Settings},
};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// What is served under one path.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) body: Bytes,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Whether ranges are served.
    pub(crate) ranges: bool,
    /// Whether `Content-Length` is sent.
    pub(crate) sized: bool,
    /// Bytes of a piece.
    pub(crate) piece: usize,
    /// Break off after so many bytes.
    pub(crate) cut_at: Option<usize>,
}

impl Resource {
    pub(crate) fn new(body: impl Into<Bytes>, fields: &[(&'static str, &str)]) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        Self {
            body: body.into(),
            status: StatusCode::OK,
            headers,
            ranges: true,
            sized: true,
            piece: 16 << 10,
            cut_at: None,
        }
    }

    /// Cacheable for ever under an entity tag.
    pub(crate) fn immutable(body: impl Into<Bytes>, etag: &str) -> Self {
        Self::new(
            body,
            &[
                ("cache-control", "public, max-age=31536000, immutable"),
                ("etag", etag),
            ],
        )
    }
}

/// One request as the origin saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The origin.
pub(crate) struct Origin {
    resources: Mutex<HashMap<String, Resource>>,
    /// What is served under every other path.
    everywhere: Mutex<Option<Resource>>,
    seen: Mutex<Vec<Seen>>,
    sent: Arc<AtomicUsize>,
    /// A permit for every response head, while `gated`.
    pub(crate) heads: Semaphore,
    /// A permit for every piece of a body, while `gated`.
    pub(crate) pieces: Arc<Semaphore>,
    pub(crate) delay: Duration,
    dead: Mutex<bool>,
}

/// Permits that never run out in a test.
const PLENTY: usize = 1 << 40;

impl Origin {
    pub(crate) fn new() -> Arc<Self> {
        Self::with(PLENTY, PLENTY, Duration::ZERO)
    }

    /// Response heads and pieces of bodies wait for permits.
    pub(crate) fn gated(heads: usize, pieces: usize) -> Arc<Self> {
        Self::with(heads, pieces, Duration::ZERO)
    }

    pub(crate) fn slow(delay: Duration) -> Arc<Self> {
        Self::with(PLENTY, PLENTY, delay)
    }

    fn with(heads: usize, pieces: usize, delay: Duration) -> Arc<Self> {
        Arc::new(Self {
            resources: Mutex::default(),
            everywhere: Mutex::default(),
            seen: Mutex::default(),
            sent: Arc::default(),
            heads: Semaphore::new(heads),
            pieces: Arc::new(Semaphore::new(pieces)),
            delay,
            dead: Mutex::new(false),
        })
    }

    pub(crate) fn put(&self, path: &str, resource: Resource) {
        self.resources.lock().insert(path.into(), resource);
    }

    pub(crate) fn put_everywhere(&self, resource: Resource) {
        *self.everywhere.lock() = Some(resource);
    }

    pub(crate) fn die(&self) {
        *self.dead.lock() = true;
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    pub(crate) fn asked(&self) -> usize {
        self.seen.lock().len()
    }

    /// Body bytes sent so far.
    pub(crate) fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Upstream for Origin {
    async fn fetch(
        &self,
        request: http::Request<RequestBody>,
    ) -> Result<http::Response<BoxBody>, UpstreamError> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let target = head.uri.path_and_query().unwrap().as_str().to_owned();
        self.seen.lock().push(Seen {
            method: head.method.clone(),
            target: target.clone(),
            headers: head.headers.clone(),
            body,
        });
        if *self.dead.lock() {
            return Err(UpstreamError {
                fault: UpstreamFault::Connect,
                retryable: true,
                detail: "dead".into(),
            });
        }
        self.heads.acquire().await.unwrap().forget();
        tokio::time::sleep(self.delay).await;
        let resource = self.resources.lock().get(&target).cloned();
        let resource = resource.or_else(|| self.everywhere.lock().clone());
        let resource = resource.unwrap_or_else(|| {
            let mut missing = Resource::new("nothing", &[("cache-control", "no-store")]);
            missing.status = StatusCode::NOT_FOUND;
            missing
        });
        Ok(self.answer(&head.method, &head.headers, &resource))
    }
}

impl Origin {
    fn answer(
        &self,
        method: &Method,
        asked: &HeaderMap,
        resource: &Resource,
    ) -> http::Response<BoxBody> {
        let mut response = http::Response::new(self.body(Bytes::new(), resource));
        *response.status_mut() = resource.status;
        *response.headers_mut() = resource.headers.clone();
        let etag = resource.headers.get(header::ETAG);
        let tags = asked.get(header::IF_NONE_MATCH);
        let tags = tags.map_or("", |tags| tags.to_str().unwrap());
        if etag.is_some_and(|etag| tags.split(", ").any(|tag| tag == etag)) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        let size = resource.body.len();
        let mut range = 0..size;
        let holds = asked
            .get(header::IF_RANGE)
            .is_none_or(|condition| Some(condition) == etag);
        if let Some(text) = asked
            .get(header::RANGE)
            .filter(|_| resource.ranges && holds && resource.status == StatusCode::OK)
            .filter(|text| !text.as_bytes().contains(&b','))
        {
            let (first, last) = text
                .to_str()
                .unwrap()
                .strip_prefix("bytes=")
                .unwrap()
                .split_once('-')
                .unwrap();
            range = match (first.parse::<usize>(), last.parse::<usize>()) {
                (Ok(first), Ok(last)) => first..size.min(last.saturating_add(1)),
                (Ok(first), Err(_)) => first..size,
                (Err(_), Ok(length)) => size.saturating_sub(length)..size,
                _ => panic!("{text:?}"),
            };
            if range.start >= range.end {
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                response.headers_mut().insert(
                    header::CONTENT_RANGE,
                    format!("bytes */{size}").parse().unwrap(),
                );
                return response;
            }
            let told = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            response
                .headers_mut()
                .insert(header::CONTENT_RANGE, told.parse().unwrap());
        }
        if resource.sized {
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, HeaderValue::from(range.len()));
        }
        if method != Method::HEAD {
            *response.body_mut() = self.body(resource.body.slice(range), resource);
        }
        response
    }

    fn body(&self, bytes: Bytes, resource: &Resource) -> BoxBody {
        let mut pieces: Vec<Result<Bytes, BodyError>> = Vec::new();
        let mut rest = bytes;
        if let Some(cut) = resource.cut_at {
            rest.truncate(cut);
        }
        while !rest.is_empty() {
            pieces.push(Ok(rest.split_to(resource.piece.min(rest.len()))));
        }
        if resource.cut_at.is_some() {
            pieces.push(Err(BodyError::Upstream("cut".into())));
        }
        let (gate, sent) = (self.pieces.clone(), self.sent.clone());
        let frames = stream::iter(pieces).then(move |piece| {
            let (gate, sent) = (gate.clone(), sent.clone());
            async move {
                gate.acquire().await.unwrap().forget();
                sent.fetch_add(piece.as_ref().map_or(0, Bytes::len), Ordering::Relaxed);
                piece.map(Frame::data)
            }
        });
        StreamBody::new(frames).boxed_unsync()
    }
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The body, or how far it came before it broke.
    pub(crate) body: Result<Bytes, Bytes>,
    pub(crate) facts: edge::exchange::Facts,
}

impl Got {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// The body, which must be whole.
    pub(crate) fn bytes(&self) -> &Bytes {
        self.body.as_ref().unwrap()
    }

    /// Whether it was answered without the upstream.
    pub(crate) fn is_hit(&self) -> bool {
        self.field("cache-status").contains("; hit")
    }
}

/// A request to come.
pub(crate) fn request(method: Method, target: &str, fields: &[(&'static str, &str)]) -> Request {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, value.parse().unwrap());
    }
    Request {
        method,
        scheme: http::uri::Scheme::HTTPS,
        authority: Some("cdn.example".parse().unwrap()),
        target: target.parse().unwrap(),
        headers,
        body: RequestBody::Empty,
        protocol: Protocol::H2,
        peer: SocketAddr::from(([192, 0, 2, 7], 4711)),
        received: Instant::now(),
        interim: Default::default(),
    }
}

/// Reads a response to its end.
pub(crate) async fn read(response: Response) -> Got {
    let headers = response.fields();
    let Response {
        status,
        mut body,
        facts,
        ..
    } = response;
    let announced = body.len();
    let mut bytes = Vec::new();
    let mut broken = false;
    while let Some(frame) = body.next().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
            Err(_) => broken = true,
        }
    }
    if let (Some(announced), false) = (announced, broken) {
        assert_eq!(
            announced,
            bytes.len() as u64,
            "announced and sent lengths differ"
        );
    }
    Got {
        status,
        headers,
        body: if broken {
            Err(bytes.into())
        } else {
            Ok(bytes.into())
        },
        facts,
    }
}

/// One GET.
pub(crate) async fn get(edge: &Arc<Edge>, target: &str, fields: &[(&'static str, &str)]) -> Got {
    read(edge.serve(request(Method::GET, target, fields)).await).await
}

/// A cache node in front of `origin`, in memory.
pub(crate) async fn edge(origin: &Arc<Origin>) -> Arc<Edge> {
    edge_with(origin, Settings::default()).await
}

/// A cache node with these settings.
pub(crate) async fn edge_with(origin: &Arc<Origin>, settings: Settings) -> Arc<Edge> {
    Arc::new(Edge::open(settings, origin.clone()).await.unwrap())
}

/// Bytes that tell their position.
pub(crate) fn pattern(length: usize, seed: u8) -> Bytes {
    (0..length)
        .map(|n| (n / 251 + n % 251) as u8 ^ seed)
        .collect::<Vec<u8>>()
        .into()
}

/// Waits until `done`, at most ten seconds.
pub(crate) async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} never happened");
}

/// The first frame of a body, and the body.
pub(crate) async fn first_frame(body: &mut Body) -> Bytes {
    body.next().await.unwrap().unwrap().into_data().unwrap()
}
