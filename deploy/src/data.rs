//! The data directory of a stack on one machine: where it is, what lies in it, and the record of
//! the running process that `segue ingest` and `segue status` find it by.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// A stack's data directory.
///
/// Layout: `objects/` (the store, unless `--storage` names another), `origin/` (database and keys),
/// `edge/` (certificate, cache), `running.json` while a stack runs.
#[derive(Clone, Debug)]
pub(crate) struct DataDir(PathBuf);

/// Addresses of a running stack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Running {
    /// Process id.
    pub(crate) pid: u32,
    /// Base URL of the plaintext port.
    pub(crate) http: String,
    /// Base URL of the TLS and QUIC port.
    pub(crate) https: String,
    /// Base URL of the admin port.
    pub(crate) admin: String,
}

impl Running {
    /// The record of this process.
    pub(crate) fn here(http: SocketAddr, https: SocketAddr, admin: SocketAddr) -> Self {
        Self {
            pid: std::process::id(),
            http: format!("http://{http}"),
            https: format!("https://{https}"),
            admin: format!("http://{admin}"),
        }
    }
}

impl DataDir {
    /// The directory given, or the default: `$XDG_DATA_HOME/segue`, else `~/.local/share/segue`.
    ///
    /// # Errors
    /// Where it can't be created, or no home directory is known.
    pub(crate) fn open(given: Option<PathBuf>) -> anyhow::Result<Self> {
        let dir = match given {
            Some(dir) => dir,
            None => default_dir()?,
        };
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("can't create the data directory {}", dir.display()))?;
        let dir = dir
            .canonicalize()
            .with_context(|| format!("can't open the data directory {}", dir.display()))?;
        Ok(Self(dir))
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where the origin keeps its database and keys.
    pub(crate) fn origin(&self) -> PathBuf {
        self.0.join("origin")
    }

    /// The key that signs this stack's tokens; made when the origin first starts.
    pub(crate) fn signing_key(&self) -> PathBuf {
        self.origin().join("keys/signing.json")
    }

    /// Where the edge keeps its certificate, purge log and disk cache.
    pub(crate) fn edge(&self) -> PathBuf {
        self.0.join("edge")
    }

    /// Scratch space for encoding: same file system as the store where that is a directory.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.0.join("scratch")
    }

    /// The store's URL: `given`, or a directory below this one.
    pub(crate) fn storage_url(&self, given: Option<&str>) -> String {
        given.map_or_else(
            || self.0.join("objects").display().to_string(),
            str::to_owned,
        )
    }

    /// Records a running stack; the record goes when the guard is dropped.
    ///
    /// # Errors
    /// Where the file can't be written.
    pub(crate) fn record(&self, running: &Running) -> anyhow::Result<RecordGuard> {
        let path = self.0.join("running.json");
        write_whole(&path, &serde_json::to_vec_pretty(running)?)?;
        Ok(RecordGuard(path))
    }

    /// The stack that runs on this directory, if its process is alive.
    pub(crate) fn running(&self) -> Option<Running> {
        let text = std::fs::read(self.0.join("running.json")).ok()?;
        let running: Running = serde_json::from_slice(&text).ok()?;
        Path::new("/proc")
            .join(running.pid.to_string())
            .exists()
            .then_some(running)
    }
}

/// Removes the record of a running stack when dropped.
#[derive(Debug)]
pub(crate) struct RecordGuard(PathBuf);

impl Drop for RecordGuard {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Writes a small file so that readers see all of it or none.
///
/// # Errors
/// Where the file can't be written or renamed.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, bytes)
        .and_then(|()| std::fs::rename(&partial, path))
        .with_context(|| format!("can't write {}", path.display()))
}

fn default_dir() -> anyhow::Result<PathBuf> {
    let base = std::env::var_os("XDG_DATA_HOME")
        .filter(|v| !v.is_empty())
        .map(PathBuf::from)
        .or_else(|| {
            std::env::var_os("HOME")
                .filter(|v| !v.is_empty())
                .map(|home| PathBuf::from(home).join(".local/share"))
        })
        .context("no home directory is known; say --data DIR")?;
    Ok(base.join("segue"))
}
