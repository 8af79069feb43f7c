//! Listing in key order with bounded memory.
//!
//! A directory's entries come unsorted, so each page picks the smallest names that are larger
//! than the last one listed: memory is one page a level, and a directory of n entries is read
//! n / page times.

use std::{
    collections::{BinaryHeap, VecDeque},
    fs,
    io::{self, ErrorKind},
    path::Path,
    sync::Arc,
};

use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};

use super::{TEMPORARY, describe};
use crate::{Error, Key, Meta, can_start_keys};

/// Names kept of one directory at a time.
const PAGE: usize = 4096;
/// Objects described in one trip to the blocking pool.
const BATCH: usize = 256;

/// Lists objects whose keys start with `prefix`.
pub(super) fn list(root: Arc<Path>, prefix: &str) -> BoxStream<'static, Result<Meta, Error>> {
    let prefix: Arc<str> = prefix.into();
    // A path of such a prefix could lead out of the root.
    if !can_start_keys(&prefix) {
        return stream::empty().boxed();
    }
    let (directory, name) = prefix.rsplit_once('/').unwrap_or(("", &prefix));
    let base = if directory.is_empty() {
        String::new()
    } else {
        format!("{directory}/")
    };
    let walk = Walk {
        root,
        levels: vec![Level::new(base, name.to_owned())],
    };
    stream::try_unfold(walk, move |mut walk| {
        let prefix = prefix.clone();
        async move {
            let step = move || {
                walk.batch()
                    .map(|batch| (!batch.is_empty()).then_some((batch, walk)))
            };
            let outcome = tokio::task::spawn_blocking(step)
                .await
                .map_err(io::Error::other)
                .flatten();
            outcome.map_err(|e| Error::Store {
                what: "list",
                key: prefix.to_string(),
                source: e.into(),
            })
        }
    })
    .map_ok(|batch| stream::iter(batch.into_iter().map(Ok)))
    .try_flatten()
    .boxed()
}

/// Where a listing stands: the directories from the root to the current one.
struct Walk {
    root: Arc<Path>,
    levels: Vec<Level>,
}

/// A directory being listed.
struct Level {
    /// Its key prefix: empty, or ending with `/`.
    base: String,
    /// What names must start with.
    name_prefix: String,
    /// Sorted names ahead; those of directories end with `/`, which is where they sort.
    page: VecDeque<String>,
    /// The last name taken into a page.
    after: Option<String>,
    /// Whether the page reaches the directory's end.
    complete: bool,
}

impl Level {
    fn new(base: String, name_prefix: String) -> Self {
        Self {
            base,
            name_prefix,
            page: VecDeque::new(),
            after: None,
            complete: false,
        }
    }

    fn next(&mut self, root: &Path) -> io::Result<Option<String>> {
        if self.page.is_empty() && !self.complete {
            self.read_page(root)?;
        }
        Ok(self.page.pop_front())
    }

    fn read_page(&mut self, root: &Path) -> io::Result<()> {
        let mut smallest = BinaryHeap::new();
        let entries = match fs::read_dir(root.join(&self.base)) {
            Ok(entries) => entries,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                self.complete = true;
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        for entry in entries {
            let entry = entry?;
            let Ok(mut name) = entry.file_name().into_string() else {
                continue;
            };
            let kind = match entry.file_type() {
                Ok(kind) => kind,
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            if kind.is_dir() {
                if self.base.is_empty() && name == TEMPORARY {
                    continue;
                }
                name.push('/');
            } else if !kind.is_file() {
                continue;
            }
            if !name.starts_with(&self.name_prefix)
                || self.after.as_ref().is_some_and(|after| name <= *after)
            {
                continue;
            }
            smallest.push(name);
            if smallest.len() > PAGE {
                smallest.pop();
            }
        }
        self.complete = smallest.len() < PAGE;
        self.page = smallest.into_sorted_vec().into();
        self.after = self.page.back().cloned().or(self.after.take());
        Ok(())
    }
}

impl Walk {
    /// The next objects, up to [`BATCH`]; none at the end.
    fn batch(&mut self) -> io::Result<Vec<Meta>> {
        let mut batch = Vec::new();
        while batch.len() < BATCH
            && let Some(level) = self.levels.last_mut()
        {
            let Some(name) = level.next(&self.root)? else {
                self.levels.pop();
                continue;
            };
            let key = format!("{}{name}", level.base);
            if name.ends_with('/') {
                self.levels.push(Level::new(key, String::new()));
                continue;
            }
            let Ok(key) = Key::new(key) else { continue };
            match fs::metadata(self.root.join(key.as_str())).and_then(|file| describe(&key, &file))
            {
                Ok(meta) => batch.push(meta),
                // Removed meanwhile.
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(batch)
    }
}
