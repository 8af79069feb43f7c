//! `segue ingest`: encode and publish files, and enter them in the catalogue of the data directory.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use anyhow::Context as _;
use clap::Args as ClapArgs;
use manifests::Track;
use origin::{Origin, jobs::Job};
use storage::ObjectStore;
use tokio_util::sync::CancellationToken;
use transcoder::{Event, Failure, Isolation, Report, Standing};

use crate::{
    data::DataDir,
    enqueue,
    fetch::FetchArgs,
    isolation,
    progress::{self, Progress},
    queue::QueueArgs,
    shutdown,
    sources::{Fetched, Sources},
    token,
};

/// What `segue ingest` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Audio files, or folders to search for them; http:// and https:// URLs of files on hosts that
    /// --allow-host names; s3://bucket/prefix?endpoint=URL for all below a prefix.
    #[arg(required = true, value_name = "SOURCE")]
    paths: Vec<PathBuf>,

    /// The stack's data directory [default: ~/.local/share/segue].
    #[arg(long, env = "SEGUE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// Where objects go: a directory, or s3://bucket/prefix?endpoint=URL&region=R&path-style=true
    /// [default: objects/ in the data directory].
    #[arg(long, env = "SEGUE_STORAGE", value_name = "URL")]
    storage: Option<String>,

    /// Encoding threads [default: one a core].
    #[arg(long, env = "SEGUE_THREADS", value_name = "N")]
    threads: Option<usize>,

    #[command(flatten)]
    isolation: isolation::FileLimits,

    #[command(flatten)]
    fetch: FetchArgs,

    /// Put the files into the queue for `segue worker` instead of working on them here.
    #[arg(long)]
    enqueue: bool,

    /// Of jobs in the queue, those with a higher priority go first.
    #[arg(
        long,
        default_value_t = 0,
        requires = "enqueue",
        allow_hyphen_values = true
    )]
    priority: i32,

    #[command(flatten)]
    queue: QueueArgs,

    /// Only say what would be done with each file.
    #[arg(long, conflicts_with = "enqueue")]
    dry_run: bool,

    /// Print one JSON object for each event on standard output instead of a table. Each file ends
    /// with one that has a `status`.
    #[arg(long)]
    json: bool,

    /// Show no progress.
    #[arg(long, short)]
    quiet: bool,
}

/// Ingests; the exit code says whether every file was published.
///
/// # Errors
/// Where the store or the catalogue can't be opened, or nothing could be searched.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let sources = Sources::of(args.paths).await?;
    let data = DataDir::open(args.data)?;
    let url = data.storage_url(args.storage.as_deref());
    let store = storage::open(&url)
        .await
        .with_context(|| format!("can't open the store {url}"))?;
    if args.enqueue || args.queue.is_remote() {
        let queue = args.queue.open(&data, store).await?;
        let isolation = args.isolation.isolation();
        let jobs = enqueue::sources(&*queue, sources, args.priority, isolation).await?;
        return print_jobs(&jobs, args.json);
    }
    if args.dry_run {
        return dry_run(store, sources, args.isolation.isolation(), args.json).await;
    }
    let origin = Origin::open(origin::Config::at(data.origin()), Arc::clone(&store)).await?;
    let cancel = shutdown::on_signals()?;
    let progress = Progress::start(args.quiet);
    let outcome = batch(
        Batch {
            store,
            origin: Some(&origin),
            data: &data,
            threads: args.threads,
            isolation: args.isolation.isolation(),
            checkpoint_from: args.isolation.checkpoint_from,
            fetch: &args.fetch,
            sources,
        },
        cancel.clone(),
        |event| {
            progress.event(event);
            if args.json {
                print_json(event);
            }
        },
    )
    .await;
    progress.finish();
    let outcome = outcome?;
    match args.json {
        true => print_totals(&outcome, &progress),
        false => print_summary(&outcome, &data, &progress)?,
    }
    let complete =
        outcome.failures.is_empty() && outcome.unregistered == 0 && !cancel.is_cancelled();
    if outcome.tracks.is_empty() && outcome.failures.is_empty() && !cancel.is_cancelled() {
        anyhow::bail!(
            "no audio files found; Segue reads WAV, AIFF, FLAC, ALAC, MP3, AAC (M4A), Vorbis and Opus"
        );
    }
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// One run over some paths into one store and catalogue.
pub(crate) struct Batch<'a> {
    /// Where objects go.
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Whose catalogue hears of new tracks, if it is one here.
    pub(crate) origin: Option<&'a Origin>,
    /// Where scratch files go.
    pub(crate) data: &'a DataDir,
    /// Encoding threads, one a core if not said.
    pub(crate) threads: Option<usize>,
    /// Where files are decoded.
    pub(crate) isolation: Isolation,
    /// See [`transcoder::Config::checkpoint_from`].
    pub(crate) checkpoint_from: u64,
    /// What may be fetched.
    pub(crate) fetch: &'a FetchArgs,
    /// What to ingest.
    pub(crate) sources: Sources,
}

