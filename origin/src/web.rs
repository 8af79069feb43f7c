//! The web player's files, carried in the binary.
//!
//! Every file is revalidated by its content's tag, so that an upgrade never mixes versions of
//! modules that import each other.

use std::{collections::HashMap, sync::LazyLock};

use axum::{Router, extract::Request, response::Response, routing::get};
use http::Method;

use crate::{
    error::{ApiError, ApiResult},
    reply::Document,
};

static FILES: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/web.rs"));

static DOCUMENTS: LazyLock<HashMap<&'static str, Document>> = LazyLock::new(|| {
    FILES
        .iter()
        .map(|&(name, body)| (name, document(name, body.into())))
        .collect()
});

/// The routes of pages and assets, and of everything that is at no other route.
pub(crate) fn router() -> Router {
    Router::new()
        .route("/", get(serve))
        .route("/ops", get(serve))
        .route("/assets/{*path}", get(serve))
        .fallback(serve)
}

async fn serve(request: Request) -> ApiResult<Response> {
    let (method, path) = (request.method(), request.uri().path());
    let found = names(path).into_iter().find_map(|name| load(&name));
    match found {
        Some(document) if matches!(*method, Method::GET | Method::HEAD) => {
            Ok(document.answer(method, request.headers()))
        }
        _ => Err(crate::not_found(path)),
    }
}

/// Files that a path may mean, in the order to look for them.
fn names(path: &str) -> Vec<String> {
    let path = path.trim_start_matches('/');
    match path {
        "" => vec!["index.html".to_owned()],
        "ops" | "ops/" => vec!["ops.html".to_owned(), "ops/index.html".to_owned()],
        _ => {
            let below = path.strip_prefix("assets/").map(str::to_owned);
            std::iter::once(path.to_owned()).chain(below).collect()
        }
    }
}

/// Debug builds read from `$SEGUE_WEB_DIR` where it is set, so that a reload shows an edit.
fn load(name: &str) -> Option<Document> {
    #[cfg(debug_assertions)]
    if let Some(dir) = std::env::var_os("SEGUE_WEB_DIR") {
        let sound = name
            .split('/')
            .all(|s| !s.is_empty() && !s.starts_with('.'));
        let body = sound.then(|| std::fs::read(std::path::Path::new(&dir).join(name)).ok())??;
        return Some(document(name, body.into()));
    }
    DOCUMENTS.get(name).cloned()
}

fn document(name: &str, body: bytes::Bytes) -> Document {
    Document::new(body, content_type(name), "no-cache")
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, suffix)| suffix) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

/// Says that this build has no player, where it has none.
pub(crate) fn missing_player() -> ApiError {
    ApiError::not_found(
        "this build carries no web player; the API is described at /api/openapi.json",
    )
}
