//! What the two ends of a worker process's socket say to each other: length, kind, payload.
//!
//! The process starts with [`Hello`], answers [`Ready`], and then answers each [`Request`] with any
//! number of progress frames and one reply. Descriptors come with a request's first byte.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use manifests::{Omitted, R128, Tags};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Bounds, Fate};
use crate::{
    Error, Recipe,
    cmaf::SourceLength,
    job, loudness, source,
    source::{Format, Limits},
};

/// Largest payload: the segments and loudness of a day's sound are 40 MB.
const MAX_PAYLOAD: usize = 96 << 20;

/// Bytes of length and kind.
const HEAD: usize = 5;

/// Renditions of a recipe, at most: a message carries 253 descriptors (`SCM_MAX_FD`).
pub(super) const MAX_RUNGS: usize = 64;

/// Descriptors of a request, at most: the source, its pre-roll, and a scratch file a rendition.
pub(super) const MAX_HANDED: usize = 2 + MAX_RUNGS;

/// The first frame, of a parent that trusts its child until it has handed it a file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) bounds: Bounds,
    pub(super) cpu: Duration,
}

/// The answer: what keeps the process in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ready {
    /// System calls are filtered.
    pub(super) seccomp: bool,
    /// The file system is out of reach, also by calls that the filter lets through.
    pub(super) landlock: bool,
}

/// What the parent asks for. The source is the first descriptor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Encode; the other descriptors are scratch files, in the order of the recipe. Before them comes
    /// that of the pre-roll, where there is one.
    Make {
        recipe: Recipe,
        limits: Limits,
        skip: Vec<String>,
        lead: bool,
    },
    /// Find out whether the source is what a track runs on from, and put its end into a scratch file;
    /// the other descriptors are that track and that file.
    Lead { limits: Limits },
    /// Digest the coded sound.
    Identify,
    /// Decode for the loudness alone.
    Measure { limits: Limits },
    /// Read the tags.
    Tags { cover: bool },
}

/// What the child says.
#[derive(Debug)]
pub(super) enum Reply {
    Progress(u64, Option<u64>),
    /// A SHA-256.
    Identity([u8; 32]),
    Made(Box<Sheet>),
    Measured(loudness::State),
    /// Whether a track runs on from the source.
    Lead(bool),
    Tags(Tags),
    /// A picture; its kind is known by its bytes. Comes after the tags, where there is one.
    Cover(Vec<u8>),
    Fault(Fault),
}

/// [`job::Outcome`] without its scratch files.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sheet {
    pub(super) format: Format,
    pub(super) length: SourceLength,
    pub(super) renditions: Vec<Page>,
    pub(super) omitted: Vec<Omitted>,
    pub(super) loudness: R128,
    pub(super) meter: loudness::State,
}

/// [`job::Encoded`] without its scratch file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Page {
    pub(super) rendition: manifests::Rendition,
    /// Hexadecimal.
    pub(super) head: String,
    pub(super) slot: usize,
}

impl From<job::Outcome> for Sheet {
    fn from(outcome: job::Outcome) -> Sheet {
        let page = |encoded: job::Encoded| Page {
            rendition: encoded.rendition,
            head: hex::encode(encoded.head),
            slot: encoded.slot,
        };
        Sheet {
            format: outcome.format,
            length: outcome.length,
            renditions: outcome.renditions.into_iter().map(page).collect(),
            omitted: outcome.omitted,
            loudness: outcome.loudness,
            meter: outcome.meter,
        }
    }
}

/// An [`Error`] that crosses.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Fault {
    Source(source::Error),
    Spool(String),
    Encode(String),
    Internal(String),
    /// A thread could not be started, for want of memory.
    Memory,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        match error {
            Error::Source(error) => Fault::Source(error),
            Error::Spool(error) => Fault::Spool(error.to_string()),
            Error::Encode(what) => Fault::Encode(what),
            Error::Internal(what) => Fault::Internal(what),
            other => Fault::Internal(other.to_string()),
        }
    }
}

impl Fault {
    /// As the error of a file whose process had these bounds.
    pub(super) fn within(self, bounds: &Bounds) -> Error {
        match self {
            Fault::Source(error) => Error::Source(error),
            Fault::Spool(what) => Error::Spool(io::Error::other(what)),
            Fault::Encode(what) => Error::Encode(what),
            Fault::Internal(what) => Error::Internal(what),
            Fault::Memory => Fate::Memory {
                limit: bounds.memory,
            }
            .into(),
        }
    }
}

const PROGRESS: u8 = 1;
const MADE: u8 = 2;
const MEASURED: u8 = 3;
const TAGS: u8 = 4;
const COVER: u8 = 5;
const FAULT: u8 = 6;
const IDENTITY: u8 = 7;
const LEAD: u8 = 8;

