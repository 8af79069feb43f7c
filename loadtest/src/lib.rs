//! Black-box load generator over HTTP/1.1, HTTP/2 and HTTP/3.
//!
//! Fetches as players do, checks every answer, and measures from outside: latency, time to first
//! byte, throughput, and in player mode what listeners would notice. Knows the public API only;
//! depends on no other part of Segue. A run always ends: by its duration, or sooner by a count.

mod args;
mod catalog;
mod client;
mod histogram;
mod player;
mod ranges;
mod report;
mod run;
mod sidx;
mod stats;
mod target;

pub use args::{Args, Mode, Protocol};
pub use histogram::Histogram;
pub use report::{Latency, Listening, Report};
pub use run::run;
