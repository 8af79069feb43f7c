//! `segue ingest`: encode and publish files, and enter them in the catalogue of the data directory.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use clap::Args as ClapArgs;
use manifests::Track;
use origin::{Origin, jobs::Job};
use storage::ObjectStore;
use tokio_util::sync::CancellationToken;
use transcoder::{Event, Isolation};

use crate::{
    data::DataDir,
    enqueue, isolation,
    progress::{self, Progress},
    queue::QueueArgs,
    shutdown, token,
};

/// What `segue ingest` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Audio files, or folders to search for them.
    #[arg(required = true, value_name = "PATH")]
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

    /// Print one JSON object for each file on standard output instead of a table.
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
    for path in &args.paths {
        anyhow::ensure!(path.exists(), "{}: no such file or folder", path.display());
    }
    let data = DataDir::open(args.data)?;
    let url = data.storage_url(args.storage.as_deref());
    let store = storage::open(&url)
        .await
        .with_context(|| format!("can't open the store {url}"))?;
    if args.enqueue || args.queue.is_remote() {
        let queue = args.queue.open(&data, store).await?;
        let isolation = args.isolation.isolation();
        let jobs = enqueue::files(&*queue, args.paths, args.priority, isolation).await?;
        return print_jobs(&jobs, args.json);
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
            paths: args.paths,
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
    if !args.json {
        print_summary(&outcome, &data)?;
    }
    let complete = outcome.failed == 0 && outcome.unregistered == 0 && !cancel.is_cancelled();
    if outcome.tracks.is_empty() && outcome.failed == 0 && !cancel.is_cancelled() {
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
    /// Files and folders.
    pub(crate) paths: Vec<PathBuf>,
}

/// What a batch did.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Published tracks, also those that were there before.
    pub(crate) tracks: Vec<Arc<Track>>,
    /// Files that could not be published.
    pub(crate) failed: usize,
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
        transcoder::ingest(config, batch.paths, heard, cancel).await
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
    outcome.failed = report?.failed;
    Ok(outcome)
}

#[expect(clippy::print_stdout, reason = "the command's result")]
fn print_json(event: &Event) {
    let line = match event {
        Event::Published { track, fresh, .. } => serde_json::json!({
            "status": if *fresh { "published" } else { "present" },
            "track": track.id, "revision": track.revision, "title": track.tags.title,
            "file": track.source.file_name, "hls": format!("/v1/tracks/{}/index.m3u8", track.id),
        }),
        Event::Failed { path, error, .. } => serde_json::json!({
            "status": "failed", "file": path, "error": error.to_string(), "reason": error.code(),
        }),
        _ => return,
    };
    println!("{line}");
}

#[expect(clippy::print_stdout, reason = "the command's result")]
fn print_jobs(jobs: &[Job], json: bool) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(!jobs.is_empty(), "no audio files found");
    for job in jobs {
        match json {
            true => println!("{}", serde_json::to_string(job)?),
            false => println!("{}  {} files", job.id, job.sources.len()),
        }
    }
    if !json {
        println!("`segue worker` works on them; `segue jobs list` shows how far they are");
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the command's result")]
fn print_summary(outcome: &Outcome, data: &DataDir) -> anyhow::Result<()> {
    for track in &outcome.tracks {
        println!(
            "{}  {}  ({}, {} renditions)",
            track.id,
            progress::title(track),
            minutes(track.duration_s),
            track.renditions.len(),
        );
    }
    if outcome.failed > 0 {
        println!("{} files failed; the reasons stand above", outcome.failed);
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
