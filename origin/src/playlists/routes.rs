//! Playlists over HTTP.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{delete, get, post, put},
};
use http::{HeaderMap, Method, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::store::{Change, Expected, Head, Playlist, Playlists};
use crate::{
    conditional::ETag,
    error::{ApiError, ApiResult},
    extract::{Json, Path},
    ports::Summaries,
    reply::{Document, insert, no_content},
};

/// Letters of a name, at most.
const MAX_NAME_CHARS: usize = 200;
/// Tracks that one request adds, at most.
const MAX_ADDED: usize = 1_000;

#[derive(Clone)]
struct Service {
    playlists: Playlists,
    summaries: Arc<dyn Summaries>,
}

pub(super) fn router(playlists: Playlists, summaries: Arc<dyn Summaries>) -> Router {
    Router::new()
        .route("/api/v1/playlists", get(list).post(create))
        .route(
            "/api/v1/playlists/{id}",
            get(show).patch(rename).delete(remove),
        )
        .route("/api/v1/playlists/{id}/items", post(add_items))
        .route("/api/v1/playlists/{id}/items/{item}", delete(remove_item))
        .route("/api/v1/playlists/{id}/order", put(reorder))
        .with_state(Service {
            playlists,
            summaries,
        })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    track_ids: Vec<String>,
    at: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ordered {
    item_ids: Vec<String>,
}

async fn list(
    State(service): State<Service>,
    method: Method,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let heads = service.playlists.list().await?;
    let playlists: Vec<Value> = heads
        .into_iter()
        .map(
            |Head {
                 id,
                 name,
                 version,
                 item_count,
             }| {
                json!({ "id": id, "name": name, "version": version, "item_count": item_count })
            },
        )
        .collect();
    Ok(Document::json(&json!({ "playlists": playlists }))?.answer(&method, &headers))
}

async fn create(State(service): State<Service>, Json(body): Json<Named>) -> ApiResult<Response> {
    let id = service.playlists.create(&name(&body.name)?).await?;
    let mut response = service.current(&id).await?;
    *response.status_mut() = StatusCode::CREATED;
    insert(
        response.headers_mut(),
        header::LOCATION,
        &format!("/api/v1/playlists/{id}"),
    );
    Ok(response)
}

async fn show(
    State(service): State<Service>,
    Path(id): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> ApiResult<Response> {
    Ok(service.document(&id).await?.answer(&method, &headers))
}

async fn rename(
    State(service): State<Service>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Named>,
) -> ApiResult<Response> {
    service
        .change(&id, &headers, Change::Rename(name(&body.name)?))
        .await
}

async fn remove(
    State(service): State<Service>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    service.playlists.delete(&id, &expected(&headers)).await?;
    Ok(no_content())
}

async fn add_items(
    State(service): State<Service>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Added>,
) -> ApiResult<Response> {
    if !(1..=MAX_ADDED).contains(&body.track_ids.len()) {
        let message = format!("`track_ids` must hold 1 to {MAX_ADDED} ids");
        return Err(ApiError::bad_request(message));
    }
    let known = service.summaries.summaries(&body.track_ids).await?;
    if let Some(unknown) = body.track_ids.iter().find(|id| !known.contains_key(*id)) {
        let unknown: String = unknown.chars().take(64).collect();
        let message = format!("there is no track `{unknown}`; nothing was added");
        return Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "unknown_track",
            message,
        ));
    }
    service
        .change(
            &id,
            &headers,
            Change::Add {
                tracks: body.track_ids,
                at: body.at,
            },
        )
        .await
}

async fn remove_item(
    State(service): State<Service>,
    Path((id, item)): Path<(String, String)>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    service.change(&id, &headers, Change::Remove(item)).await
}

async fn reorder(
    State(service): State<Service>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Ordered>,
) -> ApiResult<Response> {
    service
        .change(&id, &headers, Change::Order(body.item_ids))
        .await
}

impl Service {
    async fn change(&self, id: &str, headers: &HeaderMap, change: Change) -> ApiResult<Response> {
        self.playlists
            .change(id, &expected(headers), &change)
            .await?;
        self.current(id).await
    }

    /// The playlist as it is now, whatever conditions the request had.
    async fn current(&self, id: &str) -> ApiResult<Response> {
        Ok(self
            .document(id)
            .await?
            .answer(&Method::GET, &HeaderMap::new()))
    }

    /// The validator starts with the version, which `If-Match` takes; the rest follows the tracks'
    /// descriptions.
    async fn document(&self, id: &str) -> ApiResult<Document> {
        let Playlist { head, items } = self.playlists.get(id).await?;
        let ids: Vec<String> = items.iter().map(|i| i.track_id.clone()).collect();
        let tracks: HashMap<String, Value> = self.summaries.summaries(&ids).await?;
        let items: Vec<Value> = items
            .into_iter()
            .map(|i| json!({ "item_id": i.id, "track_id": i.track_id, "track": tracks.get(&i.track_id) }))
            .collect();
        let Head {
            id, name, version, ..
        } = head;
        let hls = format!("/v1/playlists/{id}/index.m3u8");
        let dash = format!("/v1/playlists/{id}/manifest.mpd");
        let mut document = Document::json(&json!({
            "id": id, "name": name, "version": version, "items": items, "hls": hls, "dash": dash,
        }))?;
        let content = document.etag.as_str().trim_matches('"').to_owned();
        document.etag = ETag::new(&format!("{version}.{content}"));
        Ok(document)
    }
}

fn name(text: &str) -> ApiResult<String> {
    let name = text.trim();
    let sound =
        (1..=MAX_NAME_CHARS).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if sound {
        return Ok(name.to_owned());
    }
    let message = format!("`name` must have 1 to {MAX_NAME_CHARS} letters and no line breaks");
    Err(ApiError::bad_request(message))
}

/// Versions that `If-Match` admits; tags that are not ours admit none.
fn expected(headers: &HeaderMap) -> Expected {
    if !headers.contains_key(header::IF_MATCH) {
        return Expected::Any;
    }
    let lines = headers
        .get_all(header::IF_MATCH)
        .iter()
        .filter_map(|v| v.to_str().ok());
    let tags: Vec<&str> = lines.flat_map(|v| v.split(',')).map(str::trim).collect();
    if tags.contains(&"*") {
        return Expected::Any;
    }
    let version = |tag: &&str| {
        let text = tag.strip_prefix('"')?.strip_suffix('"')?;
        text.split_once('.')
            .map_or(text, |(version, _)| version)
            .parse()
            .ok()
    };
    Expected::OneOf(tags.iter().filter_map(version).collect())
}
