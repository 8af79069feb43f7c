//! Published tracks, read from `track.json` once and kept. What it says of sound never changes; where
//! it is replaced for other tags, it is another edition, which the catalogue tells.

use std::{fmt, sync::Arc};

use futures_util::TryStreamExt as _;
use http::StatusCode;
use manifests::{Revision, Track, TrackId};
use storage::{Key, ObjectStore};
use tokio::sync::OnceCell;

use crate::{
    cache::Cache,
    error::{ApiError, ApiResult},
    ports::{Current, Revisions},
};

/// Track indexes kept in memory: at most twice this many, around 20 KB each.
const HALF_CAPACITY: usize = 1_024;
/// No `track.json` is larger: one of a ten-hour recording has 3 MB.
const MAX_INDEX_BYTES: u64 = 16 << 20;

type Slot = Arc<OnceCell<Arc<Track>>>;

/// Reads tracks from the object store.
pub(crate) struct Tracks {
    store: Arc<dyn ObjectStore>,
    revisions: Arc<dyn Revisions>,
    cache: Cache<(TrackId, Revision, String), Slot>,
}

impl fmt::Debug for Tracks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracks")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl Tracks {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, revisions: Arc<dyn Revisions>) -> Self {
        Self {
            store,
            revisions,
            cache: Cache::new(HALF_CAPACITY),
        }
    }

    /// The store below.
    pub(crate) fn store(&self) -> &dyn ObjectStore {
        &*self.store
    }

    /// One revision of a track, for its sound: tags and cover may be out of date.
    pub(crate) async fn revision(&self, track: &str, revision: &str) -> ApiResult<Arc<Track>> {
        self.edition(track, revision, String::new()).await
    }

    /// One writing of a revision's index. Requests for one that is being read wait for that reading.
    async fn edition(&self, track: &str, revision: &str, edition: String) -> ApiResult<Arc<Track>> {
        let (track, revision) = (TrackId(track.into()), Revision(revision.into()));
        if !sound(&track.0) || !sound(&revision.0) {
            return Err(unknown(&track));
        }
        // Asked each time: what was taken down may still be in memory, here or in any cache below.
        if self.revisions.is_taken_down(&track).await? {
            return Err(gone(&track));
        }
        let key = (track, revision, edition);
        let slot = self.cache.get_or_insert(&key, Slot::default);
        match slot.get_or_try_init(|| self.read(&key.0, &key.1)).await {
            Ok(track) => Ok(Arc::clone(track)),
            Err(error) => {
                self.cache.remove(&key);
                Err(error)
            }
        }
    }

    /// The revision of a track to play now, with the tags in force.
    pub(crate) async fn latest(&self, track: &str) -> ApiResult<Arc<Track>> {
        Ok(self.latest_edition(track).await?.0)
    }

    /// The same, and which edition it is.
    pub(crate) async fn latest_edition(&self, track: &str) -> ApiResult<(Arc<Track>, String)> {
        let id = TrackId(track.into());
        if !sound(track) {
            return Err(unknown(&id));
        }
        let current = match self.revisions.current(&id).await? {
            Some(current) => current,
            None if self.revisions.is_taken_down(&id).await? => return Err(gone(&id)),
            None => self.newest_stored(&id).await?.ok_or_else(|| unknown(&id))?,
        };
        let Current { revision, edition } = current;
        let index = self.edition(track, &revision.0, edition.clone()).await?;
        Ok((index, edition))
    }

    async fn read(&self, track: &TrackId, revision: &Revision) -> ApiResult<Arc<Track>> {
        let key = object_key(track, revision, "track.json")?;
        let object = self
            .store
            .get(&key, Some(0..MAX_INDEX_BYTES))
            .await
            .map_err(|e| match e {
                storage::Error::NotFound(_) => unknown(track),
                other => ApiError::store(other),
            })?;
        let mut bytes = Vec::with_capacity(usize::try_from(object.range.end).unwrap_or(0));
        let mut body = object.body;
        while let Some(chunk) = body.try_next().await.map_err(ApiError::store)? {
            bytes.extend_from_slice(&chunk);
        }
        let index = Track::from_json(&bytes).map_err(|e| ApiError::store(format!("{key}: {e}")))?;
        if index.id != *track || index.revision != *revision {
            return Err(ApiError::store(format!(
                "{key} describes {}/{}",
                index.id, index.revision
            )));
        }
        Ok(Arc::new(index))
    }

    /// For tracks that are published but not catalogued here yet.
    async fn newest_stored(&self, track: &TrackId) -> ApiResult<Option<Current>> {
        let prefix = format!("tracks/{track}/");
        let mut newest = None;
        let mut objects = self.store.list(&prefix);
        while let Some(meta) = objects.try_next().await.map_err(ApiError::store)? {
            let name = meta.key.as_str().strip_prefix(&prefix);
            if let Some(revision) = name.and_then(|n| n.strip_suffix("/track.json")) {
                newest = newest.max(Some((meta.modified, revision.to_owned(), meta.etag)));
            }
        }
        Ok(newest.map(|(_, revision, edition)| Current {
            revision: Revision(revision),
            edition,
        }))
    }
}

/// The key of an object of a track.
///
/// # Errors
/// 404 where the names make no key.
pub(crate) fn object_key(track: &TrackId, revision: &Revision, name: &str) -> ApiResult<Key> {
    Key::new(format!("tracks/{track}/{revision}/{name}")).map_err(|_| unknown(track))
}

/// Whether a path segment can be an id at all, so that nothing else reaches the store.
pub(crate) fn sound(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn unknown(track: &TrackId) -> ApiError {
    let name: String = track.0.chars().take(64).collect();
    ApiError::not_found(format!(
        "there is no track `{name}` here; see /api/v1/albums for what is"
    ))
}

fn gone(track: &TrackId) -> ApiError {
    let message = format!("track `{track}` was taken down");
    ApiError::new(StatusCode::GONE, "taken_down", message)
}
