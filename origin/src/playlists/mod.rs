//! Playlists: ordered tracks that people put together.
//!
//! Owns `playlists.db`. Items have ids of their own, so that one track may stand in a list twice;
//! a version counts changes, so that two editors can't overwrite each other unknowingly.

mod routes;
mod store;
mod stream;

use std::sync::Arc;

use axum::Router;

pub(crate) use store::Playlists;

use crate::{ports::Summaries, tracks::Tracks};

/// The routes below `/api/v1/playlists` and `/v1/playlists/`.
pub(crate) fn router(
    playlists: Playlists,
    summaries: Arc<dyn Summaries>,
    tracks: Arc<Tracks>,
) -> Router {
    routes::router(playlists.clone(), summaries).merge(stream::router(playlists, tracks))
}
