//! The cache node: HTTP/1.1, HTTP/2 and HTTP/3 in front of any origin.
//!
//! A listener turns what arrives into an [`exchange::Request`]; [`serve::Edge`] answers it from the
//! cache or through an [`exchange::Upstream`]; the listener writes the [`exchange::Response`] and
//! its log record. Knows HTTP, not media.

mod admin;
mod asked;
pub mod auth;
mod cache;
mod cache_status;
pub mod config;
pub mod dev_cert;
pub mod exchange;
mod limits;
mod link;
mod listen;
mod log;
pub mod metrics;
mod policy;
mod purge;
mod range;
mod respond;
pub mod serve;
pub mod server;
pub mod units;
pub mod upstream;

pub use config::Config;
pub use server::{Addrs, Error, Server};
