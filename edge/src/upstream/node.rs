//! One upstream as the router sees it: whether it may be asked, how busy it is, and the sending of
//! one attempt to it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header, uri::PathAndQuery};
use http_body_util::{BodyExt as _, Limited};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::{
    body::ResponseBody,
    breaker::{Admission, Breaker, Position, Verdict},
    choose::{self, Candidate},
    config, framing,
    latency::Latency,
    s3,
    stats::Stats,
    transport::{Failure, Transport},
};
use crate::{
    config::HostPolicy,
    exchange::{BoxBody, RequestBody, UpstreamError, UpstreamFault},
};

/// The client's authority, where `Host` is the upstream's.
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Largest body of a check that is read.
const CHECK_MAX: usize = 64 << 10;

/// How requests are addressed to an upstream.
pub(super) enum Address {
    /// An HTTP server.
    Http {
        policy: HostPolicy,
        authority: HeaderValue,
    },
    /// A bucket.
    S3(Box<s3::Signer>),
}

/// What an upstream is among the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Role {
    /// Share of requests against the others'.
    pub(super) weight: u32,
    /// Only asked where nothing else is up.
    pub(super) backup: bool,
    /// Whether there is no other to ask.
    pub(super) alone: bool,
}

impl Role {
    /// One of several equals.
    pub(super) const PEER: Self = Self {
        weight: 1,
        backup: false,
        alone: false,
    };
}

/// One upstream.
pub(super) struct Node {
    pub(super) id: u64,
    pub(super) weight: u32,
    pub(super) backup: bool,
    pub(super) stats: Arc<Stats>,
    address: Address,
    transport: Transport,
    stall: Duration,
    state: Mutex<State>,
    /// Whether the breaker is closed: spares the lock while all is well.
    closed: AtomicBool,
    up: AtomicBool,
    load: AtomicU32,
}

struct State {
    breaker: Breaker,
    latency: Latency,
}

impl Node {
    pub(super) fn new(
        name: &str,
        role: Role,
        address: Address,
        transport: Transport,
        stall: Duration,
        breaker: config::Breaker,
        stats: Arc<Stats>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: choose::hash(name.as_bytes()),
            weight: role.weight,
            backup: role.backup,
            stats,
            address,
            transport,
            stall,
            state: Mutex::new(State {
                breaker: Breaker::new(breaker),
                latency: Latency::default(),
            }),
            closed: AtomicBool::new(true),
            up: AtomicBool::new(true),
            load: AtomicU32::new(0),
        })
    }

    /// How it stands for a choice.
    pub(super) fn candidate(&self, eligible: bool) -> Candidate {
        Candidate {
            id: self.id,
            weight: self.weight,
            load: self.load.load(Relaxed),
            eligible,
        }
    }

    /// Whether the breaker would let a request through.
    pub(super) fn is_open_to(&self, now: Instant) -> bool {
        self.closed.load(Relaxed) || self.state.lock().breaker.would_admit(now)
    }

    /// Whether checks say that it is up.
    pub(super) fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    /// What checks say.
    pub(super) fn set_up(&self, up: bool) {
        self.up.store(up, Relaxed);
        self.stats.health_is(up);
    }

    /// The right to make one attempt.
    pub(super) fn admit(self: &Arc<Self>, now: Instant) -> Option<Ticket> {
        let admission = if self.closed.load(Relaxed) {
            Admission::Pass
        } else {
            let mut state = self.state.lock();
            let admission = state.breaker.admit(now)?;
            self.stats.breaker_is(state.breaker.position());
            admission
        };
        self.load.fetch_add(1, Relaxed);
        self.stats.began();
        Some(Ticket {
            node: Arc::clone(self),
            admission: Some(admission),
            begun: now,
        })
    }

    /// The 95th percentile of recent first-byte latencies.
    pub(super) fn p95(&self) -> Option<Duration> {
        self.state.lock().latency.p95()
    }

    fn record(
        &self,
        admission: Admission,
        verdict: Verdict,
        now: Instant,
        latency: Option<Duration>,
    ) {
        let mut state = self.state.lock();
        if let Some(latency) = latency {
            state.latency.observe(latency);
        }
        let before = state.breaker.position();
        state
            .breaker
            .record(admission, verdict, now, rand::random());
        let after = state.breaker.position();
        if before != after {
            self.closed.store(after == Position::Closed, Relaxed);
            self.stats.breaker_is(after);
            tracing::warn!(upstream = self.stats.name(), "circuit breaker: {after:?}");
        }
    }

    /// Whether it can be checked by a path.
    pub(super) fn is_checkable(&self) -> bool {
        matches!(self.address, Address::Http { .. })
    }

    /// Whether it answers well; none where it could not be asked.
    pub(super) async fn check(&self, path: &PathAndQuery, wait: Duration) -> Option<bool> {
        let Address::Http { authority, .. } = &self.address else {
            return None;
        };
        let mut request = Request::new(RequestBody::Empty);
        *request.uri_mut() = path.clone().into();
        request
            .headers_mut()
            .insert(header::HOST, authority.clone());
        let exchange = async {
            let (response, held) = self.transport.send(request, false).await?;
            let good = response.status().as_u16() < 400;
            // Read to the end, the connection is good for others.
            if Limited::new(response.into_body(), CHECK_MAX)
                .collect()
                .await
                .is_ok()
            {
                held.give_back();
            }
            Ok::<_, Failure>(good)
        };
        match timeout(wait, exchange).await {
            Ok(Ok(good)) => Some(good),
            Ok(Err(failure)) if failure.error.fault == UpstreamFault::Unavailable => None,
            Ok(Err(failure)) if failure.is_stale() => None,
            _ => Some(false),
        }
    }

    /// Makes one attempt: sends a request and waits for the response's head.
    ///
    /// # Errors
    /// [`Failure`] where none came.
    pub(super) async fn attempt(
        self: &Arc<Self>,
        mut ticket: Ticket,
        mut request: Request<RequestBody>,
        fresh: bool,
    ) -> Result<Response<BoxBody>, Failure> {
        match &self.address {
            Address::Http { policy, authority } => {
                set_host(&mut request, *policy, authority);
                self.exchange(ticket, request, fresh).await
            }
            Address::S3(signer) => {
                let signed = match signer.sign(request, SystemTime::now()).await {
                    Ok(signed) => signed,
                    Err(s3::Unsigned::Answer(response)) => {
                        ticket.forget();
                        return Ok(*response);
                    }
                    Err(s3::Unsigned::Failed(error)) => {
                        ticket.forget();
                        self.stats.failed(error.fault);
                        return Err(error.into());
                    }
                };
                let response = self.exchange(ticket, signed, fresh).await?;
                signer.read(response).await.map_err(|error| {
                    self.stats.failed(error.fault);
                    error.into()
                })
            }
        }
    }

    async fn exchange(
        &self,
        mut ticket: Ticket,
        request: Request<RequestBody>,
        fresh: bool,
    ) -> Result<Response<BoxBody>, Failure> {
        match self.transport.send(request, fresh).await {
            Ok((response, held)) => {
                if let Err(what) = framing::check(response.status(), response.headers()) {
                    // The connection goes with what holds it.
                    let failure = Failure::from(UpstreamError {
                        fault: UpstreamFault::Protocol,
                        retryable: false,
                        detail: what.into(),
                    });
                    ticket.failed(&failure);
                    return Err(failure);
                }
                ticket.answered(response.status());
                let (parts, incoming) = response.into_parts();
                let body = ResponseBody::new(incoming, held, ticket, self.stall);
                Ok(Response::from_parts(parts, body.boxed_unsync()))
            }
            Err(failure) => {
                ticket.failed(&failure);
                Err(failure)
            }
        }
    }
}

