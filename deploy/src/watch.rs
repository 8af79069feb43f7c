//! A folder or an S3 prefix whose files go into the queue as they come.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use futures_util::TryStreamExt as _;
use origin::jobs::Queue;
use storage::ObjectStore;
use tokio_util::sync::CancellationToken;
use transcoder::Isolation;

use crate::{enqueue, sources::Sources};

/// A file's state as far as a change shows in it.
type Stamp = (u64, SystemTime);

/// Objects of a prefix under watch, at most: two stamps of each are in memory.
const MAX_OBJECTS: usize = 100_000;

/// Where files come.
#[derive(Clone, Debug)]
enum Place {
    Folder(PathBuf),
    /// As it was named, and what it names.
    Prefix(String, Arc<dyn ObjectStore>),
}

/// Something under watch.
#[derive(Debug)]
pub(crate) struct Watch {
    place: Place,
    interval: Duration,
    seen: HashMap<PathBuf, Stamp>,
    settled: HashMap<PathBuf, Stamp>,
}

impl Watch {
    /// A watch over a folder, or over `s3://bucket/prefix?…`. Nothing of it has been seen.
    ///
    /// # Errors
    /// Where it is no folder, or the store can't be opened.
    pub(crate) async fn new(named: PathBuf, interval: Duration) -> anyhow::Result<Self> {
        let place = match named.to_str().filter(|name| name.starts_with("s3://")) {
            Some(name) => {
                let store = storage::open(name).await;
                let store = store.with_context(|| format!("can't open {name}"))?;
                Place::Prefix(name.to_owned(), store)
            }
            None => {
                let there = named.is_dir();
                anyhow::ensure!(there, "{}: no such folder to watch", named.display());
                Place::Folder(named.canonicalize()?)
            }
        };
        Ok(Self {
            place,
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
        tracing::info!(place = ?self.place, "watching");
        while !cancel.is_cancelled() {
            let ready = self.look().await?;
            if !ready.is_empty() {
                let names = ready.keys().cloned();
                let sources = match self.place {
                    Place::Folder(_) => Sources {
                        paths: names.collect(),
                        remote: Vec::new(),
                    },
                    Place::Prefix(..) => Sources {
                        paths: Vec::new(),
                        remote: names.map(|name| name.display().to_string()).collect(),
                    },
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
        let now = match self.place.clone() {
            Place::Folder(root) => {
                tokio::task::spawn_blocking(move || {
                    let mut files = HashMap::new();
                    walk(&root, &mut files);
                    files
                })
                .await?
            }
            Place::Prefix(name, store) => match objects(&name, &*store).await {
                Ok(now) => now,
                Err(error) => {
                    // It may be there at the next look.
                    tracing::warn!("{name} can't be listed: {error:#}");
                    return Ok(HashMap::new());
                }
            },
        };
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

/// Objects below a prefix that may be sound, each as `PREFIX#KEY`.
async fn objects(prefix: &str, store: &dyn ObjectStore) -> anyhow::Result<HashMap<PathBuf, Stamp>> {
    let mut objects = store.list("");
    let mut found = HashMap::new();
    while let Some(object) = objects.try_next().await? {
        let key = object.key.as_str();
        if !transcoder::may_be_audio(Path::new(key)) {
            continue;
        }
        anyhow::ensure!(found.len() < MAX_OBJECTS, "more than {MAX_OBJECTS} objects");
        let stamp = (object.size, object.modified);
        found.insert(PathBuf::from(format!("{prefix}#{key}")), stamp);
    }
    Ok(found)
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
