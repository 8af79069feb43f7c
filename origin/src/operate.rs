//! What operators ask: is it alive, is it ready, what has it done.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode, header};

use crate::{catalog::Catalog, error::ApiError, metrics::Metrics};

/// The state behind the operators' routes.
#[derive(Debug)]
pub(crate) struct Operate {
    pub(crate) catalog: Catalog,
    pub(crate) metrics: Arc<Metrics>,
    /// Set when the origin stops taking new work.
    pub(crate) draining: AtomicBool,
}

pub(crate) fn router(operate: Arc<Operate>) -> Router {
    Router::new()
        .route("/livez", get(async || no_store("ok\n")))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(operate)
}

async fn ready(State(operate): State<Arc<Operate>>) -> Result<Response, ApiError> {
    if operate.draining.load(Ordering::Relaxed) {
        let message = "the origin is shutting down";
        return Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "draining",
            message,
        ));
    }
    operate.catalog.ping().await?;
    Ok(no_store("ok\n"))
}

/// Metrics are for operators, who ask the origin itself: what comes by way of an edge, which says so
/// in `Via` (RFC 9110 section 7.6.3), finds nothing here.
async fn metrics(
    State(operate): State<Arc<Operate>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if headers.contains_key(header::VIA) {
        return Err(ApiError::not_found("there is nothing here"));
    }
    let mut response = no_store(operate.metrics.render());
    let text = "text/plain; version=0.0.4; charset=utf-8";
    crate::reply::insert(response.headers_mut(), header::CONTENT_TYPE, text);
    Ok(response)
}

fn no_store(text: impl IntoResponse) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], text).into_response()
}
