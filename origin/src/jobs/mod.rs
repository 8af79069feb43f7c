//! Jobs: files to be ingested, kept until they are done or known to be impossible.
//!
//! A worker takes a job under a lease and renews it with a heartbeat; a lease that runs out gives
//! the job to the next. Owns the queue and its rules. What a job does is the worker's business: the
//! queue knows its sources as text.

mod policy;
mod routes;
mod store;

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub(crate) use routes::{Key, guard, router};
pub use store::Jobs;

/// How long a lease may be asked to last without a heartbeat.
const LEASES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3600);

/// Sources of one job, at most: an album, not a collection.
pub const MAX_SOURCES: usize = 500;

/// A queue of jobs, wherever it is kept.
#[async_trait]
pub trait Queue: std::fmt::Debug + Send + Sync {
    /// Adds a job; where one with the same key is under way, that one is returned.
    async fn enqueue(&self, job: NewJob) -> Result<Job, Error>;
    /// Takes the job whose turn it is, until no heartbeat came for so long (1 s to 1 h).
    async fn claim(&self, worker: &str, lasts: Duration) -> Result<Option<Lease>, Error>;
    /// Renews a lease and notes progress, 0–1.
    async fn heartbeat(&self, id: &str, lease: &str, progress: f64) -> Result<Verdict, Error>;
    /// Gives a job back that ended, well or not.
    async fn finish(&self, id: &str, lease: &str, outcome: Outcome) -> Result<Verdict, Error>;
    /// Gives a job back that was not worked through; it doesn't count as an attempt.
    async fn release(&self, id: &str, lease: &str) -> Result<Verdict, Error>;
    /// A job.
    async fn get(&self, id: &str) -> Result<Job, Error>;
    /// The jobs that changed last, of one state or of all.
    async fn list(&self, state: Option<State>, limit: u32) -> Result<Vec<Job>, Error>;
    /// Ends a job: at once where it waits, at the next heartbeat where it is being worked on.
    async fn cancel(&self, id: &str) -> Result<Job, Error>;
    /// Puts a job that ended without success in again, with all its attempts.
    async fn retry(&self, id: &str) -> Result<Job, Error>;
}

/// A job to be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewJob {
    /// What to ingest together: paths or URLs, as a worker reads them. 1–[`MAX_SOURCES`].
    pub sources: Vec<String>,
    /// Higher ones go first. Default 0.
    #[serde(default)]
    pub priority: i32,
    /// What the job is about, of which one is under way at a time [default: its sources].
    #[serde(default)]
    pub key: Option<String>,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Waits for a worker, or for its next attempt.
    Queued,
    /// A worker has it.
    Running,
    /// All its sources are published.
    Done,
    /// Given up: the reason stands in it, and `retry` puts it in again.
    Dead,
    /// Ended by somebody.
    Cancelled,
}

impl State {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Running => "running",
            State::Done => "done",
            State::Dead => "dead",
            State::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<State> {
        use State::{Cancelled, Dead, Done, Queued, Running};
        [Queued, Running, Done, Dead, Cancelled]
            .into_iter()
            .find(|state| state.as_str() == name)
    }
}

/// A job as it stands. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// `j` and 16 hexadecimal digits.
    pub id: String,
    /// As given.
    pub sources: Vec<String>,
    /// Higher ones go first.
    pub priority: i32,
    /// Where it stands.
    pub state: State,
    /// Times that a worker took it.
    pub attempts: u32,
    /// After so many it is given up.
    pub max_attempts: u32,
    /// No worker takes it before.
    pub ready_ms: i64,
    /// Who has it, or had it last.
    pub worker: Option<String>,
    /// Somebody wants it ended.
    pub cancel: bool,
    /// 0–1.
    pub progress: f64,
    /// Why the last attempt failed, for programs.
    pub reason: Option<String>,
    /// The same for people.
    pub error: Option<String>,
    /// Sources that failed in the last attempt.
    pub failures: Vec<Failure>,
    /// Ids of tracks that came of it.
    pub tracks: Vec<String>,
    /// When it was added.
    pub created_ms: i64,
    /// When a worker last took it.
    pub started_ms: Option<i64>,
    /// When it last changed.
    pub changed_ms: i64,
}

/// A source that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The source.
    pub source: String,
    /// Why, for programs.
    pub reason: String,
    /// Why, for people.
    pub error: String,
    /// Whether it may go better another time.
    pub transient: bool,
}

/// A job in a worker's hands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// The job.
    pub job: Job,
    /// Shows that it is this worker's, and this attempt's.
    pub lease: String,
}

/// What a worker has to do with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is the worker's.
    Yours,
    /// End it: somebody cancelled it.
    Cancel,
    /// Drop it: the lease ran out, and it is somebody else's.
    Lost,
}

/// What came of an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Published tracks, with their revisions.
    pub tracks: Vec<(String, String)>,
    /// Sources that failed.
    pub failures: Vec<Failure>,
}

/// Failures of a queue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such job.
    #[error("there is no job {0}")]
    NotFound(String),
    /// The queue can't do that; the text says why.
    #[error("{0}")]
    Refused(String),
    /// The queue can't be reached or its database fails. It may work another time.
    #[error("the queue is out of reach: {0}")]
    Unavailable(String),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Error {
        Error::Unavailable(error.to_string())
    }
}
