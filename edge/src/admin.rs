//! The admin listener: health, metrics, purges, and what steers a running edge. HTTP/1.1 in the
//! clear, for loopback or a private network; docs/edge.md has a line of curl for each.

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, uri::Authority};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    exchange::{Purge, PurgeMode, Upstream},
    metrics::Text,
    running::Running,
};

/// Connections at a time.
const CONNECTIONS: usize = 64;

/// Longest body of a request.
const BODY_MAX: usize = 64 << 10;

/// From a request's first byte to its complete head or body.
const PATIENCE: Duration = Duration::from_secs(10);

/// What only the process around an edge can do for its operator. Errors are text for them.
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// Reads the configuration again and puts it in force.
    async fn reload(&self) -> Result<(), String>;
    /// Starts the program anew on the same sockets, and drains once it serves.
    async fn upgrade(&self) -> Result<(), String>;
    /// What is logged.
    fn log_level(&self) -> Result<String, String>;
    /// Logs something else from now on.
    fn set_log_level(&self, filter: &str) -> Result<(), String>;
}

/// Of a process that can do nothing of it.
pub(crate) struct NoControl;

#[async_trait]
impl Control for NoControl {
    async fn reload(&self) -> Result<(), String> {
        Err("this process has no configuration to read again".into())
    }

    async fn upgrade(&self) -> Result<(), String> {
        Err("this process can't be upgraded in place".into())
    }

    fn log_level(&self) -> Result<String, String> {
        Err("this process's log is fixed".into())
    }

    fn set_log_level(&self, _: &str) -> Result<(), String> {
        Err("this process's log is fixed".into())
    }
}

/// What the admin listener answers from.
pub(crate) struct Admin {
    pub running: Arc<Running>,
    pub control: Arc<dyn Control>,
}

/// A log level as it is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogLevel {
    /// A filter such as `info` or `edge=debug,warn`.
    level: String,
}

/// A purge as it is asked for: exactly one of the first four.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct PurgeRequest {
    /// One path and query.
    url: Option<String>,
    /// Every path that starts with this.
    prefix: Option<String>,
    /// Every response with this surrogate key.
    surrogate_key: Option<String>,
    /// Everything.
    all: bool,
    /// Keep as stale instead of forgetting.
    soft: bool,
}

impl PurgeRequest {
    pub(crate) fn what(self) -> Option<(Purge, PurgeMode)> {
        let mode = if self.soft {
            PurgeMode::Soft
        } else {
            PurgeMode::Hard
        };
        let what = match (self.url, self.prefix, self.surrogate_key, self.all) {
            (Some(url), None, None, false) if url.starts_with('/') => Purge::Url(url),
            (None, Some(prefix), None, false) if prefix.starts_with('/') => Purge::Prefix(prefix),
            (None, None, Some(key), false) if !key.is_empty() => Purge::SurrogateKey(key),
            (None, None, None, true) => Purge::All,
            _ => return None,
        };
        Some((what, mode))
    }
}

