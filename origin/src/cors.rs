//! Cross-origin access to media and manifests: any site's player may fetch them, and read what
//! it needs of the answer.

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

const EXPOSED: &str = "Accept-Ranges, Age, Cache-Status, Content-Length, Content-Range, Date, ETag, \
                       Server-Timing";
const ALLOWED: &str = "Authorization, CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status, \
                       CTA-Common-Access-Token, If-Match, If-None-Match, If-Range, Range";
/// How long browsers keep a preflight's answer, in seconds: the most that any accepts.
const MAX_AGE_S: &str = "86400";

/// Answers a preflight.
pub(crate) async fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    set(
        headers,
        header::ACCESS_CONTROL_ALLOW_METHODS,
        "GET, HEAD, OPTIONS",
    );
    set(headers, header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED);
    set(headers, header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
    set(headers, header::CACHE_CONTROL, "public, max-age=86400");
    response
}

/// Marks every answer.
pub(crate) async fn cors(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    set(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    set(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    set(
        headers,
        HeaderName::from_static("cross-origin-resource-policy"),
        "cross-origin",
    );
    set(headers, HeaderName::from_static("timing-allow-origin"), "*");
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}
