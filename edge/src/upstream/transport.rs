//! Sends one request to one server on a connection of its pool. Decides nothing: what a failure
//! means for others, and whether to try again, is the callers' business, except that what provably
//! never left is sent again on another connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{HeaderValue, Request, Response, Uri, Version, header, uri::PathAndQuery};
use hyper::{body::Incoming, client::conn::TrySendError};
use tokio::time::timeout;

use super::{
    config::UpstreamLimits,
    connect::Connector,
    pool::{Connection, NoSlot, Pool, Slot},
    stats::Stats,
    upload::Progress,
};
use crate::exchange::{BodyError, Interim, RequestBody, UpstreamError, UpstreamFault};

/// Connections that one request may find closed under it before it gives up.
const STALE_MAX: u32 = 3;

/// The way to one server.
pub(super) struct Transport {
    connector: Connector,
    pool: Arc<Pool>,
    limits: UpstreamLimits,
    /// Under TLS: what `:scheme` is.
    secure: bool,
    /// Whether the last connection was HTTP/1.1, so that none is worth waiting for.
    exclusive: AtomicBool,
    /// Where connections are shared, one is made at a time.
    connecting: tokio::sync::Mutex<()>,
    stats: Arc<Stats>,
}

/// A connection in use.
pub(super) struct Held {
    slot: Slot,
    connection: Connection,
}

impl Held {
    /// The exchange is over, and the connection good for another.
    pub(super) fn give_back(self) {
        self.slot.give_back(self.connection);
    }
}

/// A request that got no response.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: UpstreamError,
    /// Whether it was sent on a connection that had served others before: a reset then says
    /// nothing of the server.
    pub(super) kept: bool,
}

impl Failure {
    /// Whether a kept connection was closed under the request.
    pub(super) fn is_stale(&self) -> bool {
        self.kept && self.error.fault == UpstreamFault::Reset
    }
}

impl From<UpstreamError> for Failure {
    fn from(error: UpstreamError) -> Self {
        Self { error, kept: false }
    }
}

/// What hyper says of a request that could not be sent.
type Unsent = TrySendError<Request<RequestBody>>;

impl Transport {
    pub(super) fn new(
        connector: Connector,
        secure: bool,
        limits: UpstreamLimits,
        stats: Arc<Stats>,
    ) -> Self {
        Self {
            exclusive: AtomicBool::new(!connector.may_share()),
            connector,
            pool: Pool::new(limits.clone()),
            limits,
            secure,
            connecting: tokio::sync::Mutex::default(),
            stats,
        }
    }

    /// Sends a request in origin form with a `Host`; on a new connection where `fresh`.
    ///
    /// # Errors
    /// [`Failure`] where no response head came.
    pub(super) async fn send(
        &self,
        mut request: Request<RequestBody>,
        mut fresh: bool,
    ) -> Result<(Response<Incoming>, Held), Failure> {
        let progress = Progress::of(&mut request);
        if let Some(interim) = request.extensions_mut().remove::<Interim>() {
            // Of HTTP/1.1 alone: hyper drops those of HTTP/2.
            hyper::ext::on_informational(&mut request, move |told| {
                interim.forward(told.status(), told.headers());
            });
        }
        let limit = self.limits.first_byte;
        let mut stale = 0;
        loop {
            let (mut held, kept) = self.connection(fresh).await?;
            let sent = match &mut held.connection {
                Connection::H1(sender, _) => {
                    shape_http1(&mut request);
                    progress
                        .within(limit, sender.try_send_request(request))
                        .await
                }
                Connection::H2(stream) => {
                    shape_http2(&mut request, self.secure);
                    let mut sender = stream.sender();
                    progress
                        .within(limit, sender.try_send_request(request))
                        .await
                }
            };
            match sent {
                Some(Ok(response)) => return Ok((response, held)),
                Some(Err(failed)) => {
                    held.distrust();
                    let (error, unsent) = judge(failed);
                    match unsent {
                        Some(unsent) if kept && stale < STALE_MAX => {
                            request = unsent;
                            stale += 1;
                            fresh = stale == STALE_MAX;
                        }
                        _ => return Err(Failure { error, kept }),
                    }
                }
                None => {
                    held.distrust();
                    let error = fault(
                        UpstreamFault::Timeout,
                        format_args!("no response head within {limit:?}"),
                    );
                    return Err(Failure { error, kept });
                }
            }
        }
    }

