//! What people name as sources: files and folders here, URLs, and S3 prefixes.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use futures_util::TryStreamExt as _;
use tempfile::TempDir;

use crate::fetch::{self, FetchArgs};

/// Objects of one prefix that are taken, at most.
const MAX_OBJECTS: usize = 100_000;

/// Sources by what has to be done to get at them.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// Files and folders.
    pub(crate) paths: Vec<PathBuf>,
    /// URLs, and objects in S3; none is a prefix any more.
    pub(crate) remote: Vec<String>,
}

impl Sources {
    /// Sorts sources, and lists what lies below S3 prefixes.
    ///
    /// # Errors
    /// Where a path doesn't exist, or a prefix can't be listed.
    pub(crate) async fn of(named: Vec<PathBuf>) -> anyhow::Result<Self> {
        let mut sources = Self::default();
        for path in named {
            let Some(name) = path.to_str().filter(|name| fetch::is_remote(name)) else {
                let there = path.exists();
                anyhow::ensure!(there, "{}: no such file or folder", path.display());
                sources.paths.push(path);
                continue;
            };
            if name.starts_with("s3://") && !name.contains('#') {
                sources.remote.extend(below(name).await?);
            } else {
                sources.remote.push(name.to_owned());
            }
        }
        Ok(sources)
    }
}

/// Objects below a prefix that may be sound, each as `PREFIX#KEY`.
async fn below(prefix: &str) -> anyhow::Result<Vec<String>> {
    let store = storage::open(prefix)
        .await
        .with_context(|| format!("can't open {prefix}"))?;
    let mut objects = store.list("");
    let mut found = Vec::new();
    while let Some(object) = objects.try_next().await? {
        let key = object.key.as_str();
        if transcoder::may_be_audio(Path::new(key)) {
            anyhow::ensure!(
                found.len() < MAX_OBJECTS,
                "{prefix} has more than {MAX_OBJECTS} objects; name prefixes below it"
            );
            found.push(format!("{prefix}#{key}"));
        }
    }
    Ok(found)
}

/// A file that was fetched. It is removed with this.
#[derive(Debug)]
pub(crate) struct Fetched {
    dir: TempDir,
    /// The file.
    pub(crate) path: PathBuf,
}

impl Fetched {
    /// Fetches a source into a directory of its own below `scratch`.
    ///
    /// # Errors
    /// As [`FetchArgs::fetch`].
    pub(crate) async fn new(
        args: &FetchArgs,
        source: &str,
        scratch: &Path,
    ) -> Result<Self, fetch::Error> {
        let make = || {
            std::fs::create_dir_all(scratch)?;
            tempfile::Builder::new()
                .prefix("fetched-")
                .tempdir_in(scratch)
        };
        let dir = make().map_err(fetch::Error::Scratch)?;
        let path = args.fetch(source, dir.path()).await?;
        Ok(Self { dir, path })
    }

    /// Whether a path is that of the file.
    pub(crate) fn is(&self, path: &Path) -> bool {
        path.starts_with(self.dir.path())
    }
}
