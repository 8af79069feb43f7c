//! Collecting what ingests left behind that never got to their `track.json`.
//!
//! Objects of a revision without an index are visible to nobody. They are kept for a while, for the
//! ingest that still works on them or is about to go on with them, and then removed. Whoever of an
//! ingest and a collection comes second sees the other: an ingest looks for its renditions after it
//! has written the index (`transcoder::publish`), a collection for the index after it has removed
//! the renditions.

use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt as _;
use serde::Serialize;
use storage::{Key, Meta, ObjectStore};

use crate::{Error, Origin, jobs};

/// Name of the object that makes a revision exist.
const INDEX: &str = "track.json";

/// What a collection found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Revisions without an index that are old enough.
    pub revisions: u64,
    /// Their objects.
    pub objects: u64,
    /// And the bytes of those.
    pub bytes: u64,
    /// Revisions without an index that were left: younger, or perhaps of a job under way.
    pub left: u64,
}

/// How to collect.
#[derive(Clone, Copy, Debug)]
pub struct Collection {
    /// Revisions whose last object is younger are left.
    pub older_than: Duration,
    /// The time.
    pub now: SystemTime,
    /// Only look.
    pub dry_run: bool,
}

impl Origin {
    /// Removes objects of revisions that were never published.
    ///
    /// What was written after a job under way began is left, however old. Cancel-safe: a further
    /// run goes on from there.
    ///
    /// # Errors
    /// Where the store or the queue fails.
    pub async fn collect_orphans(&self, how: Collection) -> Result<Collected, Error> {
        let mut before = how
            .now
            .checked_sub(how.older_than)
            .unwrap_or(SystemTime::UNIX_EPOCH);
        if let Some(ms) = self.jobs().oldest_start_ms().await? {
            let began = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
            before = before.min(SystemTime::UNIX_EPOCH + began);
        }
        let mut sum = Collected::default();
        let mut objects = self.store.list("tracks/");
        let mut folder: Vec<Meta> = Vec::new();
        while let Some(object) = objects.try_next().await? {
            if folder
                .first()
                .is_some_and(|first| place(&first.key) != place(&object.key))
            {
                self.collect_folder(&folder, before, how, &mut sum).await?;
                folder.clear();
            }
            folder.push(object);
        }
        self.collect_folder(&folder, before, how, &mut sum).await?;
        Ok(sum)
    }

    /// The same of one revision's objects.
    async fn collect_folder(
        &self,
        folder: &[Meta],
        before: SystemTime,
        how: Collection,
        sum: &mut Collected,
    ) -> Result<(), Error> {
        let Some(of) = folder.first().and_then(|first| place(&first.key)) else {
            return Ok(());
        };
        let index = Key::new(format!("tracks/{of}/{INDEX}"))?;
        if folder.iter().any(|object| object.key == index) {
            return Ok(());
        }
        if folder.iter().any(|object| object.modified >= before) {
            sum.left += 1;
            return Ok(());
        }
        sum.revisions += 1;
        sum.objects += folder.len() as u64;
        sum.bytes += folder.iter().map(|object| object.size).sum::<u64>();
        if how.dry_run {
            return Ok(());
        }
        if exists(&*self.store, &index).await? {
            return Ok(());
        }
        for object in folder {
            self.store.delete(&object.key).await?;
        }
        // Published in between: the ingest finds out as well.
        if exists(&*self.store, &index).await? {
            tracing::warn!(
                revision = of,
                "was published while it was collected; removed"
            );
            self.store.delete(&index).await?;
        }
        Ok(())
    }
}

/// `{track}/{revision}` of an object of a track.
fn place(key: &Key) -> Option<&str> {
    let below = key.as_str().strip_prefix("tracks/")?;
    let (place, name) = below.rsplit_once('/')?;
    (place.matches('/').count() == 1 && !name.is_empty()).then_some(place)
}

async fn exists(store: &dyn ObjectStore, key: &Key) -> Result<bool, storage::Error> {
    match store.head(key).await {
        Ok(_) => Ok(true),
        Err(storage::Error::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

impl From<jobs::Error> for Error {
    fn from(error: jobs::Error) -> Error {
        Error::Database {
            name: "jobs.db",
            source: Box::new(error),
        }
    }
}
