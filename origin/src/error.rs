//! What went wrong, as HTTP says it: `{"error":{"code","message"}}`.
//!
//! Messages are for the caller and say what to do; causes within the origin go to the log only.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

/// An answer that is not the one asked for.
#[derive(Debug, thiserror::Error)]
#[error("{status} {code}: {message}")]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

/// What handlers return.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// A fault of ours: the cause is logged, the caller may try again.
    pub(crate) fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the origin failed; try again, and see its log if that persists",
        )
    }

    /// The object store did not deliver.
    pub(crate) fn store(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "object store failed");
        Self::new(
            StatusCode::BAD_GATEWAY,
            "storage_unavailable",
            "the object store did not deliver; try again in a moment",
        )
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(cause: sqlx::Error) -> Self {
        let busy = matches!(&cause, sqlx::Error::PoolTimedOut)
            || cause.as_database_error().and_then(|e| e.code()).as_deref() == Some("5");
        if busy {
            tracing::warn!(%cause, "database is busy");
            let message = "the database is busy; try again in a second";
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message);
        }
        Self::internal(cause)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": { "code": self.code, "message": self.message } }));
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
