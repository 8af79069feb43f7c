//! The queue over HTTP, for workers on other machines and for operators: whoever has the key.

use std::{fs, path::Path as FsPath, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State as AxumState},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::{StatusCode, header};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use storage::ObjectStore;

use super::{Error, Jobs, NewJob, Outcome, Queue as _, State, Verdict};
use crate::{
    accounts::secret,
    error::{ApiError, ApiResult},
    extract::{Json, Path, Query},
    ports::Registry,
};

/// The key that workers show.
#[derive(Clone)]
pub(crate) struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// Reads `keys/worker.key` below `data`, or makes it.
    pub(crate) fn open(data: &FsPath) -> std::io::Result<Key> {
        let path = secret(data, "worker.key")?;
        let text = fs::read_to_string(path)?;
        Ok(Key(Sha256::digest(text.trim()).into()))
    }

    /// Digests are compared: how far they agree tells nothing of the key.
    fn opens(&self, shown: &str) -> bool {
        <[u8; 32]>::from(Sha256::digest(shown)) == self.0
    }
}

#[derive(Clone)]
struct Desk {
    jobs: Jobs,
    registry: Arc<dyn Registry>,
    store: Arc<dyn ObjectStore>,
}

/// The routes of the queue; all of them ask for the key.
pub(crate) fn router(
    jobs: Jobs,
    key: Key,
    registry: Arc<dyn Registry>,
    store: Arc<dyn ObjectStore>,
) -> Router {
    let desk = Desk {
        jobs,
        registry,
        store,
    };
    Router::new()
        .route("/api/v1/jobs", get(list).post(enqueue))
        .route("/api/v1/jobs/claim", post(claim))
        .route("/api/v1/jobs/{id}", get(one))
        .route("/api/v1/jobs/{id}/cancel", post(cancel))
        .route("/api/v1/jobs/{id}/retry", post(retry))
        .route("/api/v1/jobs/{id}/heartbeat", post(heartbeat))
        .route("/api/v1/jobs/{id}/finish", post(finish))
        .route("/api/v1/jobs/{id}/release", post(release))
        .route_layer(middleware::from_fn_with_state(key, guard))
        .with_state(desk)
}

/// Lets requests with the key through.
pub(crate) async fn guard(
    AxumState(key): AxumState<Key>,
    request: Request,
    next: Next,
) -> Response {
    let shown = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    if shown.is_some_and(|shown| key.opens(shown.trim())) {
        return next.run(request).await;
    }
    let message = "show the key in keys/worker.key of the origin's data: Authorization: Bearer KEY";
    let refusal = ApiError::new(StatusCode::UNAUTHORIZED, "no_key", message);
    ([(header::WWW_AUTHENTICATE, "Bearer")], refusal).into_response()
}

impl From<Error> for ApiError {
    fn from(error: Error) -> ApiError {
        match error {
            Error::NotFound(_) => ApiError::not_found(error.to_string()),
            Error::Refused(what) => ApiError::new(StatusCode::CONFLICT, "refused", what),
            Error::Unavailable(cause) => ApiError::internal(cause),
        }
    }
}

fn fresh(value: &impl serde::Serialize) -> ApiResult<Response> {
    let json = serde_json::to_value(value).map_err(ApiError::internal)?;
    Ok(([(header::CACHE_CONTROL, "no-store")], axum::Json(json)).into_response())
}

#[derive(Deserialize)]
struct ListParams {
    state: Option<State>,
    limit: Option<u32>,
}

async fn list(
    AxumState(desk): AxumState<Desk>,
    Query(params): Query<ListParams>,
) -> ApiResult<Response> {
    let limit = params.limit.unwrap_or(100);
    fresh(&desk.jobs.list(params.state, limit).await?)
}

async fn enqueue(AxumState(desk): AxumState<Desk>, Json(job): Json<NewJob>) -> ApiResult<Response> {
    fresh(&desk.jobs.enqueue(job).await?)
}

async fn one(AxumState(desk): AxumState<Desk>, Path(id): Path<String>) -> ApiResult<Response> {
    fresh(&desk.jobs.get(&id).await?)
}

async fn cancel(AxumState(desk): AxumState<Desk>, Path(id): Path<String>) -> ApiResult<Response> {
    fresh(&desk.jobs.cancel(&id).await?)
}

async fn retry(AxumState(desk): AxumState<Desk>, Path(id): Path<String>) -> ApiResult<Response> {
    fresh(&desk.jobs.retry(&id).await?)
}

#[derive(Deserialize)]
struct Claim {
    worker: String,
    lasts_s: f64,
}

async fn claim(AxumState(desk): AxumState<Desk>, Json(claim): Json<Claim>) -> ApiResult<Response> {
    let lasts = Duration::try_from_secs_f64(claim.lasts_s)
        .map_err(|error| ApiError::bad_request(format!("lasts_s: {error}")))?;
    fresh(&desk.jobs.claim(&claim.worker, lasts).await?)
}

#[derive(Deserialize)]
struct Heartbeat {
    lease: String,
    progress: f64,
}

async fn heartbeat(
    AxumState(desk): AxumState<Desk>,
    Path(id): Path<String>,
    Json(beat): Json<Heartbeat>,
) -> ApiResult<Response> {
    fresh(&desk.jobs.heartbeat(&id, &beat.lease, beat.progress).await?)
}

#[derive(Deserialize)]
struct Finish {
    lease: String,
    outcome: Outcome,
}

/// Enters the tracks first: a job that is done is in the catalogue.
async fn finish(
    AxumState(desk): AxumState<Desk>,
    Path(id): Path<String>,
    Json(finish): Json<Finish>,
) -> ApiResult<Response> {
    let verdict = desk.jobs.heartbeat(&id, &finish.lease, 1.0).await?;
    if verdict == Verdict::Lost {
        return fresh(&verdict);
    }
    for (track, revision) in &finish.outcome.tracks {
        desk.registry.adopt(&*desk.store, track, revision).await?;
    }
    fresh(&desk.jobs.finish(&id, &finish.lease, finish.outcome).await?)
}

#[derive(Deserialize)]
struct Release {
    lease: String,
}

async fn release(
    AxumState(desk): AxumState<Desk>,
    Path(id): Path<String>,
    Json(release): Json<Release>,
) -> ApiResult<Response> {
    fresh(&desk.jobs.release(&id, &release.lease).await?)
}