impl Reply {
    pub(super) fn write(&self, to: impl Write) -> io::Result<()> {
        match self {
            Reply::Progress(done, total) => write_json(to, PROGRESS, &(done, total)),
            Reply::Identity(digest) => write_json(to, IDENTITY, digest),
            Reply::Made(sheet) => write_json(to, MADE, sheet),
            Reply::Measured(state) => write_json(to, MEASURED, state),
            Reply::Lead(runs_on) => write_json(to, LEAD, runs_on),
            Reply::Tags(tags) => write_json(to, TAGS, tags),
            Reply::Cover(bytes) => write_frame(to, COVER, bytes),
            Reply::Fault(fault) => write_json(to, FAULT, fault),
        }
    }

    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for anything that is no reply.
    pub(super) fn parse(kind: u8, payload: Vec<u8>) -> io::Result<Reply> {
        Ok(match kind {
            PROGRESS => {
                let (done, total) = parse_json(&payload)?;
                Reply::Progress(done, total)
            }
            IDENTITY => Reply::Identity(parse_json(&payload)?),
            MADE => Reply::Made(parse_json(&payload)?),
            MEASURED => Reply::Measured(parse_json(&payload)?),
            LEAD => Reply::Lead(parse_json(&payload)?),
            TAGS => Reply::Tags(parse_json(&payload)?),
            COVER => Reply::Cover(payload),
            FAULT => Reply::Fault(parse_json(&payload)?),
            other => return Err(nonsense(format!("a frame of kind {other}"))),
        })
    }
}

/// A frame's bytes.
pub(super) fn frame(kind: u8, payload: &[u8]) -> io::Result<Vec<u8>> {
    if payload.len() > MAX_PAYLOAD {
        return Err(nonsense(format!("a frame of {} bytes", payload.len())));
    }
    let mut frame = Vec::with_capacity(HEAD + payload.len());
    frame.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    frame.push(kind);
    frame.extend_from_slice(payload);
    Ok(frame)
}

fn write_frame(mut to: impl Write, kind: u8, payload: &[u8]) -> io::Result<()> {
    to.write_all(&frame(kind, payload)?)
}

pub(super) fn write_json(to: impl Write, kind: u8, value: &impl Serialize) -> io::Result<()> {
    write_frame(to, kind, &serde_json::to_vec(value)?)
}

pub(super) fn parse_json<T: DeserializeOwned>(payload: &[u8]) -> io::Result<T> {
    serde_json::from_slice(payload).map_err(|error| nonsense(error.to_string()))
}

pub(super) fn nonsense(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Length and kind, from a frame's first bytes.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] where it is too long.
pub(super) fn head(bytes: [u8; HEAD]) -> io::Result<(usize, u8)> {
    let [a, b, c, d, kind] = bytes;
    let len = u32::from_le_bytes([a, b, c, d]) as usize;
    if len > MAX_PAYLOAD {
        return Err(nonsense(format!("a frame of {len} bytes")));
    }
    Ok((len, kind))
}

/// Frames as they arrive, however they are cut.
#[derive(Debug, Default)]
pub(super) struct Inbox(Vec<u8>);

impl Inbox {
    /// Takes what `from` has; 0 at its end.
    pub(super) fn fill(&mut self, mut from: impl Read) -> io::Result<usize> {
        let mut part = [0; 64 << 10];
        let read = from.read(&mut part)?;
        self.0.extend_from_slice(&part[..read]);
        Ok(read)
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] where it can't be one.
    pub(super) fn next(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        let Some(first) = self.0.first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let (len, kind) = head(*first)?;
        if self.0.len() < HEAD + len {
            return Ok(None);
        }
        let rest = self.0.split_off(HEAD + len);
        let mut whole = std::mem::replace(&mut self.0, rest);
        Ok(Some((kind, whole.split_off(HEAD))))
    }
}

/// I/O errors as their text.
pub(crate) mod as_text {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        error: &std::io::Error,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&error.to_string())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<std::io::Error, D::Error> {
        Ok(std::io::Error::other(String::deserialize(from)?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn frames_arrive_however_they_are_cut() {
        let mut bytes = Vec::new();
        Reply::Progress(7, None).write(&mut bytes).unwrap();
        Reply::Cover(vec![1, 2, 3]).write(&mut bytes).unwrap();
        let mut inbox = Inbox::default();
        let mut seen = Vec::new();
        for byte in bytes {
            inbox.fill(&[byte][..]).unwrap();
            while let Some((kind, payload)) = inbox.next().unwrap() {
                seen.push(Reply::parse(kind, payload).unwrap());
            }
        }
        assert!(
            matches!(&seen[..], [Reply::Progress(7, None), Reply::Cover(c)] if c == &[1, 2, 3]),
            "{seen:?}"
        );
    }

    #[test]
    fn nonsense_is_refused() {
        let mut inbox = Inbox::default();
        inbox.fill(&[0xff; 9][..]).unwrap();
        assert!(inbox.next().is_err());
        assert!(Reply::parse(99, Vec::new()).is_err());
        assert!(Reply::parse(MADE, b"{}".to_vec()).is_err());
    }

    #[test]
    fn a_fault_keeps_its_type_and_words() {
        let fault = Fault::from(Error::Source(source::Error::AbsurdHeader {
            field: "the sample rate".into(),
            value: "1 Hz".into(),
            allowed: "8–9".into(),
        }));
        let mut bytes = Vec::new();
        Reply::Fault(fault).write(&mut bytes).unwrap();
        let mut inbox = Inbox::default();
        inbox.fill(&bytes[..]).unwrap();
        let (kind, payload) = inbox.next().unwrap().unwrap();
        let Reply::Fault(fault) = Reply::parse(kind, payload).unwrap() else {
            panic!("not a fault");
        };
        let error = fault.within(&Bounds::default());
        assert_eq!(error.code(), "absurd_header");
        assert!(error.to_string().contains("1 Hz, outside 8–9"), "{error}");
    }
}
