//! The process's own log, on standard error. The edge's access log is apart from this one.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

const QUIET: [&str; 3] = ["foyer_storage=warn", "foyer_memory=warn", "mp4_atom=error"];

/// Starts logging at `level` (an `EnvFilter` expression such as `info` or `edge=debug,warn`).
///
/// # Errors
/// Where `level` is no filter expression.
pub(crate) fn start(level: &str, format: Format) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(level)
        .map_err(|e| anyhow::anyhow!("--log-level {level:?} is not a filter: {e}"))?;
    // Routine news of libraries that an operator can do nothing with.
    let filter = QUIET
        .iter()
        .filter_map(|rule| rule.parse().ok())
        .fold(filter, EnvFilter::add_directive);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        Format::Text => builder.with_target(false).init(),
        Format::Json => builder.json().init(),
    }
    Ok(())
}
