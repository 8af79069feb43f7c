//! What an operator decides of the cache's policy.

use std::sync::Arc;

use super::heuristic::Heuristic;

/// The node's rules, the same for every request.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Name in `Cache-Status` and `Via`.
    pub(crate) name: Arc<str>,
    /// Whether the client's host is part of the key: where the upstream sees it and may answer by
    /// it. Otherwise all names share what is stored.
    pub(crate) host_in_key: bool,
    /// Seconds a response may be stale and still stand in for an upstream that fails, where neither
    /// side says anything of it.
    pub(crate) stale_if_error_s: u64,
    /// Freshness where none is stated.
    pub(crate) heuristic: Heuristic,
}
