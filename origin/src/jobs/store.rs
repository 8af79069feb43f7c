//! The queue in SQLite, shared by the processes of one machine; each change is one transaction.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use rand::Rng as _;
use sha2::{Digest, Sha256};
use sqlx::{FromRow, Sqlite, Transaction};

use super::{
    Error, Failure, Job, LEASES, Lease, MAX_SOURCES, NewJob, Outcome, Queue, State, Verdict,
    policy::{self, MAX_ATTEMPTS, Next},
};
use crate::db::{Db, DbError};

const MIGRATIONS: &[&str] = &[include_str!("schema.sql")];

/// Jobs that wait, at most.
const MAX_WAITING: i64 = 1_000_000;

/// Jobs that are listed, at most.
const MAX_LISTED: u32 = 1_000;

/// Bytes of a source's text, at most.
const MAX_SOURCE_BYTES: usize = 4_096;

/// How long jobs that are over are kept, dead ones aside.
const KEPT_MS: i64 = 30 * 24 * 3_600 * 1_000;

type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The queue of a data directory.
#[derive(Clone)]
pub struct Jobs {
    db: Db,
    clock: Clock,
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs").finish_non_exhaustive()
    }
}

#[derive(FromRow)]
struct Row {
    id: String,
    sources: String,
    priority: i32,
    state: String,
    attempts: u32,
    max_attempts: u32,
    ready_ms: i64,
    worker: Option<String>,
    lease: Option<String>,
    lasts_ms: i64,
    cancel: bool,
    progress: f64,
    reason: Option<String>,
    error: Option<String>,
    failures: String,
    tracks: String,
    created_ms: i64,
    started_ms: Option<i64>,
    changed_ms: i64,
}

impl Row {
    fn job(self) -> Result<Job, Error> {
        let broken = |what: &str| Error::Unavailable(format!("job {} has broken {what}", self.id));
        Ok(Job {
            sources: serde_json::from_str(&self.sources).map_err(|_| broken("sources"))?,
            failures: serde_json::from_str(&self.failures).map_err(|_| broken("failures"))?,
            tracks: serde_json::from_str(&self.tracks).map_err(|_| broken("tracks"))?,
            state: State::parse(&self.state).ok_or_else(|| broken("state"))?,
            id: self.id,
            priority: self.priority,
            attempts: self.attempts,
            max_attempts: self.max_attempts,
            ready_ms: self.ready_ms,
            worker: self.worker,
            cancel: self.cancel,
            progress: self.progress,
            reason: self.reason,
            error: self.error,
            created_ms: self.created_ms,
            started_ms: self.started_ms,
            changed_ms: self.changed_ms,
        })
    }
}

type Tx = Transaction<'static, Sqlite>;

impl Jobs {
    pub(crate) async fn open(data: &Path) -> Result<Self, DbError> {
        Self::open_with(data, Arc::new(now_ms)).await
    }

    async fn open_with(data: &Path, clock: Clock) -> Result<Self, DbError> {
        let db = Db::open(&data.join("jobs.db"), MIGRATIONS).await?;
        Ok(Self { db, clock })
    }

    pub(crate) async fn close(&self) {
        self.db.close().await;
    }

