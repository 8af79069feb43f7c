//! The path of one request through the cache node, top to bottom: authorise, key, look up, then
//! fresh, stale or miss.
//!
//! What a lookup finds is in `lookup.rs`, asking the upstream together with others in `ask.rs`,
//! passing through in `pass.rs`, the responses themselves in `respond.rs` and `refuse.rs`.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use http::{Method, StatusCode, uri::PathAndQuery};

use crate::{
    asked::Asked,
    auth::Admitted,
    cache::record::Stored,
    cache_status::{Forward, Told},
    cmcd::Cmcd,
    exchange::{Outcome, Request, RequestBody, Response, Served, Service},
    lookup::Found,
    policy::UnixMs,
    respond::{self, Reply},
    timing,
    trace::Trace,
};

pub use crate::node::{Edge, Error, Settings};

/// Times a request looks again because what it found was gone or another's.
const ROUNDS: usize = 8;

impl Service for Edge {
    fn serve(self: &Arc<Self>, mut request: Request) -> Served {
        if let Err(wait) = self.rates.take(request.peer.ip(), request.received) {
            return Served::Now(self.refuse_hurry(&mut request, wait));
        }
        let cmcd = Cmcd::take(&mut request);
        let trace = self
            .tracer
            .as_ref()
            .and_then(|tracer| tracer.begin(&mut request.headers));
        let now = UnixMs::now();
        let admitted = self.gate.admit(&mut request, now.seconds());
        let known = Known {
            target: request.target.clone(),
            peer: request.peer,
            cmcd,
            trace,
        };
        let admitted = match admitted {
            Err(refusal) => return Served::Now(self.tell(known, self.refuse(refusal))),
            Ok(_) if request.method == Method::CONNECT => {
                let status = StatusCode::NOT_IMPLEMENTED;
                let response = self.error(status, "connect", Forward::Method);
                return Served::Now(self.tell(known, response));
            }
            Ok(admitted) => admitted,
        };
        let (asked, body) = self.parse(request);
        let gets = asked.cacheable() && matches!(body, RequestBody::Empty);
        if gets && let Some(hit) = self.at_once(&asked, now) {
            return Served::Now(self.complete(known, admitted, &asked, hit));
        }
        let edge = Arc::clone(self);
        Served::Later(Box::pin(async move {
            let response = if gets {
                edge.answer(&asked).await
            } else if asked.cacheable() {
                edge.pass(&asked, body, Forward::Bypass).await
            } else {
                edge.change(&asked, body).await
            };
            edge.complete(known, admitted, &asked, response)
        }))
    }
}

/// What is known of a request besides what it asks for.
struct Known {
    target: PathAndQuery,
    peer: SocketAddr,
    cmcd: Option<Cmcd>,
    trace: Option<Trace>,
}

impl Edge {
    /// An admitted request is answered: notes what it says of the next ones, and completes the answer.
    fn complete(
        &self,
        known: Known,
        admitted: Admitted,
        asked: &Arc<Asked>,
        mut response: Response,
    ) -> Response {
        self.ahead
            .follow(asked, known.peer, &response, known.cmcd.as_ref());
        response.facts.subject = admitted.subject;
        if let Some(renewed) = admitted.renewed {
            renewed.add_to(&mut response.headers);
        }
        self.tell(known, response)
    }

    /// Completes an answer for the client and the log.
    fn tell(&self, known: Known, mut response: Response) -> Response {
        response.facts.target = Some(known.target);
        response.facts.cmcd = known.cmcd;
        response.facts.trace = known.trace.map(Box::new);
        if self.server_timing.load(Relaxed) {
            timing::tell(&mut response);
        }
        response
    }

    /// Answers with what is fresh and in memory: the hit path, which waits for nothing.
    fn at_once(&self, asked: &Asked, now: UnixMs) -> Option<Response> {
        match self.look_up_in_memory(asked, now)? {
            Found::Fresh(stored) => respond::at_once(&self.store, asked, &stored, now),
            _ => None,
        }
    }

    /// Answers a GET or HEAD from the cache, or through it.
    async fn answer(&self, asked: &Arc<Asked>) -> Response {
        if self.store.upstream.comes_back(&asked.headers) {
            // Fails at once, where joining the fetch that it is part of would last.
            return self.pass(asked, RequestBody::Empty, Forward::Bypass).await;
        }
        for _ in 0..ROUNDS {
            let answered = match self.look_up(asked, UnixMs::now()).await {
                Found::Fresh(stored) => self.reuse(asked, &stored, Outcome::Hit, None).await,
                Found::StaleMeanwhile(stored, base) => {
                    self.store.begin(asked, base);
                    let why = Some("stale-while-revalidate");
                    self.reuse(asked, &stored, Outcome::Stale, why).await
                }
                Found::StandIn(stored) => {
                    let why = Some("stale-if-error");
                    self.reuse(asked, &stored, Outcome::Stale, why).await
                }
                Found::Ask(forward, _) if asked.cc.only_if_cached => {
                    return self.error(StatusCode::GATEWAY_TIMEOUT, "only-if-cached", forward);
                }
                Found::Ask(forward, base) if asked.method == Method::HEAD => {
                    return self.head(asked, forward, &base).await;
                }
                Found::Ask(forward, base) => {
                    let begun = Instant::now();
                    let mut answered = self.ask(asked, forward, base).await;
                    if let Some(response) = &mut answered {
                        response.facts.upstream_wait.get_or_insert(begun.elapsed());
                    }
                    answered
                }
                Found::AskAlone => break,
            };
            if let Some(response) = answered {
                return response;
            }
        }
        self.pass(asked, RequestBody::Empty, Forward::Bypass).await
    }

    /// Answers with what is stored, asking nobody. None where its bytes turn out to be outdated.
    async fn reuse(
        &self,
        asked: &Arc<Asked>,
        stored: &Arc<Stored>,
        outcome: Outcome,
        detail: Option<&'static str>,
    ) -> Option<Response> {
        let told = Told {
            hit: true,
            detail,
            ..Told::default()
        };
        let reply = Reply {
            stored,
            answer: None,
            told,
            outcome,
        };
        respond::stored(&self.store, asked, reply).await
    }

    fn parse(&self, request: Request) -> (Arc<Asked>, RequestBody) {
        let Request {
            method,
            authority,
            target,
            headers,
            body,
            protocol,
            interim,
            ..
        } = request;
        let rules = self.rules.load_full();
        let mut asked = Asked::new(method, authority, target, headers, protocol, rules);
        asked.interim = interim;
        (Arc::new(asked), body)
    }
}
