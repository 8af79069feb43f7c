//! The admin listener: `/livez`, `/readyz`, `/metrics`, `POST /purge`. HTTP/1.1 in the clear, for
//! loopback or a private network.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Secret,
    exchange::{Purge, PurgeMode},
    metrics::Metrics,
    serve::Edge,
};

/// Connections at a time.
const CONNECTIONS: usize = 64;

/// Longest body of a purge.
const BODY_MAX: usize = 64 << 10;

/// From a request's first byte to its complete head or body.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the admin listener answers from.
pub(crate) struct Admin {
    pub edge: Arc<Edge>,
    pub metrics: Arc<Metrics>,
    pub token: Option<Secret>,
    /// False once a drain began.
    pub ready: Arc<AtomicBool>,
}

/// A purge as it is asked for: exactly one of the first four.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct PurgeRequest {
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
    fn what(self) -> Option<(Purge, PurgeMode)> {
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
        let get = matches!(*request.method(), Method::GET | Method::HEAD);
        Ok(match (request.uri().path(), get) {
            ("/livez", true) => text(StatusCode::OK, "ok\n"),
            ("/readyz", true) if self.ready.load(Relaxed) => text(StatusCode::OK, "ready\n"),
            ("/readyz", true) => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            ("/metrics", true) => {
                let metrics = self
                    .metrics
                    .render(&self.edge.stats(), self.ready.load(Relaxed));
                let mut response = text(StatusCode::OK, metrics);
                let kind = HeaderValue::from_static("text/plain; version=0.0.4");
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                response
            }
            ("/purge", _) if *request.method() == Method::POST => self.purge(request).await,
            ("/livez" | "/readyz" | "/metrics" | "/purge", _) => {
                error(StatusCode::METHOD_NOT_ALLOWED, "method")
            }
            _ => error(StatusCode::NOT_FOUND, "not_found"),
        })
    }

    async fn purge(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if !self.allowed(request.headers().get(header::AUTHORIZATION)) {
            let mut response = error(StatusCode::UNAUTHORIZED, "unauthorized");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
        // A page in the operator's browser must not be able to purge by a form.
        let json = HeaderValue::from_static("application/json");
        if request.headers().get(header::CONTENT_TYPE) != Some(&json) {
            return error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type");
        }
        let body = tokio::time::timeout(
            PATIENCE,
            Limited::new(request.into_body(), BODY_MAX).collect(),
        )
        .await;
        let Ok(Ok(body)) = body else {
            return error(StatusCode::BAD_REQUEST, "body");
        };
        let parsed = serde_json::from_slice::<PurgeRequest>(&body.to_bytes());
        let Some((what, mode)) = parsed.ok().and_then(PurgeRequest::what) else {
            return error(StatusCode::BAD_REQUEST, "purge");
        };
        match self.edge.purge(what, mode).await {
            Ok(()) => text(StatusCode::OK, "{\"purged\":true}\n"),
            Err(e) => {
                tracing::error!(error = %e, "purge");
                error(StatusCode::INTERNAL_SERVER_ERROR, "purge_failed")
            }
        }
    }

    /// Whether a purge may be made with that `Authorization`.
    fn allowed(&self, authorization: Option<&HeaderValue>) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let given = authorization.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        given.is_some_and(|given| same(given, token.expose().as_bytes()))
    }
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
