//! The cache node from outside: what clients, listeners and upstreams see of it.
#![allow(clippy::unwrap_used)]

mod cache_access;
mod cache_ahead;
mod cache_coalescing;
mod cache_damage;
mod cache_methods;
mod cache_multipart;
mod cache_pieces;
mod cache_poisoning;
mod cache_policy;
mod cache_ranges;
mod cache_restart;
mod cache_revisions;
mod cache_slow;
mod cache_told;
mod cache_variants;
mod canary;
mod exposition;
mod fake_origin;
mod fuzzed;
mod hostile_origin;
mod interim;
mod limits;
mod mmdb;
mod moody_origin;
mod operate;
mod paths;
mod purge_kill;
mod relay;
mod reload;
mod renewal;
mod smuggling;
mod support;
mod upstream;
mod upstream_peers;
mod upstream_s3;
#[path = "../../../storage/tests/it/weed.rs"]
#[allow(dead_code, clippy::print_stderr)]
mod weed;
mod wire;
mod wire_h1;
mod wire_h2;
mod wire_h3;
mod wire_limits;
mod wire_uploads;
