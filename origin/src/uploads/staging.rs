//! What is uploaded, on disk: `uploads/{id}/` in the data directory has the file, under its own name
//! in `file/`, and beside it what is known of it. The file's length is the offset: a process that is
//! killed loses nothing that it has acknowledged.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

use super::Limits;
use crate::jobs::{self, Jobs, NewJob, Queue as _, State};

/// Uploads of one origin.
#[derive(Clone, Debug)]
pub(crate) struct Staging {
    dir: PathBuf,
    pub(super) limits: Limits,
    jobs: Jobs,
    /// Uploads that a request writes to.
    busy: Arc<Mutex<HashSet<String>>>,
}

/// What is known of an upload besides its bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Note {
    length: u64,
    name: String,
    /// The job that came of it, once it is complete.
    job: Option<String>,
}

/// An upload as it stands.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) expires: SystemTime,
    pub(super) job: Option<String>,
    pub(super) file: PathBuf,
}

/// Failures of staging.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("there is no such upload; it may have expired")]
    Unknown,
    #[error("a file may have {0} bytes at most")]
    TooLarge(u64),
    #[error("there is no room for a further upload; complete or end another")]
    Full,
    #[error("another request is writing to this upload")]
    Busy,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Jobs(#[from] jobs::Error),
}

/// The right to write to an upload, until it is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    id: String,
    busy: Arc<Mutex<HashSet<String>>>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.busy.lock().remove(&self.id);
    }
}

impl Staging {
    pub(crate) fn new(data: &Path, limits: Limits, jobs: Jobs) -> Self {
        Self {
            dir: data.join("uploads"),
            limits,
            jobs,
            busy: Arc::default(),
        }
    }

    /// Makes room for a file; its id.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Full`], [`Error::Io`].
    pub(super) async fn create(&self, length: u64, name: &str) -> Result<String, Error> {
        if length > self.limits.file {
            return Err(Error::TooLarge(self.limits.file));
        }
        self.sweep(SystemTime::now()).await?;
        let (mut unfinished, mut staged) = (0, length);
        for id in self.ids()? {
            let Ok(there) = self.standing(&id) else {
                continue;
            };
            unfinished += usize::from(there.offset < there.length);
            staged = staged.saturating_add(there.length);
        }
        if unfinished >= self.limits.unfinished || staged > self.limits.staged {
            return Err(Error::Full);
        }
        let id = hex::encode(rand::rng().random::<[u8; 16]>());
        let folder = self.dir.join(&id);
        fs::create_dir_all(folder.join("file"))?;
        fs::File::create(folder.join("file").join(name))?.sync_all()?;
        let note = Note {
            length,
            name: name.to_owned(),
            job: None,
        };
        self.note(&id, &note)?;
        Ok(id)
    }

    /// An upload. One whose last byte came before its job could be made gets it now.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Io`], [`Error::Jobs`].
    pub(super) async fn get(&self, id: &str) -> Result<Standing, Error> {
        let standing = self.standing(id)?;
        let expired = standing.expires <= SystemTime::now();
        if expired && standing.offset < standing.length {
            return Err(Error::Unknown);
        }
        match standing.offset == standing.length && standing.job.is_none() {
            true => self.complete(id, standing).await,
            false => Ok(standing),
        }
    }

    /// Takes an upload for writing.
    ///
    /// # Errors
    /// [`Error::Busy`].
    pub(super) fn claim(&self, id: &str) -> Result<Claim, Error> {
        match self.busy.lock().insert(id.to_owned()) {
            true => Ok(Claim {
                id: id.to_owned(),
                busy: Arc::clone(&self.busy),
            }),
            false => Err(Error::Busy),
        }
    }

    /// Ends an upload. A job that came of it fails where it has not read the file yet.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Io`].
    pub(super) fn remove(&self, id: &str) -> Result<(), Error> {
        if !sound(id) || !self.dir.join(id).is_dir() {
            return Err(Error::Unknown);
        }
        // Renamed first: half of an upload is none.
        let gone = self.dir.join(format!(".{id}"));
        fs::rename(self.dir.join(id), &gone)?;
        fs::remove_dir_all(gone)?;
        Ok(())
    }

    /// Removes what has expired, and files whose jobs are over.
    pub(crate) async fn sweep(&self, now: SystemTime) -> io::Result<()> {
        for id in self.ids()? {
            let over = match self.standing(&id) {
                Err(Error::Unknown) => true,
                Err(_) => false,
                Ok(there) => self.is_over(&there, now).await,
            };
            if over
                && !self.busy.lock().contains(&id)
                && let Err(error) = self.remove(&id)
            {
                tracing::warn!(id, %error, "an upload can't be removed");
            }
        }
        Ok(())
    }

    async fn is_over(&self, there: &Standing, now: SystemTime) -> bool {
        let expired = there.expires <= now;
        let Some(job) = &there.job else {
            return expired;
        };
        match self.jobs.get(job).await {
            Ok(job) => match job.state {
                State::Done | State::Cancelled => true,
                State::Dead => expired,
                State::Queued | State::Running => false,
            },
            Err(jobs::Error::NotFound(_)) => true,
            Err(_) => false,
        }
    }

    async fn complete(&self, id: &str, mut standing: Standing) -> Result<Standing, Error> {
        let job = NewJob {
            sources: vec![fs::canonicalize(&standing.file)?.display().to_string()],
            priority: 0,
            // However often it is tried, one is under way.
            key: Some(format!("upload {id}")),
        };
        let job = self.jobs.enqueue(job).await?;
        let mut note = self.read(id)?;
        note.job = Some(job.id.clone());
        self.note(id, &note)?;
        standing.job = Some(job.id);
        Ok(standing)
    }

    fn standing(&self, id: &str) -> Result<Standing, Error> {
        let Note { length, name, job } = self.read(id)?;
        let file = self.dir.join(id).join("file").join(name);
        let meta = fs::metadata(&file).map_err(unknown)?;
        Ok(Standing {
            offset: meta.len(),
            length,
            expires: meta.modified()? + self.limits.kept,
            job,
            file,
        })
    }

    fn read(&self, id: &str) -> Result<Note, Error> {
        if !sound(id) {
            return Err(Error::Unknown);
        }
        let json = fs::read(self.dir.join(id).join("upload.json")).map_err(unknown)?;
        serde_json::from_slice(&json).map_err(|_| Error::Unknown)
    }

    fn note(&self, id: &str, note: &Note) -> Result<(), Error> {
        let json = serde_json::to_vec(note).map_err(io::Error::other)?;
        let (draft, path) = (
            self.dir.join(id).join("upload.new"),
            self.dir.join(id).join("upload.json"),
        );
        fs::write(&draft, json)?;
        fs::File::open(&draft)?.sync_all()?;
        fs::rename(draft, path)?;
        fs::File::open(self.dir.join(id))?.sync_all()?;
        Ok(())
    }

    fn ids(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let names = entries.flatten().map(|e| e.file_name());
        Ok(names
            .filter_map(|name| name.into_string().ok())
            .filter(|name| sound(name))
            .collect())
    }
}

/// Whether it can be an id, so that nothing else reaches the file system.
fn sound(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())
}

fn unknown(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::Unknown,
        _ => Error::Io(error),
    }
}

/// How long between two sweeps.
pub(crate) const SWEEP: Duration = Duration::from_secs(60);
