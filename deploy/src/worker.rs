//! `segue worker`: takes jobs from a queue and works on them, until it is stopped.

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Args as ClapArgs;
use origin::{
    Origin,
    jobs::{Queue, State},
};
use storage::ObjectStore;
use tokio_util::sync::CancellationToken;
use transcoder::Isolation;

use crate::{
    attempt, data::DataDir, fetch::FetchArgs, isolation, queue::QueueArgs, shutdown, watch,
};

/// Longest wait before a queue that failed is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What `segue worker` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// A folder, or s3://bucket/prefix?endpoint=URL, to put into the queue, with all below it, as
    /// files come.
    #[arg(long, env = "SEGUE_WATCH", value_name = "PLACE")]
    watch: Option<PathBuf>,

    /// How often to look there. A file counts as complete when it did not change between
    /// two looks.
    #[arg(long, env = "SEGUE_INTERVAL", value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    interval: Duration,

    /// The stack's data directory [default: ~/.local/share/segue].
    #[arg(long, env = "SEGUE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// Where objects go, as for `segue ingest`.
    #[arg(long, env = "SEGUE_STORAGE", value_name = "URL")]
    storage: Option<String>,

    #[command(flatten)]
    queue: QueueArgs,

    /// Jobs worked on at once.
    #[arg(long, env = "SEGUE_JOBS", value_name = "N", default_value = "1")]
    jobs: NonZeroUsize,

    /// How long a job stays this worker's when it is not heard of any more.
    #[arg(long, env = "SEGUE_LEASE", value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    lease: Duration,

    /// How often to ask an empty queue.
    #[arg(long, env = "SEGUE_POLL", value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    poll: Duration,

    /// End when all jobs in the queue are over.
    #[arg(long, conflicts_with = "watch")]
    drain: bool,

    /// Encoding threads [default: one a core].
    #[arg(long, env = "SEGUE_THREADS", value_name = "N")]
    threads: Option<usize>,

    #[command(flatten)]
    isolation: isolation::FileLimits,

    #[command(flatten)]
    fetch: FetchArgs,
}

/// What a worker works with.
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) lease: Duration,
    pub(crate) data: DataDir,
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Whose catalogue hears of tracks, where the queue is this machine's.
    pub(crate) origin: Option<Origin>,
    pub(crate) threads: Option<usize>,
    pub(crate) isolation: Isolation,
    pub(crate) checkpoint_from: u64,
    pub(crate) fetch: FetchArgs,
}

/// Runs until SIGINT or SIGTERM; jobs under way are given back.
///
/// # Errors
/// Where the store, the queue or the catalogue can't be opened.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let data = DataDir::open(args.data)?;
    let url = data.storage_url(args.storage.as_deref());
    let store = storage::open(&url)
        .await
        .with_context(|| format!("can't open the store {url}"))?;
    let (queue, origin): (Arc<dyn Queue>, _) = match args.queue.remote()? {
        Some(queue) => (queue, None),
        None => {
            let config = origin::Config::at(data.origin());
            let origin = Origin::open(config, Arc::clone(&store)).await?;
            (Arc::new(origin.jobs().clone()), Some(origin))
        }
    };
    let cancel = shutdown::on_signals()?;
    let worker = Arc::new(Worker {
        name: name(),
        queue,
        lease: args.lease,
        data,
        store,
        origin,
        threads: args.threads,
        isolation: args.isolation.isolation(),
        checkpoint_from: args.isolation.checkpoint_from,
        fetch: args.fetch,
    });
    tracing::info!(name = worker.name, queue = ?worker.queue, "working");
    let mut tasks = tokio::task::JoinSet::new();
    if let Some(place) = args.watch {
        let watch = watch::Watch::new(place, args.interval).await?;
        let (queue, isolation) = (Arc::clone(&worker.queue), worker.isolation.clone());
        let cancel = cancel.clone();
        tasks.spawn(async move { watch.run(queue, isolation, cancel).await });
    }
    for _ in 0..args.jobs.get() {
        let (worker, cancel) = (Arc::clone(&worker), cancel.clone());
        tasks.spawn(async move { work(&worker, args.poll, args.drain, cancel).await });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Takes job after job.
async fn work(
    worker: &Worker,
    poll: Duration,
    drain: bool,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let mut pause = poll;
    while !cancel.is_cancelled() {
        match worker.queue.claim(&worker.name, worker.lease).await {
            Ok(Some(lease)) => {
                pause = poll;
                attempt::run(worker, lease, &cancel).await;
                continue;
            }
            Ok(None) if drain && is_empty(&*worker.queue).await => return Ok(()),
            Ok(None) => pause = poll,
            Err(error) => {
                tracing::warn!(%error, "no job");
                pause = (pause * 2).min(LONGEST_PAUSE).max(poll);
            }
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    Ok(())
}

/// Whether no job waits or is under way anywhere.
async fn is_empty(queue: &dyn Queue) -> bool {
    for state in [State::Queued, State::Running] {
        if !queue
            .list(Some(state), 1)
            .await
            .is_ok_and(|jobs| jobs.is_empty())
        {
            return false;
        }
    }
    true
}

/// Host and process, for whoever looks at the queue.
fn name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}/{}", host.trim(), std::process::id())
}
