//! What is known of an object: its stored responses without their bytes, and how that is written
//! to disk.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, DATE},
};

use super::{arrival::Timed, key::BodyId, memory::Weigh, piece::Piece};
use crate::{
    asked::Asked,
    hit::Encoded,
    policy::{
        UnixMs, date, freshness::Freshness, precondition, rules::Rules, validate, vary::Selecting,
    },
};

/// The most variants (by `Vary`) kept of one object; the oldest goes first.
pub(crate) const MAX_VARIANTS: usize = 32;

/// The version of the disk format. Bump on any change of it: other versions are misses.
pub(crate) const VERSION: u8 = 3;

/// An object's stored responses, newest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// Host, lower-cased; empty if requests carried none.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) target: String,
    /// At most [`MAX_VARIANTS`].
    pub(crate) variants: Vec<Arc<Stored>>,
    /// Until when requests don't wait for each other, since answers can't be shared.
    pub(crate) pass_until: UnixMs,
    /// Until when the upstream isn't asked again, since it has just failed: what may stand in
    /// does.
    pub(crate) failing_until: UnixMs,
}

/// One stored response.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// Under which its slices are stored.
    pub(crate) id: BodyId,
    /// Status of the whole representation; 206 for a piece.
    pub(crate) status: StatusCode,
    /// End-to-end fields as they are sent, without `Age` and `Cache-Status`.
    pub(crate) headers: HeaderMap,
    /// When it was asked for.
    pub(crate) requested: UnixMs,
    /// What reuse depends on.
    pub(crate) freshness: Freshness,
    /// The request fields that select it.
    pub(crate) selecting: Selecting,
    /// The purge sequence number when it was asked for.
    pub(crate) sequence: u64,
    /// Bytes of what is stored, known from the start or when it has arrived.
    pub(crate) size: Arc<OnceLock<u64>>,
    /// Where it lies, if it is a piece of a representation that can't be completed.
    pub(crate) piece: Option<Piece>,
    /// Whether the upstream serves ranges of exactly this revision: lost slices can be fetched.
    pub(crate) ranged: bool,
    /// Set when it turned out to be wrong or cut short: never reuse it.
    pub(crate) void: Arc<AtomicBool>,
    /// Its fields as hits send them.
    pub(crate) encoded: Encoded,
}

/// What a response is stored from.
pub(crate) struct Arrived<'a> {
    /// Fields of the request as sent upstream.
    pub(crate) request: &'a HeaderMap,
    /// Status of the whole representation; 206 for a piece.
    pub(crate) status: StatusCode,
    /// The response's end-to-end fields.
    pub(crate) headers: HeaderMap,
    /// Bytes of what is stored, if announced.
    pub(crate) size: Option<u64>,
    /// Whether the upstream has answered with a range, or says that it would.
    pub(crate) ranges: bool,
    /// Where it lies, if it is only a piece.
    pub(crate) piece: Option<Piece>,
    /// What reuse depends on.
    pub(crate) freshness: Freshness,
    /// When it was asked for.
    pub(crate) timed: Timed,
}

impl Stored {
    /// Prepares a response for storing under a new identity.
    pub(crate) fn new(id: BodyId, arrived: Arrived<'_>) -> Self {
        let Arrived {
            request,
            status,
            mut headers,
            size,
            ranges,
            piece,
            freshness,
            timed,
        } = arrived;
        for name in &freshness.directives.withheld {
            headers.remove(name);
        }
        let selecting = Selecting::of(request, &headers);
        let ranged = ranges && size.is_some() && precondition::strong_etag(&headers).is_some();
        headers.remove(http::header::AGE);
        if !headers.contains_key(DATE) {
            headers.insert(DATE, date::value(freshness.received));
        }
        if let Some(size) = size {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
        } else {
            headers.remove(CONTENT_LENGTH);
        }
        Self {
            id,
            status,
            headers,
            requested: timed.requested,
            freshness,
            selecting,
            sequence: timed.sequence,
            size: Arc::new(size.map_or_else(OnceLock::new, OnceLock::from)),
            piece,
            ranged,
            void: Arc::new(AtomicBool::new(false)),
            encoded: Encoded::default(),
        }
    }

    /// The same bytes with fields updated by a response that confirms them.
    pub(crate) fn freshened(
        &self,
        mut update: HeaderMap,
        timed: Timed,
        received: UnixMs,
        rules: &Rules,
    ) -> Self {
        if !update.contains_key(DATE) {
            update.insert(DATE, date::value(received));
        }
        let mut headers = validate::freshen(&self.headers, &update);
        let freshness = Freshness::of(&headers, timed.requested, received).or_guessed(
            rules.heuristic,
            self.status,
            &headers,
        );
        headers.remove(http::header::AGE);
        for name in &freshness.directives.withheld {
            headers.remove(name);
        }
        Self {
            headers,
            requested: timed.requested,
            freshness,
            sequence: timed.sequence,
            ..self.clone()
        }
    }