impl Admin {
    /// Serves until `stop`.
    pub(crate) async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let admin = Arc::new(self);
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let Ok((tcp, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                continue;
            };
            let admin = Arc::clone(&admin);
            tokio::spawn(async move {
                let service =
                    hyper::service::service_fn(move |request| Arc::clone(&admin).answer(request));
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(PATIENCE)
                    .max_buf_size(64 << 10)
                    .serve_connection(TokioIo::new(tcp), service);
                if let Err(e) = connection.await {
                    tracing::debug!(error = %e, "admin connection");
                }
                drop(slot);
            });
        }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        let get = matches!(*request.method(), Method::GET | Method::HEAD);
        let ready = self.running.ready.load(Relaxed);
        Ok(match (path.as_str(), get) {
            ("/livez", true) => text(StatusCode::OK, "ok\n"),
            ("/readyz", true) if ready => text(StatusCode::OK, "ready\n"),
            ("/readyz", true) => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            // All else says or does more than an unknown caller may know or want.
            _ if !self.allowed(&request) => {
                let mut response = error(StatusCode::UNAUTHORIZED, "unauthorized");
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                response
            }
            (_, true) => self.show(&path).await,
            (_, false) => self.act(&path, request).await,
        })
    }

    /// Answers what only looks.
    async fn show(self: Arc<Self>, path: &str) -> Response<Full<Bytes>> {
        match path {
            "/metrics" => {
                let rendered = tokio::task::spawn_blocking(move || self.metrics()).await;
                let mut response = text(StatusCode::OK, rendered.unwrap_or_default());
                let kind = HeaderValue::from_static("text/plain; version=0.0.4");
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                response
            }
            "/cache" => json(&self.running.edge.stats()),
            "/config" => json(&*self.running.config.lock()),
            "/log-level" => match self.control.log_level() {
                Ok(level) => text(StatusCode::OK, format!("{level}\n")),
                Err(why) => refused(&why),
            },
            "/purge" | "/drain" | "/reload" | "/upgrade" => {
                error(StatusCode::METHOD_NOT_ALLOWED, "method")
            }
            _ => error(StatusCode::NOT_FOUND, "not_found"),
        }
    }

    fn metrics(&self) -> String {
        let running = &self.running;
        let ready = running.ready.load(Relaxed);
        let upstream = |out: &mut Text| running.upstream.render(out);
        running
            .metrics
            .render(&running.edge.stats(), ready, upstream)
    }

    /// Answers what changes something.
    async fn act(&self, path: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let method = match path {
            "/purge" | "/drain" | "/reload" | "/upgrade" => Method::POST,
            "/log-level" => Method::PUT,
            "/livez" | "/readyz" | "/metrics" | "/cache" | "/config" => {
                return error(StatusCode::METHOD_NOT_ALLOWED, "method");
            }
            _ => return error(StatusCode::NOT_FOUND, "not_found"),
        };
        if *request.method() != method {
            return error(StatusCode::METHOD_NOT_ALLOWED, "method");
        }
        // A page in the operator's browser must not be able to do this by a form.
        let json = HeaderValue::from_static("application/json");
        if request.headers().get(header::CONTENT_TYPE) != Some(&json) {
            return error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type");
        }
        let limited = Limited::new(request.into_body(), BODY_MAX).collect();
        let Ok(Ok(body)) = tokio::time::timeout(PATIENCE, limited).await else {
            return error(StatusCode::BAD_REQUEST, "body");
        };
        let body = body.to_bytes();
        let done = match path {
            "/purge" => return self.purge(&body).await,
            "/drain" => {
                self.running.stop.cancel();
                Ok(())
            }
            "/reload" => self.control.reload().await,
            "/upgrade" => self.control.upgrade().await,
            _ => match serde_json::from_slice::<LogLevel>(&body) {
                Ok(level) => self.control.set_log_level(&level.level),
                Err(_) => return error(StatusCode::BAD_REQUEST, "log_level"),
            },
        };
        match done {
            Ok(()) => text(StatusCode::OK, "{\"done\":true}\n"),
            Err(why) => refused(&why),
        }
    }

    async fn purge(&self, body: &[u8]) -> Response<Full<Bytes>> {
        let parsed = serde_json::from_slice::<PurgeRequest>(body).ok();
        let what = parsed.clone().and_then(PurgeRequest::what);
        let (Some(request), Some((what, mode))) = (parsed, what) else {
            return error(StatusCode::BAD_REQUEST, "purge");
        };
        // Held until the purge is written: a successor reads the log once none is under way.
        let purging = self.running.purging.read().await;
        if !*purging {
            return error(StatusCode::SERVICE_UNAVAILABLE, "upgrading");
        }
        let purged = self.running.edge.purge(what, mode).await;
        self.purge_predecessor(&request).await;
        match purged {
            Ok(()) => text(StatusCode::OK, "{\"purged\":true}\n"),
            Err(e) => {
                tracing::error!(error = %e, "purge");
                error(StatusCode::INTERNAL_SERVER_ERROR, "purge_failed")
            }
        }
    }

    /// Has the process before this one purge too, as long as it answers somebody.
    async fn purge_predecessor(&self, request: &PurgeRequest) {
        let Some(line) = self.running.predecessor.lock().clone() else {
            return;
        };
        let text = serde_json::to_string(request).unwrap_or_default();
        let told = tokio::task::spawn_blocking(move || line.purge(&text)).await;
        if !told.unwrap_or(false) {
            *self.running.predecessor.lock() = None;
        }
    }

    /// Whether a caller may see and do what is not health: by the token; without one, by being
    /// here. A name of the caller's making that leads here (DNS rebinding) isn't.
    fn allowed(&self, request: &Request<Incoming>) -> bool {
        let Some(token) = self.running.admin_token.load_full() else {
            let host = request.headers().get(header::HOST);
            let host = host.and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
            return host.is_none_or(|host| {
                let host = host.host().trim_matches(['[', ']']);
                host == "localhost" || host.parse::<IpAddr>().is_ok()
            });
        };
        let authorization = request.headers().get(header::AUTHORIZATION);
        let given = authorization.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        given.is_some_and(|given| same(given, token.expose().as_bytes()))
    }
}

/// Something as JSON.
fn json(value: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec_pretty(value).unwrap_or_default();
    let mut response = text(StatusCode::OK, body);
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// What could not be done, and why.
fn refused(why: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "error": { "code": "refused", "message": why } });
    let mut response = json(&body);
    *response.status_mut() = StatusCode::CONFLICT;
    response
}

/// Compares in time that depends on lengths only.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn error(status: StatusCode, code: &str) -> Response<Full<Bytes>> {
    let message = status.canonical_reason().unwrap_or("error");
    let mut response = text(
        status,
        format!("{{\"error\":{{\"code\":\"{code}\",\"message\":\"{message}\"}}}}\n"),
    );
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
