//! What can go wrong between a file and its published track.

use std::{io, path::PathBuf};

/// Why a track was not published. The message is for the person who gave the file, and does not
/// repeat its name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file can't be turned into sound.
    #[error(transparent)]
    Source(#[from] crate::source::Error),
    /// The process that worked on the file ended, or was ended, before it was done.
    #[error(transparent)]
    Worker(#[from] crate::isolate::Fate),
    /// The file or folder can't be read.
    #[error("can't be read: {0}")]
    Read(io::Error),
    /// The working directory is missing, full or not writable.
    #[error("the working directory can't be used: {0}")]
    Spool(io::Error),
    /// An encoder refused the sound or its settings.
    #[error("can't be encoded: {0}")]
    Encode(String),
    /// The object store failed.
    #[error("can't be stored: {0}")]
    Store(#[from] storage::Error),
    /// A `track.json` in the store is not what this version writes.
    #[error("the stored index {key} can't be understood: {reason}")]
    Index {
        /// The object.
        key: String,
        /// What was found.
        reason: String,
    },
    /// A fault of this program; nothing was published.
    #[error("failed by a fault in Segue: {0}")]
    Internal(String),
    /// Another file of this ingest has the same bytes, and failed.
    #[error("is the same as another file, which {0}")]
    Twin(String),
    /// The track was taken down.
    #[error(
        "was taken down ({reason}) and stays down; `segue takedown --lift {track}` lets it in again"
    )]
    TakenDown {
        /// The track.
        track: manifests::TrackId,
        /// What the notice gives.
        reason: String,
    },
    /// The file is elsewhere, and could not be brought here.
    #[error("{what}")]
    NotBrought {
        /// A stable name of the reason.
        code: &'static str,
        /// The reason.
        what: String,
        /// Whether it may go better another time.
        transient: bool,
    },
    /// The ingest was cancelled.
    #[error("was cancelled")]
    Cancelled,
    /// A path given doesn't exist.
    #[error("does not exist")]
    Missing(PathBuf),
}

impl Error {
    /// A stable name of the reason, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Source(error) => error.code(),
            Error::Worker(fate) => fate.code(),
            Error::Read(_) => "unreadable",
            Error::Spool(_) => "no_scratch",
            Error::Encode(_) => "not_encodable",
            Error::Store(_) => "store",
            Error::Index { .. } => "bad_index",
            Error::Internal(_) => "internal",
            Error::Twin(_) => "twin_failed",
            Error::TakenDown { .. } => "taken_down",
            Error::NotBrought { code, .. } => code,
            Error::Cancelled => "cancelled",
            Error::Missing(_) => "missing",
        }
    }

    /// Whether the same file may fare better another time: the fault was not the file's.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Spool(_) | Error::Store(_) | Error::Internal(_) | Error::Cancelled => true,
            Error::Worker(fate) => fate.is_transient(),
            Error::NotBrought { transient, .. } => *transient,
            _ => false,
        }
    }
}
