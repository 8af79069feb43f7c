//! What a track's encoders hear before it: the end of the track before on the album, where the one
//! runs on into the other.

use std::{fs::File, path::Path, sync::Arc};

use manifests::TrackId;

use super::{Task, blocking, run::Run};
use crate::{Error, identity::SourceHash, publish::Shelf};

/// The end of the track before.
pub(super) struct Lead {
    pub(super) track: TrackId,
    /// A scratch file, as `preroll` writes it.
    pub(super) sound: File,
}

impl Run {
    /// The pre-roll of a track that is to be encoded. None where it begins by itself; nor where
    /// something is wrong with the track before, which is no fault of this one.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub(super) async fn lead(
        self: &Arc<Self>,
        task: &Task,
        shelf: &Shelf,
    ) -> Result<Option<Arc<Lead>>, Error> {
        let Some(before) = &task.before else {
            return Ok(None);
        };
        match self.lead_of(task, before, shelf).await {
            Ok(lead) => Ok(lead.map(Arc::new)),
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(error) => {
                let (before, path) = (before.display(), task.file.path.display());
                tracing::warn!(%before, %path, %error, "encoded without a pre-roll");
                Ok(None)
            }
        }
    }

    async fn lead_of(
        self: &Arc<Self>,
        task: &Task,
        before: &Path,
        shelf: &Shelf,
    ) -> Result<Option<Lead>, Error> {
        let (run, path) = (self.clone(), before.to_path_buf());
        let track = blocking(move || run.sound(&path)).await?.track();
        if track == shelf.place.track {
            return Ok(None);
        }
        // Nothing of a track that was taken down comes back in another.
        shelf.admits(&track).await?;
        let permit = self.encoders.acquire().await;
        let _permit = permit.map_err(|_| Error::Cancelled)?;
        let (run, task, before) = (self.clone(), task.clone(), before.to_path_buf());
        let sound = blocking(move || {
            let config = &run.config;
            let sound = tempfile::tempfile_in(&config.work_dir).map_err(Error::Spool)?;
            let runs_on = config.isolation.lead(
                &before,
                &task.file.path,
                &sound,
                &config.limits,
                &|_, _| run.check(),
            )?;
            Ok(runs_on.then_some(sound))
        })
        .await?;
        Ok(sound.map(|sound| Lead { track, sound }))
    }

    /// Whose sound a file has. Blocking.
    fn sound(&self, path: &Path) -> Result<SourceHash, Error> {
        let found = self.config.isolation.identify(path, &|_, _| self.check())?;
        match found.sound {
            Some(sound) => Ok(sound),
            None => SourceHash::of(path, |_| self.check()).map(|(file, _)| file),
        }
    }
}