    /// A connection, and whether it was kept from before.
    async fn connection(&self, fresh: bool) -> Result<(Held, bool), UpstreamError> {
        let slot = self.pool.slot().await.map_err(|why| match why {
            NoSlot::Crowded => fault(UpstreamFault::Unavailable, "too many requests wait"),
            NoSlot::Late => fault(UpstreamFault::Unavailable, "all connections are in use"),
        })?;
        let holds = |address| self.connector.name.holds(address);
        if !fresh && let Some(connection) = slot.kept(holds) {
            return Ok((Held { slot, connection }, true));
        }
        if self.exclusive.load(Relaxed) {
            return Ok((self.connect(slot).await?, false));
        }
        // Who comes second finds the first's connection.
        let one = timeout(self.longest_connect(), self.connecting.lock()).await;
        let Ok(_one) = one else {
            return Err(fault(
                UpstreamFault::Timeout,
                "another request's connection took too long",
            ));
        };
        if !fresh && let Some(connection) = slot.stream(holds) {
            return Ok((Held { slot, connection }, true));
        }
        if self.exclusive.load(Relaxed) {
            drop(_one);
        }
        Ok((self.connect(slot).await?, false))
    }

    fn longest_connect(&self) -> Duration {
        self.limits.resolve + self.limits.connect + self.limits.tls
    }

    async fn connect(&self, slot: Slot) -> Result<Held, UpstreamError> {
        let (sender, address) = self.connector.connect().await?;
        self.stats.connected();
        let connection = slot.adopt(sender, address);
        let exclusive = matches!(connection, Connection::H1(..));
        self.exclusive.store(exclusive, Relaxed);
        Ok(Held { slot, connection })
    }
}

impl Held {
    /// Keeps others off the connection.
    fn distrust(&self) {
        if let Connection::H2(stream) = &self.connection {
            self.slot.distrust(stream);
        }
    }
}

/// HTTP/1.1: the target in origin form, the authority in `Host`.
fn shape_http1(request: &mut Request<RequestBody>) {
    *request.version_mut() = Version::HTTP_11;
    if let Some(authority) = request.uri().authority() {
        if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
            request.headers_mut().insert(header::HOST, host);
        }
        let target = request.uri().path_and_query().cloned();
        *request.uri_mut() = target
            .unwrap_or_else(|| PathAndQuery::from_static("/"))
            .into();
    }
}

/// HTTP/2: the authority in `:authority` (RFC 9113 §8.3.1). Trailers are asked for whoever the client
/// is, since some upstreams send none otherwise, gRPC's among them; what is answered doesn't depend
/// on a field that isn't in the key.
fn shape_http2(request: &mut Request<RequestBody>, secure: bool) {
    *request.version_mut() = Version::HTTP_2;
    let trailers = HeaderValue::from_static("trailers");
    request.headers_mut().insert(header::TE, trailers);
    let Some(host) = request.headers_mut().remove(header::HOST) else {
        return;
    };
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    let scheme = if secure {
        http::uri::Scheme::HTTPS
    } else {
        http::uri::Scheme::HTTP
    };
    parts.scheme = Some(scheme);
    parts.authority = host.as_bytes().try_into().ok();
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}

pub(super) fn fault(fault: UpstreamFault, detail: impl std::fmt::Display) -> UpstreamError {
    UpstreamError {
        fault,
        retryable: !matches!(fault, UpstreamFault::RequestBody | UpstreamFault::Protocol),
        detail: detail.to_string(),
    }
}

/// What hyper's error says about the upstream, and the request if nothing of it was sent.
fn judge(mut failed: Unsent) -> (UpstreamError, Option<Request<RequestBody>>) {
    use std::error::Error as _;
    let unsent = failed.take_message();
    let error = failed.error();
    let mut cause = error.source();
    let mut from_body = false;
    while let Some(e) = cause {
        from_body |= e.is::<BodyError>();
        cause = e.source();
    }
    let kind = if from_body || error.is_user() {
        UpstreamFault::RequestBody
    } else if error.is_parse() {
        UpstreamFault::Protocol
    } else {
        UpstreamFault::Reset
    };
    (fault(kind, error), unsent)
}
