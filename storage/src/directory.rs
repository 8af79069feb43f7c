//! Objects as files below a directory.
//!
//! A write goes to a temporary file below `.segue-tmp`, is synced, renamed into place, and the
//! directories that changed are synced: after a crash an object is there whole or not at all.
//!
//! The validator is made of inode, size and modification time, which every write sets itself, in
//! nanoseconds that never repeat within a process. Two contents of one key can't share all three
//! on a file system that keeps nanoseconds (ext4, XFS, Btrfs, ZFS, tmpfs, APFS).
//!
//! Unlike in S3, `a` and `a/b` can't both be objects, and a segment has at most 255 bytes.

mod list;

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    ops::Range,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream, stream::BoxStream};
use tempfile::NamedTempFile;

use crate::{Error, Key, Meta, Object, ObjectStore, Upload, clamp};

/// Holds what is being written. No object's key starts with it.
const TEMPORARY: &str = ".segue-tmp";
/// Temporary files older than this belong to nobody any more.
const TEMPORARY_AGE: Duration = Duration::from_secs(24 * 3600);
/// Bytes read or written in one trip to the blocking pool.
const CHUNK_BYTES: usize = 256 << 10;
/// Attempts to publish while directories are being removed under it.
const PUBLISH_ATTEMPTS: u32 = 16;

/// Objects as files below a directory.
#[derive(Clone, Debug)]
pub struct Directory {
    root: Arc<Path>,
}

impl Directory {
    /// Opens a directory, made if it isn't there, and removes temporary files of more than a day
    /// ago. Blocks shortly.
    ///
    /// # Errors
    /// [`Error::Config`] where it can't be made or written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let root = path.as_ref();
        let temporary = root.join(TEMPORARY);
        fs::create_dir_all(&temporary)
            .and_then(|()| fs::canonicalize(root))
            .and_then(|root| {
                // Proves that it can be written before anything relies on it.
                tempfile::tempfile_in(root.join(TEMPORARY))?;
                sweep(&root.join(TEMPORARY), SystemTime::now())?;
                Ok(Self { root: root.into() })
            })
            .map_err(|e| {
                let path = root.display();
                Error::Config(format!("storage directory {path} can't be used: {e}. Name one that this user may write."))
            })
    }

    /// The file of a key.
    fn path(&self, key: &Key) -> Result<PathBuf, Error> {
        if key.as_str().split('/').next() == Some(TEMPORARY) {
            return Err(Error::BadKey(key.to_string()));
        }
        Ok(self.root.join(key.as_str()))
    }

    /// A new temporary file. Others may read objects, as the process's umask allows.
    fn temporary(&self) -> io::Result<NamedTempFile> {
        tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o644))
            .tempfile_in(self.root.join(TEMPORARY))
    }

    /// Makes a written temporary file the object of a key.
    fn publish(&self, mut temporary: NamedTempFile, key: &Key, path: &Path) -> io::Result<Meta> {
        temporary.flush()?;
        temporary.as_file().set_modified(unique_now())?;
        temporary.as_file().sync_all()?;
        let meta = describe(key, &temporary.as_file().metadata()?)?;
        let parent = path.parent().unwrap_or(&self.root);
        for attempt in 1.. {
            create_directories(parent)?;
            match temporary.persist(path) {
                Ok(_) => break,
                // A removal took the empty parent away in between.
                Err(e) if e.error.kind() == ErrorKind::NotFound && attempt < PUBLISH_ATTEMPTS => {
                    temporary = e.file;
                }
                Err(e) => return Err(e.error),
            }
        }
        // All the way up, since another task may have just made a directory without syncing it yet.
        for directory in parent.ancestors().take_while(|d| d.starts_with(&self.root)) {
            sync_directory(directory)?;
        }
        Ok(meta)
    }

    /// Removes a file and the directories that it leaves empty.
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)?;
        let mut parent = path.parent();
        while let Some(directory) = parent.filter(|d| **d != *self.root) {
            parent = directory.parent();
            if fs::remove_dir(directory).is_err() {
                return sync_directory(directory).or_else(absent_is_fine);
            }
        }
        sync_directory(&self.root)
    }
}

#[async_trait]
impl ObjectStore for Directory {
    async fn put(&self, key: &Key, body: Bytes) -> Result<Meta, Error> {
        let path = self.path(key)?;
        let (this, of) = (self.clone(), key.clone());
        blocking("put", key, move || {
            let mut temporary = this.temporary()?;
            temporary.write_all(&body)?;
            this.publish(temporary, &of, &path)
        })
        .await
    }

