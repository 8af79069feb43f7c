//! The catalogue over HTTP.

use axum::{Router, extract::State, response::Response, routing::get};
use http::{HeaderMap, Method};
use serde::Deserialize;
use serde_json::json;

use super::{
    Catalog,
    identity::fold,
    query::{self, Page},
    wire::{Album, Artist},
};
use crate::{
    error::{ApiError, ApiResult},
    extract::{Path, Query},
    reply::Document,
};

/// Items of a list unless `limit` says otherwise, and at most.
const LIMIT: u32 = 500;
/// Results of each kind of a search.
const SEARCH_LIMIT: u32 = 50;
/// Words of a search beyond these are left out.
const MAX_TERMS: usize = 8;

/// The routes of the catalogue.
pub(crate) fn router(catalog: Catalog) -> Router {
    Router::new()
        .route("/api/v1/albums", get(albums))
        .route("/api/v1/albums/{id}", get(album))
        .route("/api/v1/artists", get(artists))
        .route("/api/v1/artists/{id}", get(artist))
        .route("/api/v1/tracks/{id}", get(track))
        .with_state(catalog)
}

/// The route of the search over the catalogue's own tables.
pub(crate) fn search_router(catalog: Catalog) -> Router {
    Router::new()
        .route("/api/v1/search", get(search))
        .with_state(catalog)
}

#[derive(Debug, Deserialize)]
struct PageParams {
    limit: Option<u32>,
    offset: Option<u32>,
}

impl PageParams {
    fn page(&self, most: u32) -> Page {
        Page {
            limit: self.limit.unwrap_or(most).clamp(1, most),
            offset: self.offset.unwrap_or(0),
        }
    }
}

async fn albums(
    State(catalog): State<Catalog>,
    Query(params): Query<PageParams>,
    method: Method,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let page = params.page(LIMIT);
    let (total, albums) = query::all_albums(&catalog.db.read, page).await?;
    let body = json!({ "albums": albums, "total": total, "offset": page.offset });
    Ok(Document::json(&body)?.answer(&method, &headers))
}

async fn album(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let summary = query::album(&catalog.db.read, &id).await?;
    let summary =
        summary.ok_or_else(|| ApiError::not_found("there is no such album; see /api/v1/albums"))?;
    let tracks = query::tracks_of_album(&catalog.db.read, &id).await?;
    let loudness = tracks.iter().find_map(|t| t.detail.loudness.album.clone());
    let album = Album {
        summary,
        loudness,
        tracks,
    };
    Ok(Document::json(&album)?.answer(&method, &headers))
}

async fn artists(
    State(catalog): State<Catalog>,
    Query(params): Query<PageParams>,
    method: Method,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let page = params.page(LIMIT);
    let (total, artists) = query::artists(&catalog.db.read, &[], page).await?;
    let body = json!({ "artists": artists, "total": total, "offset": page.offset });
    Ok(Document::json(&body)?.answer(&method, &headers))
}

async fn artist(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let name = query::artist_name(&catalog.db.read, &id).await?;
    let name =
        name.ok_or_else(|| ApiError::not_found("there is no such artist; see /api/v1/artists"))?;
    let albums = query::albums_of_artist(&catalog.db.read, &id).await?;
    Ok(Document::json(&Artist { id, name, albums })?.answer(&method, &headers))
}

async fn track(
    State(catalog): State<Catalog>,
    Path(id): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let track = query::tracks_by_id(&catalog.db.read, &[id]).await?.pop();
    let track =
        track.ok_or_else(|| ApiError::not_found("there is no such track; see /api/v1/albums"))?;
    Ok(Document::json(&track)?.answer(&method, &headers))
}

#[derive(Debug, Deserialize)]
struct SearchParams {
    #[serde(default)]
    q: String,
    limit: Option<u32>,
    offset: Option<u32>,
}

async fn search(
    State(catalog): State<Catalog>,
    Query(params): Query<SearchParams>,
    method: Method,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let terms: Vec<String> = fold(&params.q)
        .split_whitespace()
        .take(MAX_TERMS)
        .map(str::to_owned)
        .collect();
    if terms.is_empty() {
        return Err(ApiError::bad_request("say what to search for: `?q=words`"));
    }
    let page = PageParams {
        limit: params.limit,
        offset: params.offset,
    }
    .page(SEARCH_LIMIT);
    let pool = &catalog.db.read;
    let body = json!({
        "tracks": query::find_tracks(pool, &terms, page).await?,
        "albums": query::find_albums(pool, &terms, page).await?,
        "artists": query::artists(pool, &terms, page).await?.1,
    });
    Ok(Document::json(&body)?.answer(&method, &headers))
}
