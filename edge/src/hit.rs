//! A hit's fields: those that were stored, encoded once for each protocol, and the few of its own.
//!
//! Most requests are hits, and most of their fields never change: no map of them is built, and none of
//! them is written twice.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, OnceLock},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT_RANGES, AGE, CONTENT_LENGTH, CONTENT_RANGE, IF_MODIFIED_SINCE, IF_NONE_MATCH, LINK,
    },
};

use crate::{
    asked::Asked,
    cache::{reader, record::Stored, store::Store},
    cache_status::{CACHE_STATUS, Told},
    exchange::{Body, Facts, Outcome, Protocol, Response},
    policy::{UnixMs, precondition},
    range::Resolved,
};

/// Encodes one field; the value is sound.
pub(crate) type Put = fn(&mut Vec<u8>, &HeaderName, &[u8]);

/// The fields of a stored response as each protocol writes them, from the first hit on.
#[derive(Default)]
pub(crate) struct Encoded([OnceLock<Box<[u8]>>; 3]);

impl Clone for Encoded {
    /// A copy of a stored response has other fields.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encoded")
    }
}

/// The fields of a hit.
pub struct Hit {
    stored: Arc<Stored>,
    age_s: u64,
    cache_status: String,
    /// Which bytes of the representation, where not all; their end exclusive.
    range: Option<Range<u64>>,
    /// Bytes of the representation.
    size: u64,
}

impl fmt::Debug for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hit")
            .field("range", &self.range)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Hit {
    /// The stored fields as `protocol` writes them with `put`.
    pub(crate) fn kept(&self, protocol: Protocol, put: Put) -> &[u8] {
        self.stored.encoded.0[protocol as usize].get_or_init(|| {
            let mut out = Vec::new();
            for (name, value) in self.kept_fields() {
                put(&mut out, name, value.as_bytes());
            }
            out.into_boxed_slice()
        })
    }

    /// The same as they are. A whole representation of known size can be had in ranges.
    fn kept_fields(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        static BYTES: HeaderValue = HeaderValue::from_static("bytes");
        let headers = &self.stored.headers;
        let ranges = (!headers.contains_key(ACCEPT_RANGES)).then_some((&ACCEPT_RANGES, &BYTES));
        let kept = headers.iter().filter(|(name, _)| **name != CONTENT_LENGTH);
        kept.chain(ranges)
    }

    /// Hands its own fields to `put`.
    pub(crate) fn own(&self, mut put: impl FnMut(&HeaderName, &[u8])) {
        let mut digits = itoa::Buffer::new();
        put(&AGE, digits.format(self.age_s).as_bytes());
        put(&CACHE_STATUS, self.cache_status.as_bytes());
        let mut length = self.size;
        if let Some(range) = &self.range {
            length = range.end - range.start;
            // "bytes ", three numbers of up to twenty digits, two signs.
            let (mut text, mut end) = ([0; 68], 0);
            let mut add = |part: &[u8]| {
                text[end..end + part.len()].copy_from_slice(part);
                end += part.len();
            };
            add(b"bytes ");
            add(digits.format(range.start).as_bytes());
            add(b"-");
            add(digits.format(range.end.saturating_sub(1)).as_bytes());
            add(b"/");
            add(digits.format(self.size).as_bytes());
            put(&CONTENT_RANGE, &text[..end]);
        }
        put(&CONTENT_LENGTH, digits.format(length).as_bytes());
    }

    /// Bytes of the body.
    pub(crate) fn length(&self) -> u64 {
        self.range
            .as_ref()
            .map_or(self.size, |range| range.end - range.start)
    }

    /// The part of the representation that is sent, its end exclusive, and its size.
    pub(crate) fn range(&self) -> Option<(Range<u64>, Option<u64>)> {
        Some((self.range.clone()?, Some(self.size)))
    }

    /// Its stored fields, where they have links.
    pub(crate) fn links(&self) -> Option<&HeaderMap> {
        let headers = &self.stored.headers;
        headers.contains_key(LINK).then_some(headers)
    }

    /// Adds all of them to others.
    fn add_to(&self, headers: &mut HeaderMap) {
        for (name, value) in self.kept_fields() {
            headers.append(name.clone(), value.clone());
        }
        self.own(|name, value| {
            // What is written here is digits, and a field that was sound as one.
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(name.clone(), value);
            }
        });
    }
}

impl Response {
    /// All its fields, for who isn't a listener.
    pub fn fields(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        if let Some(hit) = &self.hit {
            hit.add_to(&mut headers);
        }
        headers
    }
}

/// Answers a GET of a whole representation, or of one range of it, with what memory has. None where
/// there is more to it.
pub(crate) fn answer(
    store: &Store,
    asked: &Asked,
    stored: &Arc<Stored>,
    now: UnixMs,
) -> Option<Response> {
    let conditional = [IF_NONE_MATCH, IF_MODIFIED_SINCE]
        .iter()
        .any(|name| asked.headers.contains_key(name));
    // A `Content-Range` beside a 200 means nothing, and is passed on as it came.
    let whole = stored.status == StatusCode::OK
        && stored.piece.is_none()
        && !stored.headers.contains_key(CONTENT_RANGE);
    if asked.method != Method::GET || conditional || !whole {
        return None;
    }
    let size = stored.size()?;
    let range = match &asked.range {
        Some(ranges) if precondition::range_holds(&asked.headers, &stored.headers) => {
            match ranges.resolve(size) {
                Resolved::One(range) => Some(range),
                Resolved::Many(_) | Resolved::Nothing => return None,
            }
        }
        _ => None,
    };
    let body = match &range {
        Some(range) => reader::in_memory(store, stored, range)?,
        None if size == 0 => Body::Empty,
        None => reader::in_memory(store, stored, &(0..size))?,
    };
    let told = Told {
        hit: true,
        ttl: Some(stored.freshness.left_ms(now).div_euclid(1000)),
        ..Told::default()
    };
    Some(Response {
        status: match range {
            Some(_) => StatusCode::PARTIAL_CONTENT,
            None => StatusCode::OK,
        },
        headers: HeaderMap::new(),
        body,
        facts: Facts {
            outcome: Outcome::Hit,
            ..Facts::default()
        },
        hit: Some(Hit {
            stored: Arc::clone(stored),
            age_s: stored.freshness.age_ms(now) / 1000,
            cache_status: told.text(&asked.rules.name, Some(asked.shown_key())),
            range,
            size,
        }),
    })
}