/// What a batch did.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Published tracks, also those that were there before.
    pub(crate) tracks: Vec<Arc<Track>>,
    /// Files that could not be published, and why.
    pub(crate) failures: Vec<Failure>,
    /// Files that a stop came before.
    pub(crate) unfinished: usize,
    /// Tracks that are published but not yet in the catalogue.
    pub(crate) unregistered: usize,
}

/// Encodes and publishes, and registers each track as it is published.
///
/// # Errors
/// Where the batch could not run at all; single files' faults are events.
pub(crate) async fn batch(
    batch: Batch<'_>,
    cancel: CancellationToken,
    on_event: impl Fn(&Event) + Send + Sync,
) -> anyhow::Result<Outcome> {
    let (published, mut inbox) = tokio::sync::mpsc::unbounded_channel::<Arc<Track>>();
    let scratch = batch.data.scratch();
    std::fs::create_dir_all(&scratch)
        .with_context(|| format!("can't create the scratch directory {}", scratch.display()))?;
    let mut config = transcoder::Config::new(Arc::clone(&batch.store), scratch);
    config.isolation = batch.isolation;
    config.checkpoint_from = batch.checkpoint_from;
    if let Some(threads) = batch.threads {
        config.threads = threads.max(1);
    }
    // Dropping the closure closes the channel, which ends the registration below.
    let run = async move {
        let heard = |event: Event| {
            on_event(&event);
            if let Event::Published { track, .. } = &event {
                let _ = published.send(Arc::clone(track));
            }
        };
        let run = Run {
            config,
            fetch: batch.fetch,
            heard: &heard,
            cancel,
        };
        // Boxed: they are large, and few.
        Box::pin(run.all(batch.sources)).await
    };
    let register = async {
        let mut outcome = Outcome::default();
        while let Some(track) = inbox.recv().await {
            if let Some(origin) = batch.origin
                && let Err(error) = origin.catalog().register(&track).await
            {
                tracing::error!(track = %track.id, %error, "published, but not entered in the catalogue; the origin finds it when it next starts");
                outcome.unregistered += 1;
            }
            outcome.tracks.push(track);
        }
        outcome
    };
    let (report, mut outcome) = tokio::join!(run, register);
    let report = report?;
    outcome.failures = report.failures;
    outcome.unfinished = report.unfinished;
    Ok(outcome)
}

/// A batch at work.
struct Run<'a, F> {
    config: transcoder::Config,
    fetch: &'a FetchArgs,
    heard: &'a F,
    cancel: CancellationToken,
}

