//! Making the catalogue agree with the object store.

use futures_util::TryStreamExt as _;
use manifests::{Takedown, Track};
use storage::{Key, Meta, ObjectStore};

use super::{Catalog, Error};

/// What a reconciliation found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Published revisions in the store.
    pub found: u64,
    /// Of those, the ones that the catalogue lacked and has now.
    pub registered: u64,
    /// Of those, the ones whose index can't be read; each is logged.
    pub failed: u64,
}

impl Catalog {
    /// Enters every published revision that was never entered, or whose index was replaced since,
    /// for instance because an ingest stopped between publishing and registering. Of a track's revisions the last published is
    /// current.
    ///
    /// Cancel-safe; a second run goes on from there.
    ///
    /// # Errors
    /// Where the store can't be listed or the database fails. A single bad object is counted.
    pub async fn reconcile(&self, store: &dyn ObjectStore) -> Result<Reconciled, Error> {
        let mut sum = Reconciled::default();
        self.heed(store).await?;
        let mut objects = store.list("tracks/");
        while let Some(meta) = objects.try_next().await? {
            let Some((track, revision)) = published(&meta.key) else {
                continue;
            };
            sum.found += 1;
            if self.has(track, revision, meta.modified).await? {
                continue;
            }
            match adopt(self, store, &meta).await {
                Ok(()) => sum.registered += 1,
                Err(Error::TakenDown(_)) => {}
                Err(Error::Database(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(key = %meta.key, %error, "published track can't be registered");
                    sum.failed += 1;
                }
            }
        }
        Ok(sum)
    }

    /// Takes out what another origin on the same store has taken down.
    async fn heed(&self, store: &dyn ObjectStore) -> Result<(), Error> {
        let mut notices = store.list(Takedown::PREFIX);
        while let Some(meta) = notices.try_next().await? {
            if let Some(track) = Takedown::of_key(meta.key.as_str())
                && !self.taken_down(&track).await?
            {
                self.take_down(&track).await?;
            }
        }
        Ok(())
    }
}

/// Track and revision, where the key is that of a `track.json`.
fn published(key: &Key) -> Option<(&str, &str)> {
    let ids = key
        .as_str()
        .strip_prefix("tracks/")?
        .strip_suffix("/track.json")?;
    ids.split_once('/')
        .filter(|(_, revision)| !revision.contains('/'))
}

/// Enters one published revision.
pub(super) async fn adopt_revision(
    catalog: &Catalog,
    store: &dyn ObjectStore,
    track: &str,
    revision: &str,
) -> Result<(), Error> {
    let key = Key::new(format!("tracks/{track}/{revision}/track.json"))?;
    let meta = store.head(&key).await?;
    adopt(catalog, store, &meta).await
}

async fn adopt(catalog: &Catalog, store: &dyn ObjectStore, meta: &Meta) -> Result<(), Error> {
    let object = store.get(&meta.key, None).await?;
    let bytes: Vec<u8> = object
        .body
        .try_fold(Vec::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk);
            Ok(all)
        })
        .await?;
    catalog
        .enter(&Track::from_json(&bytes)?, meta.modified, false)
        .await
}
