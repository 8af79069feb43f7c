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
    /// The ingest was cancelled.
    #[error("was cancelled")]
    Cancelled,
    /// A path given doesn't exist.
    #[error("does not exist")]
    Missing(PathBuf),
}
