//! `segue up`: every role in one process, on embedded engines.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use clap::Args as ClapArgs;
use origin::Origin;
use storage::ObjectStore;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use transcoder::isolate::Bounds;

use crate::{
    data::{DataDir, RecordGuard, Running, write_whole},
    fetch::FetchArgs,
    ingest, isolation,
    pending::Pending,
    progress::Progress,
    shutdown,
    sources::Sources,
};

/// What `segue up` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Where everything is kept [default: ~/.local/share/segue].
    #[arg(long, env = "SEGUE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// Where objects are: a directory, or s3://bucket/prefix?endpoint=URL&region=R&path-style=true
    /// [default: objects/ in the data directory].
    #[arg(long, env = "SEGUE_STORAGE", value_name = "URL")]
    storage: Option<String>,

    /// Plaintext HTTP/1.1 and HTTP/2 (prior knowledge).
    #[arg(
        long,
        env = "SEGUE_HTTP",
        value_name = "ADDR",
        default_value = "127.0.0.1:8080"
    )]
    http: SocketAddr,

    /// TLS: HTTP/1.1 and HTTP/2 over TCP, HTTP/3 over UDP.
    #[arg(
        long,
        env = "SEGUE_HTTPS",
        value_name = "ADDR",
        default_value = "127.0.0.1:8443"
    )]
    https: SocketAddr,

    /// Health, metrics and purge.
    #[arg(
        long,
        env = "SEGUE_ADMIN",
        value_name = "ADDR",
        default_value = "127.0.0.1:9090"
    )]
    admin: SocketAddr,

    /// Certificate chain in PEM [default: a development certificate, made on first start].
    #[arg(long, env = "SEGUE_CERT", value_name = "PEM", requires = "key")]
    cert: Option<PathBuf>,

    /// Private key in PEM.
    #[arg(long, env = "SEGUE_KEY", value_name = "PEM", requires = "cert")]
    key: Option<PathBuf>,

    /// Memory for cached bodies.
    #[arg(long, env = "SEGUE_MEMORY", value_name = "SIZE", default_value = "256MiB", value_parser = edge::units::parse_size)]
    memory: u64,

    /// Disk for cached bodies.
    #[arg(long, env = "SEGUE_DISK_SIZE", value_name = "SIZE", default_value = "2GiB", value_parser = edge::units::parse_size)]
    disk_size: u64,

    /// Start with an empty catalogue instead of the demo music.
    #[arg(long, env = "SEGUE_NO_DEMO")]
    no_demo: bool,

    /// Give listening tokens only to whom the operator mints them for, not to every visitor.
    #[arg(long, env = "SEGUE_PRIVATE")]
    private: bool,

    /// Write the addresses as JSON to this file once everything answers.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// Runs until SIGINT or SIGTERM, then drains.
///
/// # Errors
/// Where a part can't start, or fails later.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let data = DataDir::open(args.data.clone())?;
    if let Some(other) = data.running() {
        anyhow::bail!(
            "a stack already runs on {} as process {}, at {}; stop it first or give this one another --data",
            data.path().display(),
            other.pid,
            other.http,
        );
    }
    let cancel = shutdown::on_signals()?;
    let url = data.storage_url(args.storage.as_deref());
    let store = storage::open(&url)
        .await
        .with_context(|| format!("can't open the store {url}"))?;
    let origin = start_origin(&args, &data, Arc::clone(&store)).await?;

    // The origin outlives the edge, so that requests under way can still be filled.
    let origin_stop = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin_addr = listener.local_addr()?;
    let origin_task = tokio::spawn(Arc::clone(&origin).serve(listener, origin_stop.clone()));

    let server = edge::Server::bind(edge_config(&args, &data, &origin, origin_addr)).await?;
    let (running, record) = announce(&server, &data)?;
    // Whoever takes down from here on finds the record, and purges this edge itself.
    Pending::of(&data).purge(server.edge()).await?;
    let edge_task = tokio::spawn(server.run(cancel.clone()));

    if !args.no_demo {
        demo(&data, &store, &origin, cancel.clone()).await?;
    }
    if !cancel.is_cancelled() {
        if let Some(file) = &args.ready_file {
            write_whole(file, &serde_json::to_vec(&running)?)?;
        }
        banner(&running, &data);
    }
    let result = edge_task.await?;
    origin_stop.cancel();
    origin_task.await??;
    drop(record);
    Ok(result?)
}