impl<F: Fn(Event) + Send + Sync> Run<'_, F> {
    /// Files here together, and then what has to be fetched, one after the other: of all that only
    /// one file is on this machine at a time.
    async fn all(&self, sources: Sources) -> Result<Report, transcoder::Error> {
        let next = AtomicUsize::new(0);
        let mut sum = match sources.paths.is_empty() {
            true => Report::default(),
            false => self.some(sources.paths, &next, None).await?,
        };
        for source in sources.remote {
            if self.cancel.is_cancelled() {
                sum.unfinished += 1;
                continue;
            }
            let report = Box::pin(self.one(&source, &next)).await?;
            sum.failures.extend(report.failures);
            sum.unfinished += report.unfinished;
        }
        Ok(sum)
    }

    /// A file from elsewhere.
    async fn one(&self, source: &str, next: &AtomicUsize) -> Result<Report, transcoder::Error> {
        let fetched = tokio::select! {
            fetched = Fetched::new(self.fetch, source, &self.config.work_dir) => fetched,
            () = self.cancel.cancelled() => {
                return Ok(Report { unfinished: 1, ..Report::default() });
            }
        };
        match fetched {
            Ok(fetched) => {
                let paths = vec![fetched.path.clone()];
                self.some(paths, next, Some((&fetched, source))).await
            }
            Err(error) => {
                let job = next.fetch_add(1, Relaxed);
                let path = PathBuf::from(source);
                let failure = Failure {
                    path: path.clone(),
                    error: Arc::new(transcoder::Error::NotBrought {
                        code: error.code(),
                        transient: error.is_transient(),
                        what: error.to_string(),
                    }),
                };
                (self.heard)(Event::Found {
                    job,
                    path: path.clone(),
                    bytes: 0,
                });
                (self.heard)(Event::Failed {
                    job,
                    path,
                    error: Arc::clone(&failure.error),
                });
                Ok(Report {
                    failures: vec![failure],
                    ..Report::default()
                })
            }
        }
    }

    /// Files here. Jobs count on from `next`; a fetched file goes by the name of its source.
    async fn some(
        &self,
        paths: Vec<PathBuf>,
        next: &AtomicUsize,
        fetched: Option<(&Fetched, &str)>,
    ) -> Result<Report, transcoder::Error> {
        let first = next.load(Relaxed);
        let named = |path: &mut PathBuf| {
            if let Some((fetched, source)) = fetched
                && fetched.is(path)
            {
                *path = PathBuf::from(source);
            }
        };
        let heard = |mut event: Event| {
            match &mut event {
                Event::Found { job, path, .. } | Event::Failed { job, path, .. } => {
                    *job += first;
                    next.fetch_max(*job + 1, Relaxed);
                    named(path);
                }
                Event::Started { job }
                | Event::Progress { job, .. }
                | Event::Stored { job, .. }
                | Event::Published { job, .. } => *job += first,
            }
            (self.heard)(event);
        };
        let config = self.config.clone();
        let mut report = transcoder::ingest(config, paths, heard, self.cancel.clone()).await?;
        for failure in &mut report.failures {
            named(&mut failure.path);
        }
        Ok(report)
    }
}

/// An event as one line. What a file comes to has a `status`.
#[expect(clippy::print_stdout, reason = "the command's result")]
fn print_json(event: &Event) {
    let line = match event {
        Event::Found { job, path, bytes } => serde_json::json!({
            "event": "found", "job": job, "file": path, "bytes": bytes,
        }),
        Event::Started { job } => serde_json::json!({ "event": "started", "job": job }),
        Event::Progress {
            job,
            stage,
            fraction,
        } => serde_json::json!({
            "event": "progress", "job": job, "stage": stage.as_str(), "fraction": fraction,
        }),
        Event::Stored {
            job,
            rendition,
            bytes,
            resumed,
        } => serde_json::json!({
            "event": "stored", "job": job, "rendition": rendition, "bytes": bytes,
            "resumed": resumed,
        }),
        Event::Published { job, track, change } => serde_json::json!({
            "event": "ended", "job": job, "status": change.as_str(),
            "track": track.id, "revision": track.revision, "title": track.tags.title,
            "file": track.source.file_name, "hls": format!("/v1/tracks/{}/index.m3u8", track.id),
        }),
        Event::Failed { job, path, error } => serde_json::json!({
            "event": "ended", "job": job, "status": "failed", "file": path,
            "error": error.to_string(), "reason": error.code(),
        }),
    };
    println!("{line}");
}

