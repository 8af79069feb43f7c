//! Puts a track's objects into the store: renditions and cover first, `track.json` last.
//!
//! Until `track.json` is there nothing refers to the others, so an ingest that dies half-way
//! leaves nothing visible, and a re-run writes the same bytes over the same keys. `track.json` alone
//! is ever replaced, whole: by a file of the same sound with other tags.

use std::{
    fs::File,
    io::{ErrorKind, Read, Seek, SeekFrom},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use manifests::{Cover, Rendition, Revision, SCHEMA, Takedown, Track, TrackId};
use sha2::{Digest, Sha256};
use storage::ObjectStore;
use tokio::task::{JoinSet, spawn_blocking};

use crate::{
    Error, Recipe,
    identity::{Place, SourceHash},
    job::Encoded,
    tags::CoverArt,
};

/// Bytes read from a spool at a time.
const CHUNK: usize = 1 << 20;

/// A larger `track.json` than this is not ours (a day of sound has 180,000 segments).
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// Name of the object that makes a revision exist.
const INDEX: &str = "track.json";

/// What follows a rendition's id in the name of the note that it is complete.
const NOTE: &str = ".part.json";

/// The store as one track sees it.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) place: Place,
}

impl Shelf {
    /// The track, if this revision of it was published. A broken index counts as none: publishing
    /// again mends it.
    pub(crate) async fn published(&self) -> Result<Option<Track>, Error> {
        let key = self.place.key(INDEX)?;
        let object = match self.store.get(&key, None).await {
            Ok(object) => object,
            Err(storage::Error::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if object.meta.size > MAX_INDEX_BYTES {
            let reason = format!("it has {} bytes", object.meta.size);
            return Err(Error::Index {
                key: key.to_string(),
                reason,
            });
        }
        let parts: Vec<Bytes> = object.body.try_collect().await?;
        match serde_json::from_slice::<Track>(&parts.concat()) {
            Ok(track) if track.schema > SCHEMA => {
                let reason = format!("its schema {} is newer than {SCHEMA}", track.schema);
                Err(Error::Index {
                    key: key.to_string(),
                    reason,
                })
            }
            Ok(track) => Ok(Some(track)),
            Err(error) => {
                tracing::warn!(%key, %error, "stored index is broken, publishing again");
                Ok(None)
            }
        }
    }

    /// The track as it was published before with this recipe, and its shelf: the revision without a
    /// pre-roll, which this shelf is for, or one with whatever pre-roll it got then. What is published
    /// stays, whether or not the track before is known now.
    pub(crate) async fn standing(
        &self,
        sound: &SourceHash,
        recipe: &Recipe,
    ) -> Result<Option<(Shelf, Track)>, Error> {
        if let Some(track) = self.published().await? {
            return Ok(Some((self.clone(), track)));
        }
        let folder = format!("tracks/{}/", self.place.track);
        let objects: Vec<storage::Meta> = self.store.list(&folder).try_collect().await?;
        for object in objects {
            let within = object.key.as_str().strip_prefix(&folder);
            let Some((revision, INDEX)) = within.and_then(|rest| rest.split_once('/')) else {
                continue;
            };
            let mut shelf = self.clone();
            shelf.place.revision = Revision(revision.to_owned());
            // What another version wrote of another recipe is nobody's concern here.
            let Ok(Some(track)) = shelf.published().await else {
                continue;
            };
            let preroll = track.preroll.as_ref();
            let named = preroll.map(|preroll| sound.revision_after(recipe, &preroll.track));
            if named.as_ref() == Some(&shelf.place.revision) {
                return Ok(Some((shelf, track)));
            }
        }
        Ok(None)
    }

    /// The renditions that an earlier ingest has noted as complete, and that are so.
    ///
    /// # Errors
    /// [`Error::Store`]. A note that can't be understood counts as none.
    pub(crate) async fn noted(&self) -> Result<Vec<Rendition>, Error> {
        let folder = format!("tracks/{}/{}/", self.place.track, self.place.revision);
        let objects: Vec<storage::Meta> = self.store.list(&folder).try_collect().await?;
        let mut noted = Vec::new();
        for note in objects.iter().filter(|o| o.key.as_str().ends_with(NOTE)) {
            let object = self.store.get(&note.key, None).await?;
            if object.meta.size > MAX_INDEX_BYTES {
                continue;
            }
            let parts: Vec<Bytes> = object.body.try_collect().await?;
            let Ok(rendition) = serde_json::from_slice::<Rendition>(&parts.concat()) else {
                continue;
            };
            let key = self.place.key(&format!("{}.mp4", rendition.id))?;
            if objects
                .iter()
                .any(|o| o.key == key && o.size == rendition.bytes)
            {
                noted.push(rendition);
            }
        }
        Ok(noted)
    }

    /// Notes a complete rendition, for an ingest that goes on where this one was stopped.
    pub(crate) async fn note(&self, rendition: &Rendition) -> Result<(), Error> {
        let json = serde_json::to_vec(rendition).map_err(|e| Error::Internal(e.to_string()))?;
        let key = self.place.key(&format!("{}{NOTE}", rendition.id))?;
        self.store.put(&key, json.into()).await?;
        Ok(())
    }

    /// Removes the notes of a track that is published.
    pub(crate) async fn forget(&self, renditions: &[Rendition]) -> Result<(), Error> {
        for rendition in renditions {
            let key = self.place.key(&format!("{}{NOTE}", rendition.id))?;
            self.store.delete(&key).await?;
        }
        Ok(())
    }

    /// Uploads all renditions at once and returns them in order, described.
    pub(crate) async fn renditions(&self, encoded: Vec<Encoded>) -> Result<Vec<Rendition>, Error> {
        let mut uploads = JoinSet::new();
        for (n, encoded) in encoded.into_iter().enumerate() {
            let shelf = self.clone();
            uploads.spawn(async move { Ok::<_, Error>((n, shelf.rendition(encoded).await?)) });
        }
        let mut done = Vec::new();
        while let Some(upload) = uploads.join_next().await {
            done.push(upload.map_err(|e| Error::Internal(e.to_string()))??);
        }
        done.sort_by_key(|(n, _)| *n);
        Ok(done.into_iter().map(|(_, rendition)| rendition).collect())
    }

    async fn rendition(&self, encoded: Encoded) -> Result<Rendition, Error> {
        let Encoded {
            mut rendition,
            head,
            mut spool,
            ..
        } = encoded;
        let key = self.place.key(&format!("{}.mp4", rendition.id))?;
        let mut upload = self.store.upload(&key).await?;
        let mut hash = Sha256::new_with_prefix(&head);
        upload.write(head.into()).await?;
        spool.seek(SeekFrom::Start(0)).map_err(Error::Spool)?;
        let mut buffer = BytesMut::new();
        loop {
            let (read, rest, used) = spawn_blocking(move || read_chunk(spool, hash, buffer))
                .await
                .map_err(|e| Error::Internal(e.to_string()))?;
            (spool, hash) = (rest, used);
            let chunk = read.map_err(Error::Spool)?;
            if chunk.is_empty() {
                break;
            }
            upload.write(chunk.clone()).await?;
            // One buffer for all chunks where the store has let go of it: threads that each allocate
            // what another frees keep as much memory as the whole rendition has.
            buffer = chunk.try_into_mut().unwrap_or_default();
        }
        let meta = upload.finish().await?;
        if meta.size != rendition.bytes {
            let what = format!(
                "{key} has {} bytes in the store, not {}",
                meta.size, rendition.bytes
            );
            return Err(Error::Internal(what));
        }
        rendition.sha256 = hex::encode(hash.finalize());
        Ok(rendition)
    }

    /// A cover as the index names it: after its bytes, since another may take its place.
    pub(crate) fn describe_cover(art: &CoverArt) -> Cover {
        let sha256 = hex::encode(Sha256::digest(&art.bytes));
        Cover {
            name: format!("cover-{}.{}", &sha256[..12], art.extension()),
            mime: art.mime.to_owned(),
            bytes: art.bytes.len() as u64,
            sha256,
        }
    }

    /// Stores the cover.
    pub(crate) async fn cover(&self, art: CoverArt) -> Result<Cover, Error> {
        let cover = Shelf::describe_cover(&art);
        self.store
            .put(&self.place.key(&cover.name)?, art.bytes.into())
            .await?;
        Ok(cover)
    }

    /// Removes a cover that no index names any more.
    pub(crate) async fn uncover(&self, cover: &Cover) -> Result<(), Error> {
        self.store.delete(&self.place.key(&cover.name)?).await?;
        Ok(())
    }

    /// Makes the track exist, or gives it another description, unless it was taken down meanwhile.
    ///
    /// # Errors
    /// [`Error::TakenDown`]: nothing is left of it.
    pub(crate) async fn index(&self, track: &Track) -> Result<(), Error> {
        let json = serde_json::to_vec(track).map_err(|e| Error::Internal(e.to_string()))?;
        self.store.put(&self.place.key(INDEX)?, json.into()).await?;
        // A takedown writes its notice and then removes what it finds: whichever of the two comes
        // second sees what the other has written.
        let admitted = self.admitted().await;
        if matches!(admitted, Err(Error::TakenDown { .. })) {
            self.clear().await?;
        }
        admitted
    }

    /// Whether the renditions of a published track are still there: they may have been taken for
    /// left behind where they waited for long.
    ///
    /// # Errors
    /// [`Error::Internal`]: they are gone, and so is the track.
    pub(crate) async fn confirm(&self, track: &Track) -> Result<(), Error> {
        for rendition in &track.renditions {
            let key = self.place.key(&format!("{}.mp4", rendition.id))?;
            match self.store.head(&key).await {
                Ok(_) => {}
                Err(storage::Error::NotFound(_)) => {
                    self.clear().await?;
                    let what = format!("{key} was collected before it was published");
                    return Err(Error::Internal(what));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Whether the track may be published.
    ///
    /// # Errors
    /// [`Error::TakenDown`]; also where the notice can't be read.
    pub(crate) async fn admitted(&self) -> Result<(), Error> {
        self.admits(&self.place.track).await
    }

    /// Whether a track of that name may be published.
    ///
    /// # Errors
    /// As [`Shelf::admitted`].
    pub(crate) async fn admits(&self, track: &TrackId) -> Result<(), Error> {
        let track = track.clone();
        let key = storage::Key::new(Takedown::key(&track))?;
        let notice = match self.store.get(&key, None).await {
            Ok(notice) => notice,
            Err(storage::Error::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let parts: Vec<Bytes> = notice.body.try_collect().await?;
        let reason = match Takedown::from_json(&parts.concat()) {
            Ok(notice) => notice.reason,
            Err(error) => format!("{key}: {error}"),
        };
        Err(Error::TakenDown { track, reason })
    }

    /// Removes what was stored of the revision, its index first.
    async fn clear(&self) -> Result<(), Error> {
        self.store.delete(&self.place.key(INDEX)?).await?;
        let folder = format!("tracks/{}/{}/", self.place.track, self.place.revision);
        let objects: Vec<_> = self.store.list(&folder).try_collect().await?;
        for object in objects {
            self.store.delete(&object.key).await?;
        }
        Ok(())
    }
}

/// Reads and hashes up to [`CHUNK`] bytes; empty at the end.
fn read_chunk(
    mut spool: File,
    mut hash: Sha256,
    mut chunk: BytesMut,
) -> (std::io::Result<Bytes>, File, Sha256) {
    chunk.clear();
    chunk.resize(CHUNK, 0);
    let mut filled = 0;
    let read = loop {
        match spool.read(&mut chunk[filled..]) {
            Ok(0) => break Ok(()),
            Ok(n) => filled += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    chunk.truncate(filled);
    hash.update(&chunk);
    (read.map(|()| chunk.freeze()), spool, hash)
}
