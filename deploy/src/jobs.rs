//! `segue jobs`: what the queue holds, for whoever looks after it.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use clap::{Args as ClapArgs, Subcommand};
use origin::jobs::{Job, Queue, State};

use crate::{data::DataDir, queue::QueueArgs};

/// What `segue jobs` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    queue: QueueArgs,

    /// The stack's data directory [default: ~/.local/share/segue].
    #[arg(long, global = true, env = "SEGUE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The jobs that changed last.
    List {
        /// Only those of that state: queued, running, done, dead, cancelled.
        #[arg(long, value_parser = state)]
        state: Option<State>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// All that is known of a job.
    Show {
        /// Its id.
        job: String,
    },
    /// End jobs: at once where they wait, within seconds where they are worked on.
    Cancel {
        /// Their ids.
        #[arg(required = true)]
        jobs: Vec<String>,
    },
    /// Put jobs in again that were given up or cancelled.
    Retry {
        /// Their ids.
        #[arg(required = true)]
        jobs: Vec<String>,
    },
}

fn state(name: &str) -> Result<State, String> {
    State::parse(name).ok_or_else(|| "queued, running, done, dead or cancelled".to_owned())
}

/// Runs the command.
///
/// # Errors
/// Where the queue can't be reached, or there is no such job.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let data = DataDir::open(args.data)?;
    let queue = open(&args.queue, &data).await?;
    match args.command {
        Command::List { state, limit } => {
            for job in queue.list(state, limit).await? {
                print(&job, args.json, line)?;
            }
        }
        Command::Show { job } => print(&queue.get(&job).await?, args.json, details)?,
        Command::Cancel { jobs } => {
            for job in jobs {
                print(&queue.cancel(&job).await?, args.json, line)?;
            }
        }
        Command::Retry { jobs } => {
            for job in jobs {
                print(&queue.retry(&job).await?, args.json, line)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The queue needs no object store: where it is in the data directory, any will do.
async fn open(args: &QueueArgs, data: &DataDir) -> anyhow::Result<Arc<dyn Queue>> {
    let url = data.storage_url(None);
    let store = storage::open(&url)
        .await
        .with_context(|| format!("can't open the store {url}"))?;
    args.open(data, store).await
}

#[expect(clippy::print_stdout, reason = "the command's result")]
fn print(job: &Job, json: bool, people: fn(&Job) -> String) -> anyhow::Result<()> {
    match json {
        true => println!("{}", serde_json::to_string(job)?),
        false => println!("{}", people(job)),
    }
    Ok(())
}

/// A job in a line.
fn line(job: &Job) -> String {
    let what = match (job.sources.as_slice(), &job.error) {
        (_, Some(error)) if job.state == State::Dead => error.clone(),
        ([one], _) => one.clone(),
        ([first, ..], _) => format!("{first} and {} more", job.sources.len() - 1),
        ([], _) => String::new(),
    };
    let state = match (job.state, job.cancel) {
        (State::Running, true) => "ending".to_owned(),
        (State::Running, false) => format!("{:.0} %", job.progress * 100.0),
        (state, _) => state.as_str().to_owned(),
    };
    format!(
        "{}  {state:<9}  {:>7} ago  {what}",
        job.id,
        ago(job.changed_ms)
    )
}

/// A job on several lines.
fn details(job: &Job) -> String {
    let mut lines = vec![
        line(job),
        format!("  attempts  {} of {}", job.attempts, job.max_attempts),
        format!("  priority  {}", job.priority),
        format!("  added     {} ago", ago(job.created_ms)),
    ];
    if let Some(worker) = &job.worker {
        lines.push(format!("  worker    {worker}"));
    }
    if let Some(error) = &job.error {
        lines.push(format!("  error     {error}"));
    }
    for source in &job.sources {
        lines.push(format!("  source    {source}"));
    }
    for track in &job.tracks {
        lines.push(format!("  track     {track}"));
    }
    for failure in &job.failures {
        lines.push(format!("  failed    {}: {}", failure.source, failure.error));
    }
    lines.join("\n")
}

fn ago(ms: i64) -> String {
    let then = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let seconds = then.elapsed().unwrap_or_default().as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