    /// The same bytes as the answer to requests with fields like `request`.
    pub(crate) fn selected_by(&self, request: &HeaderMap) -> Self {
        Self {
            selecting: Selecting::of(request, &self.headers),
            ..self.clone()
        }
    }

    /// Whether it has what a request asks for: always, unless it is a piece.
    pub(crate) fn answers(&self, asked: &Asked) -> bool {
        match (&self.piece, self.size()) {
            (None, _) => true,
            (Some(piece), Some(length)) => {
                precondition::range_holds(&asked.headers, &self.headers)
                    && piece.cut(length, asked).is_some()
            }
            (Some(_), None) => false,
        }
    }

    /// Whether requests have no use for `older` any more once this is stored.
    fn replaces(&self, older: &Self) -> bool {
        // The same bytes may be what several variants have in common.
        if !older.usable() || (self.id == older.id && self.selecting == older.selecting) {
            return true;
        }
        let within = match (&self.piece, &older.piece) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(new), Some(old)) => {
                let end = |piece: &Piece, stored: &Self| piece.first + stored.size().unwrap_or(0);
                new.first <= old.first && end(old, older) <= end(new, self)
            }
        };
        within && self.selecting == older.selecting
    }

    /// Bytes of what is stored, if known by now.
    pub(crate) fn size(&self) -> Option<u64> {
        self.size.get().copied()
    }

    /// Whether it may still be used at all.
    pub(crate) fn usable(&self) -> bool {
        !self.void.load(Ordering::Relaxed)
    }

    /// Surrogate keys, hashed.
    pub(crate) fn surrogate_keys(&self) -> impl Iterator<Item = &str> {
        let lines = self
            .headers
            .get_all("surrogate-key")
            .iter()
            .filter_map(|line| line.to_str().ok());
        lines.flat_map(|line| line.split([' ', ',']).filter(|key| !key.is_empty()))
    }
}

impl Record {
    /// Puts a response first, in place of those that it replaces.
    pub(crate) fn with(&self, stored: Arc<Stored>) -> Self {
        let others = self.variants.iter().filter(|v| !stored.replaces(v));
        let mut variants: Vec<_> = others.cloned().collect();
        variants.insert(0, stored);
        variants.truncate(MAX_VARIANTS);
        Self {
            variants,
            pass_until: UnixMs::default(),
            failing_until: UnixMs::default(),
            ..self.clone()
        }
    }

    /// Without the response with these bytes.
    pub(crate) fn without(&self, id: BodyId) -> Self {
        let variants = self
            .variants
            .iter()
            .filter(|v| v.id != id)
            .cloned()
            .collect();
        Self {
            variants,
            ..self.clone()
        }
    }
}

impl Weigh for Record {
    fn weight(&self) -> u64 {
        // Kept once as they are, and as what two protocols write.
        let field = |(name, value): (&HeaderName, &HeaderValue)| {
            3 * (name.as_str().len() + value.len() + 4) + 80
        };
        let fields = |headers: &HeaderMap| headers.iter().map(field).sum::<usize>();
        let variants: usize = self.variants.iter().map(|v| 512 + fields(&v.headers)).sum();
        (self.authority.len() + self.target.len() + 160 + variants) as u64
    }
}

/// Writes a record. Responses whose size is still unknown are left out: their bytes are arriving.
pub(crate) fn encode(record: &Record) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(1024));
    out.text(record.authority.as_bytes());
    out.text(record.target.as_bytes());
    let variants: Vec<_> = record
        .variants
        .iter()
        .filter(|v| v.usable())
        .filter_map(|v| Some((v, v.size()?)))
        .collect();
    out.number(variants.len() as u64);
    for (stored, size) in variants {
        out.0.extend_from_slice(&stored.id.0.to_le_bytes());
        out.number(u64::from(stored.status.as_u16()));
        out.number(size);
        out.number(u64::from(stored.ranged));
        out.number(stored.sequence);
        out.number(stored.requested.0);
        out.number(stored.freshness.received.0);
        // Age at receipt is gone from the fields, and a guess is by rules that may change: keep
        // the sums.
        out.number(stored.freshness.initial_age_ms);
        out.number(stored.freshness.lifetime.map_or(0, |seconds| seconds + 1));
        encode_piece(&mut out, stored.piece.as_ref());
        out.number(stored.headers.len() as u64);
        for (name, value) in &stored.headers {
            out.text(name.as_str().as_bytes());
            out.text(value.as_bytes());
        }
        out.number(stored.selecting.0.len() as u64);
        for (name, value) in &stored.selecting.0 {
            out.text(name.as_str().as_bytes());
            out.number(u64::from(value.is_some()));
            out.text(value.as_deref().unwrap_or_default().as_bytes());
        }
    }
    out.0
}

