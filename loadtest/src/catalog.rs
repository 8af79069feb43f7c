//! What there is to play, as the public API tells.

use anyhow::{Context, bail, ensure};
use http::Method;
use serde::Deserialize;

use crate::client::{Ask, Link};

/// Most albums looked into.
const MAX_ALBUMS: usize = 200;

/// One rendition of one track.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Path, with the session's prefix.
    pub(crate) path: String,
    /// Size in bytes.
    pub(crate) size: u64,
    /// Bytes that hold init, index and the first segments.
    pub(crate) start: u64,
}

#[derive(Deserialize)]
struct Session {
    prefix: String,
}

#[derive(Deserialize)]
struct Albums {
    albums: Vec<AlbumRef>,
}

#[derive(Deserialize)]
struct AlbumRef {
    id: String,
}

#[derive(Deserialize)]
struct Album {
    tracks: Vec<Track>,
}

#[derive(Deserialize)]
struct Track {
    renditions: Vec<Rendition>,
}

#[derive(Deserialize)]
struct Rendition {
    id: String,
    url: String,
    bytes: u64,
    start_bytes: u64,
}

/// Reads the catalogue through a connection, with a listener's session where one is to be had.
pub(crate) async fn read(link: &Link, rendition: &str) -> anyhow::Result<Vec<Item>> {
    let ask = Ask {
        method: Method::POST,
        ..Ask::get("/api/v1/session")
    };
    // Without anonymous listening the caller brings a token, or media is open.
    let prefix = match link.fetch(&ask).await {
        Ok(got) => {
            serde_json::from_slice::<Session>(&got.body)
                .context("session")?
                .prefix
        }
        Err(_) => String::new(),
    };
    let albums: Albums = fetch(link, "/api/v1/albums").await?;
    let mut items = Vec::new();
    let mut seen = Vec::new();
    for album in albums.albums.iter().take(MAX_ALBUMS) {
        let album: Album = fetch(link, &format!("/api/v1/albums/{}", album.id)).await?;
        for track in album.tracks {
            for found in &track.renditions {
                if !seen.contains(&found.id) {
                    seen.push(found.id.clone());
                }
            }
            let found = track
                .renditions
                .into_iter()
                .find(|r| r.id == rendition && r.bytes > 0);
            items.extend(found.map(|r| Item {
                path: format!("{}{}", prefix.trim_end_matches('/'), r.url),
                size: r.bytes,
                start: r.start_bytes.clamp(1, r.bytes),
            }));
        }
    }
    ensure!(
        !seen.is_empty(),
        "the catalogue is empty: ingest something first"
    );
    if items.is_empty() {
        bail!(
            "no track has a rendition `{rendition}`; there are {}",
            seen.join(", ")
        );
    }
    Ok(items)
}

async fn fetch<T: serde::de::DeserializeOwned>(link: &Link, path: &str) -> anyhow::Result<T> {
    let got = link
        .fetch(&Ask::get(path))
        .await
        .with_context(|| format!("catalogue: {path}"))?;
    serde_json::from_slice(&got.body)
        .with_context(|| format!("catalogue: {path} answers with something else"))
}