    async fn upload(&self, key: &Key) -> Result<Box<dyn Upload>, Error> {
        let path = self.path(key)?;
        let this = self.clone();
        let temporary = blocking("upload", key, move || this.temporary()).await?;
        Ok(Box::new(Writing {
            directory: self.clone(),
            key: key.clone(),
            path,
            pending: BytesMut::new(),
            temporary: Some(temporary),
        }))
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, Error> {
        let path = self.path(key)?;
        let of = key.clone();
        let opened = blocking("get", key, move || {
            let mut file = File::open(&path)?;
            let meta = describe(&of, &file.metadata()?)?;
            let range = match clamp(range, &of, meta.size) {
                Ok(range) => range,
                Err(e) => return Ok(Err(e)),
            };
            file.seek(SeekFrom::Start(range.start))?;
            let mut reading = Reading {
                file,
                key: of,
                left: range.end - range.start,
            };
            // Most ranges end here, in one trip to the blocking pool.
            let first = reading.chunk()?;
            Ok(Ok((meta, range, first, reading)))
        });
        let (meta, range, first, reading) = opened.await??;
        let body = match first {
            None => stream::empty().boxed(),
            Some(first) => stream::once(async { Ok(first) })
                .chain(reading.stream())
                .boxed(),
        };
        Ok(Object { meta, range, body })
    }

    async fn head(&self, key: &Key) -> Result<Meta, Error> {
        let path = self.path(key)?;
        let of = key.clone();
        blocking("head", key, move || describe(&of, &fs::metadata(path)?)).await
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<Meta, Error>> {
        list::list(self.root.clone(), prefix)
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let path = self.path(key)?;
        let this = self.clone();
        match blocking("delete", key, move || this.remove(&path)).await {
            Err(Error::NotFound(_)) => Ok(()),
            other => other,
        }
    }
}

/// A file being read in order.
struct Reading {
    file: File,
    key: Key,
    left: u64,
}

impl Reading {
    /// The next bytes; `None` at the end.
    fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        let wanted = self.left.min(CHUNK_BYTES as u64);
        let mut chunk = Vec::with_capacity(wanted as usize);
        Read::by_ref(&mut self.file)
            .take(wanted)
            .read_to_end(&mut chunk)?;
        if (chunk.len() as u64) < wanted {
            return Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "the file was cut short while it was read",
            ));
        }
        self.left -= wanted;
        Ok(Some(chunk.into()))
    }

    fn stream(self) -> impl futures_util::Stream<Item = Result<Bytes, Error>> + Send {
        stream::try_unfold(self, |mut reading| async move {
            if reading.left == 0 {
                return Ok(None);
            }
            let key = reading.key.clone();
            blocking("get", &key, move || {
                let chunk = reading.chunk()?;
                Ok(chunk.map(|chunk| (chunk, reading)))
            })
            .await
        })
    }
}

/// An upload into a temporary file.
struct Writing {
    directory: Directory,
    key: Key,
    path: PathBuf,
    pending: BytesMut,
    /// Taken while the blocking pool writes; dropping it removes the file.
    temporary: Option<NamedTempFile>,
}

impl Writing {
    async fn flush(&mut self) -> Result<NamedTempFile, Error> {
        let pending = self.pending.split().freeze();
        self.append(pending).await
    }

    async fn append(&mut self, pending: Bytes) -> Result<NamedTempFile, Error> {
        let temporary = self.temporary.take();
        blocking("upload", &self.key, move || {
            let mut temporary = temporary.ok_or_else(|| {
                io::Error::other("the upload was given up after an earlier failure")
            })?;
            temporary.write_all(&pending)?;
            Ok(temporary)
        })
        .await
    }
}

#[async_trait]
impl Upload for Writing {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        // What is large goes as it is, without a copy.
        if bytes.len() >= CHUNK_BYTES {
            if !self.pending.is_empty() {
                self.temporary = Some(self.flush().await?);
            }
            self.temporary = Some(self.append(bytes).await?);
            return Ok(());
        }
        self.pending.extend_from_slice(&bytes);
        if self.pending.len() >= CHUNK_BYTES {
            self.temporary = Some(self.flush().await?);
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Meta, Error> {
        let temporary = self.flush().await?;
        let Self {
            directory,
            key,
            path,
            ..
        } = *self;
        let of = key.clone();
        blocking("upload", &key, move || {
            directory.publish(temporary, &of, &path)
        })
        .await
    }

    async fn abort(mut self: Box<Self>) -> Result<(), Error> {
        match self.temporary.take() {
            Some(temporary) => blocking("upload", &self.key, move || temporary.close()).await,
            None => Ok(()),
        }
    }
}

/// Runs file operations where they may block, and names what failed.
async fn blocking<T: Send + 'static>(
    what: &'static str,
    key: &Key,
    operation: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let outcome = tokio::task::spawn_blocking(operation).await;
    outcome
        .map_err(io::Error::other)
        .flatten()
        .map_err(|e| fault(what, key, e))
}

