//! Responses of our own: the upstream failed, the request isn't let in, the method isn't served.
//! Status codes for faults are mapped here and nowhere else.

use std::time::Duration;

use http::{
    HeaderValue, StatusCode,
    header::{RETRY_AFTER, WWW_AUTHENTICATE},
};

use crate::{
    auth::Refusal,
    cache_status::{Forward, Told},
    exchange::{Outcome, Request, Response, UpstreamError, UpstreamFault},
    node::Edge,
    respond,
};

impl Edge {
    /// The upstream did not answer.
    pub(crate) fn failed(&self, error: &UpstreamError, forward: Forward) -> Response {
        tracing::warn!(%error, "upstream failed");
        let status = match error.fault {
            UpstreamFault::Timeout => StatusCode::GATEWAY_TIMEOUT,
            UpstreamFault::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            UpstreamFault::RequestBody => StatusCode::BAD_REQUEST,
            UpstreamFault::Loop => StatusCode::LOOP_DETECTED,
            _ => StatusCode::BAD_GATEWAY,
        };
        self.error(status, error.fault.as_str(), forward)
    }

    /// An error; `reason` is a token.
    pub(crate) fn error(
        &self,
        status: StatusCode,
        reason: &'static str,
        forward: Forward,
    ) -> Response {
        let told = Told {
            forward: Some(forward),
            detail: Some(reason),
            ..Told::default()
        };
        respond::error(status, reason, told, &self.rules.load().name)
    }

    /// Tells a client that it asks too often.
    pub(crate) fn refuse_hurry(&self, request: &mut Request, wait: Duration) -> Response {
        let mut response = respond::error(
            StatusCode::TOO_MANY_REQUESTS,
            "too many requests",
            Told::default(),
            &self.rules.load().name,
        );
        let seconds = HeaderValue::from(wait.as_secs() + 1);
        response.headers.insert(RETRY_AFTER, seconds);
        response.facts.outcome = Outcome::Refused;
        response.facts.reason = Some("rate");
        if self.gate.strip(request) {
            response.facts.target = Some(request.target.clone());
        }
        response
    }

    /// Tells a client why it isn't let in; the word for the log may say more.
    pub(crate) fn refuse(&self, refusal: Refusal) -> Response {
        let (status, public, reason) = match refusal {
            Refusal::Path(reason) => (StatusCode::BAD_REQUEST, "ambiguous path", reason),
            Refusal::Missing => (
                StatusCode::UNAUTHORIZED,
                "a token is needed",
                "missing-token",
            ),
            Refusal::Rejected(reason) => (
                StatusCode::FORBIDDEN,
                "the token does not open this",
                reason,
            ),
        };
        let mut response = respond::error(status, public, Told::default(), &self.rules.load().name);
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers.insert(WWW_AUTHENTICATE, scheme);
        }
        response.facts.outcome = Outcome::Refused;
        response.facts.reason = Some(reason);
        response
    }
}
