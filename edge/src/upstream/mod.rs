//! Upstreams: where the cache gets what it doesn't have. Origins over HTTP/1.1 and HTTP/2, in the
//! clear or under TLS, S3 buckets, and other edges, behind
//! [`Upstream`](crate::exchange::Upstream).
//!
//! `router` is a request's way; `node` one upstream; `transport`, `pool`, `connect`, `resolve` and
//! `body` the network. What decides takes clock and dice as parameters and does no I/O: `breaker`,
//! `budget`, `latency`, `health`, `choose`, `cdn_loop`, `sigv4`.

mod body;
mod breaker;
mod budget;
mod cdn_loop;
mod check;
mod choose;
pub mod config;
mod connect;
mod framing;
mod health;
mod latency;
mod node;
mod open;
mod peers;
mod pool;
mod resolve;
mod router;
mod s3;
mod sigv4;
pub(crate) mod stats;
mod target;
mod transport;
mod upload;

pub use open::Error;
pub use peers::admit_peers;
pub use resolve::{Lookup, SystemLookup};
pub use router::Upstreams;
