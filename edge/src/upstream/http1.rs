//! One HTTP/1.1 origin with a pool of connections.

use std::{io, sync::Arc, sync::atomic::Ordering::Relaxed};

use async_trait::async_trait;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, Version, header};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::{
    body::ResponseBody,
    connect::{Connector, client_config},
    pool::{Lease, Pool},
};
use crate::{
    config::{Config, HostPolicy, UpstreamLimits},
    exchange::{BoxBody, RequestBody, Upstream, UpstreamError, UpstreamFault},
    metrics::Metrics,
};

/// The client's authority, where `Host` is the upstream's.
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Why an upstream can't be used.
#[derive(Debug, thiserror::Error)]
#[error("upstream {upstream}: {source}")]
pub struct Error {
    /// As configured.
    upstream: String,
    /// The cause.
    source: io::Error,
}

/// An HTTP/1.1 origin.
pub struct Http1 {
    connector: Connector,
    pool: Arc<Pool>,
    limits: UpstreamLimits,
    host_policy: HostPolicy,
    authority: HeaderValue,
    metrics: Arc<Metrics>,
}

impl Http1 {
    /// The origin of a validated configuration. Doesn't connect yet.
    ///
    /// # Errors
    /// Where authorities can't be read or the host is no name that TLS can check.
    pub fn new(config: &Config, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let at = |source| Error {
            upstream: config.upstream.clone(),
            source,
        };
        let uri: Uri = config.upstream_uri().map_err(|e| at(io::Error::other(e)))?;
        let secure = uri.scheme_str() == Some("https");
        let tls = if secure {
            Some(client_config(config.upstream_ca.as_deref()).map_err(at)?)
        } else {
            None
        };
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let authority = uri.authority().map_or("", http::uri::Authority::as_str);
        let limits = config.upstream_limits.clone();
        Ok(Self {
            connector: Connector::new(uri.host().unwrap_or_default(), port, tls).map_err(at)?,
            pool: Pool::new(limits.connections, limits.idle_connections, limits.idle),
            host_policy: config.upstream_host,
            authority: HeaderValue::from_str(authority).map_err(|e| at(io::Error::other(e)))?,
            limits,
            metrics,
        })
    }

    /// Sets `Host` by the policy. What clients say in `X-Forwarded-Host` never gets through.
    fn set_host(&self, request: &mut Request<RequestBody>) {
        let headers = request.headers_mut();
        headers.remove(X_FORWARDED_HOST);
        match (self.host_policy, headers.remove(header::HOST)) {
            (HostPolicy::Client, Some(client)) => {
                headers.insert(header::HOST, client);
            }
            (_, client) => {
                headers.insert(header::HOST, self.authority.clone());
                if let Some(client) = client {
                    headers.insert(X_FORWARDED_HOST, client);
                }
            }
        }
    }

    /// A connection, kept or new.
    async fn lease(&self, fresh: bool) -> Result<(Lease, bool), UpstreamError> {
        let lease = self.pool.lease(fresh, self.limits.queue).await;
        let mut lease = lease.ok_or_else(|| {
            fault(
                UpstreamFault::Unavailable,
                true,
                "all connections are in use",
            )
        })?;
        if lease.sender.is_some() {
            return Ok((lease, true));
        }
        match timeout(self.limits.connect, self.connector.connect()).await {
            Ok(Ok(sender)) => {
                self.metrics.upstream_connections.fetch_add(1, Relaxed);
                lease.sender = Some(sender);
                Ok((lease, false))
            }
            Ok(Err(e)) => Err(fault(UpstreamFault::Connect, true, e)),
            Err(_) => Err(fault(
                UpstreamFault::Timeout,
                true,
                "connecting took too long",
            )),
        }
    }

    async fn send(
        &self,
        lease: &mut Lease,
        request: Request<RequestBody>,
    ) -> Result<Response<hyper::body::Incoming>, Sent> {
        let Some(sender) = &mut lease.sender else {
            return Err(Sent::Failed(fault(
                UpstreamFault::Unavailable,
                true,
                "no connection",
            )));
        };
        match timeout(self.limits.first_byte, sender.try_send_request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(mut e)) => match e.take_message() {
                Some(request) => Err(Sent::Nothing(Box::new(request))),
                None => Err(Sent::Failed(classify(e.error()))),
            },
            Err(_) => Err(Sent::Failed(fault(
                UpstreamFault::Timeout,
                false,
                "no response head in time",
            ))),
        }
    }
}

/// How sending failed.
enum Sent {
    /// Nothing of the request was sent: here it is again.
    Nothing(Box<Request<RequestBody>>),
    /// Something may have been sent.
    Failed(UpstreamError),
}

/// A copy of a request that can be repeated: idempotent and without a body.
fn copy(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    );
    if !idempotent || !matches!(request.body(), RequestBody::Empty) {
        return None;
    }
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

fn fault(fault: UpstreamFault, retryable: bool, detail: impl std::fmt::Display) -> UpstreamError {
    UpstreamError {
        fault,
        retryable,
        detail: detail.to_string(),
    }
}

/// What hyper's error says about the upstream.
fn classify(error: &hyper::Error) -> UpstreamError {
    use std::error::Error as _;
    let mut cause = error.source();
    let mut from_body = false;
    while let Some(e) = cause {
        from_body |= e.is::<crate::exchange::BodyError>();
        cause = e.source();
    }
    let kind = if from_body || error.is_user() {
        UpstreamFault::RequestBody
    } else if error.is_parse() {
        UpstreamFault::Protocol
    } else {
        UpstreamFault::Reset
    };
    fault(kind, kind == UpstreamFault::Reset, error)
}

#[async_trait]
impl Upstream for Http1 {
    async fn fetch(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<Response<BoxBody>, UpstreamError> {
        self.set_host(&mut request);
        *request.version_mut() = Version::HTTP_11;
        let mut again = copy(&request);
        self.metrics.upstream_requests.fetch_add(1, Relaxed);
        let mut fresh = false;
        loop {
            let (mut lease, kept) = match self.lease(fresh).await {
                Ok(leased) => leased,
                Err(e) => {
                    self.metrics.upstream_failures.fetch_add(1, Relaxed);
                    return Err(e);
                }
            };
            let error = match self.send(&mut lease, request).await {
                Ok(response) => {
                    let (parts, incoming) = response.into_parts();
                    let body = ResponseBody::new(incoming, lease, self.limits.stall);
                    return Ok(Response::from_parts(parts, body.boxed_unsync()));
                }
                // A kept connection may have been closed under us: once more, on a new one.
                Err(Sent::Nothing(unsent)) if kept => {
                    request = *unsent;
                    fault(UpstreamFault::Reset, true, "")
                }
                Err(Sent::Nothing(_)) => {
                    self.metrics.upstream_failures.fetch_add(1, Relaxed);
                    return Err(fault(
                        UpstreamFault::Reset,
                        true,
                        "the connection closed before the request",
                    ));
                }
                Err(Sent::Failed(error)) => {
                    let repeat = again
                        .take()
                        .filter(|_| kept && error.fault == UpstreamFault::Reset);
                    let Some(repeat) = repeat else {
                        self.metrics.upstream_failures.fetch_add(1, Relaxed);
                        return Err(error);
                    };
                    request = repeat;
                    error
                }
            };
            tracing::debug!(error = %error, "repeating on a new connection");
            self.metrics.upstream_retries.fetch_add(1, Relaxed);
            fresh = true;
        }
    }
}
