//! Finds audio files below the paths given.
//!
//! Owns what is looked at and what is passed over by name. Whether a file is audio is decided by
//! its content, later.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use crate::Error;

/// Folders nested deeper than this are not entered.
const MAX_DEPTH: usize = 64;

/// Extensions that are no audio, in lower case: what lies beside music in people's folders.
const NOT_AUDIO: &[&str] = &[
    "accurip", "asd", "bmp", "cue", "db", "doc", "docx", "dr14", "exe", "ffp", "gif", "gz", "htm",
    "html", "ico", "ini", "jpeg", "jpg", "json", "lnk", "log", "lrc", "m3u", "m3u8", "md", "md5",
    "mid", "midi", "nfo", "par2", "pdf", "php", "png", "pls", "rar", "rtf", "sf2", "sfv", "sha1",
    "sha256", "sqlite", "srt", "st5", "svg", "tif", "tiff", "toml", "torrent", "txt", "url",
    "webp", "xml", "xspf", "yaml", "yml", "zip",
];

/// A file to ingest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// What was found below the inputs.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// In the order of the inputs, and by name within a folder.
    pub(crate) files: Vec<File>,
    /// What can't be read, and why.
    pub(crate) unreadable: Vec<(PathBuf, Error)>,
    /// Files passed over: hidden, or known not to be audio.
    pub(crate) ignored: usize,
    /// Canonical paths of folders entered and files taken, against loops and repeats.
    seen: HashSet<PathBuf>,
}

/// Walks files and folders. A file given by name is always taken.
pub(crate) fn walk(inputs: &[PathBuf]) -> Found {
    let mut found = Found::default();
    for input in inputs {
        match fs::metadata(input) {
            Ok(meta) if meta.is_dir() => found.folder(input, 0),
            Ok(meta) => found.file(input, meta.len()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                found
                    .unreadable
                    .push((input.clone(), Error::Missing(input.clone())));
            }
            Err(error) => found.unreadable.push((input.clone(), Error::Read(error))),
        }
    }
    found
}

impl Found {
    fn is_new(&mut self, path: &Path) -> bool {
        let canonical = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        self.seen.insert(canonical)
    }

    fn file(&mut self, path: &Path, bytes: u64) {
        if self.is_new(path) {
            self.files.push(File {
                path: path.to_path_buf(),
                bytes,
            });
        }
    }

    fn folder(&mut self, folder: &Path, depth: usize) {
        if depth > MAX_DEPTH || !self.is_new(folder) {
            return;
        }
        let mut paths = match fs::read_dir(folder) {
            Ok(entries) => entries.flatten().map(|e| e.path()).collect::<Vec<_>>(),
            Err(error) => {
                self.unreadable
                    .push((folder.to_path_buf(), Error::Read(error)));
                return;
            }
        };
        paths.sort();
        for path in paths {
            match fs::metadata(&path) {
                _ if is_hidden(&path) => self.ignored += 1,
                Ok(meta) if meta.is_dir() => self.folder(&path, depth + 1),
                Ok(meta) if meta.is_file() && !is_known_other(&path) => {
                    self.file(&path, meta.len());
                }
                Ok(_) => self.ignored += 1,
                Err(error) => self.unreadable.push((path, Error::Read(error))),
            }
        }
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Whether a file of that name is looked at where it is found in a folder: neither hidden nor known
/// not to be audio.
pub fn may_be_audio(path: &Path) -> bool {
    !is_hidden(path) && !is_known_other(path)
}

fn is_known_other(path: &Path) -> bool {
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| NOT_AUDIO.contains(&e.to_ascii_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn takes_audio_and_survives_loops() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("b/c")).unwrap();
        for name in [
            "b/2.flac",
            "b/1.mp3",
            "b/c/3.wav",
            "b/cover.JPG",
            "b/.hidden.mp3",
            "a.cue",
        ] {
            fs::write(at(name), b"x").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(dir.path(), at("b/c/loop")).unwrap();
        let found = walk(&[dir.path().to_path_buf(), at("a.cue"), at("gone")]);
        let names: Vec<_> = found
            .files
            .iter()
            .map(|f| {
                f.path
                    .strip_prefix(dir.path())
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_eq!(names, ["b/1.mp3", "b/2.flac", "b/c/3.wav", "a.cue"]);
        assert_eq!(found.ignored, 3);
        assert!(matches!(found.unreadable[..], [(_, Error::Missing(_))]));
    }
}
