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
        let permit = self.encoders.acquire().await;
        let _permit = permit.map_err(|_| Error::Cancelled)?;
        let (run, from, path) = (self.clone(), task.clone(), before.to_path_buf());
        let lead = blocking(move || {
            let config = &run.config;
            let sound = tempfile::tempfile_in(&config.work_dir).map_err(Error::Spool)?;
            let runs_on = config.isolation.lead(
                &path,
                &from.file.path,
                &sound,
                &config.limits,
                &|_, _| run.check(),
            )?;
            // Most seams are silent: whose sound it is is asked of the others alone.
            if !runs_on {
                return Ok(None);
            }
            let track = run.sound(&path)?.track();
            Ok(Some(Lead { track, sound }))
        })
        .await?;
        let Some(lead) = lead.filter(|lead| lead.track != shelf.place.track) else {
            return Ok(None);
        };
        // Nothing of a track that was taken down comes back in another.
        shelf.admits(&lead.track).await?;
        Ok(Some(lead))
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
