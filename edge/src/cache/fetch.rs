//! The detached tasks that bring bytes in: cut into slices, stored, and shown to readers on the
//! way.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ETAG, IF_RANGE, RANGE},
};
use http_body_util::BodyExt as _;

use super::{
    fill::{Failure, Fill, Pace, WINDOW},
    ledger::Claim,
    record::Stored,
    store::{Entry, Store},
};
use crate::{
    asked::Asked,
    exchange::{BodyError, BoxBody},
    policy::precondition,
    range,
};

/// How long a fill waits for readers that are far behind before it gives its connection to the
/// upstream back. They have it brought on by another when they get there.
const PATIENCE: Duration = Duration::from_millis(250);

/// Brings the slices of `fill`: from the disk if it is one that may be there, else from the
/// upstream. Runs detached; always finishes the fill.
pub(super) async fn fill_slices(
    store: Arc<Store>,
    asked: Arc<Asked>,
    stored: Arc<Stored>,
    fill: Arc<Fill>,
) {
    let job = Job::start(store, stored, fill);
    let result = match job.load().await {
        true => Ok(()),
        false => job.fetch(&asked).await,
    };
    if matches!(result, Err(Failure::Changed)) {
        job.store.void(&asked, &job.stored);
    }
    job.end(result);
}

/// Streams the body of an opening response into the cache. Runs detached; always finishes the
/// fill.
pub(super) async fn fill_body(
    store: Arc<Store>,
    asked: Arc<Asked>,
    stored: Arc<Stored>,
    fill: Arc<Fill>,
    (start, end): (u64, Option<u64>),
    body: BoxBody,
) {
    let job = Job::start(store, stored, fill);
    let result = job.stream(body, start, start, end).await;
    let whole_known = job.stored.size().is_some();
    match &result {
        // Without a size, or a way to fetch the rest, a torso is of no use.
        Err(_) if !(job.stored.ranged && whole_known) => job.store.void(&asked, &job.stored),
        Ok(()) if end.is_none() => {
            job.store.update(&asked, None, Clone::clone);
        }
        _ => {}
    }
    job.end(result);
}

/// One fill at work. However it ends, even by a panic, readers learn of it.
struct Job {
    store: Arc<Store>,
    stored: Arc<Stored>,
    fill: Arc<Fill>,
    /// The slice that is incomplete, and what it is read with.
    _memory: Claim,
}

impl Job {
    fn start(store: Arc<Store>, stored: Arc<Stored>, fill: Arc<Fill>) -> Self {
        store.counters.fills.fetch_add(1, Ordering::Relaxed);
        store.counters.running.fetch_add(1, Ordering::Relaxed);
        Self {
            _memory: store.ledger.claim(store.slice),
            store,
            stored,
            fill,
        }
    }

    fn end(self, result: Result<(), Failure>) {
        self.store.delist(self.stored.id, &self.fill);
        self.fill.finish(result);
    }

    /// Tries the disk; true where it had the slice.
    async fn load(&self) -> bool {
        let (n, end) = self.fill.slices;
        let key = self.stored.id.slice(n);
        let Some(disk) = self
            .store
            .disk
            .as_ref()
            .filter(|disk| end == n + 1 && disk.may_contain(key))
        else {
            return false;
        };
        let Some(Entry::Slice(bytes)) = disk.load(key).await else {
            return false;
        };
        let start = u64::from(n) * self.store.slice;
        let expected = self
            .stored
            .size()
            .map(|size| size.saturating_sub(start).min(self.store.slice));
        if expected != Some(bytes.len() as u64) {
            return false;
        }
        let entry = Entry::Slice(bytes.clone());
        self.store.keep(key, entry, self.fill.reason());
        self.fill.push(bytes);
        let taken = self.store.memory.contains(key);
        self.fill.settle(self.fill.arrived(), taken);
        true
    }

