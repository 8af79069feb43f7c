//! End-to-end tests: the real binary, real sockets, real files, real players.
//!
//! They assert what listeners, players and operators see, and print what they measured. Tools that
//! are missing skip a test aloud; with `SEGUE_REQUIRE_TOOLS=1` (set by `make test`) they fail it.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod access;
mod activation;
mod bad_input;
mod browser;
mod conformance;
mod correlate;
mod crash;
mod decode;
mod exact;
mod fixtures;
mod formats;
mod h2;
mod h3;
mod health;
mod hostile;
mod http;
mod isolation;
mod jobs;
mod load;
mod mutants;
mod operate;
mod parsers;
mod players;
mod process;
mod restart;
mod resume;
mod retag;
mod rules;
mod s3;
mod signal;
mod sources;
mod stack;
mod supply;
mod takedown;
mod tools;
mod uploads;
mod wav;
