//! `segue gc`: removes what ingests left behind that never got to their end.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use clap::Args as ClapArgs;
use origin::{Collection, Origin};

use crate::data::DataDir;

/// What `segue gc` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Leave what is younger: longer than any ingest takes that is not a job in the queue.
    #[arg(long, value_name = "DURATION", default_value = "2d", value_parser = humantime::parse_duration)]
    older_than: Duration,

    /// Only say what would be removed.
    #[arg(long)]
    dry_run: bool,

    /// The stack's data directory, whose queue says what is under way [default: ~/.local/share/segue].
    #[arg(long, env = "SEGUE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// Where objects are, as for `segue ingest`.
    #[arg(long, env = "SEGUE_STORAGE", value_name = "URL")]
    storage: Option<String>,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Collects.
///
/// # Errors
/// Where the store or the queue can't be opened, or fails.
#[expect(clippy::print_stdout, reason = "the command's result")]
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let data = DataDir::open(args.data)?;
    let url = data.storage_url(args.storage.as_deref());
    let store = storage::open(&url)
        .await
        .with_context(|| format!("can't open the store {url}"))?;
    let origin = Origin::open(origin::Config::at(data.origin()), Arc::clone(&store)).await?;
    let found = origin
        .collect_orphans(Collection {
            older_than: args.older_than,
            now: SystemTime::now(),
            dry_run: args.dry_run,
        })
        .await?;
    if args.json {
        println!("{}", serde_json::to_string(&found)?);
        return Ok(());
    }
    let verb = if args.dry_run {
        "would remove"
    } else {
        "removed"
    };
    println!(
        "{verb} {} objects of {} unfinished revisions, {:.1} MB; left {} younger ones",
        found.objects,
        found.revisions,
        found.bytes as f64 / 1e6,
        found.left
    );
    Ok(())
}
