//! `segue origin`: objects, manifests and the control plane, for edges to stand in front of.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::Args as ClapArgs;
use origin::Origin;
use tokio::net::TcpListener;

use crate::{
    data::{DataDir, write_whole},
    shutdown,
};

/// What `segue origin` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Database and keys [default: ~/.local/share/segue].
    #[arg(long, env = "SEGUE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// Where objects are: a directory, or s3://bucket/prefix?endpoint=URL&region=R&path-style=true
    /// [default: objects/ in the data directory].
    #[arg(long, env = "SEGUE_STORAGE", value_name = "URL")]
    storage: Option<String>,

    /// Where to listen. Origins trust their edges: bind to a private address.
    #[arg(
        long,
        env = "SEGUE_HTTP",
        value_name = "ADDR",
        default_value = "127.0.0.1:8000"
    )]
    http: SocketAddr,

    /// Services to run, comma-separated [default: all].
    #[arg(
        long,
        env = "SEGUE_SERVICES",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    services: Vec<origin::Service>,

    /// Give listening tokens only to whom the operator mints them for, not to every visitor.
    #[arg(long, env = "SEGUE_PRIVATE")]
    private: bool,

    /// Write the address as JSON to this file once it answers.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// Runs until SIGINT or SIGTERM, then finishes what is under way.
///
/// # Errors
/// Where the store, the database or the address can't be opened.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let data = DataDir::open(args.data)?;
    let url = data.storage_url(args.storage.as_deref());
    let store = storage::open(&url)
        .await
        .with_context(|| format!("can't open the store {url}"))?;
    let mut config = origin::Config::at(data.origin());
    config.anonymous_listening = !args.private;
    if !args.services.is_empty() {
        config.services = args.services.into_iter().collect();
    }
    let cancel = shutdown::on_signals()?;
    let origin = Arc::new(Origin::open(config, store).await?);
    origin.reconcile().await?;
    let listener = TcpListener::bind(args.http)
        .await
        .with_context(|| format!("can't listen on {}", args.http))?;
    let http = format!("http://{}", listener.local_addr()?);
    tracing::info!(%http, "origin is ready");
    if let Some(file) = &args.ready_file {
        write_whole(
            file,
            &serde_json::to_vec(&serde_json::json!({ "http": http }))?,
        )?;
    }
    Ok(origin.serve(listener, cancel).await?)
}
