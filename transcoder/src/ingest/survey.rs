//! What an ingest would do, without doing it.

use std::path::PathBuf;

use super::{Config, blocking};
use crate::{
    Error,
    identity::SourceHash,
    publish::Shelf,
    walk::{self, File},
};

/// What an ingest of a file would meet.
#[derive(Debug)]
pub enum Standing {
    /// Its sound is not in the store, as this recipe would encode it.
    New,
    /// It is, as this track. A file of other bytes may bring other tags.
    Present(manifests::TrackId),
}

/// What an ingest would do with a file.
#[derive(Debug)]
pub struct Planned {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// What it would meet, or why it would fail, as far as that shows without decoding it.
    pub standing: Result<Standing, Error>,
}

/// Looks at files and folders as [`ingest`] would, and changes nothing.
///
/// # Errors
/// [`Error::Internal`] where the search panicked.
pub async fn survey(config: Config, inputs: Vec<PathBuf>) -> Result<Vec<Planned>, Error> {
    let found = blocking(move || Ok(walk::walk(&inputs))).await?;
    let mut plans: Vec<Planned> = found
        .unreadable
        .into_iter()
        .map(|(path, error)| Planned {
            path,
            bytes: 0,
            standing: Err(error),
        })
        .collect();
    for File { path, bytes } in found.files {
        let standing = standing(&config, path.clone()).await;
        plans.push(Planned {
            path,
            bytes,
            standing,
        });
    }
    Ok(plans)
}

async fn standing(config: &Config, path: PathBuf) -> Result<Standing, Error> {
    let isolation = config.isolation.clone();
    let (file, sound) = blocking(move || {
        let (file, _) = SourceHash::of(&path, |_| Ok(()))?;
        Ok((file, isolation.identify(&path, &|_, _| Ok(()))?.sound))
    })
    .await?;
    let sound = sound.unwrap_or(file);
    let place = sound.place(&config.recipe);
    let shelf = Shelf {
        store: config.storage.clone(),
        place,
    };
    shelf.admitted().await?;
    shelf.admits(&file.track()).await?;
    Ok(match shelf.standing(&sound, &config.recipe).await? {
        Some((_, track)) => Standing::Present(track.id),
        None => Standing::New,
    })
}
