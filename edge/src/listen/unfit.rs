//! Requests that a listener answers itself: what is wrong with them, and what is said of it.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::exchange::{Body, Facts, Outcome, Response};

/// What makes a request unfit for the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No `Host`, several, or none that can be read (RFC 9112 §3.2).
    BadHost,
    /// More fields than the limit.
    TooManyFields,
    /// A longer target than the limit.
    TargetTooLong,
    /// A longer body than the limit.
    BodyTooLarge,
}

/// The response to a request that is unfit for the service.
pub(crate) fn refuse(fault: &Fault) -> Response {
    let (status, reason) = match fault {
        Fault::BadHost => (StatusCode::BAD_REQUEST, "bad-host"),
        Fault::TooManyFields => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "too-many-fields",
        ),
        Fault::TargetTooLong => (StatusCode::URI_TOO_LONG, "target-too-long"),
        Fault::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"),
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let facts = Facts {
        outcome: Outcome::Refused,
        reason: Some(reason),
        ..Facts::default()
    };
    Response {
        status,
        headers,
        body: Body::Empty,
        facts,
        hit: None,
    }
}
