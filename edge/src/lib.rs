//! The cache node: HTTP/1.1, HTTP/2 and HTTP/3 in front of any origin.
//!
//! A listener turns what arrives into an [`exchange::Request`]; [`serve::Edge`] answers it from the
//! cache or through an [`exchange::Upstream`]; the listener writes the [`exchange::Response`] and
//! its log record. Knows HTTP, not media.

mod admin;
mod ask;
mod asked;
pub mod auth;
mod cache;
mod cache_status;
mod client;
pub mod cmcd;
pub mod config;
pub mod dev_cert;
pub mod exchange;
#[doc(hidden)]
pub mod fuzzing;
pub mod geoip;
mod governor;
pub mod handover;
pub mod hit;
mod interim;
mod limits;
mod link;
mod listen;
mod log;
mod lookup;
pub mod metrics;
mod multipart;
mod node;
mod pass;
mod policy;
mod purge;
mod range;
mod rates;
mod refuse;
mod replaceable;
mod respond;
mod running;
pub mod serve;
pub mod server;
mod timing;
pub mod trace;
pub mod units;
pub mod upstream;

pub use admin::Control;
pub use config::Config;
pub use running::Handle;
pub use server::{Addrs, Error, Server};
