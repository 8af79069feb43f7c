//! A playlist as one continuous stream.

use std::sync::Arc;

use axum::{Router, extract::State, middleware, response::Response, routing::get};
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Method, StatusCode};
use manifests::{Layout, Track, dash, hls};

use super::store::Playlists;
use crate::{
    cors::{cors, preflight},
    error::{ApiError, ApiResult},
    extract::{Path, Query},
    params::{DASH, HLS, Params, no_codec},
    reply::Document,
    tracks::Tracks,
};

/// Tracks of one stream, at most: a day and a half of songs, 8 MB of playlist.
const MAX_TRACKS: usize = 500;
/// Tracks read from storage at once.
const READS: usize = 8;

#[derive(Clone)]
struct Service {
    playlists: Playlists,
    tracks: Arc<Tracks>,
}

pub(super) fn router(playlists: Playlists, tracks: Arc<Tracks>) -> Router {
    Router::new()
        .route(
            "/v1/playlists/{id}/{file}",
            get(manifest).options(preflight),
        )
        .layer(middleware::from_fn(cors))
        .with_state(Service { playlists, tracks })
}

/// `GET /v1/playlists/{id}/{index.m3u8 | {rendition}.m3u8 | manifest.mpd}`
async fn manifest(
    State(service): State<Service>,
    Path((id, file)): Path<(String, String)>,
    Query(params): Query<Params>,
    method: Method,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let (addressing, codecs) = params.parse()?;
    let layout = Layout::v1(addressing);
    let tracks = service.load(&id).await?;
    let tracks: Vec<&Track> = tracks.iter().map(|t| &**t).collect();
    let (text, content_type) = match file.as_str() {
        "index.m3u8" => (
            hls::multivariant(&tracks, codecs, &layout).ok_or_else(no_codec)?,
            HLS,
        ),
        "manifest.mpd" => (
            dash::mpd(&tracks, codecs, &layout).ok_or_else(no_codec)?,
            DASH,
        ),
        other => (media(&tracks, other, &layout)?, HLS),
    };
    Ok(Document::new(text, content_type, "no-cache").answer(&method, &headers))
}

fn media(tracks: &[&Track], file: &str, layout: &Layout<'_>) -> ApiResult<String> {
    let items = file
        .strip_suffix(".m3u8")
        .and_then(|id| hls::items(tracks, id));
    let items = items.ok_or_else(|| {
        ApiError::not_found("this stream has no such document; its index.m3u8 lists all")
    })?;
    Ok(hls::media(&items, layout))
}

impl Service {
    /// The tracks in order; those that are gone are left out.
    async fn load(&self, id: &str) -> ApiResult<Vec<Arc<Track>>> {
        let items = self.playlists.get(id).await?.items;
        if items.len() > MAX_TRACKS {
            let message = format!("a playlist of more than {MAX_TRACKS} items is not one stream");
            return Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "too_long",
                message,
            ));
        }
        let reads = stream::iter(items.into_iter().map(|item| async move {
            match self.tracks.latest(&item.track_id).await {
                Err(error)
                    if matches!(error.status(), StatusCode::NOT_FOUND | StatusCode::GONE) =>
                {
                    Ok(None)
                }
                other => other.map(Some),
            }
        }));
        let read: Vec<ApiResult<Option<Arc<Track>>>> = reads.buffered(READS).collect().await;
        let tracks: Vec<Arc<Track>> = read
            .into_iter()
            .filter_map(Result::transpose)
            .collect::<ApiResult<_>>()?;
        if tracks.is_empty() {
            let message = "the playlist is empty; add tracks to it first";
            return Err(ApiError::new(
                StatusCode::NOT_FOUND,
                "empty_playlist",
                message,
            ));
        }
        Ok(tracks)
    }
}
