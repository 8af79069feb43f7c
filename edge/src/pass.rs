//! Passing requests through: what the cache doesn't answer, and what an unsafe request changes.

use std::{sync::Arc, time::Instant};

use http::{
    HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, MAX_FORWARDS},
    uri::PathAndQuery,
};

use crate::{
    asked::Asked,
    cache::{arrival::Timed, opening::Base, record::Stored},
    cache_status::{Forward, Told},
    exchange::{Body, BoxBody, Facts, Outcome, RequestBody, Response, UpstreamError},
    node::Edge,
    policy::{fields, invalidate, storable, validate},
    respond::{self, Reply},
};

impl Edge {
    /// Passes a request through, storing nothing.
    pub(crate) async fn pass(
        &self,
        asked: &Asked,
        body: RequestBody,
        forward: Forward,
    ) -> Response {
        let begun = Instant::now();
        let mut response = match self.send(asked, body).await {
            Ok(response) => self.relay(asked, response, forward, None),
            Err(error) => self.failed(&error, forward),
        };
        response.facts.upstream_wait = Some(begun.elapsed());
        response
    }

    /// Passes a HEAD through. What it says of the stored response that it selects freshens that, or
    /// shows that it is outdated (RFC 9111 §4.3.5).
    pub(crate) async fn head(&self, asked: &Arc<Asked>, forward: Forward, base: &Base) -> Response {
        let (begun, timed) = (Instant::now(), self.store.now());
        let response = match self.send(asked, RequestBody::Empty).await {
            Ok(response) => response,
            Err(error) => return self.without(asked, forward, base, &error).await,
        };
        let selected = base.stored.as_ref();
        if let Some(stored) = selected.filter(|_| response.status() == StatusCode::OK) {
            let update = response.headers();
            if !validate::describes(update, &stored.headers) {
                self.store.void(asked, stored);
            } else if let Some(fresh) = self.store.freshen(asked, base, update.clone(), timed)
                && let Some(mut response) = self.renewed(asked, forward, &fresh).await
            {
                response.facts.upstream_wait = Some(begun.elapsed());
                return response;
            }
        }
        let mut response = self.relay(asked, response, forward, None);
        response.facts.upstream_wait = Some(begun.elapsed());
        response
    }

    /// Answers a HEAD with what is stored, which the upstream has just described.
    async fn renewed(
        &self,
        asked: &Arc<Asked>,
        forward: Forward,
        stored: &Arc<Stored>,
    ) -> Option<Response> {
        let told = Told {
            forward: Some(forward),
            status: Some(StatusCode::OK),
            stored: true,
            ..Told::default()
        };
        let reply = Reply {
            stored,
            answer: None,
            told,
            outcome: Outcome::Revalidated,
        };
        respond::stored(&self.store, asked, reply).await
    }

    /// Passes any other request through and forgets what it has changed.
    pub(crate) async fn change(&self, asked: &Arc<Asked>, body: RequestBody) -> Response {
        if matches!(asked.method, Method::OPTIONS | Method::TRACE)
            && asked.headers.get(MAX_FORWARDS) == Some(&HeaderValue::from_static("0"))
        {
            return self.last_hop(asked);
        }
        let (begun, timed) = (Instant::now(), self.store.now());
        let response = match self.send(asked, body).await {
            Ok(response) => response,
            Err(error) => return self.failed(&error, Forward::Method),
        };
        if invalidate::changed(&asked.method, response.status()) {
            self.store.invalidate(asked);
            for target in invalidate::also_named(
                response.headers(),
                asked.authority.as_ref(),
                asked.target.as_str(),
            ) {
                if let Ok(target) = PathAndQuery::try_from(target) {
                    self.store.invalidate(&asked.sibling(target));
                }
            }
        }
        let mut response = self.keep(asked, response, timed).await;
        response.facts.upstream_wait = Some(begun.elapsed());
        response
    }

    /// Answers with an upstream's response to a request that isn't a GET, and stores it where it is
    /// what a GET would be answered with (RFC 9110 §9.3.3).
    async fn keep(
        &self,
        asked: &Arc<Asked>,
        response: http::Response<BoxBody>,
        timed: Timed,
    ) -> Response {
        let (host, target) = (asked.authority.as_ref(), asked.target.as_str());
        let named = invalidate::content_location(response.headers(), host, target);
        let for_get = asked.method == Method::POST
            && response.status() == StatusCode::OK
            && named.as_deref() == Some(target)
            && storable::carries_only_itself(&asked.headers);
        if !for_get {
            return self.relay(asked, response, Forward::Method, None);
        }
        match self.store.adopt(asked, response, timed) {
            Err((response, why)) => {
                self.relay(asked, *response, Forward::Method, Some(why.as_str()))
            }
            Ok(answer) => {
                let told = Told {
                    forward: Some(Forward::Method),
                    status: Some(answer.status),
                    stored: true,
                    ..Told::default()
                };
                let reply = Reply {
                    stored: &answer.stored,
                    answer: Some(&answer),
                    told,
                    outcome: Outcome::Bypass,
                };
                let stored = respond::stored(&self.store, asked, reply).await;
                let Some(mut response) = stored else {
                    return self.error(StatusCode::BAD_GATEWAY, "upstream-failed", Forward::Method);
                };
                response.headers.extend(answer.withheld);
                response
            }
        }
    }

    /// Answers a request that asked not to be forwarded any further (RFC 9110 §7.6.2).
    fn last_hop(&self, asked: &Asked) -> Response {
        if asked.method == Method::TRACE {
            // A trace shows a client's fields to whoever can make it send one.
            return self.error(StatusCode::NOT_IMPLEMENTED, "trace", Forward::Method);
        }
        let told = Told::default();
        let mut headers = http::HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
        told.append(
            &mut headers,
            &self.rules.load().name,
            Some(asked.shown_key()),
        );
        Response {
            status: StatusCode::OK,
            headers,
            body: Body::Empty,
            facts: Facts {
                outcome: Outcome::Bypass,
                ..Facts::default()
            },
            hit: None,
        }
    }

    /// Sends a request on as it came; what comes back has no hop-by-hop fields.
    async fn send(
        &self,
        asked: &Asked,
        body: RequestBody,
    ) -> Result<http::Response<BoxBody>, UpstreamError> {
        let mut response = self.store.upstream.fetch(asked.as_is(body)).await?;
        fields::strip_hop_by_hop(response.headers_mut());
        fields::add_via(response.headers_mut(), "1.1", &self.rules.load().name);
        Ok(response)
    }

    /// Hands an upstream's response on. `why`: what kept it from being stored, a token.
    pub(crate) fn relay(
        &self,
        asked: &Asked,
        response: http::Response<BoxBody>,
        forward: Forward,
        why: Option<&'static str>,
    ) -> Response {
        let told = Told {
            forward: Some(forward),
            status: Some(response.status()),
            detail: why,
            ..Told::default()
        };
        respond::relayed(asked, response, told)
    }
}