async fn start_origin(
    args: &Args,
    data: &DataDir,
    store: Arc<dyn ObjectStore>,
) -> anyhow::Result<Arc<Origin>> {
    let mut config = origin::Config::at(data.origin());
    config.anonymous_listening = !args.private;
    let origin = Arc::new(Origin::open(config, store).await?);
    let found = origin.reconcile().await?;
    if found > 0 {
        tracing::info!(tracks = found, "entered tracks that the catalogue lacked");
    }
    Ok(origin)
}

fn edge_config(
    args: &Args,
    data: &DataDir,
    origin: &Origin,
    origin_addr: SocketAddr,
) -> edge::Config {
    edge::Config {
        upstream: format!("http://{origin_addr}"),
        http: Some(args.http),
        https: Some(args.https),
        admin: Some(args.admin),
        cert: args.cert.clone(),
        key: args.key.clone(),
        state_dir: data.edge(),
        memory: args.memory,
        disk: Some(data.edge().join("cache")),
        disk_size: args.disk_size,
        keyset: edge::config::KeysetSource::Inline(origin.keyset()),
        limits: edge::config::Limits {
            // Whoever stops it waits for it.
            drain_idle: std::time::Duration::from_millis(500),
            ..edge::config::Limits::default()
        },
        ..edge::Config::default()
    }
}

fn announce(server: &edge::Server, data: &DataDir) -> anyhow::Result<(Running, RecordGuard)> {
    let addrs = server.addrs();
    let bound = |addr: Option<SocketAddr>, what: &str| {
        addr.with_context(|| format!("the {what} listener did not start"))
    };
    let running = Running::here(
        bound(addrs.http, "http")?,
        bound(addrs.https, "https")?,
        bound(addrs.admin, "admin")?,
    );
    let record = data.record(&running)?;
    Ok((running, record))
}

/// Publishes the demo music on a catalogue that has no track yet.
async fn demo(
    data: &DataDir,
    store: &Arc<dyn ObjectStore>,
    origin: &Origin,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let folder = data.path().join("demo");
    let done = folder.join(".published");
    if done.exists() || (origin.catalog().track_count().await? > 0 && !folder.exists()) {
        return Ok(());
    }
    say("First start: composing and packaging the demo music (well under a minute on two cores).");
    let files = render_demo(folder.clone()).await?;
    let progress = Progress::start(false);
    let outcome = ingest::batch(
        ingest::Batch {
            store: Arc::clone(store),
            origin: Some(origin),
            data,
            threads: None,
            isolation: isolation::process(Bounds::default()),
            checkpoint_from: transcoder::CHECKPOINT_FROM,
            fetch: &FetchArgs::none(),
            sources: Sources {
                paths: files,
                remote: Vec::new(),
            },
        },
        cancel.clone(),
        |event| progress.event(event),
    )
    .await;
    progress.finish();
    if outcome?.failures.is_empty() && !cancel.is_cancelled() {
        std::fs::write(done, b"")?;
    }
    Ok(())
}

async fn render_demo(folder: PathBuf) -> anyhow::Result<Vec<PathBuf>> {
    let files = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&folder)?;
        transcoder::demo::write(&folder, |_, _| {})
    })
    .await?;
    files.context("can't write the demo music")
}

fn banner(running: &Running, data: &DataDir) {
    let ingest = ingest_command(data);
    say(&format!(
        "\nSegue is ready.\n\
         \n  Player     {}/\
         \n  HTTP/3     {}/\
         \n  Admin      {}/metrics\
         \n  Your music {ingest}\n\
         \nCtrl-C stops it.",
        running.http, running.https, running.admin,
    ));
}

/// How this very binary is called from where the user stands.
fn ingest_command(data: &DataDir) -> String {
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "segue".to_owned());
    let default = DataDir::open(None).ok();
    let flag = match default {
        Some(default) if default.path() == data.path() => String::new(),
        _ => format!(" --data {}", quoted(data.path())),
    };
    format!("{program} ingest{flag} ~/Music")
}

fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    if text.contains(|c: char| c.is_whitespace() || "'\"$&;()".contains(c)) {
        format!("'{}'", text.replace('\'', r"'\''"))
    } else {
        text
    }
}

#[expect(clippy::print_stdout, reason = "what the command is for")]
fn say(text: &str) {
    println!("{text}");
}