fn fault(what: &'static str, key: &Key, error: io::Error) -> Error {
    let reads = matches!(what, "get" | "head" | "delete");
    match error.kind() {
        // What is a directory, lies below an object or has too long a name is no object.
        ErrorKind::NotFound
        | ErrorKind::IsADirectory
        | ErrorKind::NotADirectory
        | ErrorKind::InvalidFilename
            if reads =>
        {
            Error::NotFound(key.clone())
        }
        _ => Error::Store {
            what,
            key: key.to_string(),
            source: error.into(),
        },
    }
}

fn describe(key: &Key, file: &fs::Metadata) -> io::Result<Meta> {
    if !file.is_file() {
        return Err(ErrorKind::NotFound.into());
    }
    let nanoseconds = i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec());
    Ok(Meta {
        key: key.clone(),
        size: file.len(),
        etag: format!("{:x}-{:x}-{nanoseconds:x}", file.ino(), file.len()),
        modified: file.modified()?,
    })
}

/// The present time, moved on by nanoseconds where needed so that no two calls share one.
fn unique_now() -> SystemTime {
    static LAST_NS: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let now = now.as_nanos() as u64;
    let last = LAST_NS.fetch_max(now, Ordering::Relaxed);
    let unique = if last < now {
        now
    } else {
        LAST_NS.fetch_add(1, Ordering::Relaxed) + 1
    };
    SystemTime::UNIX_EPOCH + Duration::from_nanos(unique)
}

/// Makes a directory and its parents.
fn create_directories(directory: &Path) -> io::Result<()> {
    match fs::create_dir_all(directory) {
        Err(e)
            if matches!(
                e.kind(),
                ErrorKind::AlreadyExists | ErrorKind::NotADirectory
            ) =>
        {
            // A removal may also have taken the directory away just as it was found: then
            // publishing tries again.
            let object = |path: &Path| fs::metadata(path).is_ok_and(|found| !found.is_dir());
            if !directory.ancestors().any(object) {
                return Ok(());
            }
            let what = "a part of the key's path is an object itself";
            Err(io::Error::new(ErrorKind::NotADirectory, what))
        }
        // A removal took a parent away: publishing tries again.
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    match File::open(directory) {
        Ok(directory) => directory.sync_all(),
        Err(e) => absent_is_fine(e),
    }
}

fn absent_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}

/// Removes temporary files that nobody has written for [`TEMPORARY_AGE`].
fn sweep(temporary: &Path, now: SystemTime) -> io::Result<()> {
    for entry in fs::read_dir(temporary)? {
        let entry = entry?;
        let written = entry.metadata().and_then(|m| m.modified());
        let age = written
            .ok()
            .and_then(|written| now.duration_since(written).ok());
        if age.is_some_and(|age| age > TEMPORARY_AGE) {
            fs::remove_file(entry.path()).or_else(absent_is_fine)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        collections::HashSet,
        fs::File,
        time::{Duration, SystemTime},
    };

    use super::{Directory, TEMPORARY, unique_now};

    #[test]
    fn stamps_never_repeat() {
        let stamps: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(|| (0..5000).map(|_| unique_now()).collect::<Vec<_>>()))
            .collect();
        let stamps: Vec<_> = stamps
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        assert_eq!(stamps.iter().collect::<HashSet<_>>().len(), stamps.len());
    }

    #[test]
    fn opening_removes_old_temporary_files_only() {
        let root = tempfile::tempdir().unwrap();
        Directory::open(root.path()).unwrap();
        let file = |name: &str, age_h: u64| {
            let path = root.path().join(TEMPORARY).join(name);
            let written = SystemTime::now() - Duration::from_secs(age_h * 3600);
            File::create(&path).unwrap().set_modified(written).unwrap();
            path
        };
        let (old, young) = (file("old", 25), file("young", 23));
        Directory::open(root.path()).unwrap();
        assert!(!old.exists());
        assert!(young.exists());
    }
}
