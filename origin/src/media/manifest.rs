//! Manifests of one track: HLS, DASH and the index, rendered once a revision.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::{HeaderMap, Method};
use manifests::{
    Addressing, CodecFilter, Layout, Revision, Track, TrackId, dash,
    hls::{self, Item},
};

use super::{Media, objects::find};
use crate::{
    error::{ApiError, ApiResult},
    extract::{Path, Query},
    params::{DASH, HLS, Params, no_codec},
    reply::Document,
};

/// For URLs that name a track but no revision: a minute old at most, while a cache asks in the
/// background, and a day where the origin is out of reach.
const CURRENT: &str = "public, max-age=60, stale-while-revalidate=600, stale-if-error=86400";

/// Which document a file name means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Multivariant,
    Media(String),
    Mpd,
    Index,
}

impl Kind {
    fn from_file_name(name: &str) -> Option<Self> {
        Some(match name {
            "index.m3u8" => Kind::Multivariant,
            "manifest.mpd" => Kind::Mpd,
            "track.json" => Kind::Index,
            other => Kind::Media(other.strip_suffix(".m3u8")?.to_owned()),
        })
    }
}

/// Names a rendered document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    track: TrackId,
    revision: Revision,
    edition: String,
    kind: Kind,
    addressing: Addressing,
    codecs: CodecFilter,
}

/// `GET /v1/tracks/{track}/{index.m3u8 | {rendition}.m3u8 | manifest.mpd | track.json}`
pub(super) async fn get(
    State(media): State<Arc<Media>>,
    Path((track, file)): Path<(String, String)>,
    Query(params): Query<Params>,
    method: Method,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let kind = Kind::from_file_name(&file).ok_or_else(|| {
        ApiError::not_found("a track has index.m3u8, {rendition}.m3u8, manifest.mpd and track.json")
    })?;
    let (addressing, codecs) = params.parse()?;
    let (track, edition) = media.tracks.latest_edition(&track).await?;
    let name = Name {
        edition,
        track: track.id.clone(),
        revision: track.revision.clone(),
        kind,
        addressing,
        codecs,
    };
    let document = match media.manifests.get(&name) {
        Some(document) => document,
        None => {
            let document = Arc::new(render(&track, &name)?);
            media.manifests.get_or_insert(&name, || document)
        }
    };
    Ok(document.answer(&method, &headers))
}

fn render(track: &Track, name: &Name) -> ApiResult<Document> {
    let layout = Layout::v1(name.addressing);
    let mut document = match &name.kind {
        Kind::Multivariant => {
            let text = hls::multivariant(&[track], name.codecs, &layout).ok_or_else(no_codec)?;
            Document::new(text, HLS, CURRENT)
        }
        Kind::Media(id) => {
            let item = Item {
                track,
                rendition: find(track, id)?,
            };
            Document::new(hls::media(&[item], &layout), HLS, CURRENT)
        }
        Kind::Mpd => {
            let text = dash::mpd(&[track], name.codecs, &layout).ok_or_else(no_codec)?;
            Document::new(text, DASH, CURRENT)
        }
        Kind::Index => {
            let json = track.to_json().map_err(ApiError::internal)?;
            Document::new(json, "application/json", CURRENT)
        }
    };
    document.surrogate_key = Some(format!("track/{}", track.id));
    Ok(document)
}
