//! `segue inspect`: explains a packaged file.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Args as ClapArgs;

/// What `segue inspect` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// A fragmented MP4 file, ours or a foreign one.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Prints the explanation; exit code 1 where the file breaks a rule.
///
/// # Errors
/// Where the file can't be read.
#[expect(clippy::print_stdout, reason = "what the command is for")]
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let file = std::fs::File::open(&args.file)
        .with_context(|| format!("can't read {}", args.file.display()))?;
    let report = transcoder::inspect::file(file)
        .with_context(|| format!("can't read {}", args.file.display()))?;
    print!("{report}");
    Ok(if report.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
