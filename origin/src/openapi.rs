//! The API's description, written by hand and held against the routes by tests.

use axum::{Router, response::Response, routing::get};
use http::{HeaderMap, Method};

use crate::reply::Document;

/// The document at `/api/openapi.json`.
const OPENAPI: &str = include_str!("openapi.json");

pub(crate) fn router() -> Router {
    Router::new().route("/api/openapi.json", get(openapi))
}

async fn openapi(method: Method, headers: HeaderMap) -> Response {
    Document::new(OPENAPI, "application/json", "no-cache").answer(&method, &headers)
}
