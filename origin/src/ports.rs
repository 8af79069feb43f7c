//! What services ask of each other, as traits: they share these and never import one another, so
//! that each can move to a process of its own.

use std::collections::HashMap;

use async_trait::async_trait;
use manifests::{Revision, TrackId};
use serde_json::Value;
use storage::ObjectStore;

use crate::error::ApiResult;

/// What of a track to play now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Current {
    /// The encoding.
    pub(crate) revision: Revision,
    /// Which writing of its index: another one has other tags or another cover, and the same sound.
    pub(crate) edition: String,
}

/// Knows which revision of a track to play.
#[async_trait]
pub(crate) trait Revisions: Send + Sync {
    /// The current one; `None` for a track it does not know.
    async fn current(&self, track: &TrackId) -> ApiResult<Option<Current>>;
    /// Whether the track was taken down: nothing of it may be served.
    async fn is_taken_down(&self, track: &TrackId) -> ApiResult<bool>;
}

/// Enters published tracks.
#[async_trait]
pub(crate) trait Registry: Send + Sync {
    /// Enters that revision, as its index in the store describes it.
    async fn adopt(&self, store: &dyn ObjectStore, track: &str, revision: &str) -> ApiResult<()>;
}

/// Describes tracks.
#[async_trait]
pub(crate) trait Summaries: Send + Sync {
    /// A `TrackSummary` of each track it knows of those asked for.
    async fn summaries(&self, tracks: &[String]) -> ApiResult<HashMap<String, Value>>;
}
