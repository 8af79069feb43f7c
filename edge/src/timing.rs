//! `Server-Timing` (W3C Server Timing): what the cache did and how long the upstream took, for the
//! browser's network panel and for `PerformanceResourceTiming`.

use http::{HeaderName, HeaderValue};

use crate::exchange::{Outcome, Response};

static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Says it in the response, behind what an upstream may have said.
pub(crate) fn tell(response: &mut Response) {
    let facts = &response.facts;
    let value = match facts.upstream_wait {
        // What is said most often costs no formatting.
        None if facts.outcome == Outcome::Hit => Some(HeaderValue::from_static("cache;desc=hit")),
        None => HeaderValue::try_from(format!("cache;desc={}", facts.outcome.as_str())).ok(),
        Some(wait) => HeaderValue::try_from(format!(
            "cache;desc={}, upstream;dur={:.1}",
            facts.outcome.as_str(),
            wait.as_secs_f64() * 1e3
        ))
        .ok(),
    };
    if let Some(value) = value {
        response.headers.append(SERVER_TIMING.clone(), value);
    }
}
