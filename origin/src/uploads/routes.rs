//! Uploads over HTTP: tus 1.0, core with creation, expiration and termination.

use std::io::SeekFrom;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{patch, post},
};
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::{
    fs::File,
    io::{AsyncSeekExt as _, AsyncWriteExt as _},
    time,
};

use super::{
    Staging,
    metadata::{self, Refusal},
    staging::{Error, Standing},
};
use crate::{
    error::{ApiError, ApiResult},
    extract::Path,
    jobs::{Key, guard},
};

const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,expiration,termination";
/// What bytes are sent as.
const BYTES: &str = "application/offset+octet-stream";

/// The routes of uploads; all but `OPTIONS` ask for the key.
pub(crate) fn router(staging: Staging, key: Key) -> Router {
    Router::new()
        .route("/api/v1/uploads", post(create).options(nothing))
        .route(
            "/api/v1/uploads/{id}",
            patch(append).head(head).delete(end).options(nothing),
        )
        .route_layer(middleware::from_fn_with_state(key, guard))
        .route_layer(middleware::from_fn_with_state(staging.limits.file, tus))
        .with_state(staging)
}

/// `OPTIONS`: [`tus`] says it all.
async fn nothing() {}

/// What holds for every request: `OPTIONS` tells what there is, others say which version they speak.
async fn tus(State(largest): State<u64>, request: Request, next: Next) -> Response {
    let spoken = request.headers().get("tus-resumable");
    let spoken = spoken.is_some_and(|version| version == VERSION);
    let options = request.method() == Method::OPTIONS;
    let mut response = match (options, spoken) {
        (true, _) => StatusCode::NO_CONTENT.into_response(),
        (false, true) => next.run(request).await,
        (false, false) => {
            let message = "say which version of tus you speak: Tus-Resumable: 1.0.0";
            ApiError::new(StatusCode::PRECONDITION_FAILED, "no_tus", message).into_response()
        }
    };
    let headers = response.headers_mut();
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    put("tus-resumable", VERSION);
    put("cache-control", "no-store");
    if options || !spoken {
        put("tus-version", VERSION);
    }
    if options {
        put("tus-extension", EXTENSIONS);
        put("tus-max-size", &largest.to_string());
    }
    response
}

/// `POST /api/v1/uploads`: announces a file.
async fn create(State(staging): State<Staging>, headers: HeaderMap) -> ApiResult<Response> {
    let length = number(&headers, "upload-length").filter(|length| *length > 0);
    let length = length.ok_or_else(|| {
        ApiError::bad_request("say how many bytes the file has: Upload-Length: N")
    })?;
    let field = headers.get("upload-metadata").map(HeaderValue::to_str);
    let field = field.transpose().map_err(|_| Refusal::Malformed)?;
    let name = metadata::parse(field.unwrap_or_default())?.name;
    let id = staging.create(length, &name).await?;
    let mut response = StatusCode::CREATED.into_response();
    tell(&mut response, &staging.get(&id).await?);
    let location = HeaderValue::from_str(&format!("/api/v1/uploads/{id}"));
    let location = location.map_err(ApiError::internal)?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// `HEAD /api/v1/uploads/{id}`: where to go on.
async fn head(State(staging): State<Staging>, Path(id): Path<String>) -> ApiResult<Response> {
    let standing = staging.get(&id).await?;
    let mut response = StatusCode::OK.into_response();
    tell(&mut response, &standing);
    Ok(response)
}

/// `PATCH /api/v1/uploads/{id}`: goes on, and with the last byte makes a job of the file.
///
/// What has come stays, however the request ends. Bytes are written at the place that they were
/// sent for: of a request that was cut off, a write that lands late puts the same bytes there.
async fn append(
    State(staging): State<Staging>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    if headers.get(header::CONTENT_TYPE).is_none_or(|t| t != BYTES) {
        let message = format!("send the bytes as Content-Type: {BYTES}");
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(ApiError::new(status, "not_bytes", message));
    }
    let offset = number(&headers, "upload-offset")
        .ok_or_else(|| ApiError::bad_request("say where the bytes belong: Upload-Offset: N"))?;
    let claim = staging.claim(&id)?;
    let standing = staging.get(&id).await?;
    if offset != standing.offset {
        let message = format!("the upload goes on at {}", standing.offset);
        return Err(ApiError::new(StatusCode::CONFLICT, "other_offset", message));
    }
    write(&staging, &standing, body).await?;
    let standing = staging.get(&id).await?;
    drop(claim);
    let mut response = StatusCode::NO_CONTENT.into_response();
    tell(&mut response, &standing);
    Ok(response)
}

/// `DELETE /api/v1/uploads/{id}`
async fn end(State(staging): State<Staging>, Path(id): Path<String>) -> ApiResult<Response> {
    let _claim = staging.claim(&id)?;
    staging.remove(&id)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Writes a body behind what is there, and has it on disk when it returns.
async fn write(staging: &Staging, there: &Standing, body: Body) -> ApiResult<()> {
    let io = |error| ApiError::from(Error::Io(error));
    let mut file = File::options()
        .write(true)
        .open(&there.file)
        .await
        .map_err(io)?;
    file.seek(SeekFrom::Start(there.offset)).await.map_err(io)?;
    let mut room = there.length - there.offset;
    let mut pieces = body.into_data_stream();
    let ended = loop {
        let piece = match time::timeout(staging.limits.stall, pieces.next()).await {
            Err(_) => break Some("no byte came for too long; go on from where HEAD says"),
            Ok(None) => break None,
            Ok(Some(Err(_))) => break Some("the body was cut off; go on from where HEAD says"),
            Ok(Some(Ok(piece))) => piece,
        };
        if piece.len() as u64 > room {
            break Some("the body goes on beyond the length that was announced");
        }
        file.write_all(&piece).await.map_err(io)?;
        room -= piece.len() as u64;
    };
    file.sync_all().await.map_err(io)?;
    match ended {
        None => Ok(()),
        Some(why) => Err(ApiError::bad_request(why)),
    }
}

/// How far an upload is; and of a complete one, which job came of it.
fn tell(response: &mut Response, standing: &Standing) {
    let mut put = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            let name = HeaderName::from_static(name);
            response.headers_mut().insert(name, value);
        }
    };
    put("upload-offset", standing.offset.to_string());
    put("upload-length", standing.length.to_string());
    match &standing.job {
        Some(job) => put("segue-job", job.clone()),
        None => put("upload-expires", httpdate::fmt_http_date(standing.expires)),
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    let text = headers.get(name)?.to_str().ok()?;
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        let status = match refusal {
            Refusal::Malformed => StatusCode::BAD_REQUEST,
            Refusal::Type(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        };
        ApiError::new(status, "bad_metadata", refusal.to_string())
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> ApiError {
        let (status, code) = match error {
            Error::Unknown => return ApiError::not_found(error.to_string()),
            Error::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Error::Full => (StatusCode::INSUFFICIENT_STORAGE, "no_room"),
            Error::Busy => (StatusCode::LOCKED, "busy"),
            Error::Io(cause) => return ApiError::internal(cause),
            Error::Jobs(cause) => return cause.into(),
        };
        ApiError::new(status, code, error.to_string())
    }
}
