//! Objects, the segment view and manifests of tracks.

mod blob;
mod manifest;
mod objects;

use std::sync::Arc;

use axum::{Router, middleware, routing::get};

use crate::{
    cache::Cache,
    cors::{cors, preflight},
    tracks::Tracks,
};

/// Rendered manifests kept in memory: at most twice this many, mostly below 10 KB each.
const HALF_MANIFESTS: usize = 2_048;

#[derive(Debug)]
struct Media {
    tracks: Arc<Tracks>,
    manifests: Cache<manifest::Name, Arc<crate::reply::Document>>,
}

/// The routes below `/media/`, `/v1/tracks/` and `/api/v1/covers/`.
pub(crate) fn router(tracks: Arc<Tracks>) -> Router {
    let media = Arc::new(Media {
        tracks,
        manifests: Cache::new(HALF_MANIFESTS),
    });
    Router::new()
        .route(
            "/media/{track}/{revision}/{file}",
            get(objects::packed).options(preflight),
        )
        .route(
            "/media/{track}/{revision}/{rendition}/{part}",
            get(objects::part).options(preflight),
        )
        .route(
            "/api/v1/covers/{track}/{revision}/{name}",
            get(objects::cover).options(preflight),
        )
        .route(
            "/v1/tracks/{track}/{file}",
            get(manifest::get).options(preflight),
        )
        .layer(middleware::from_fn(cors))
        .with_state(media)
}
