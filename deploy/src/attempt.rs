//! One attempt at a job: ingests its sources, says how far it is, and gives the job back.

use std::{
    collections::HashMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use origin::jobs::{Failure, Lease, Outcome, Verdict};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use transcoder::Event;

use crate::{fetch, ingest, sources::Sources, worker::Worker};

/// Longest time between two heartbeats: a cancelled job ends so soon.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Works on a job. What comes of it is in the queue.
pub(crate) async fn run(worker: &Worker, lease: Lease, stop: &CancellationToken) {
    let id = lease.job.id.clone();
    tracing::info!(
        job = id,
        sources = lease.job.sources.len(),
        attempt = lease.job.attempts,
        "begun"
    );
    let cancel = stop.child_token();
    let tally = Mutex::new(Tally::default());
    let verdict = tokio::select! {
        () = Box::pin(sources(worker, &lease, &tally, cancel.clone())) => Verdict::Yours,
        verdict = heartbeats(worker, &lease, &tally) => verdict,
    };
    // What was still running has ended with its future.
    cancel.cancel();
    let outcome = tally.into_inner().outcome;
    let ended = match verdict {
        Verdict::Lost => {
            tracing::warn!(job = id, "lost to another worker");
            return;
        }
        Verdict::Yours if !stop.is_cancelled() => {
            tracing::info!(
                job = id,
                tracks = outcome.tracks.len(),
                failed = outcome.failures.len(),
                "ended"
            );
            give_back(worker, &lease, Some(outcome)).await
        }
        Verdict::Cancel | Verdict::Yours => give_back(worker, &lease, None).await,
    };
    if let Err(error) = ended {
        tracing::error!(job = id, %error, "not given back; the next worker finds what is done");
    }
}

/// What is known of an attempt so far.
#[derive(Debug, Default)]
struct Tally {
    files: usize,
    ended: usize,
    /// Files under way.
    fractions: HashMap<usize, f64>,
    outcome: Outcome,
}

impl Tally {
    fn progress(&self) -> f64 {
        let under_way: f64 = self.fractions.values().sum();
        (self.ended as f64 + under_way) / self.files.max(1) as f64
    }

    fn hear(&mut self, event: &Event) {
        match event {
            Event::Found { .. } => self.files += 1,
            Event::Progress { job, fraction, .. } => {
                self.fractions.insert(*job, *fraction);
            }
            Event::Published { job, track, .. } => {
                self.end(*job);
                let published = (track.id.0.clone(), track.revision.0.clone());
                if !self.outcome.tracks.contains(&published) {
                    self.outcome.tracks.push(published);
                }
            }
            Event::Failed { job, path, error } => {
                self.end(*job);
                self.outcome.failures.push(Failure {
                    source: path.display().to_string(),
                    reason: error.code().to_owned(),
                    error: error.to_string(),
                    transient: error.is_transient(),
                });
            }
            Event::Started { .. } | Event::Stored { .. } => {}
        }
    }

    fn end(&mut self, job: usize) {
        self.ended += 1;
        self.fractions.remove(&job);
    }
}

/// Ingests the sources.
async fn sources(worker: &Worker, lease: &Lease, tally: &Mutex<Tally>, cancel: CancellationToken) {
    let named = lease.job.sources.iter();
    let (remote, here): (Vec<_>, Vec<_>) = named.cloned().partition(|s| fetch::is_remote(s));
    let batch = ingest::Batch {
        store: worker.store.clone(),
        origin: worker.origin.as_ref(),
        data: &worker.data,
        threads: worker.threads,
        isolation: worker.isolation.clone(),
        checkpoint_from: worker.checkpoint_from,
        fetch: &worker.fetch,
        sources: Sources {
            paths: here.into_iter().map(PathBuf::from).collect(),
            remote,
        },
    };
    let batch = ingest::batch(batch, cancel, |event| tally.lock().hear(event));
    let fault = match Box::pin(batch).await {
        Ok(done) if done.unregistered == 0 => return,
        Ok(done) => (
            "catalogue",
            format!("{} tracks are not in the catalogue", done.unregistered),
        ),
        Err(error) => ("no_ingest", format!("{error:#}")),
    };
    tally.lock().outcome.failures.push(Failure {
        source: lease.job.sources.first().cloned().unwrap_or_default(),
        reason: fault.0.to_owned(),
        error: fault.1,
        transient: true,
    });
}

/// Renews the lease, until the job is to be ended or can't be this worker's any more.
async fn heartbeats(worker: &Worker, lease: &Lease, tally: &Mutex<Tally>) -> Verdict {
    let every = HEARTBEAT.min(worker.lease / 4);
    let mut renewed = Instant::now();
    loop {
        tokio::time::sleep(every).await;
        let progress = tally.lock().progress();
        let beat = worker
            .queue
            .heartbeat(&lease.job.id, &lease.lease, progress);
        match beat.await {
            Ok(Verdict::Yours) => renewed = Instant::now(),
            Ok(verdict) => return verdict,
            Err(error) => {
                tracing::warn!(job = lease.job.id, %error, "no heartbeat");
                if renewed.elapsed() >= worker.lease {
                    return Verdict::Lost;
                }
            }
        }
    }
}

/// Gives a job back, worked through or not. Tries again for as long as the lease lasts.
async fn give_back(
    worker: &Worker,
    lease: &Lease,
    outcome: Option<Outcome>,
) -> Result<(), origin::jobs::Error> {
    let since = Instant::now();
    loop {
        let (id, token) = (&lease.job.id, &lease.lease);
        let said = match &outcome {
            Some(outcome) => worker.queue.finish(id, token, outcome.clone()).await,
            None => worker.queue.release(id, token).await,
        };
        match said {
            Err(origin::jobs::Error::Unavailable(_)) if since.elapsed() < worker.lease => {
                tokio::time::sleep(HEARTBEAT.min(worker.lease / 4)).await;
            }
            other => return other.map(|_| ()),
        }
    }
}
