//! Taking a track down: out of the catalogue, out of the store, and not in again.
//!
//! The notice is written first. From then on no ingest publishes the track and no origin that knows
//! of it serves it; whatever stops half-way after that, the next run completes it.

use futures_util::TryStreamExt as _;
use manifests::{Revision, Takedown, TrackId};
use storage::{Key, Meta};

use crate::{Origin, catalog, tracks::sound};

/// What to take down, and what the record says of it.
#[derive(Clone, Debug)]
pub struct Order {
    /// The track.
    pub track: TrackId,
    /// Why.
    pub reason: String,
    /// Who says so.
    pub by: String,
    /// The time, as RFC 3339 in UTC.
    pub at: String,
}

/// What was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The notice in force: that of the first run.
    pub notice: Takedown,
    /// Objects that this run has removed.
    pub objects: u64,
    /// Bytes of those.
    pub bytes: u64,
}

/// Failures of a takedown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such track, in the store or in the catalogue.
    #[error("there is no track {0}; `segue ingest` and /api/v1/albums tell ids")]
    Unknown(TrackId),
    /// The track's name makes no key.
    #[error("`{0}` is no track's id; those have t and 20 letters or digits")]
    NoId(String),
    /// A notice can't be read or written.
    #[error("the notice: {0}")]
    Notice(#[from] manifests::JsonError),
    /// The object store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// The catalogue failed.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
}

impl Origin {
    /// Takes a track down. When it returns, nothing of the track is served or can be published on
    /// this store; caches in front have to be purged by the caller. Doing it again removes what a
    /// run that was cut short has left.
    ///
    /// # Errors
    /// [`Error`]; after any but [`Error::Unknown`] and [`Error::NoId`], run it again.
    pub async fn take_down(&self, order: Order) -> Result<Removed, Error> {
        let track = order.track.clone();
        let folder = folder(&track)?;
        let objects: Vec<Meta> = self.store.list(&folder).try_collect().await?;
        let known = self
            .catalog
            .knows(&track)
            .await
            .map_err(catalog::Error::from)?;
        let notice = match self.notice(&track).await? {
            Some(notice) => notice,
            None if objects.is_empty() && !known => return Err(Error::Unknown(track)),
            None => self.give_notice(order, &folder, &objects).await?,
        };
        self.catalog.take_down(&track).await?;
        let (objects, bytes) = self.remove(&folder).await?;
        Ok(Removed {
            notice,
            objects,
            bytes,
        })
    }

    /// Lets a track in again: it is back once its file is ingested. False where it wasn't taken
    /// down.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn lift(&self, track: &TrackId) -> Result<bool, Error> {
        folder(track)?;
        let was = self.notice(track).await?.is_some();
        self.store.delete(&Key::new(Takedown::key(track))?).await?;
        self.catalog.lift(track).await?;
        Ok(was)
    }

    /// Keeps a record, a JSON document, of what was done about a track at an instant.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn record(&self, track: &TrackId, at: &str, json: Vec<u8>) -> Result<(), Error> {
        let key = Key::new(Takedown::record_key(track, at))?;
        self.store.put(&key, json.into()).await?;
        Ok(())
    }

    async fn notice(&self, track: &TrackId) -> Result<Option<Takedown>, Error> {
        let key = Key::new(Takedown::key(track))?;
        let object = match self.store.get(&key, None).await {
            Ok(object) => object,
            Err(storage::Error::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let parts: Vec<bytes::Bytes> = object.body.try_collect().await?;
        Ok(Some(Takedown::from_json(&parts.concat())?))
    }

    async fn give_notice(
        &self,
        order: Order,
        folder: &str,
        objects: &[Meta],
    ) -> Result<Takedown, Error> {
        let Order {
            track,
            reason,
            by,
            at,
        } = order;
        let mut notice = Takedown::new(track, reason, by, at);
        notice.name = self
            .catalog
            .name(&notice.track)
            .await
            .map_err(catalog::Error::from)?;
        notice.revisions = revisions(folder, objects);
        let key = Key::new(Takedown::key(&notice.track))?;
        self.store.put(&key, notice.to_json()?.into()).await?;
        Ok(notice)
    }

    /// Removes a track's objects: the indexes first, so that none refers to what is gone.
    async fn remove(&self, folder: &str) -> Result<(u64, u64), Error> {
        let mut objects: Vec<Meta> = self.store.list(folder).try_collect().await?;
        objects.sort_by_key(|object| !object.key.as_str().ends_with("/track.json"));
        let mut sum = (0, 0);
        for object in objects {
            self.store.delete(&object.key).await?;
            sum = (sum.0 + 1, sum.1 + object.size);
        }
        Ok(sum)
    }
}

/// Where a track's objects lie.
fn folder(track: &TrackId) -> Result<String, Error> {
    if !sound(&track.0) {
        return Err(Error::NoId(track.0.clone()));
    }
    Ok(format!("tracks/{track}/"))
}

/// The revisions that objects belong to.
fn revisions(folder: &str, objects: &[Meta]) -> Vec<Revision> {
    let mut names: Vec<&str> = objects
        .iter()
        .filter_map(|object| object.key.as_str().strip_prefix(folder)?.split('/').next())
        .collect();
    names.dedup();
    names
        .into_iter()
        .map(|name| Revision(name.to_owned()))
        .collect()
}
