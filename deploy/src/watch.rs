//! A folder whose files go into the queue as they come.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use origin::jobs::Queue;
use tokio_util::sync::CancellationToken;
use transcoder::Isolation;

use crate::{enqueue, sources::Sources};

/// A file's state as far as a change shows in it.
type Stamp = (u64, SystemTime);

/// A folder under watch.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    interval: Duration,
    seen: HashMap<PathBuf, Stamp>,
    settled: HashMap<PathBuf, Stamp>,
}

impl Folder {
    /// Nothing of it has been seen.
    ///
    /// # Errors
    /// Where it is no folder.
    pub(crate) fn new(path: PathBuf, interval: Duration) -> anyhow::Result<Self> {
        anyhow::ensure!(path.is_dir(), "{}: no such folder to watch", path.display());
        Ok(Self {
            path: path.canonicalize()?,
            interval,
            seen: HashMap::new(),
            settled: HashMap::new(),
        })
    }

    /// Looks again and again. What can't be put into the queue now is tried at the next look.
    ///
    /// # Errors
    /// Where a look panicked.
    pub(crate) async fn run(
        mut self,
        queue: Arc<dyn Queue>,
        isolation: Isolation,
        cancel: CancellationToken,
    ) -> anyhow::Result<()> {
        tracing::info!(folder = %self.path.display(), "watching");
        while !cancel.is_cancelled() {
            let ready = self.look().await?;
            if !ready.is_empty() {
                let sources = Sources {
                    paths: ready.keys().cloned().collect(),
                    remote: Vec::new(),
                };
                match enqueue::sources(&*queue, sources, 0, isolation.clone()).await {
                    Ok(_) => self.settled.extend(ready),
                    Err(error) => tracing::warn!("not put into the queue: {error:#}"),
                }
            }
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(self.interval) => {}
            }
        }
        Ok(())
    }

    /// The files that are complete and were not put into the queue.
    async fn look(&mut self) -> anyhow::Result<HashMap<PathBuf, Stamp>> {
        let root = self.path.clone();
        let now = tokio::task::spawn_blocking(move || {
            let mut files = HashMap::new();
            walk(&root, &mut files);
            files
        })
        .await?;
        let ready = now
            .iter()
            .filter(|(path, stamp)| {
                self.seen.get(*path) == Some(stamp) && self.settled.get(*path) != Some(stamp)
            })
            .map(|(path, stamp)| (path.clone(), *stamp))
            .collect();
        self.settled.retain(|path, _| now.contains_key(path));
        self.seen = now;
        Ok(ready)
    }
}

/// Symbolic links are not followed: a loop would never end.
fn walk(dir: &Path, files: &mut HashMap<PathBuf, Stamp>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        tracing::warn!(folder = %dir.display(), "can't be read");
        return;
    };
    for entry in entries.flatten() {
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let (Ok(kind), Ok(meta)) = (entry.file_type(), entry.metadata()) else {
            continue;
        };
        if kind.is_dir() && !hidden {
            walk(&entry.path(), files);
        } else if kind.is_file() && !hidden {
            let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            files.insert(entry.path(), (meta.len(), modified));
        }
    }
}