/// One attempt at a node: counted as load until dropped, and told to the breaker once.
pub(super) struct Ticket {
    node: Arc<Node>,
    /// Until told.
    admission: Option<Admission>,
    begun: Instant,
}

impl Ticket {
    /// A response's head came.
    fn answered(&mut self, status: StatusCode) {
        let now = Instant::now();
        let latency = now.saturating_duration_since(self.begun);
        self.node.stats.head(latency);
        let unserved = matches!(
            status,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        );
        if unserved {
            self.node.stats.unserved();
        }
        let verdict = if unserved {
            Verdict::Unserved
        } else {
            Verdict::Good
        };
        self.tell(verdict, now, Some(latency));
    }

    /// No response's head came.
    fn failed(&mut self, failure: &Failure) {
        let fault = failure.error.fault;
        self.node.stats.failed(fault);
        let verdict = match fault {
            // The client's doing, or our own queue's.
            UpstreamFault::RequestBody | UpstreamFault::Unavailable => Verdict::Unknown,
            // A kept connection may be closed at any time.
            _ if failure.is_stale() => Verdict::Unknown,
            _ => Verdict::Fault,
        };
        self.tell(verdict, Instant::now(), None);
    }

    /// The body ended before its end.
    pub(super) fn broke_off(&mut self) {
        self.node.stats.body_broke();
        let node = &self.node;
        node.record(Admission::Pass, Verdict::Fault, Instant::now(), None);
    }

    /// Nothing was asked.
    fn forget(&mut self) {
        self.tell(Verdict::Unknown, Instant::now(), None);
    }

    fn tell(&mut self, verdict: Verdict, now: Instant, latency: Option<Duration>) {
        if let Some(admission) = self.admission.take() {
            self.node.record(admission, verdict, now, latency);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // Given up: by a client, or as the slower of two. It would have taken at least so long.
        let now = Instant::now();
        self.tell(
            Verdict::Unknown,
            now,
            Some(now.saturating_duration_since(self.begun)),
        );
        self.node.load.fetch_sub(1, Relaxed);
        self.node.stats.ended();
    }
}

/// Sets `Host` by the policy. What clients say in `X-Forwarded-Host` never gets through.
fn set_host(request: &mut Request<RequestBody>, policy: HostPolicy, authority: &HeaderValue) {
    let headers = request.headers_mut();
    headers.remove(X_FORWARDED_HOST);
    match (policy, headers.remove(header::HOST)) {
        (HostPolicy::Client, Some(client)) => {
            headers.insert(header::HOST, client);
        }
        (_, client) => {
            headers.insert(header::HOST, authority.clone());
            if let Some(client) = client {
                headers.insert(X_FORWARDED_HOST, client);
            }
        }
    }
}
