//! `segue`: one binary for every role. Composition only; each role lives in its own crate.

mod activation;
mod attempt;
mod cli;
mod config;
mod data;
mod edge_role;
mod enqueue;
mod fetch;
mod gc;
mod ingest;
mod inspect;
mod isolation;
mod jobs;
mod logging;
mod notify;
mod origin_role;
mod pending;
mod progress;
mod purge;
mod queue;
mod settings;
mod shutdown;
mod sources;
mod status;
mod takedown;
mod token;
mod up;
mod upgrade;
mod watch;
mod worker;

use std::process::ExitCode;

use clap::Parser;

// A cache node allocates and frees headers and slices all day from many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(cli::Cli::parse())
}