    /// When the longest-running attempt under way began, if any: what is younger in the store may
    /// be its work.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn oldest_start_ms(&self) -> Result<Option<i64>, Error> {
        let sql = "SELECT MIN(started_ms) FROM jobs WHERE state = 'running'";
        Ok(sqlx::query_scalar(sql).fetch_one(&self.db.read).await?)
    }

    async fn begin(&self) -> Result<Tx, Error> {
        Ok(self.db.write.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// The job, if it is in the hands of that lease.
    async fn held(&self, tx: &mut Tx, id: &str, lease: &str) -> Result<Option<Row>, Error> {
        let row = row(tx, id).await?;
        let held = row.state == State::Running.as_str() && row.lease.as_deref() == Some(lease);
        Ok(held.then_some(row))
    }

    /// Takes jobs from workers that were not heard of any more.
    async fn sweep(&self, tx: &mut Tx, now: i64) -> Result<(), Error> {
        let sql = "SELECT * FROM jobs WHERE state = 'running' AND lease_ms < ? LIMIT 100";
        let lost: Vec<Row> = sqlx::query_as(sql).bind(now).fetch_all(&mut **tx).await?;
        for row in lost {
            let worker = row.worker.as_deref().unwrap_or_default();
            let next = match row.cancel {
                true => cancelled(),
                false => policy::lost(worker, row.attempts, row.max_attempts),
            };
            settle(tx, &row.id, &next, now).await?;
        }
        Ok(())
    }

    async fn change(&self, id: &str, from: &[State], next: &Next) -> Result<Job, Error> {
        let mut tx = self.begin().await?;
        let found = row(&mut tx, id).await?;
        let state = State::parse(&found.state);
        if !state.is_some_and(|state| from.contains(&state)) {
            return Err(Error::Refused(format!("job {id} is {}", found.state)));
        }
        settle(&mut tx, id, next, (self.clock)()).await?;
        let job = row(&mut tx, id).await?.job()?;
        tx.commit().await?;
        Ok(job)
    }
}

/// Puts a job into a state where no worker has it.
async fn settle(tx: &mut Tx, id: &str, next: &Next, now: i64) -> Result<(), Error> {
    let wait = i64::try_from(next.wait.as_millis()).unwrap_or(i64::MAX);
    sqlx::query(
        "UPDATE jobs SET state = ?, ready_ms = ?, reason = ?, error = ?, lease = NULL, \
         lease_ms = NULL, cancel = 0, changed_ms = ? WHERE id = ?",
    )
    .bind(next.state.as_str())
    .bind(now.saturating_add(wait))
    .bind(&next.reason)
    .bind(&next.error)
    .bind(now)
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn row(tx: &mut Tx, id: &str) -> Result<Row, Error> {
    sqlx::query_as("SELECT * FROM jobs WHERE id = ?")
        .bind(id)
        .fetch_optional(&mut **tx)
        .await?
        .ok_or_else(|| Error::NotFound(id.to_owned()))
}

fn cancelled() -> Next {
    ended(State::Cancelled)
}

fn ended(state: State) -> Next {
    Next {
        state,
        wait: Duration::ZERO,
        reason: None,
        error: None,
    }
}

#[async_trait]
impl Queue for Jobs {
    async fn enqueue(&self, job: NewJob) -> Result<Job, Error> {
        if job.sources.is_empty() || job.sources.len() > MAX_SOURCES {
            let what = format!("a job has 1 to {MAX_SOURCES} sources");
            return Err(Error::Refused(what));
        }
        if job
            .sources
            .iter()
            .any(|s| s.is_empty() || s.len() > MAX_SOURCE_BYTES)
        {
            let what = format!("a source is a text of 1 to {MAX_SOURCE_BYTES} bytes");
            return Err(Error::Refused(what));
        }
        let sources = json(&job.sources)?;
        let key = job.key.unwrap_or_else(|| sources.clone());
        let key = hex::encode(Sha256::digest(key));
        let mut tx = self.begin().await?;
        let sql = "SELECT * FROM jobs WHERE key = ? AND state IN ('queued', 'running')";
        let there: Option<Row> = sqlx::query_as(sql)
            .bind(&key)
            .fetch_optional(&mut *tx)
            .await?;
        if let Some(there) = there {
            return there.job();
        }
        let waiting: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM jobs WHERE state = 'queued'")
            .fetch_one(&mut *tx)
            .await?;
        if waiting >= MAX_WAITING {
            let what = format!("{MAX_WAITING} jobs wait already");
            return Err(Error::Refused(what));
        }
        let now = (self.clock)();
        sqlx::query("DELETE FROM jobs WHERE state IN ('done', 'cancelled') AND changed_ms < ?")
            .bind(now - KEPT_MS)
            .execute(&mut *tx)
            .await?;
        let id = format!("j{:016x}", rand::rng().random::<u64>());
        sqlx::query(
            "INSERT INTO jobs (id, key, sources, priority, state, max_attempts, ready_ms, \
             created_ms, changed_ms) VALUES (?, ?, ?, ?, 'queued', ?, ?, ?, ?)",
        )
        .bind(&id)
        .bind(&key)
        .bind(&sources)
        .bind(job.priority)
        .bind(MAX_ATTEMPTS)
        .bind(now)
        .bind(now)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        let job = row(&mut tx, &id).await?.job()?;
        tx.commit().await?;
        Ok(job)
    }

    async fn claim(&self, worker: &str, lasts: Duration) -> Result<Option<Lease>, Error> {
        let lasts = lasts.clamp(*LEASES.start(), *LEASES.end());
        let lasts_ms = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX);
        let now = (self.clock)();
        let mut tx = self.begin().await?;
        self.sweep(&mut tx, now).await?;
        let lease = format!("{:032x}", rand::rng().random::<u128>());
        let taken: Option<Row> = sqlx::query_as(
            "UPDATE jobs SET state = 'running', worker = ?, lease = ?, lease_ms = ?, lasts_ms = ?, \
             attempts = attempts + 1, progress = 0, started_ms = ?, changed_ms = ? \
             WHERE id = (SELECT id FROM jobs WHERE state = 'queued' AND ready_ms <= ? \
             ORDER BY priority DESC, ready_ms, rowid LIMIT 1) RETURNING *",
        )
        .bind(worker)
        .bind(&lease)
        .bind(now + lasts_ms)
        .bind(lasts_ms)
        .bind(now)
        .bind(now)
        .bind(now)
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        let Some(taken) = taken else { return Ok(None) };
        Ok(Some(Lease {
            job: taken.job()?,
            lease,
        }))
    }

    async fn heartbeat(&self, id: &str, lease: &str, progress: f64) -> Result<Verdict, Error> {
        let now = (self.clock)();
        let mut tx = self.begin().await?;
        let Some(row) = self.held(&mut tx, id, lease).await? else {
            return Ok(Verdict::Lost);
        };
        sqlx::query("UPDATE jobs SET lease_ms = ?, progress = ?, changed_ms = ? WHERE id = ?")
            .bind(now + row.lasts_ms)
            .bind(progress.clamp(0.0, 1.0))
            .bind(now)
            .bind(id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(match row.cancel {
            true => Verdict::Cancel,
            false => Verdict::Yours,
        })
    }

    async fn finish(&self, id: &str, lease: &str, outcome: Outcome) -> Result<Verdict, Error> {
        let now = (self.clock)();
        let chance = rand::rng().random::<f64>();
        let mut tx = self.begin().await?;
        let Some(row) = self.held(&mut tx, id, lease).await? else {
            return Ok(Verdict::Lost);
        };
        let next = match row.cancel && !outcome.failures.is_empty() {
            true => cancelled(),
            false => policy::after(&outcome, row.attempts, row.max_attempts, chance),
        };
        let tracks: Vec<&str> = outcome.tracks.iter().map(|(id, _)| id.as_str()).collect();
        let failures: &[Failure] = &outcome.failures;
        let progress = if next.state == State::Done {
            1.0
        } else {
            row.progress
        };
        sqlx::query("UPDATE jobs SET tracks = ?, failures = ?, progress = ? WHERE id = ?")
            .bind(json(&tracks)?)
            .bind(json(&failures)?)
            .bind(progress)
            .bind(id)
            .execute(&mut *tx)
            .await?;
        settle(&mut tx, id, &next, now).await?;
        tx.commit().await?;
        Ok(Verdict::Yours)
    }

    async fn release(&self, id: &str, lease: &str) -> Result<Verdict, Error> {
        let mut tx = self.begin().await?;
        let Some(row) = self.held(&mut tx, id, lease).await? else {
            return Ok(Verdict::Lost);
        };
        sqlx::query("UPDATE jobs SET attempts = attempts - 1 WHERE id = ?")
            .bind(id)
            .execute(&mut *tx)
            .await?;
        let next = match row.cancel {
            true => cancelled(),
            false => ended(State::Queued),
        };
        settle(&mut tx, id, &next, (self.clock)()).await?;
        tx.commit().await?;
        Ok(Verdict::Yours)
    }

    async fn get(&self, id: &str) -> Result<Job, Error> {
        let found: Option<Row> = sqlx::query_as("SELECT * FROM jobs WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.db.read)
            .await?;
        found.ok_or_else(|| Error::NotFound(id.to_owned()))?.job()
    }

    async fn list(&self, state: Option<State>, limit: u32) -> Result<Vec<Job>, Error> {
        let sql = "SELECT * FROM jobs WHERE ?1 IS NULL OR state = ?1 \
                   ORDER BY changed_ms DESC, rowid DESC LIMIT ?2";
        let rows: Vec<Row> = sqlx::query_as(sql)
            .bind(state.map(State::as_str))
            .bind(limit.min(MAX_LISTED))
            .fetch_all(&self.db.read)
            .await?;
        rows.into_iter().map(Row::job).collect()
    }

    async fn cancel(&self, id: &str) -> Result<Job, Error> {
        let mut tx = self.begin().await?;
        let found = row(&mut tx, id).await?;
        match State::parse(&found.state) {
            Some(State::Queued) => settle(&mut tx, id, &cancelled(), (self.clock)()).await?,
            Some(State::Running) => {
                sqlx::query("UPDATE jobs SET cancel = 1 WHERE id = ?")
                    .bind(id)
                    .execute(&mut *tx)
                    .await?;
            }
            _ => {
                return Err(Error::Refused(format!(
                    "job {id} is {} already",
                    found.state
                )));
            }
        }
        let job = row(&mut tx, id).await?.job()?;
        tx.commit().await?;
        Ok(job)
    }

    async fn retry(&self, id: &str) -> Result<Job, Error> {
        let over = [State::Dead, State::Cancelled];
        let job = self.change(id, &over, &ended(State::Queued)).await;
        // Another job with the same key may be under way.
        let job = job.map_err(|error| match error {
            Error::Unavailable(text) if text.contains("UNIQUE") => {
                Error::Refused("a job with the same sources is under way".to_owned())
            }
            other => other,
        })?;
        sqlx::query("UPDATE jobs SET attempts = 0 WHERE id = ? AND state = 'queued'")
            .bind(id)
            .execute(&self.db.write)
            .await?;
        Ok(Job { attempts: 0, ..job })
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Refused(error.to_string()))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

    use super::*;

    const LEASE_MS: i64 = 60_000;

    struct Bench {
        jobs: Jobs,
        now: Arc<AtomicI64>,
        _dir: tempfile::TempDir,
    }

    impl Bench {
        async fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let now = Arc::new(AtomicI64::new(1_000_000));
            let clock = Arc::clone(&now);
            let jobs = Jobs::open_with(dir.path(), Arc::new(move || clock.load(Relaxed)))
                .await
                .unwrap();
            Self {
                jobs,
                now,
                _dir: dir,
            }
        }

        fn later(&self, ms: i64) {
            self.now.fetch_add(ms, Relaxed);
        }

        async fn add(&self, source: &str, priority: i32) -> String {
            let sources = vec![source.to_owned()];
            let job = NewJob {
                sources,
                priority,
                key: None,
            };
            self.jobs.enqueue(job).await.unwrap().id
        }

        async fn claim(&self) -> Option<Lease> {
            self.jobs
                .claim("w1", Duration::from_millis(LEASE_MS as u64))
                .await
                .unwrap()
        }

        async fn state(&self, id: &str) -> State {
            self.jobs.get(id).await.unwrap().state
        }
    }

    fn failed(transient: bool) -> Outcome {
        let failure = Failure {
            source: "a".into(),
            reason: "store".into(),
            error: "can't be stored".into(),
            transient,
        };
        Outcome {
            tracks: Vec::new(),
            failures: vec![failure],
        }
    }

    #[tokio::test]
    async fn jobs_go_by_priority_and_then_by_age_and_each_to_one_worker() {
        let bench = Bench::new().await;
        let first = bench.add("a", 0).await;
        bench.later(1);
        let second = bench.add("b", 0).await;
        bench.later(1);
        let urgent = bench.add("c", 5).await;
        assert_eq!(bench.add("a", 0).await, first, "it is under way");
        for expected in [urgent, first, second] {
            assert_eq!(bench.claim().await.unwrap().job.id, expected);
        }
        assert_eq!(bench.claim().await, None);
    }

    #[tokio::test]
    async fn a_lease_that_runs_out_gives_the_job_to_the_next_until_it_is_given_up() {
        let bench = Bench::new().await;
        let id = bench.add("a", 0).await;
        for attempt in 1..=MAX_ATTEMPTS {
            let lease = bench.claim().await.unwrap();
            assert_eq!(lease.job.attempts, attempt);
            bench.later(LEASE_MS - 1);
            let verdict = bench.jobs.heartbeat(&id, &lease.lease, 0.5).await.unwrap();
            assert_eq!(verdict, Verdict::Yours);
            bench.later(LEASE_MS - 1);
            assert_eq!(bench.claim().await, None, "the heartbeat holds it");
            bench.later(2);
            let late = bench.jobs.heartbeat(&id, "other", 0.5).await.unwrap();
            assert_eq!(late, Verdict::Lost);
        }
        assert_eq!(bench.claim().await, None);
        let job = bench.jobs.get(&id).await.unwrap();
        assert_eq!(
            (job.state, job.reason.as_deref()),
            (State::Dead, Some("worker_lost"))
        );
        assert_eq!(bench.jobs.retry(&id).await.unwrap().state, State::Queued);
        assert_eq!(bench.claim().await.unwrap().job.attempts, 1);
    }

    #[tokio::test]
    async fn an_old_lease_can_do_nothing_any_more() {
        let bench = Bench::new().await;
        let id = bench.add("a", 0).await;
        let old = bench.claim().await.unwrap();
        bench.later(LEASE_MS + 1);
        let new = bench.claim().await.unwrap();
        let outcome = Outcome::default();
        let verdict = bench
            .jobs
            .finish(&id, &old.lease, outcome.clone())
            .await
            .unwrap();
        assert_eq!(verdict, Verdict::Lost);
        assert_eq!(
            bench.jobs.release(&id, &old.lease).await.unwrap(),
            Verdict::Lost
        );
        assert_eq!(bench.state(&id).await, State::Running);
        let verdict = bench.jobs.finish(&id, &new.lease, outcome).await.unwrap();
        assert_eq!(verdict, Verdict::Yours);
        assert_eq!(bench.state(&id).await, State::Done);
    }

    #[tokio::test]
    async fn a_transient_fault_waits_and_a_fault_of_the_file_is_final() {
        let bench = Bench::new().await;
        let id = bench.add("a", 0).await;
        let lease = bench.claim().await.unwrap();
        bench
            .jobs
            .finish(&id, &lease.lease, failed(true))
            .await
            .unwrap();
        assert_eq!(bench.claim().await, None, "it waits");
        bench.later(15_000);
        let lease = bench.claim().await.unwrap();
        bench
            .jobs
            .finish(&id, &lease.lease, failed(false))
            .await
            .unwrap();
        let job = bench.jobs.get(&id).await.unwrap();
        assert_eq!(job.state, State::Dead);
        assert_eq!(job.error.as_deref(), Some("a can't be stored"));
        let dead = bench.jobs.list(Some(State::Dead), 10).await.unwrap();
        assert_eq!(dead.len(), 1);
    }

    #[tokio::test]
    async fn a_job_is_cancelled_at_once_or_at_the_next_heartbeat() {
        let bench = Bench::new().await;
        let waiting = bench.add("a", 0).await;
        bench.jobs.cancel(&waiting).await.unwrap();
        assert_eq!(bench.state(&waiting).await, State::Cancelled);
        let id = bench.add("b", 0).await;
        let lease = bench.claim().await.unwrap();
        bench.jobs.cancel(&id).await.unwrap();
        let verdict = bench.jobs.heartbeat(&id, &lease.lease, 0.1).await.unwrap();
        assert_eq!(verdict, Verdict::Cancel);
        bench.jobs.release(&id, &lease.lease).await.unwrap();
        assert_eq!(bench.state(&id).await, State::Cancelled);
        assert!(matches!(
            bench.jobs.cancel(&id).await,
            Err(Error::Refused(_))
        ));
        assert!(matches!(
            bench.jobs.get("j0").await,
            Err(Error::NotFound(_))
        ));
    }

    #[tokio::test]
    async fn what_was_queued_survives_a_new_process() {
        let bench = Bench::new().await;
        let id = bench.add("a", 3).await;
        bench.jobs.close().await;
        let again = Jobs::open(bench._dir.path()).await.unwrap();
        assert_eq!(again.get(&id).await.unwrap().priority, 3);
    }
}
