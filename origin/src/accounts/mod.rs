//! Accounts: who may listen. For now: anonymous listening sessions, and the keys that sign them.

mod keys;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::json;
use tokens::{Claims, Keyset, Scope};

pub(crate) use keys::{Keys, KeysError, secret};

use crate::{
    error::{ApiError, ApiResult},
    reply::Document,
};

/// Caches may hand out the public keys this long; a new key is announced longer before its use.
const KEYSET_CACHE: &str = "public, max-age=300, stale-if-error=86400";

/// How sessions are given out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// Whether anyone may have one.
    pub(crate) anonymous: bool,
    /// How long it lasts.
    pub(crate) ttl: Duration,
}

#[derive(Debug)]
struct Accounts {
    keys: Arc<Keys>,
    policy: Policy,
}

/// The routes of sessions and keys.
pub(crate) fn router(keys: Arc<Keys>, policy: Policy) -> Router {
    Router::new()
        .route("/api/v1/session", post(session))
        .route("/api/v1/keyset", get(keyset))
        .with_state(Arc::new(Accounts { keys, policy }))
}

/// `POST /api/v1/session`: a token to listen with, as text and as path prefix.
async fn session(State(accounts): State<Arc<Accounts>>) -> ApiResult<Response> {
    let Policy { anonymous, ttl } = accounts.policy;
    if !anonymous {
        let message = "listening without an account is switched off here";
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "no_anonymous_listening",
            message,
        ));
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(ApiError::internal)?
        .as_secs();
    let claims = Claims::listening("anonymous", now, ttl)
        .scope(Scope::All)
        .id(tokens::fresh_id().map_err(ApiError::internal)?);
    let token = tokens::mint(accounts.keys.signing(), &claims).map_err(ApiError::internal)?;
    let body = json!({
        "prefix": format!("/~{token}"),
        "token": token,
        "expires_at": now + ttl.as_secs(),
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response())
}

/// `GET /api/v1/keyset`: what the edges verify with.
async fn keyset(
    State(accounts): State<Arc<Accounts>>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let keyset: &Keyset = accounts.keys.public();
    let document = Document::new(keyset.to_json(), "application/json", KEYSET_CACHE);
    document.answer(&method, &headers)
}
