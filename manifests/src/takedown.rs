//! The notice that a track was taken down. While it lies in the store, nobody publishes or serves
//! the track.

use serde::{Deserialize, Serialize};

use crate::{JsonError, Revision, TrackId};

/// Version of the notice's schema that this code writes. Readers refuse a newer one.
const SCHEMA: u32 = 1;

/// A notice, as it lies in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takedown {
    /// Version of this document.
    pub schema: u32,
    /// The track.
    pub track: TrackId,
    /// What the track was called, where that was known: `Artist – Title`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Why, for whoever reads it later.
    pub reason: String,
    /// Who ordered it.
    pub by: String,
    /// When, as RFC 3339 in UTC.
    pub at: String,
    /// The revisions that were published then.
    pub revisions: Vec<Revision>,
}

impl Takedown {
    /// A notice of this schema.
    pub fn new(track: TrackId, reason: String, by: String, at: String) -> Self {
        Self {
            schema: SCHEMA,
            track,
            name: None,
            reason,
            by,
            at,
            revisions: Vec::new(),
        }
    }

    /// What the keys of all notices and records begin with.
    pub const PREFIX: &str = "takedowns/";

    /// The key of a track's notice.
    pub fn key(track: &TrackId) -> String {
        format!("{}{track}/notice.json", Self::PREFIX)
    }

    /// The key of a record of what was done about a track at an instant, given as text without
    /// slashes.
    pub fn record_key(track: &TrackId, at: &str) -> String {
        format!("{}{track}/{at}.json", Self::PREFIX)
    }

    /// The track whose notice has that key; none where it is no notice's.
    pub fn of_key(key: &str) -> Option<TrackId> {
        let track = key
            .strip_prefix(Self::PREFIX)?
            .strip_suffix("/notice.json")?;
        (!track.contains('/')).then(|| TrackId(track.to_owned()))
    }

    /// The document as stored.
    ///
    /// # Errors
    /// Never in practice: everything in it can be written.
    pub fn to_json(&self) -> Result<Vec<u8>, JsonError> {
        Ok(serde_json::to_vec_pretty(self)?)
    }

    /// Reads a document.
    ///
    /// # Errors
    /// [`JsonError::Syntax`], [`JsonError::Schema`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, JsonError> {
        let notice: Self = serde_json::from_slice(bytes)?;
        if notice.schema > SCHEMA {
            return Err(JsonError::Schema {
                found: notice.schema,
            });
        }
        Ok(notice)
    }
}