    /// Asks the upstream for exactly these slices of exactly this revision.
    async fn fetch(&self, asked: &Asked) -> Result<(), Failure> {
        let broken = |what: &str| Failure::Broken(BodyError::Upstream(what.into()));
        let (Some(size), Some(etag)) = (
            self.stored.size(),
            precondition::strong_etag(&self.stored.headers),
        ) else {
            return Err(broken("the bytes are lost and can't be asked for again"));
        };
        let start = u64::from(self.fill.slices.0) * self.store.slice;
        let end = (u64::from(self.fill.slices.1) * self.store.slice).min(size);
        let mut request = asked.unconditional();
        let range = HeaderValue::try_from(format!("bytes={start}-{}", end - 1))
            .map_err(|_| broken("range"))?;
        request.headers_mut().insert(RANGE, range);
        request.headers_mut().insert(
            IF_RANGE,
            HeaderValue::from_bytes(etag).map_err(|_| broken("etag"))?,
        );
        let response = self
            .store
            .upstream
            .fetch(request)
            .await
            .map_err(|error| broken(&error.to_string()))?;
        let (head, body) = response.into_parts();
        let same =
            |headers: &HeaderMap| headers.get(ETAG).is_some_and(|tag| tag.as_bytes() == etag);
        match head.status {
            StatusCode::PARTIAL_CONTENT if same(&head.headers) => {
                match range::content_range(&head.headers) {
                    Some((got, told))
                        if got.start == start && told.is_none_or(|told| told == size) =>
                    {
                        self.stream(body, start, start, Some(end.min(got.end)))
                            .await?;
                        if got.end < end {
                            Err(broken("the upstream sent less than asked"))
                        } else {
                            Ok(())
                        }
                    }
                    _ => Err(Failure::Changed),
                }
            }
            // An upstream without ranges, after all: skip to where the slices start.
            StatusCode::OK if same(&head.headers) => self.stream(body, 0, start, Some(end)).await,
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(broken(status.as_str()))
            }
            _ => Err(Failure::Changed),
        }
    }

    /// Reads a body whose first byte is at offset `at`, keeps what lies in `from..end`, and fails
    /// where it ends short of `end`.
    async fn stream(
        &self,
        mut body: BoxBody,
        mut at: u64,
        from: u64,
        end: Option<u64>,
    ) -> Result<(), Failure> {
        let mut slices = Slices::new(from);
        while end.is_none_or(|end| at < end) {
            let frame = match body.frame().await {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Err(Failure::Broken(error)),
                None => break,
            };
            let Ok(mut data) = frame.into_data() else {
                continue;
            };
            self.store
                .counters
                .upstream_bytes
                .fetch_add(data.len() as u64, Ordering::Relaxed);
            let skip = from.saturating_sub(at).min(data.len() as u64);
            at += data.len() as u64;
            let _ = data.split_to(usize::try_from(skip).unwrap_or(0));
            if let Some(end) = end.filter(|end| *end < at) {
                data.truncate(
                    data.len()
                        .saturating_sub(usize::try_from(at - end).unwrap_or(usize::MAX)),
                );
                at = end;
            }
            slices.push(self, data);
            let complete = end.or(self.stored.size()).is_some_and(|end| at >= end);
            if !complete && !self.keep_pace(at).await? {
                return Ok(());
            }
        }
        match end {
            Some(end) if at < end => Err(Failure::Broken(BodyError::Upstream(format!(
                "ended {} bytes short",
                end - at
            )))),
            Some(_) => Ok(()),
            None => {
                let _ = self.stored.size.set(at);
                slices.finish(self);
                Ok(())
            }
        }
    }
}

impl Job {
    /// Waits for readers that are far behind. False where the fill is to end here, and another to
    /// bring the rest once somebody gets there.
    async fn keep_pace(&self, at: u64) -> Result<bool, Failure> {
        let pace = match self.fill.pace() {
            Pace::Ahead if self.stored.ranged => {
                match tokio::time::timeout(PATIENCE, self.fill.keep_pace()).await {
                    Ok(pace) => pace,
                    Err(_) => return Ok(false),
                }
            }
            Pace::Ahead => self.fill.keep_pace().await,
            pace => pace,
        };
        let large = self.stored.size().is_none_or(|size| size > WINDOW);
        if pace == Pace::Alone && large && at > WINDOW {
            return Err(Failure::Broken(BodyError::Internal(
                "nobody reads it any more".into(),
            )));
        }
        Ok(true)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.store.counters.running.fetch_sub(1, Ordering::Relaxed);
        self.store.delist(self.stored.id, &self.fill);
        self.fill.finish(Err(Failure::Broken(BodyError::Internal(
            "the fill was abandoned".into(),
        ))));
    }
}

/// Cuts what arrives at slice boundaries. A slice is stored once it is there from its first byte
/// to its last.
struct Slices {
    at: u64,
    pieces: Vec<Bytes>,
    /// Whether the current slice is there from its first byte.
    from_start: bool,
}

impl Slices {
    fn new(at: u64) -> Self {
        Self {
            at,
            pieces: Vec::new(),
            from_start: true,
        }
    }

    fn push(&mut self, job: &Job, mut data: Bytes) {
        let slice = job.store.slice;
        while !data.is_empty() {
            if self.pieces.is_empty() {
                self.from_start = self.at.is_multiple_of(slice);
            }
            let room = usize::try_from(slice - self.at % slice).unwrap_or(usize::MAX);
            let piece = data.split_to(room.min(data.len()));
            self.at += piece.len() as u64;
            job.fill.push(piece.clone());
            self.pieces.push(piece);
            if self.at.is_multiple_of(slice) || job.stored.size() == Some(self.at) {
                self.finish(job);
            }
        }
    }

    /// Stores the current slice as one buffer of its exact size, so that it pins no read buffer.
    fn finish(&mut self, job: &Job) {
        let length: usize = self.pieces.iter().map(Bytes::len).sum();
        let pieces = std::mem::take(&mut self.pieces);
        if length == 0 || !self.from_start {
            job.fill.settle(self.at, false);
            return;
        }
        let mut whole = BytesMut::with_capacity(length);
        pieces
            .iter()
            .for_each(|piece| whole.extend_from_slice(piece));
        let whole = whole.freeze();
        let start = self.at - length as u64;
        job.fill.merge(start, whole.clone());
        let n = job.store.slice_number(start);
        job.store
            .put_slice(job.stored.id, n, whole, job.fill.reason());
        let key = job.stored.id.slice(n);
        let taken = job.store.memory.contains(key);
        job.fill.settle(self.at, taken);
        if taken && job.fill.is_shared() {
            // Whoever came second has it from here, and memory would hear of no use.
            job.store.get(key);
        }
    }
}
