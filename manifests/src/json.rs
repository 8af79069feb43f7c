//! `track.json`: written and read, with the invariants that everything else relies on.

use serde::Deserialize;

use crate::{ByteRange, Rendition, SCHEMA, Track};

/// Why bytes are no usable `track.json`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Not JSON of the expected shape.
    #[error("not a track index: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Written by a newer version.
    #[error("track index has schema {found}, this version reads up to {SCHEMA}; upgrade segue")]
    Schema {
        /// The document's schema.
        found: u32,
    },
    /// Contradicts itself.
    #[error("track index is inconsistent: {0}")]
    Inconsistent(String),
}

#[derive(Deserialize)]
struct Head {
    schema: u32,
}

impl Track {
    /// The document as stored and served.
    ///
    /// # Errors
    /// [`JsonError::Inconsistent`] where the track breaks an invariant, so that nothing unreadable
    /// is ever published.
    pub fn to_json(&self) -> Result<Vec<u8>, JsonError> {
        self.check()?;
        Ok(serde_json::to_vec(self)?)
    }

    /// Reads a document and checks it: names are safe in paths; bytes and times of every rendition
    /// are without gaps and add up. A document that passes never makes a renderer misbehave.
    ///
    /// # Errors
    /// Any [`JsonError`]; the schema is looked at before the rest.
    pub fn from_json(bytes: &[u8]) -> Result<Track, JsonError> {
        let Head { schema } = serde_json::from_slice(bytes)?;
        if schema > SCHEMA {
            return Err(JsonError::Schema { found: schema });
        }
        let track: Track = serde_json::from_slice(bytes)?;
        track.check()?;
        Ok(track)
    }

    /// The checks of [`Track::from_json`].
    ///
    /// # Errors
    /// [`JsonError::Inconsistent`], naming the first fault.
    pub fn check(&self) -> Result<(), JsonError> {
        let fault = |text: String| Err(JsonError::Inconsistent(text));
        if !is_name(&self.id.0) || !is_name(&self.revision.0) {
            return fault(format!("track `{}` revision `{}`", self.id, self.revision));
        }
        if !(self.duration_s.is_finite() && self.duration_s >= 0.0) {
            return fault(format!("duration of {} s", self.duration_s));
        }
        if self.cover.as_ref().is_some_and(|c| !is_file_name(&c.name)) {
            return fault("name of the cover".to_owned());
        }
        if self.renditions.is_empty() {
            return fault("no renditions".to_owned());
        }
        for (i, rendition) in self.renditions.iter().enumerate() {
            let twice = self.renditions[..i].iter().any(|r| r.id == rendition.id);
            if twice || !is_name(&rendition.id) {
                return fault(format!("rendition id `{}`", rendition.id));
            }
            if let Err(text) = check_rendition(rendition) {
                return fault(format!("rendition `{}`: {text}", rendition.id));
            }
        }
        Ok(())
    }
}

fn check_rendition(r: &Rendition) -> Result<(), &'static str> {
    let end = |range: ByteRange| {
        range
            .start
            .checked_add(range.len)
            .ok_or("byte range overflows")
    };
    if r.timescale.0 == 0 || r.channels == 0 {
        return Err("no timescale or channels");
    }
    if r.init.start != 0 || end(r.init)? != r.index.start {
        return Err("init and index do not start the file");
    }
    if r.segments.is_empty() {
        return Err("no segments");
    }
    let (mut offset, mut time) = (end(r.index)?, 0u64);
    for segment in &r.segments {
        if segment.bytes.start != offset || segment.bytes.len == 0 {
            return Err("segments leave a gap in bytes");
        }
        if segment.start.0 != time {
            return Err("segments leave a gap in time");
        }
        offset = end(segment.bytes)?;
        time = time
            .checked_add(segment.duration.0)
            .ok_or("time overflows")?;
    }
    if offset != r.bytes {
        return Err("segments do not end with the file");
    }
    let sound = r.priming.0.checked_add(r.valid.0).ok_or("time overflows")?;
    if r.valid.0 == 0 || time < sound {
        return Err("segments are shorter than priming and valid sound");
    }
    Ok(())
}

/// Ids that stand in paths: lower-case letters, digits and inner hyphens, at most 64 bytes.
fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && !text.starts_with('-')
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_file_name(text: &str) -> bool {
    text.split_once('.')
        .is_some_and(|(stem, suffix)| is_name(stem) && is_name(suffix))
}
