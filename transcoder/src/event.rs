//! What an ingest tells while it runs, and at its end.

use std::{path::PathBuf, sync::Arc};

use manifests::Track;

use crate::Error;

/// What a job is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading the file for its digest.
    Hash,
    /// Decoding, measuring and encoding.
    Encode,
    /// Uploading renditions.
    Store,
}

impl Stage {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Hash => "reading",
            Stage::Encode => "encoding",
            Stage::Store => "storing",
        }
    }
}

/// What an ingest changed of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new, or encoded anew.
    Track,
    /// It has other tags or another cover.
    Tags,
    /// It was there before.
    Nothing,
}

impl Change {
    /// For programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Change::Track => "published",
            Change::Tags => "updated",
            Change::Nothing => "present",
        }
    }
}

/// Something happened to a file. `job` counts from 0 in the order of finding.
#[derive(Clone, Debug)]
pub enum Event {
    /// A file will be looked at. All are found before any is started.
    Found {
        /// The job.
        job: usize,
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// Work on the file begins.
    Started {
        /// The job.
        job: usize,
    },
    /// Work went on by about a percent.
    Progress {
        /// The job.
        job: usize,
        /// What is being done.
        stage: Stage,
        /// Part of the stage that is done, 0–1.
        fraction: f64,
    },
    /// A rendition is in the store, not yet visible.
    Stored {
        /// The job.
        job: usize,
        /// Its id: `opus-96`.
        rendition: String,
        /// Its size.
        bytes: u64,
        /// Whether an earlier ingest, which did not get to the end, had put it there.
        resumed: bool,
    },
    /// The track is in the store.
    Published {
        /// The job.
        job: usize,
        /// Its index.
        track: Arc<Track>,
        /// What this ingest changed.
        change: Change,
    },
    /// The file yielded no track; the others go on.
    Failed {
        /// The job.
        job: usize,
        /// The file or folder.
        path: PathBuf,
        /// Why. The text doesn't repeat the path.
        error: Arc<Error>,
    },
}

/// A file that yielded no track.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The file or folder.
    pub path: PathBuf,
    /// Why.
    pub error: Arc<Error>,
}

impl Failure {
    pub(crate) fn event(&self, job: usize) -> Event {
        Event::Failed {
            job,
            path: self.path.clone(),
            error: self.error.clone(),
        }
    }
}

/// Totals of an ingest.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Tracks newly published.
    pub published: usize,
    /// Tracks that were in the store already and have other tags or another cover now.
    pub updated: usize,
    /// Tracks that were in the store already.
    pub unchanged: usize,
    /// Files and folders that yielded nothing.
    pub failed: usize,
    /// Those files and folders, in the order of failing.
    pub failures: Vec<Failure>,
    /// Files passed over by name: hidden, or known not to be audio.
    pub ignored: usize,
    /// Files not finished because of a cancellation.
    pub unfinished: usize,
    /// Seconds of sound newly published.
    pub audio_s: f64,
}
