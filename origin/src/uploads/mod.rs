//! Uploads: files that come over HTTP in as many pieces as the network makes of them (tus 1.0), and
//! then become ingest jobs.
//!
//! Owns what is staged below the data directory, its bounds and its end. What is made of a file is
//! the queue's and its workers' business.

mod metadata;
mod routes;
mod staging;

use std::time::Duration;

pub(crate) use routes::router;
pub(crate) use staging::{SWEEP, Staging};

/// The longest that one request may bring bytes for.
pub(crate) const LONGEST_PATCH: Duration = Duration::from_secs(6 * 3600);

/// What uploads may take up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a file. Default: 4 GiB.
    pub file: u64,
    /// Bytes of all files that are staged, counted as announced. Default: 64 GiB.
    pub staged: u64,
    /// Uploads that are not complete. Default: 64.
    pub unfinished: usize,
    /// How long a file is kept that nothing was added to, and one whose job was given up.
    /// Default: 24 h.
    pub kept: Duration,
    /// How long a request may bring nothing before it is ended. Default: 60 s.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file: 4 << 30,
            staged: 64 << 30,
            unfinished: 64,
            kept: Duration::from_secs(24 * 3600),
            stall: Duration::from_secs(60),
        }
    }
}
