//! The process's own log, on standard error. The edge's access log is apart from this one.

use std::{io::IsTerminal as _, sync::OnceLock};

use clap::ValueEnum;
use parking_lot::Mutex;
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

/// What replaces the filter of the running log.
type Replace = Box<dyn Fn(EnvFilter) -> anyhow::Result<()> + Send + Sync>;

/// The level in force, and how to change it.
struct Level {
    text: Mutex<String>,
    replace: Replace,
}

static LEVEL: OnceLock<Level> = OnceLock::new();

/// Starts logging at `level` (an `EnvFilter` expression such as `info` or `edge=debug,warn`).
///
/// # Errors
/// Where `level` is no filter expression.
pub(crate) fn start(level: &str, format: Format) -> anyhow::Result<()> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(level)?)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let replace: Replace = match format {
        Format::Text => {
            let builder = builder.with_target(false).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            Box::new(move |filter| Ok(handle.reload(filter)?))
        }
        Format::Json => {
            let builder = builder.json().with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            Box::new(move |filter| Ok(handle.reload(filter)?))
        }
    };
    let text = Mutex::new(level.to_owned());
    let _ = LEVEL.set(Level { text, replace });
    Ok(())
}

/// The level in force.
pub(crate) fn level() -> String {
    LEVEL
        .get()
        .map_or_else(String::new, |level| level.text.lock().clone())
}

/// Logs at another level from now on.
///
/// # Errors
/// Where it is no filter expression.
pub(crate) fn set_level(text: &str) -> anyhow::Result<()> {
    let filter = filter(text)?;
    if let Some(level) = LEVEL.get() {
        (level.replace)(filter)?;
        *level.text.lock() = text.to_owned();
    }
    Ok(())
}

/// The filter of a level.
fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    let filter = EnvFilter::try_new(level)
        .map_err(|e| anyhow::anyhow!("log level {level:?} is not a filter: {e}"))?;
    // Routine news of libraries that an operator can do nothing with.
    let rules = QUIET.iter().filter_map(|rule| rule.parse().ok());
    Ok(rules.fold(filter, EnvFilter::add_directive))
}
