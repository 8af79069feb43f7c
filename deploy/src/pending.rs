//! Takedowns that the edge of a stack that was not running has still to purge.

use std::{
    fs::File,
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Context as _;
use edge::{exchange::PurgeMode, serve::Edge};
use manifests::TrackId;

use crate::{data::DataDir, purge::of_track};

/// The list, in the data directory: an id a line.
#[derive(Debug)]
pub(crate) struct Pending(PathBuf);

impl Pending {
    /// The list of a data directory.
    pub(crate) fn of(data: &DataDir) -> Self {
        Self(data.path().join("takedowns.pending"))
    }

    /// Notes a track; durable when it returns.
    ///
    /// # Errors
    /// Where the file can't be written.
    pub(crate) fn add(&self, track: &TrackId) -> anyhow::Result<()> {
        let append = || -> io::Result<()> {
            let mut file = File::options().create(true).append(true).open(&self.0)?;
            file.write_all(format!("{track}\n").as_bytes())?;
            file.sync_all()?;
            self.0
                .parent()
                .map_or(Ok(()), |dir| File::open(dir)?.sync_all())
        };
        append().with_context(|| format!("can't write {}", self.0.display()))
    }

    /// Purges what is noted from an edge that has not begun to serve, and forgets it.
    ///
    /// # Errors
    /// Where the list can't be read or the purge can't be made durable. Nothing may be served then.
    pub(crate) async fn purge(&self, edge: &Edge) -> anyhow::Result<()> {
        let text = match std::fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e).with_context(|| format!("can't read {}", self.0.display())),
        };
        let mut tracks: Vec<&str> = text.lines().collect();
        tracks.sort_unstable();
        tracks.dedup();
        for track in &tracks {
            for what in of_track(&TrackId((*track).to_owned())) {
                edge.purge(what, PurgeMode::Hard).await?;
            }
        }
        tracing::info!(
            tracks = tracks.len(),
            "purged what was taken down meanwhile"
        );
        std::fs::remove_file(&self.0).with_context(|| format!("can't remove {}", self.0.display()))
    }
}
