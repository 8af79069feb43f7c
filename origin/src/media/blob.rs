//! Immutable bytes of the object store over HTTP: conditions, ranges, streaming.
//!
//! Sizes and validators come from `track.json`, so that 304, 412, 416 and HEAD cost no round trip
//! to the store, and a body is streamed in the chunks that the store yields, never copied.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use manifests::ByteRange;
use storage::{Key, ObjectStore};

use crate::{
    conditional::ETag,
    error::{ApiError, ApiResult},
    range::{self, Asked},
    reply::{SURROGATE_KEY, insert},
};

/// For bytes whose URL names their revision (RFC 8246).
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// An object, or a window of one, that a URL shows.
#[derive(Debug)]
pub(super) struct Blob {
    pub(super) key: Key,
    /// Size of the whole object.
    pub(super) object_bytes: u64,
    /// What the URL shows of it.
    pub(super) window: ByteRange,
    pub(super) etag: ETag,
    pub(super) content_type: String,
    pub(super) surrogate_key: String,
}

impl Blob {
    /// Answers GET and HEAD.
    ///
    /// # Errors
    /// 502 where the store fails or holds other bytes than `track.json` says.
    pub(super) async fn serve(
        &self,
        store: &dyn ObjectStore,
        method: &Method,
        request: &HeaderMap,
    ) -> ApiResult<Response> {
        let size = self.window.len;
        if let Some(status) = self.etag.precondition(method, request) {
            return Ok(self.headed(status.into_response()));
        }
        let asked = match request.get(header::RANGE) {
            Some(value) if *method == Method::GET && self.etag.permits_range(request) => {
                range::parse(value.to_str().unwrap_or(""), size)
            }
            _ => Asked::Whole,
        };
        let (status, part) = match asked {
            Asked::Whole => (StatusCode::OK, 0..size),
            Asked::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
            Asked::Unsatisfiable => return Ok(self.unsatisfiable()),
        };
        let body = if *method == Method::HEAD {
            Body::empty()
        } else {
            self.open(store, part.start, part.end).await?
        };
        let mut response = self.headed((status, body).into_response());
        let headers = response.headers_mut();
        insert(headers, header::CONTENT_TYPE, &self.content_type);
        headers.insert(
            header::CONTENT_LENGTH,
            HeaderValue::from(part.end - part.start),
        );
        if status == StatusCode::PARTIAL_CONTENT {
            let content_range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            insert(headers, header::CONTENT_RANGE, &content_range);
        }
        Ok(response)
    }

    /// Opens bytes `start..end` of the window.
    async fn open(&self, store: &dyn ObjectStore, start: u64, end: u64) -> ApiResult<Body> {
        let range = self.window.start + start..self.window.start + end;
        let object = store
            .get(&self.key, Some(range.clone()))
            .await
            .map_err(ApiError::store)?;
        if object.meta.size != self.object_bytes || object.range != range {
            let found = object.meta.size;
            let text = format!(
                "{} has {found} bytes, its index says {}",
                self.key, self.object_bytes
            );
            return Err(ApiError::store(text));
        }
        Ok(Body::from_stream(object.body))
    }

    fn unsatisfiable(&self) -> Response {
        let size = self.window.len;
        let message = format!("the range starts beyond the end; there are {size} bytes");
        let status = StatusCode::RANGE_NOT_SATISFIABLE;
        let mut response = ApiError::new(status, "range_not_satisfiable", message).into_response();
        let headers = response.headers_mut();
        insert(headers, header::CONTENT_RANGE, &format!("bytes */{size}"));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        response
    }

    fn headed(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(IMMUTABLE));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        insert(headers, header::ETAG, self.etag.as_str());
        insert(headers, SURROGATE_KEY, &self.surrogate_key);
        response
    }
}