#[expect(clippy::print_stdout, reason = "the command's result")]
fn print_totals(outcome: &Outcome, progress: &Progress) {
    let (seconds, speed) = progress.speed();
    let line = serde_json::json!({
        "event": "summary", "tracks": outcome.tracks.len(), "failed": outcome.failures.len(),
        "unfinished": outcome.unfinished, "unregistered": outcome.unregistered,
        "seconds": seconds, "times_real_time": speed,
    });
    println!("{line}");
}

/// Says what would be done; the exit code says whether nothing is in the way.
#[expect(clippy::print_stdout, reason = "the command's result")]
async fn dry_run(
    store: Arc<dyn ObjectStore>,
    sources: Sources,
    isolation: Isolation,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let mut config = transcoder::Config::new(store, std::env::temp_dir());
    config.isolation = isolation;
    let plans = transcoder::survey(config, sources.paths).await?;
    let nothing = plans.is_empty() && sources.remote.is_empty();
    anyhow::ensure!(!nothing, "no audio files found");
    for source in sources.remote {
        match json {
            true => println!(
                "{}",
                serde_json::json!({ "event": "planned", "status": "remote", "file": source })
            ),
            false => println!("would fetch    {source}"),
        }
    }
    let mut clear = true;
    for plan in plans {
        let path = plan.path.display();
        let (status, words) = match &plan.standing {
            Ok(Standing::New) => ("new", format!("would publish  {path}")),
            Ok(Standing::Present(track)) => ("present", format!("already there  {track}  {path}")),
            Err(error) => {
                clear = false;
                ("failed", format!("would fail     {path}: {error}"))
            }
        };
        if json {
            let error = plan.standing.err().map(|error| error.to_string());
            let line = serde_json::json!({
                "event": "planned", "status": status, "file": plan.path, "bytes": plan.bytes,
                "error": error,
            });
            println!("{line}");
        } else {
            println!("{words}");
        }
    }
    Ok(if clear {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[expect(clippy::print_stdout, reason = "the command's result")]
fn print_jobs(jobs: &[Job], json: bool) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(!jobs.is_empty(), "no audio files found");
    for job in jobs {
        match json {
            true => println!("{}", serde_json::to_string(job)?),
            false => println!("{}  {}", job.id, progress::count(job.sources.len(), "file")),
        }
    }
    if !json {
        println!("`segue worker` works on them; `segue jobs list` shows how far they are");
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the command's result")]
fn print_summary(outcome: &Outcome, data: &DataDir, progress: &Progress) -> anyhow::Result<()> {
    for track in &outcome.tracks {
        println!(
            "{}  {}  ({}, {} renditions)",
            track.id,
            progress::title(track),
            minutes(track.duration_s),
            track.renditions.len(),
        );
    }
    let (seconds, speed) = progress.speed();
    let speed = speed.map_or_else(String::new, |speed| format!(", {speed:.0}× real time"));
    let tracks = progress::count(outcome.tracks.len(), "track");
    println!("\n{tracks} in {}{speed}", progress::span(seconds));
    if outcome.unfinished > 0 {
        let files = progress::count(outcome.unfinished, "file");
        println!("{files} not begun or not finished");
    }
    if !outcome.failures.is_empty() {
        println!("{} failed:", outcome.failures.len());
        for failure in &outcome.failures {
            println!("  {}: {}", failure.path.display(), failure.error);
        }
    }
    let Some(track) = outcome.tracks.first() else {
        return Ok(());
    };
    let running = data.running();
    let base = running
        .as_ref()
        .map_or("http://127.0.0.1:8080", |r| r.http.as_str());
    let token = token::listening(data, std::time::Duration::from_secs(24 * 3600))?;
    println!("\nPlayer:  {base}/");
    println!("Any other player, with a token for 24 hours (track ids as above):");
    println!("  HLS   {base}/~{token}/v1/tracks/{}/index.m3u8", track.id);
    println!(
        "  DASH  {base}/~{token}/v1/tracks/{}/manifest.mpd",
        track.id
    );
    if running.is_none() {
        println!("Nothing is running on this data directory yet: start it with `segue up`.");
    }
    Ok(())
}

fn minutes(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    format!("{}:{:02}", whole / 60, whole % 60)
}
