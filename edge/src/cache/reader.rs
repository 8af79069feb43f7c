//! A client's way through a stored body: each slice from where it is, in order.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};

use super::{
    fill::{Attached, Failure, Found, PACE},
    ledger::Claim,
    record::Stored,
    store::{RUN, Store, Supply},
};
use crate::{
    asked::Asked,
    exchange::{Body, BodyError},
};

/// Slices that a response holds at once at most; longer ones are streamed, so that a slow client
/// pins no more than one.
const AT_ONCE: u64 = 2;

/// Bytes that a response takes a copy of at a time while readers hold so many slices that nothing
/// can be evicted.
const SIP: usize = 64 << 10;

/// Fills a reader tries after the one it read from broke.
const RETRIES: u8 = 2;

/// The bytes of `range`, if all of them are in memory and few enough to send at once.
pub(crate) fn in_memory(store: &Store, stored: &Stored, range: &Range<u64>) -> Option<Body> {
    if range.is_empty() {
        return Some(Body::Empty);
    }
    let (first, last) = (
        store.slice_number(range.start),
        store.slice_number(range.end - 1),
    );
    if u64::from(last - first) >= AT_ONCE {
        return None;
    }
    if store.memory.is_crowded() {
        let small = range.end - range.start <= SIP as u64 && first == last;
        let bytes = small.then(|| clip(store, stored, first, range)).flatten()?;
        return Some(Body::Full(Bytes::copy_from_slice(&bytes)));
    }
    if first == last {
        return clip(store, stored, first, range).map(Body::Full);
    }
    let chunks: Option<VecDeque<Bytes>> = (first..=last)
        .map(|n| clip(store, stored, n, range))
        .collect();
    chunks.map(Body::Chunks)
}

/// What slice `n` has of `range`.
fn clip(store: &Store, stored: &Stored, n: u32, range: &Range<u64>) -> Option<Bytes> {
    let bytes = store.slice_in_memory(stored.id, n)?;
    let start = u64::from(n) * store.slice;
    let from = usize::try_from(range.start.saturating_sub(start)).ok()?;
    let to = usize::try_from((range.end - start).min(store.slice)).ok()?;
    (from <= to && to <= bytes.len()).then(|| bytes.slice(from..to))
}

/// A position in a stored body.
pub(crate) struct Reader {
    store: Arc<Store>,
    asked: Arc<Asked>,
    stored: Arc<Stored>,
    at: u64,
    /// Where to stop; none while the body's size isn't known.
    end: Option<u64>,
    fill: Option<Attached>,
    /// Bytes fetched by [`Reader::prime`].
    ready: Option<Bytes>,
    /// Slices that the next fill is to bring at most.
    run: u32,
    /// One past the last slice that a fill of ours has brought.
    brought: u32,
    /// Where it holds a copy.
    copied: Claim,
    retries: u8,
    ended: bool,
}

impl Reader {
    /// Reads `start..end`, from `fill` as far as that goes.
    pub(crate) fn new(
        store: Arc<Store>,
        asked: Arc<Asked>,
        stored: Arc<Stored>,
        start: u64,
        end: Option<u64>,
        fill: Option<Attached>,
    ) -> Self {
        Self {
            run: RUN,
            brought: 0,
            copied: store.ledger.claim(0),
            store,
            asked,
            stored,
            at: start,
            end,
            fill,
            ready: None,
            retries: RETRIES,
            ended: false,
        }
    }

    /// Makes sure that the first bytes are there, before a response commits itself.
    ///
    /// # Errors
    /// [`Failure`]: [`Failure::Changed`] calls for another lookup.
    pub(crate) async fn prime(&mut self) -> Result<(), Failure> {
        self.ready = self.read().await?;
        Ok(())
    }

    /// The rest as a body of `len` bytes, if known.
    pub(crate) fn into_body(self, len: Option<u64>) -> Body {
        let frames = stream::unfold(self, |mut reader| async move {
            let frame = reader.next().await?;
            Some((frame.map(Frame::data), reader))
        });
        Body::Stream {
            body: StreamBody::new(frames).boxed_unsync(),
            len,
        }
    }

    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        if self.ended {
            return None;
        }
        if let Some(ready) = self.ready.take() {
            return Some(Ok(ready));
        }
        let read = self.read().await;
        self.ended = !matches!(read, Ok(Some(_)));
        read.map_err(Failure::into_body_error).transpose()
    }

    /// The next bytes; none at the end.
    async fn read(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if self.end.is_some_and(|end| self.at >= end) {
                return Ok(None);
            }
            let Some(fill) = &mut self.fill else {
                if let Some(bytes) = self.find()? {
                    return Ok(Some(bytes));
                }
                continue;
            };
            match fill.read(self.at).await {
                Found::Bytes(bytes) => return Ok(Some(self.take(bytes))),
                Found::End => {
                    if fill.covers(self.store.slice_number(self.at)) {
                        // We were too slow for it. From now on it is brought by little.
                        self.run = 1 + PACE;
                    }
                    self.detach();
                    self.end = self.end.or(self.stored.size());
                }
                Found::Gone => self.detach(),
                Found::Failed(Failure::Changed) => return Err(Failure::Changed),
                Found::Failed(failure) => {
                    self.detach();
                    if self.retries == 0 || !self.stored.ranged {
                        return Err(failure);
                    }
                    self.retries -= 1;
                }
            }
        }
    }

    fn detach(&mut self) {
        if let Some(fill) = self.fill.take() {
            self.brought = self.store.slice_number(fill.arrived());
        }
    }

    /// Bytes at the position from memory, or a fill that brings them.
    fn find(&mut self) -> Result<Option<Bytes>, Failure> {
        let n = self.store.slice_number(self.at);
        if let Some(bytes) = self.store.slice_in_memory(self.stored.id, n) {
            let skip = usize::try_from(self.at % self.store.slice).unwrap_or(usize::MAX);
            if skip < bytes.len() {
                return Ok(Some(self.take(bytes.slice(skip..))));
            }
            return Err(Failure::Broken(BodyError::Internal(
                "a slice is short".into(),
            )));
        }
        if n < self.brought {
            // It was here, and evicted before we got to it: more than it would be, too.
            self.run = 1;
        }
        let last = self
            .end
            .or(self.stored.size())
            .map_or(n, |end| self.store.slice_number(end.saturating_sub(1)))
            .min(n.saturating_add(self.run - 1));
        match self.store.fill(&self.asked, &self.stored, self.at, last) {
            Supply::Fill(fill) => self.fill = Some(fill),
            Supply::InMemory => {}
            Supply::Lost => {
                return Err(Failure::Broken(BodyError::Upstream(
                    "the bytes are lost".into(),
                )));
            }
        }
        Ok(None)
    }

    /// Cuts bytes at the end and moves on.
    fn take(&mut self, mut bytes: Bytes) -> Bytes {
        if let Some(end) = self.end {
            bytes.truncate(usize::try_from(end - self.at).unwrap_or(usize::MAX));
        }
        let crowded = self.stored.ranged && self.store.memory.is_crowded();
        if crowded {
            let sip = bytes.len().min(SIP);
            bytes = Bytes::copy_from_slice(&bytes[..sip]);
            // What isn't complete would have to be fetched twice.
            if self
                .fill
                .as_ref()
                .is_some_and(|fill| fill.is_settled(self.at))
            {
                self.detach();
            }
        }
        self.copied
            .set(if crowded { bytes.len() as u64 } else { 0 });
        self.at += bytes.len() as u64;
        bytes
    }
}
