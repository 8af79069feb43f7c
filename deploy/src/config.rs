//! Configuration files: one TOML file with a table for each role, unknown fields refused.

use std::{path::Path, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Subcommand;
use serde::Deserialize;

/// What a configuration file holds.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct File {
    /// `[edge]`: a cache node.
    pub(crate) edge: Option<edge::Config>,
}

/// What `segue config` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read a file and report every fault in it; nothing is started.
    Check {
        /// The file.
        file: PathBuf,
    },
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// Where it can't be read, or holds an unknown field or an ill-formed value; the message names
    /// the line.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("can't read {}", path.display()))?;
        toml::from_str(&text).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))
    }
}

/// Runs `segue config check`; exit code 1 where there are faults.
///
/// # Errors
/// Where the file can't be read at all.
#[expect(clippy::print_stdout, reason = "the command's result")]
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    let Command::Check { file } = command;
    let read = File::read(&file)?;
    let Some(edge) = read.edge else {
        anyhow::bail!("{}: no [edge] table", file.display());
    };
    match edge.validate() {
        Ok(()) => {
            println!("{}: sound", file.display());
            Ok(ExitCode::SUCCESS)
        }
        Err(faults) => {
            for fault in &faults.0 {
                println!("{}: {fault}", file.display());
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_is_read_and_a_misspelt_field_is_named() {
        let file: File = toml::from_str(
            "[edge]\nupstream = 'http://127.0.0.1:8000'\nhttp = '127.0.0.1:0'\nmemory = '64MiB'\n[edge.limits]\nidle = '30s'\n",
        )
        .unwrap();
        assert_eq!(file.edge.unwrap().memory, 64 << 20);
        let fault = toml::from_str::<File>("[edge]\nmemroy = '64MiB'\n")
            .unwrap_err()
            .to_string();
        assert!(
            fault.contains("memroy") && fault.contains("line 2"),
            "{fault}"
        );
    }
}
