//! Which upstream gets a request, and what happens where it fails: one request's way to a response's
//! head, top to bottom.
//!
//! Peer that owns the key → an origin → a second one beside it where it is slow → another attempt
//! where it failed. Policies are elsewhere, in `choose`, `breaker`, `budget`, `latency`.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use http::{HeaderMap, Method, Request, Response, Uri, header};
use tokio::time::sleep;

use super::{
    budget::Budget,
    cdn_loop::{Mark, Passed},
    choose::{self, LOAD_FLOOR},
    config::{Balance, Hedge, HedgeTo, Retry},
    node::{Node, Ticket},
    peers::{self, Peers},
    transport::{Failure, fault},
};
use crate::{
    exchange::{BoxBody, Interim, RequestBody, Upstream, UpstreamError, UpstreamFault},
    metrics::Metrics,
};

/// All upstreams of an edge.
pub struct Upstreams {
    /// At most 64, so that a set of them is a word.
    pub(super) origins: Vec<Arc<Node>>,
    pub(super) peers: Option<Peers>,
    pub(super) balance: Balance,
    pub(super) retry: Retry,
    pub(super) hedge: Hedge,
    pub(super) budget: Budget,
    pub(super) mark: Mark,
    pub(super) metrics: Arc<Metrics>,
}

/// Origins by index, as bits.
type Set = u64;

/// A chosen origin, and the right to ask it.
struct Chosen {
    index: usize,
    ticket: Ticket,
}

#[async_trait]
impl Upstream for Upstreams {
    async fn fetch(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<BoxBody>, UpstreamError> {
        self.metrics.upstream_requests.fetch_add(1, Relaxed);
        let result = match self.mark.read(request.headers()) {
            Passed::Here => Err(fault(UpstreamFault::Loop, "the request was here before")),
            passed => self.route(request, passed).await,
        };
        if result.is_err() {
            self.metrics.upstream_failures.fetch_add(1, Relaxed);
        }
        result
    }

    fn comes_back(&self, headers: &HeaderMap) -> bool {
        self.mark.read(headers) == Passed::Here
    }
}

impl Upstreams {
    /// Asks the peer that owns the object, then the origins; both at once where the peer is slow.
    async fn route(
        &self,
        request: Request<RequestBody>,
        passed: Passed,
    ) -> Result<Response<BoxBody>, UpstreamError> {
        self.budget.deposit();
        let Some((peers, peer, ticket, copy)) = self.owner(&request, passed) else {
            return self.ask_origins(request).await;
        };
        let patience = match self.hedge.to {
            HedgeTo::Off => None,
            _ => self.patience_with(&peer, request.method()),
        };
        let mut asked = pin!(self.ask_peer(peers, &peer, ticket, copy));
        if let Some(patience) = patience {
            tokio::select! {
                biased;
                done = &mut asked => return match done {
                    Some(response) => Ok(response),
                    None => self.ask_origins(request).await,
                },
                () = sleep(patience) => {}
            }
            if self.budget.withdraw() {
                peer.stats.hedged();
                // Rare, and large: kept out of everyone's future.
                let mut origin = Box::pin(self.ask_origins(request));
                let mut passed_over = false;
                let error = loop {
                    tokio::select! {
                        biased;
                        done = &mut asked, if !passed_over => match done {
                            Some(response) => return Ok(response),
                            None => passed_over = true,
                        },
                        done = &mut origin => match done {
                            Ok(response) => {
                                peer.stats.hedge_won();
                                return Ok(response);
                            }
                            Err(error) => break error,
                        },
                    }
                };
                return match passed_over {
                    true => Err(error),
                    false => asked.await.ok_or(error),
                };
            }
        }
        match asked.await {
            Some(response) => Ok(response),
            None => self.ask_origins(request).await,
        }
    }

    /// The peer that owns what a request is for, if there is one and the request may go there.
    fn owner(
        &self,
        request: &Request<RequestBody>,
        passed: Passed,
    ) -> Option<(&Peers, Arc<Node>, Ticket, Request<RequestBody>)> {
        let peers = self.peers.as_ref()?;
        if passed != Passed::Neither || !is_read(request.method()) {
            return None;
        }
        let copy = Template::of(request)?.request();
        let own_load = self.origins.iter().map(|node| node.candidate(true).load);
        let (node, ticket) = peers.owner(key(request), own_load.sum(), Instant::now())?;
        Some((peers, node, ticket, copy))
    }

