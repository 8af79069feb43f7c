//! The path of one request through the cache node, top to bottom: authorise, key, look up, then
//! fresh, stale or miss.
//!
//! What a lookup finds is in `lookup.rs`, asking the upstream together with others in `ask.rs`,
//! passing through in `pass.rs`, the responses themselves in `respond.rs` and `refuse.rs`.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use http::{Method, StatusCode};

use crate::{
    asked::Asked,
    cache::record::Stored,
    cache_status::{Forward, Told},
    cmcd::Cmcd,
    exchange::{Outcome, Request, RequestBody, Response, Service},
    lookup::Found,
    policy::UnixMs,
    respond::{self, Reply},
    timing,
};

pub use crate::node::{Edge, Error, Settings};

/// Times a request looks again because what it found was gone or another's.
const ROUNDS: usize = 8;

impl Service for Edge {
    async fn serve(&self, mut request: Request) -> Response {
        if let Err(wait) = self.rates.take(request.peer.ip(), request.received) {
            return self.refuse_hurry(&mut request, wait);
        }
        let cmcd = Cmcd::take(&mut request);
        let trace = self
            .tracer
            .as_ref()
            .and_then(|tracer| tracer.begin(&mut request.headers));
        let admitted = self.gate.admit(&mut request, UnixMs::now().seconds());
        let (target, method) = (request.target.clone(), request.method.clone());
        let peer = request.peer;
        let mut response = match admitted {
            Err(refusal) => self.refuse(refusal),
            Ok(_) if method == Method::CONNECT => {
                self.error(StatusCode::NOT_IMPLEMENTED, "connect", Forward::Method)
            }
            Ok(admitted) => {
                let (asked, body) = self.parse(request);
                let mut response = match body {
                    RequestBody::Empty if asked.cacheable() => match self.at_once(&asked) {
                        Some(hit) => hit,
                        // Boxed, so that a hit carries none of the space that waiting takes.
                        None => Box::pin(self.answer(&asked)).await,
                    },
                    body if asked.cacheable() => {
                        Box::pin(self.pass(&asked, body, Forward::Bypass)).await
                    }
                    body => Box::pin(self.change(&asked, body)).await,
                };
                self.ahead.follow(&asked, peer, &response, cmcd.as_ref());
                response.facts.subject = admitted.subject;
                if let Some(renewed) = admitted.renewed {
                    renewed.add_to(&mut response.headers);
                }
                response
            }
        };
        response.facts.target = Some(target);
        response.facts.cmcd = cmcd;
        response.facts.trace = trace.map(Box::new);
        if self.server_timing.load(Relaxed) {
            timing::tell(&mut response);
        }
        response
    }
}

impl Edge {
    /// Answers with what is fresh and in memory: the hit path, which waits for nothing.
    fn at_once(&self, asked: &Asked) -> Option<Response> {
        let Found::Fresh(stored) = self.look_up_in_memory(asked, UnixMs::now())? else {
            return None;
        };
        let reply = Reply {
            stored: &stored,
            answer: None,
            told: Told {
                hit: true,
                ..Told::default()
            },
            outcome: Outcome::Hit,
        };
        respond::at_once(&self.store, asked, reply)
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
