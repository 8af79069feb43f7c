//! The cache node from outside: what clients, listeners and upstreams see of it.
#![allow(clippy::unwrap_used)]

mod cache_access;
mod cache_coalescing;
mod cache_policy;
mod cache_ranges;
mod cache_restart;
mod cache_revisions;
mod fake_origin;
mod support;
mod wire;
mod wire_h3;
mod wire_limits;
