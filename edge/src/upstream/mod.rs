//! Upstreams: where the cache gets what it doesn't have. One HTTP/1.1 origin, in the clear or under
//! TLS, behind [`Upstream`](crate::exchange::Upstream).

mod body;
mod connect;
mod http1;
mod pool;

pub use http1::{Error, Http1};