    /// What the owner of an object says; none where it failed or can't speak for the origin.
    async fn ask_peer(
        &self,
        peers: &Peers,
        node: &Arc<Node>,
        ticket: Ticket,
        mut request: Request<RequestBody>,
    ) -> Option<Response<BoxBody>> {
        self.mark.write(request.headers_mut(), true);
        peers.sign(&mut request);
        let again = Template::of(&request);
        let mut result = node.attempt(ticket, request, false).await;
        let stale = result.as_ref().is_err_and(Failure::is_stale);
        if let Some(again) = again.filter(|_| stale)
            && self.budget.withdraw()
            && let Some(ticket) = node.admit(Instant::now())
        {
            node.stats.retried();
            result = node.attempt(ticket, again.request(), true).await;
        }
        match result {
            Ok(response) => Some(response).filter(peers::speaks),
            Err(failure) => {
                tracing::debug!(peer = node.stats.name(), error = %failure.error, "passing it over");
                None
            }
        }
    }

    /// Asks origins until one answers, there is none left, or the budget is used up.
    async fn ask_origins(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<Response<BoxBody>, UpstreamError> {
        self.mark.write(request.headers_mut(), false);
        let template = Template::of(&request);
        let key = match self.balance {
            Balance::Key if self.origins.len() > 1 => key(&request),
            _ => 0,
        };
        let mut tried: Set = 0;
        let mut chosen = self.choose(key, tried).ok_or_else(unavailable)?;
        let mut attempts = 1;
        let mut fresh = false;
        loop {
            let index = chosen.index;
            let result = self.attempt(chosen, request, template.as_ref(), key, fresh);
            let failure = match result.await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            tried |= 1 << index;
            let stale = failure.is_stale() && !fresh;
            let (Some(template), true) = (&template, failure.error.retryable) else {
                return Err(failure.error);
            };
            if !(stale || attempts < self.retry.attempts) || !self.budget.withdraw() {
                return Err(failure.error);
            }
            let next = if stale {
                self.admit(index)
            } else {
                self.choose_again(key, tried, index, &failure).await
            };
            let Some(next) = next else {
                self.budget.refund();
                return Err(failure.error);
            };
            tracing::debug!(error = %failure.error, "trying again");
            self.origins[next.index].stats.retried();
            request = template.request();
            attempts += u32::from(!stale);
            fresh = stale;
            chosen = next;
        }
    }

    /// One attempt, and a second beside it where it takes longer than most.
    async fn attempt(
        &self,
        chosen: Chosen,
        request: Request<RequestBody>,
        template: Option<&Template>,
        key: u64,
        fresh: bool,
    ) -> Result<Response<BoxBody>, Failure> {
        let Chosen { index, ticket } = chosen;
        let node = &self.origins[index];
        let patience = self.patience(node, template);
        let first = node.attempt(ticket, request, fresh);
        let (Some(patience), Some(template)) = (patience, template) else {
            return first.await;
        };
        let mut first = pin!(first);
        tokio::select! {
            biased;
            done = &mut first => return done,
            () = sleep(patience) => {}
        }
        let Some(other) = self.choose_second(index, key) else {
            return first.await;
        };
        let node = &self.origins[other.index];
        node.stats.hedged();
        let second = pin!(node.attempt(other.ticket, template.request(), false));
        sooner(first, second, node).await
    }

    /// How long to wait for an origin before another is asked; none for ever.
    fn patience(&self, node: &Node, template: Option<&Template>) -> Option<Duration> {
        let possible = match self.hedge.to {
            HedgeTo::Off => false,
            HedgeTo::Other => self.origins.len() > 1,
            HedgeTo::Any => true,
        };
        if !possible {
            return None;
        }
        self.patience_with(node, &template?.method)
    }

    fn patience_with(&self, node: &Node, method: &Method) -> Option<Duration> {
        if *method != Method::GET {
            return None;
        }
        Some(node.p95()?.max(self.hedge.min_delay))
    }

    /// Who is asked beside a slow origin, if there is someone and the budget allows it.
    fn choose_second(&self, slow: usize, key: u64) -> Option<Chosen> {
        if !self.budget.withdraw() {
            return None;
        }
        let same = || self.admit(slow).filter(|_| self.hedge.to == HedgeTo::Any);
        let chosen = self.choose(key, 1 << slow).or_else(same);
        if chosen.is_none() {
            self.budget.refund();
        }
        chosen
    }

    fn admit(&self, index: usize) -> Option<Chosen> {
        let ticket = self.origins[index].admit(Instant::now())?;
        Some(Chosen { index, ticket })
    }

    /// The origin for a request, apart from those in `tried`: one that is up, else a backup that is
    /// up, else whichever the breakers let through, since checks may be wrong.
    fn choose(&self, key: u64, mut tried: Set) -> Option<Chosen> {
        if self.origins.len() == 1 {
            return self.admit(0).filter(|_| tried == 0);
        }
        let now = Instant::now();
        for (backup, up) in [(false, true), (true, true), (false, false), (true, false)] {
            loop {
                let candidates = self.origins.iter().enumerate().map(|(n, node)| {
                    node.candidate(
                        tried & (1 << n) == 0
                            && node.backup == backup
                            && (node.is_up() || !up)
                            && node.is_open_to(now),
                    )
                });
                let index = match self.balance {
                    Balance::Load => choose::by_load(candidates, rand::random()),
                    Balance::Key => choose::by_key(key, candidates, LOAD_FLOOR),
                };
                let Some(index) = index else { break };
                if let Some(chosen) = self.admit(index) {
                    return Some(chosen);
                }
                // Its breaker let someone else through in between.
                tried |= 1 << index;
            }
        }
        None
    }

    /// The origin for another attempt: another one, else after a moment the same, where the
    /// connection broke: behind one name there may be many.
    async fn choose_again(
        &self,
        key: u64,
        tried: Set,
        failed: usize,
        failure: &Failure,
    ) -> Option<Chosen> {
        if let Some(other) = self.choose(key, tried) {
            return Some(other);
        }
        if failure.error.fault != UpstreamFault::Reset {
            return None;
        }
        sleep(Duration::from_millis(25 + rand::random::<u64>() % 50)).await;
        self.admit(failed)
    }
}

/// The sooner of two good responses; the other is abandoned.
async fn sooner<F, S>(
    mut first: std::pin::Pin<&mut F>,
    mut second: std::pin::Pin<&mut S>,
    hedge: &Node,
) -> Result<Response<BoxBody>, Failure>
where
    F: Future<Output = Result<Response<BoxBody>, Failure>>,
    S: Future<Output = Result<Response<BoxBody>, Failure>>,
{
    tokio::select! {
        biased;
        done = &mut first => match done {
            Ok(response) => Ok(response),
            Err(failure) => match second.await {
                Ok(response) => {
                    hedge.stats.hedge_won();
                    Ok(response)
                }
                Err(_) => Err(failure),
            },
        },
        done = &mut second => match done {
            Ok(response) if !response.status().is_server_error() => {
                hedge.stats.hedge_won();
                Ok(response)
            }
            // A quick refusal is no reason not to wait for the first.
            other => match first.await {
                Ok(response) => Ok(response),
                Err(failure) => other.map_err(|_| failure),
            },
        },
    }
}

fn unavailable() -> UpstreamError {
    fault(
        UpstreamFault::Unavailable,
        "no upstream is up: all circuits are open",
    )
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// What a request is shared out by: its host and target, as in the cache's key.
fn key(request: &Request<RequestBody>) -> u64 {
    let host = request.headers().get(header::HOST);
    let mut text = host.map_or(Vec::new(), |host| host.as_bytes().to_ascii_lowercase());
    text.push(0);
    text.extend_from_slice(request.uri().path().as_bytes());
    text.push(b'?');
    text.extend_from_slice(request.uri().query().unwrap_or_default().as_bytes());
    choose::hash(&text)
}

/// A request that can be repeated: idempotent (RFC 9110 §9.2.2) and without a body.
struct Template {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    interim: Option<Interim>,
}

impl Template {
    fn of(request: &Request<RequestBody>) -> Option<Self> {
        let idempotent = matches!(
            *request.method(),
            Method::GET
                | Method::HEAD
                | Method::OPTIONS
                | Method::TRACE
                | Method::PUT
                | Method::DELETE
        );
        let bodiless = matches!(request.body(), RequestBody::Empty);
        (idempotent && bodiless).then(|| Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            interim: request.extensions().get().cloned(),
        })
    }

    fn request(&self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::Empty);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if let Some(interim) = self.interim.clone() {
            request.extensions_mut().insert(interim);
        }
        request
    }
}
