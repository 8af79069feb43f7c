//! Why a file can't be turned into sound, in words for the person who owns the file.

use std::io;

/// A fault of the file (or of reading it). The message says what is wrong with the file and never
/// names the file itself: the caller knows its path.
#[derive(Debug, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum Error {
    /// The file can't be opened or read.
    #[error("can't be read: {0}")]
    Io(
        #[serde(with = "crate::isolate::as_text")]
        #[from]
        io::Error,
    ),
    /// The file has no bytes.
    #[error("is zero bytes long")]
    ZeroBytes,
    /// No known container or codec starts like this.
    #[error("is not an audio file that Segue knows")]
    NotAudio,
    /// The container is fine, but there is no audio track in it.
    #[error("holds no audio track")]
    NoAudioTrack,
    /// Container and track are fine, but there is not one sample of sound.
    #[error("holds no sound (0 samples)")]
    Empty,
    /// The header promises clearly more sound than the file holds.
    #[error(
        "is truncated: its header promises {promised_s:.2} s, but only {found_s:.2} s could be decoded"
    )]
    Truncated {
        /// Length in seconds by the header.
        promised_s: f64,
        /// Length in seconds that could be decoded.
        found_s: f64,
    },
    /// The file ends in the midst of its sound, by its own structure.
    #[error("is truncated: it ends inside the sound, after {found_s:.2} s")]
    CutOff {
        /// Length in seconds that could be decoded.
        found_s: f64,
    },
    /// A codec or variant of a codec that can't be decoded.
    #[error("is encoded as {codec}, which Segue can't decode")]
    Unsupported {
        /// The codec, as people name it.
        codec: String,
    },
    /// A header field beyond the [`Limits`](super::Limits).
    #[error("has an absurd header: {field} is {value}, outside {allowed}")]
    AbsurdHeader {
        /// The field's name, for people.
        field: std::borrow::Cow<'static, str>,
        /// The value found.
        value: String,
        /// The accepted range.
        allowed: String,
    },
    /// The file is longer than the limit.
    #[error("is longer than the limit of {limit_s} s")]
    TooLong {
        /// The limit in seconds.
        limit_s: u32,
    },
    /// Parts of the file are not what the container or codec allows.
    #[error("is damaged: {reason}")]
    Damaged {
        /// What was found, in a clause.
        reason: String,
    },
}

impl Error {
    /// A stable name of the reason, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Io(_) => "unreadable",
            Error::ZeroBytes => "zero_bytes",
            Error::NotAudio => "not_audio",
            Error::NoAudioTrack => "no_audio_track",
            Error::Empty => "empty",
            Error::Truncated { .. } | Error::CutOff { .. } => "truncated",
            Error::Unsupported { .. } => "unsupported",
            Error::AbsurdHeader { .. } => "absurd_header",
            Error::TooLong { .. } => "too_long",
            Error::Damaged { .. } => "damaged",
        }
    }

    /// A [`Error::Damaged`] with that reason.
    pub(crate) fn damaged(reason: impl Into<String>) -> Error {
        Error::Damaged {
            reason: reason.into(),
        }
    }
}
