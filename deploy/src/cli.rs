//! The command line: what each command takes, and which module runs it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    config, edge_role, gc, ingest, inspect, isolation, jobs, logging, origin_role, purge, status,
    takedown, token, up, upgrade, worker,
};

const EXAMPLES: &str = "\
Examples:
  segue up                                   the whole stack on this machine, with demo music
  segue ingest ~/Music                       add your own files to it
  segue edge --upstream http://127.0.0.1:8000 --http 127.0.0.1:8080
                                             a complete HTTP cache in front of any origin
  segue loadtest https://127.0.0.1:8443 --protocol h3 --insecure
                                             measure it

Every flag can also be given in the environment: --log-level is SEGUE_LOG_LEVEL, and so on.";

/// Segue, an audio CDN in one binary.
///
/// Cuts audio files into an adaptive ladder of Opus, AAC and FLAC in S3-compatible storage, and
/// serves them from HTTP/3 edge nodes with a memory and disk cache.
#[derive(Debug, Parser)]
#[command(name = "segue", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to log on standard error: error, warn, info, debug, trace, or per module
    /// (`edge=debug,warn`) [default: info for services, warn for commands].
    #[arg(long, global = true, env = "SEGUE_LOG_LEVEL", value_name = "FILTER")]
    log_level: Option<String>,

    /// How to write log lines.
    #[arg(
        long,
        global = true,
        env = "SEGUE_LOG_FORMAT",
        value_enum,
        default_value = "text"
    )]
    log_format: logging::Format,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole stack in one process, on embedded engines, with demo music.
    Up(up::Args),
    /// Encode and publish audio files or whole folders.
    Ingest(Box<ingest::Args>),
    /// Run a cache node in front of an origin.
    Edge(Box<edge_role::Args>),
    /// Run an origin: objects, manifests and the control plane.
    Origin(origin_role::Args),
    /// Encode and publish what is in the queue, and what is put into a folder.
    Worker(Box<worker::Args>),
    /// Remove objects of ingests that never got to their end.
    Gc(gc::Args),
    /// Show, cancel and retry the jobs in the queue.
    Jobs(jobs::Args),
    /// Mint or read access tokens.
    #[command(subcommand)]
    Token(token::Command),
    /// Drop cached responses from a running edge.
    Purge(purge::Args),
    /// Remove tracks from store, catalogue and every edge, so that they stay away.
    Takedown(takedown::Args),
    /// Start a running edge's program anew on the same sockets, without a failed request.
    Upgrade(upgrade::Args),
    /// Load an edge as players do, and print what it bore.
    Loadtest(loadtest::Args),
    /// Show the state of a running stack.
    Status(status::Args),
    /// Check configuration files.
    #[command(subcommand)]
    Config(config::Command),
    /// Explain a packaged file: boxes, edits, segments, and what is wrong with it.
    Inspect(inspect::Args),
    /// Decode and encode one file, out of reach of everything else; `ingest` and `worker` start it.
    #[command(name = isolation::COMMAND, hide = true)]
    FileProcess,
}

impl Command {
    fn default_log_level(&self) -> &'static str {
        match self {
            Self::Up(_) | Self::Edge(_) | Self::Origin(_) | Self::Worker(_) => "info",
            _ => "warn",
        }
    }
}

/// Runs the command to its end; prints a failure with its causes, one a line.
pub(crate) fn run(cli: Cli) -> ExitCode {
    match start(cli) {
        Ok(code) => code,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<ExitCode> {
    // Has to come before any thread.
    if matches!(cli.command, Command::FileProcess) {
        return Ok(transcoder::isolate::serve());
    }
    let level = cli
        .log_level
        .as_deref()
        .unwrap_or(cli.command.default_log_level());
    logging::start(level, cli.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let code = runtime.block_on(dispatch(cli.command));
    // A blocking read that hangs (a dead network mount) must not keep the process alive.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    code
}

async fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Up(args) => up::run(args).await.map(done),
        Command::Ingest(args) => ingest::run(*args).await,
        Command::Edge(args) => edge_role::run(*args).await.map(done),
        Command::Origin(args) => origin_role::run(args).await.map(done),
        Command::Worker(args) => worker::run(*args).await.map(done),
        Command::Gc(args) => gc::run(args).await.map(done),
        Command::Jobs(args) => jobs::run(args).await,
        Command::Token(command) => token::run(command).map(done),
        Command::Purge(args) => purge::run(args).await.map(done),
        Command::Takedown(args) => takedown::run(args).await,
        Command::Upgrade(args) => upgrade::run(args).await.map(done),
        Command::Loadtest(args) => loadtest::run(args).await.map(|_| ExitCode::SUCCESS),
        Command::Status(args) => status::run(args).await,
        Command::Config(command) => config::run(command),
        Command::Inspect(args) => inspect::run(&args),
        Command::FileProcess => anyhow::bail!("has to be started before any thread"),
    }
}

#[expect(clippy::print_stderr, reason = "the last word of a failed command")]
fn report(error: &anyhow::Error) {
    eprintln!("segue: {error}");
    for cause in error.chain().skip(1) {
        // Some errors print their cause themselves; saying it twice helps nobody.
        let cause = cause.to_string();
        if !error.to_string().contains(&cause) {
            eprintln!("  because: {cause}");
        }
    }
}
