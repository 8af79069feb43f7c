//! Whole answers in memory: a body, its type, its validator, and how long caches may keep it.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde::Serialize;

use crate::{
    conditional::ETag,
    error::{ApiError, ApiResult},
};

/// Names what an answer is about, for purging (`track/{id}`).
pub(crate) const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// An answer ready to be sent any number of times.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) body: Bytes,
    pub(crate) etag: ETag,
    pub(crate) content_type: &'static str,
    pub(crate) cache_control: &'static str,
    pub(crate) surrogate_key: Option<String>,
}

impl Document {
    /// A document whose validator is its content.
    pub(crate) fn new(
        body: impl Into<Bytes>,
        content_type: &'static str,
        cache_control: &'static str,
    ) -> Self {
        let body = body.into();
        let etag = ETag::of(&body);
        Self {
            body,
            etag,
            content_type,
            cache_control,
            surrogate_key: None,
        }
    }

    /// A JSON document that caches keep but ask about each time.
    ///
    /// # Errors
    /// Where the value can't be written as JSON.
    pub(crate) fn json(value: &impl Serialize) -> ApiResult<Self> {
        let body = serde_json::to_vec(value).map_err(ApiError::internal)?;
        Ok(Self::new(body, "application/json", "no-cache"))
    }

    /// Answers a request: the body, or 304 or 412 where its conditions say so.
    pub(crate) fn answer(&self, method: &Method, request: &HeaderMap) -> Response {
        let mut response = match self.etag.precondition(method, request) {
            Some(status) => status.into_response(),
            None => {
                let mut response = Body::from(self.body.clone()).into_response();
                let headers = response.headers_mut();
                let content_type = HeaderValue::from_static(self.content_type);
                headers.insert(header::CONTENT_TYPE, content_type);
                response
            }
        };
        let headers = response.headers_mut();
        let cache_control = HeaderValue::from_static(self.cache_control);
        headers.insert(header::CACHE_CONTROL, cache_control);
        insert(headers, header::ETAG, self.etag.as_str());
        if let Some(key) = &self.surrogate_key {
            insert(headers, SURROGATE_KEY, key);
        }
        response
    }
}

/// Sets a header from text that came from data; text that is no header value is left out.
pub(crate) fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// 204 with nothing to cache.
pub(crate) fn no_content() -> Response {
    (
        StatusCode::NO_CONTENT,
        [(header::CACHE_CONTROL, "no-store")],
    )
        .into_response()
}
