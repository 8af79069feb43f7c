//! `segue worker`: ingests whatever is put into a folder, until it is stopped.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use clap::Args as ClapArgs;
use origin::Origin;
use transcoder::Event;

use crate::{data::DataDir, ingest, isolation, shutdown};

/// What `segue worker` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// The folder to look at, with all below it.
    #[arg(long, env = "SEGUE_WATCH", value_name = "DIR")]
    watch: PathBuf,

    /// The stack's data directory [default: ~/.local/share/segue].
    #[arg(long, env = "SEGUE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// Where objects go, as for `segue ingest`.
    #[arg(long, env = "SEGUE_STORAGE", value_name = "URL")]
    storage: Option<String>,

    /// Encoding threads [default: one a core].
    #[arg(long, env = "SEGUE_THREADS", value_name = "N")]
    threads: Option<usize>,

    #[command(flatten)]
    isolation: isolation::FileLimits,

    /// How often to look. A file counts as complete when it did not change between two looks.
    #[arg(long, env = "SEGUE_INTERVAL", value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    interval: Duration,
}

/// A file's state as far as a change shows in it.
type Stamp = (u64, SystemTime);

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// Where the store or the catalogue can't be opened.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.watch.is_dir(),
        "--watch {}: no such folder",
        args.watch.display()
    );
    let data = DataDir::open(args.data)?;
    let url = data.storage_url(args.storage.as_deref());
    let store = storage::open(&url)
        .await
        .with_context(|| format!("can't open the store {url}"))?;
    let origin = Origin::open(origin::Config::at(data.origin()), Arc::clone(&store)).await?;
    let cancel = shutdown::on_signals()?;
    let mut seen: HashMap<PathBuf, Stamp> = HashMap::new();
    let mut settled: HashMap<PathBuf, Stamp> = HashMap::new();
    tracing::info!(folder = %args.watch.display(), "watching");
    while !cancel.is_cancelled() {
        let now = scan(args.watch.clone()).await?;
        let ready: Vec<PathBuf> = now
            .iter()
            .filter(|(path, stamp)| {
                seen.get(*path) == Some(stamp) && settled.get(*path) != Some(stamp)
            })
            .map(|(path, _)| path.clone())
            .collect();
        for path in &ready {
            if let Some(stamp) = now.get(path) {
                settled.insert(path.clone(), *stamp);
            }
        }
        settled.retain(|path, _| now.contains_key(path));
        seen = now;
        if !ready.is_empty() {
            let batch = ingest::Batch {
                store: Arc::clone(&store),
                origin: &origin,
                data: &data,
                threads: args.threads,
                isolation: args.isolation.isolation(),
                paths: ready,
            };
            ingest::batch(batch, cancel.clone(), log).await?;
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(args.interval) => {}
        }
    }
    Ok(())
}

fn log(event: &Event) {
    match event {
        Event::Published { track, fresh, .. } => {
            tracing::info!(track = %track.id, title = track.tags.title, fresh, "published");
        }
        Event::Failed { path, error, .. } => {
            tracing::warn!(file = %path.display(), %error, "not published");
        }
        _ => {}
    }
}

async fn scan(root: PathBuf) -> anyhow::Result<HashMap<PathBuf, Stamp>> {
    Ok(tokio::task::spawn_blocking(move || {
        let mut files = HashMap::new();
        walk(&root, &mut files);
        files
    })
    .await?)
}

/// Symbolic links are not followed: a loop would never end.
fn walk(dir: &Path, files: &mut HashMap<PathBuf, Stamp>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        tracing::warn!(folder = %dir.display(), "can't be read");
        return;
    };
    for entry in entries.flatten() {
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let (Ok(kind), Ok(meta)) = (entry.file_type(), entry.metadata()) else {
            continue;
        };
        if kind.is_dir() && !hidden {
            walk(&entry.path(), files);
        } else if kind.is_file() && !hidden {
            let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            files.insert(entry.path(), (meta.len(), modified));
        }
    }
}
