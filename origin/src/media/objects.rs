//! Rendition files, their segment view, and covers.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::{HeaderMap, Method};
use manifests::{ByteRange, Part, Rendition, Track};

use super::{Media, blob::Blob};
use crate::{
    conditional::ETag,
    error::{ApiError, ApiResult},
    extract::Path,
    tracks::object_key,
};

/// `GET /media/{track}/{revision}/{rendition}.mp4`
pub(super) async fn packed(
    State(media): State<Arc<Media>>,
    Path((track, revision, file)): Path<(String, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let id = file.strip_suffix(".mp4").ok_or_else(|| {
        ApiError::not_found(format!("`{file}` is no rendition; its name ends in `.mp4`"))
    })?;
    let track = media.tracks.revision(&track, &revision).await?;
    let rendition = find(&track, id)?;
    let whole = ByteRange {
        start: 0,
        len: rendition.bytes,
    };
    let blob = blob(&track, rendition, whole, "")?;
    blob.serve(media.tracks.store(), &method, &headers).await
}

/// `GET /media/{track}/{revision}/{rendition}/{init.mp4 | n.m4s}`
pub(super) async fn part(
    State(media): State<Arc<Media>>,
    Path((track, revision, id, name)): Path<(String, String, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let track = media.tracks.revision(&track, &revision).await?;
    let rendition = find(&track, &id)?;
    let window = Part::from_file_name(&name)
        .and_then(|p| rendition.part(p))
        .ok_or_else(|| {
            let last = rendition.segments.len();
            ApiError::not_found(format!("`{id}` has init.mp4 and 1.m4s to {last}.m4s"))
        })?;
    let blob = blob(&track, rendition, window, &name)?;
    blob.serve(media.tracks.store(), &method, &headers).await
}

/// `GET /api/v1/covers/{track}/{revision}/{name}`
pub(super) async fn cover(
    State(media): State<Arc<Media>>,
    Path((track, revision, name)): Path<(String, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> ApiResult<Response> {
    // Covers change with the tags: the index in force knows, unless it is another revision's.
    let mut track = media.tracks.latest(&track).await?;
    if track.revision.0 != revision {
        track = media.tracks.revision(&track.id.0, &revision).await?;
    }
    let cover = track.cover.as_ref().filter(|cover| cover.name == name);
    let cover = cover.ok_or_else(|| ApiError::not_found("this track has no such cover"))?;
    let blob = Blob {
        key: object_key(&track.id, &track.revision, &cover.name)?,
        object_bytes: cover.bytes,
        window: ByteRange {
            start: 0,
            len: cover.bytes,
        },
        etag: ETag::new(digest(&cover.sha256)),
        content_type: image_type(&cover.mime).to_owned(),
        surrogate_key: format!("track/{}", track.id),
    };
    blob.serve(media.tracks.store(), &method, &headers).await
}

fn blob(track: &Track, rendition: &Rendition, window: ByteRange, part: &str) -> ApiResult<Blob> {
    let digest = digest(&rendition.sha256);
    let etag = if part.is_empty() {
        ETag::new(digest)
    } else {
        ETag::new(&format!("{digest}.{part}"))
    };
    Ok(Blob {
        key: object_key(&track.id, &track.revision, &format!("{}.mp4", rendition.id))?,
        object_bytes: rendition.bytes,
        window,
        etag,
        content_type: "audio/mp4".to_owned(),
        surrogate_key: format!("track/{}", track.id),
    })
}

pub(super) fn find<'a>(track: &'a Track, id: &str) -> ApiResult<&'a Rendition> {
    track.rendition(id).ok_or_else(|| {
        let all: Vec<&str> = track.renditions.iter().map(|r| r.id.as_str()).collect();
        let why = track.omitted.iter().find(|o| o.id == id);
        let why = why.map_or(String::new(), |o| format!(" ({})", o.reason));
        let id: String = id.chars().take(64).collect();
        ApiError::not_found(format!(
            "no rendition `{id}`{why}; there are {}",
            all.join(", ")
        ))
    })
}

/// 128 bits of a hexadecimal digest: as many as tell any two objects apart.
fn digest(sha256: &str) -> &str {
    let hexadecimal = sha256.len() >= 32 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
    if hexadecimal { &sha256[..32] } else { "0" }
}

/// The media type of a cover as found in a file's tags, but never one that a browser would run.
fn image_type(mime: &str) -> &str {
    match mime {
        "image/jpeg" | "image/png" | "image/gif" | "image/webp" | "image/avif" => mime,
        _ => "application/octet-stream",
    }
}