fn encode_piece(out: &mut Writer, piece: Option<&Piece>) {
    out.number(u64::from(piece.is_some()));
    if let Some(piece) = piece {
        out.number(piece.first);
        out.number(u64::from(piece.total.is_some()));
        out.number(piece.total.unwrap_or(0));
        out.text(piece.asked.as_bytes());
    }
}

fn decode_piece(input: &mut Reader<'_>) -> Option<Option<Piece>> {
    if input.number()? == 0 {
        return Some(None);
    }
    let first = input.number()?;
    let told = input.number()? == 1;
    let total = Some(input.number()?).filter(|_| told);
    let asked = HeaderValue::from_bytes(input.text()?).ok()?;
    Some(Some(Piece {
        first,
        total,
        asked,
    }))
}

/// Reads what [`encode`] wrote; none where it is anything else.
pub(crate) fn decode(bytes: &[u8]) -> Option<Record> {
    let mut input = Reader(bytes);
    let authority = input.string()?;
    let target = input.string()?;
    let count = input.count(MAX_VARIANTS)?;
    let mut variants = Vec::with_capacity(count);
    for _ in 0..count {
        variants.push(Arc::new(decode_stored(&mut input)?));
    }
    input.0.is_empty().then_some(Record {
        authority,
        target,
        variants,
        ..Record::default()
    })
}

fn decode_stored(input: &mut Reader<'_>) -> Option<Stored> {
    let id = BodyId(u128::from_le_bytes(input.bytes(16)?.try_into().ok()?));
    let status = StatusCode::from_u16(u16::try_from(input.number()?).ok()?).ok()?;
    let size = input.number()?;
    let ranged = input.number()? == 1;
    let sequence = input.number()?;
    let requested = UnixMs(input.number()?);
    let received = UnixMs(input.number()?);
    let initial_age_ms = input.number()?;
    let lifetime = input.number()?.checked_sub(1);
    let piece = decode_piece(input)?;
    let mut headers = HeaderMap::new();
    for _ in 0..input.count(4096)? {
        let name = HeaderName::from_bytes(input.text()?).ok()?;
        headers.append(name, HeaderValue::from_bytes(input.text()?).ok()?);
    }
    let mut selecting = Vec::new();
    for _ in 0..input.count(256)? {
        let name = HeaderName::from_bytes(input.text()?).ok()?;
        let present = input.number()? == 1;
        let value = input.string()?;
        selecting.push((name, present.then_some(value)));
    }
    let freshness = Freshness {
        initial_age_ms,
        lifetime,
        ..Freshness::of(&headers, requested, received)
    };
    Some(Stored {
        id,
        status,
        headers,
        requested,
        freshness,
        selecting: Selecting(selecting),
        sequence,
        size: Arc::new(OnceLock::from(size)),
        piece,
        ranged,
        void: Arc::new(AtomicBool::new(false)),
        encoded: Encoded::default(),
    })
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, n: u64) {
        self.0.extend_from_slice(&n.to_le_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    fn count(&mut self, most: usize) -> Option<usize> {
        usize::try_from(self.number()?).ok().filter(|n| *n <= most)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.number()?).ok()?;
        self.bytes(count)
    }

    fn string(&mut self) -> Option<String> {
        String::from_utf8(self.text()?.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderMap, StatusCode};
    use proptest::prelude::*;

    use super::{Arrived, BodyId, Freshness, Piece, Record, Stored, Timed, decode, encode};
    use crate::policy::UnixMs;

    fn sample() -> Record {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("etag", "\"a\""),
            ("vary", "foo, bar"),
            ("age", "7"),
            ("cache-control", "max-age=60"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let request = HeaderMap::from_iter([("foo".parse().unwrap(), "1".parse().unwrap())]);
        let timed = Timed {
            requested: UnixMs(1000),
            sequence: 3,
        };
        let stored = Stored::new(
            BodyId(7),
            Arrived {
                request: &request,
                status: StatusCode::PARTIAL_CONTENT,
                freshness: Freshness::of(&headers, timed.requested, UnixMs(2000)),
                headers,
                size: Some(9),
                ranges: true,
                piece: Some(Piece {
                    first: 5,
                    total: None,
                    asked: "bytes=5-13".parse().unwrap(),
                }),
                timed,
            },
        );
        let record = Record {
            authority: "a".into(),
            target: "/x".into(),
            ..Record::default()
        };
        record.with(stored.into())
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let record = sample();
        let back = decode(&encode(&record)).unwrap();
        assert_eq!(format!("{back:?}"), format!("{record:?}"));
        assert_eq!(back.variants[0].freshness.age_ms(UnixMs(3000)), 9000);
    }

    proptest! {
        #[test]
        fn damage_is_refused_or_harmless(at in 0usize..400, with: u8, cut in 0usize..400) {
            let mut bytes = encode(&sample());
            let at = at % bytes.len();
            bytes[at] ^= with;
            let _ = decode(&bytes);
            bytes.truncate(cut.min(bytes.len() - 1));
            prop_assert!(decode(&bytes).is_none());
        }
    }
}
