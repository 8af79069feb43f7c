//! Bytes on their way in: one writer, any number of readers, nobody waits for the slowest.
//!
//! Readers are woken by what arrives. A slice that is complete belongs to the cache, and the fill
//! lets go of it as soon as no reader is in it: whoever comes to it later takes it from there, or
//! fetches it again. So a reader that stalls pins the slice it reads and no more, and yet each fill
//! brings its readers on by at least a slice, however small the memory. What can't be fetched again
//! is kept for readers within a window.
//!
//! The writer stays close to its furthest reader: what it brings far ahead of everyone would be gone
//! from memory before anyone gets there.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::memory::Reason;
use crate::exchange::BodyError;

/// Bytes that a fill without readers brings at most, and that one of what can't be fetched again
/// keeps for them at most.
pub(crate) const WINDOW: u64 = 16 << 20;

/// Whole slices that a writer may be ahead of the one its furthest reader is in.
pub(crate) const PACE: u32 = 1;

/// Why a fill ended early.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The upstream now has other bytes under this name.
    Changed,
    /// The upstream failed, or sent less than announced.
    Broken(BodyError),
}

impl Failure {
    /// As a body's error.
    pub(crate) fn into_body_error(self) -> BodyError {
        match self {
            Self::Changed => BodyError::Upstream("the object changed".into()),
            Self::Broken(error) => error,
        }
    }
}

/// What a fill keeps of what it has brought.
#[derive(Debug)]
pub(crate) enum Keep {
    /// The slices that a reader is in: the others can be had again.
    Read,
    /// The last bytes, since they can't be.
    Window(Window),
}

/// Bytes that a fill may keep, lent until it is gone.
#[derive(Debug)]
pub(crate) struct Window {
    bytes: u64,
    lent: Arc<AtomicU64>,
}

impl Window {
    /// As many bytes of what is left of `most` as a fill of `wanted` bytes has use for, but at least
    /// `least`.
    pub(crate) fn lend(lent: &Arc<AtomicU64>, most: u64, least: u64, wanted: u64) -> Self {
        let left = most.saturating_sub(lent.load(Ordering::Relaxed));
        let bytes = wanted.min(WINDOW).min(left).max(least);
        lent.fetch_add(bytes, Ordering::Relaxed);
        Self {
            bytes,
            lent: lent.clone(),
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.lent.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// One range of a body, arriving.
#[derive(Debug)]
pub(crate) struct Fill {
    /// The slices it brings: first, and one past the last ([`u32::MAX`] while unknown).
    pub(crate) slices: (u32, u32),
    /// Body offset of the first byte; within a slice where the upstream chose the range's start.
    #[cfg(test)]
    pub(crate) start: u64,
    /// Bytes of a slice.
    slice: u64,
    keep: Keep,
    state: Mutex<State>,
    grown: Notify,
    advanced: Notify,
    /// Whether anybody wants it; until then what it brings is only likely to be asked for.
    wanted: AtomicBool,
    /// How many have come to read it.
    claims: AtomicU32,
}

#[derive(Debug)]
struct State {
    /// Pieces in order, with the body offset each starts at. Slices may be missing between them.
    pieces: VecDeque<(u64, Bytes)>,
    /// Body offset after the last piece.
    end: u64,
    /// Body offset up to which slices are complete.
    settled: u64,
    /// Of the complete slices that pieces are left of, those that the cache did not take.
    refused: BTreeSet<u32>,
    /// How many readers are in which slice; none that nobody is in.
    readers: BTreeMap<u32, usize>,
    done: Option<Result<(), Failure>>,
}

/// What a reader finds at its position.
#[derive(Debug)]
pub(crate) enum Found {
    /// Bytes from the position on.
    Bytes(Bytes),
    /// The end of the fill, which may be short of what it set out to bring.
    End,
    /// Let go of, or before the fill's start: look in the store.
    Gone,
    /// The fill ended early.
    Failed(Failure),
}

/// How a writer stands to its readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Somebody is close behind, or about to be.
    Close,
    /// Everybody is too far behind.
    Ahead,
    /// There are no readers.
    Alone,
}

impl Fill {
    /// A fill of `slices` of `slice` bytes whose first byte is at body offset `start`.
    pub(crate) fn new(slices: (u32, u32), start: u64, slice: u64, keep: Keep) -> Self {
        Self {
            slices,
            #[cfg(test)]
            start,
            slice,
            keep,
            state: Mutex::new(State {
                pieces: VecDeque::new(),
                end: start,
                settled: start,
                refused: BTreeSet::new(),
                readers: BTreeMap::new(),
                done: None,
            }),
            grown: Notify::new(),
            advanced: Notify::new(),
            wanted: AtomicBool::new(false),
            claims: AtomicU32::new(0),
        }
    }

    /// Somebody wants what it brings, whether or not they stay to read it.
    pub(crate) fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// Whether more than one have come to read it: what it brings was used again already.
    pub(crate) fn is_shared(&self) -> bool {
        self.claims.load(Ordering::Relaxed) > 1
    }

    /// Why its slices come into the cache.
    pub(crate) fn reason(&self) -> Reason {
        match self.wanted.load(Ordering::Relaxed) {
            true => Reason::Demand,
            false => Reason::Prefetch,
        }
    }

    /// Waits for its end, whichever.
    pub(crate) async fn ended(&self) {
        loop {
            let grown = self.grown.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            if self.state.lock().done.is_some() {
                return;
            }
            grown.await;
        }
    }

    /// Whether it brings slice `n`.
    pub(crate) fn covers(&self, n: u32) -> bool {
        (self.slices.0..self.slices.1).contains(&n)
    }

    /// Whether a reader at body offset `at` would get bytes here, now or later.
    pub(crate) fn serves(&self, at: u64) -> bool {
        !matches!(
            self.state.lock().look(at),
            Some(Found::Gone | Found::Failed(_) | Found::End)
        )
    }

    /// Appends what arrived.
    pub(crate) fn push(&self, bytes: Bytes) {
        {
            let mut state = self.state.lock();
            let at = state.end;
            state.end += bytes.len() as u64;
            state.pieces.push_back((at, bytes));
        }
        self.grown.notify_waiters();
    }

    /// Puts the one buffer of a finished slice in the place of its pieces. The slice must not have
    /// been settled.
    pub(crate) fn merge(&self, at: u64, whole: Bytes) {
        let mut state = self.state.lock();
        let from = state.pieces.partition_point(|(offset, _)| *offset < at);
        let to = state
            .pieces
            .partition_point(|(offset, _)| *offset < at + whole.len() as u64);
        let aligned = state
            .pieces
            .get(from)
            .is_some_and(|(offset, _)| *offset == at);
        if aligned && to > from {
            state.pieces.drain(from + 1..to);
            state.pieces[from] = (at, whole);
        }
    }

    /// Notes that the slice that ends at body offset `to` is complete, and whether the cache has it.
    pub(crate) fn settle(&self, to: u64, taken: bool) {
        let mut state = self.state.lock();
        state.settled = state.settled.max(to);
        if !taken {
            let n = self.slice_at(to.saturating_sub(1));
            state.refused.insert(n);
        }
        self.let_go(&mut state);
    }

    /// Whether the slice with the byte at body offset `at` is complete.
    pub(crate) fn is_settled(&self, at: u64) -> bool {
        at < self.state.lock().settled
    }

    /// Drops what is kept for nobody.
    fn let_go(&self, state: &mut State) {
        let State {
            pieces,
            end,
            settled,
            refused,
            readers,
            done,
        } = state;
        let first = readers.keys().next().copied();
        match &self.keep {
            Keep::Read => pieces.retain(|(at, piece)| {
                let passed = at + piece.len() as u64 <= *settled || done.is_some();
                let n = self.slice_at(*at);
                // Who is about to come to what the cache has no room for must find it here.
                let before = if refused.contains(&n) { PACE } else { 0 };
                let awaited = readers.range(n.saturating_sub(before)..=n).next().is_some();
                if passed && !awaited {
                    refused.remove(&n);
                }
                !passed || awaited
            }),
            Keep::Window(window) => pieces.retain(|(at, piece)| {
                let awaited = done.is_none() || first.is_some_and(|n| self.slice_at(*at) >= n);
                awaited && at + piece.len() as u64 + window.bytes >= *end
            }),
        }
    }

    fn slice_at(&self, at: u64) -> u32 {
        u32::try_from(at / self.slice).unwrap_or(u32::MAX)
    }

    /// Ends it. The first end counts.
    pub(crate) fn finish(&self, result: Result<(), Failure>) {
        let mut state = self.state.lock();
        state.done.get_or_insert(result);
        self.let_go(&mut state);
        drop(state);
        self.grown.notify_waiters();
    }

    /// Body offset up to which bytes have arrived.
    pub(crate) fn arrived(&self) -> u64 {
        self.state.lock().end
    }

    /// How the writer stands to its readers.
    pub(crate) fn pace(&self) -> Pace {
        let state = self.state.lock();
        let Some((&furthest, _)) = state.readers.last_key_value() else {
            return Pace::Alone;
        };
        let ahead = match &self.keep {
            Keep::Read => u64::from(PACE) * self.slice,
            Keep::Window(window) => window.bytes.saturating_sub(self.slice),
        };
        let allowed = (u64::from(furthest) + 1) * self.slice + ahead;
        match state.end < allowed {
            true => Pace::Close,
            false => Pace::Ahead,
        }
    }

    /// Waits until a reader is close behind, or none is left. Cancel safe.
    pub(crate) async fn keep_pace(&self) -> Pace {
        loop {
            match self.pace() {
                Pace::Ahead => self.advanced.notified().await,
                other => return other,
            }
        }
    }

    /// Moves a reader from one slice to another; none: it comes or goes.
    fn moved(&self, from: Option<u32>, to: Option<u32>) {
        let mut state = self.state.lock();
        let before = state.readers.keys().next_back().copied();
        if let Some(n) = to {
            *state.readers.entry(n).or_default() += 1;
        }
        if let Some(n) = from
            && let Some(count) = state.readers.get_mut(&n)
        {
            *count -= 1;
            if *count == 0 {
                state.readers.remove(&n);
                self.let_go(&mut state);
            }
        }
        if state.readers.keys().next_back().copied() != before {
            self.advanced.notify_one();
        }
    }
}

impl State {
    fn look(&self, at: u64) -> Option<Found> {
        if at < self.end {
            let n = self.pieces.partition_point(|(offset, _)| *offset <= at);
            let Some((offset, piece)) = n.checked_sub(1).and_then(|n| self.pieces.get(n)) else {
                return Some(Found::Gone);
            };
            let skip = usize::try_from(at - offset).unwrap_or(usize::MAX);
            return Some(if skip < piece.len() {
                Found::Bytes(piece.slice(skip..))
            } else {
                Found::Gone
            });
        }
        match &self.done {
            Some(Ok(())) => Some(Found::End),
            Some(Err(failure)) => Some(Found::Failed(failure.clone())),
            None => None,
        }
    }
}

/// A reader's claim on a fill, which keeps for it the slice that it is in.
#[derive(Debug)]
pub(crate) struct Attached {
    fill: Arc<Fill>,
    /// The slice that the reader is in.
    at: u32,
}

impl Attached {
    /// Claims it for somebody who wants it, in slice `n`.
    pub(crate) fn to(fill: Arc<Fill>, n: u32) -> Self {
        fill.want();
        fill.claims.fetch_add(1, Ordering::Relaxed);
        Self::waiting(fill, n)
    }

    /// Claims it for whoever may want it.
    pub(crate) fn waiting(fill: Arc<Fill>, n: u32) -> Self {
        fill.moved(None, Some(n));
        Self { fill, at: n }
    }

    /// The fill, without the claim.
    pub(crate) fn fill(&self) -> &Arc<Fill> {
        &self.fill
    }

    /// Waits for bytes at body offset `at`. Cancel safe.
    pub(crate) async fn read(&mut self, at: u64) -> Found {
        let n = self.fill.slice_at(at);
        if n != self.at {
            self.fill.moved(Some(self.at), Some(n));
            self.at = n;
        }
        loop {
            let grown = self.fill.grown.notified();
            tokio::pin!(grown);
            // Registered before looking, so that nothing that arrives in between is missed.
            grown.as_mut().enable();
            if let Some(found) = self.fill.state.lock().look(at) {
                return found;
            }
            grown.await;
        }
    }
}

impl std::ops::Deref for Attached {
    type Target = Fill;

    fn deref(&self) -> &Fill {
        &self.fill
    }
}

impl Clone for Attached {
    fn clone(&self) -> Self {
        Self::waiting(self.fill.clone(), self.at)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.fill.moved(Some(self.at), None);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SLICE: u64 = 1 << 20;

    fn fill(slices: u32, keep: Keep) -> Arc<Fill> {
        Arc::new(Fill::new((0, slices), 0, SLICE, keep))
    }

    fn window(bytes: u64) -> Keep {
        Keep::Window(Window::lend(&Arc::default(), bytes, 0, u64::MAX))
    }

    /// Brings so many more slices, as the cache would.
    fn bring(fill: &Fill, slices: u64) {
        for _ in 0..slices {
            fill.push(Bytes::from(vec![0; SLICE as usize]));
            fill.settle(fill.arrived(), true);
        }
    }

    #[tokio::test]
    async fn readers_see_bytes_as_they_arrive_and_the_end() {
        let fill = fill(1, Keep::Read);
        let mut late = Attached::to(fill.clone(), 0);
        let reader = tokio::spawn({
            let mut fill = Attached::to(fill.clone(), 0);
            async move {
                let mut got = Vec::new();
                loop {
                    match fill.read(got.len() as u64).await {
                        Found::Bytes(bytes) => got.extend_from_slice(&bytes),
                        Found::End => return got,
                        other => panic!("{other:?}"),
                    }
                }
            }
        });
        for word in ["one ", "two ", "three"] {
            tokio::task::yield_now().await;
            fill.push(Bytes::from_static(word.as_bytes()));
        }
        fill.merge(0, Bytes::from_static(b"one two three"));
        fill.settle(13, true);
        fill.finish(Ok(()));
        assert_eq!(reader.await.unwrap(), b"one two three");
        assert!(matches!(late.read(4).await, Found::Bytes(b) if &b[..] == b"two three"));
    }

    #[tokio::test]
    async fn a_reader_keeps_the_slice_it_is_in_and_no_other() {
        let fill = fill(100, Keep::Read);
        let mut stalled = Attached::to(fill.clone(), 1);
        let mut other = Attached::to(fill.clone(), 0);
        bring(&fill, 5);
        fill.push(Bytes::from_static(b"the sixth"));
        assert!(matches!(stalled.read(SLICE + 7).await, Found::Bytes(_)));
        assert!(matches!(other.read(7).await, Found::Bytes(_)));
        assert!(matches!(other.read(2 * SLICE).await, Found::Gone));
        // What isn't complete yet can be had nowhere else.
        assert!(matches!(other.read(5 * SLICE).await, Found::Bytes(_)));
        assert!(matches!(other.read(0).await, Found::Gone));
        fill.finish(Ok(()));
        assert!(matches!(stalled.read(SLICE + 7).await, Found::Bytes(_)));
        let kept = |fill: &Fill| fill.state.lock().pieces.len();
        assert_eq!(kept(&fill), 1);
        drop((stalled, other));
        assert_eq!(kept(&fill), 0);
    }

    #[tokio::test]
    async fn what_the_cache_has_no_room_for_is_kept_for_who_is_near() {
        let fill = fill(100, Keep::Read);
        let mut near = Attached::to(fill.clone(), 1);
        for _ in 0..4 {
            fill.push(Bytes::from(vec![0; SLICE as usize]));
            fill.settle(fill.arrived(), false);
        }
        fill.finish(Ok(()));
        assert!(matches!(near.read(3 * SLICE).await, Found::Gone));
        let mut near = Attached::to(fill.clone(), 1);
        assert!(matches!(near.read(SLICE).await, Found::Gone), "since gone");
        let fill = self::fill(100, Keep::Read);
        let mut near = Attached::to(fill.clone(), 1);
        for _ in 0..4 {
            fill.push(Bytes::from(vec![0; SLICE as usize]));
            fill.settle(fill.arrived(), false);
        }
        fill.finish(Ok(()));
        assert!(matches!(near.read(2 * SLICE).await, Found::Bytes(_)));
    }

    #[tokio::test]
    async fn what_can_not_be_fetched_again_is_kept_within_the_window() {
        let fill = fill(100, window(16 * SLICE));
        let mut reader = Attached::to(fill.clone(), 0);
        bring(&fill, 16);
        assert!(matches!(reader.read(0).await, Found::Bytes(_)));
        bring(&fill, 4);
        assert!(matches!(reader.read(0).await, Found::Gone));
        assert!(matches!(reader.read(19 * SLICE).await, Found::Bytes(_)));
    }

    #[test]
    fn windows_are_lent_and_given_back() {
        let lent = Arc::default();
        let first = Window::lend(&lent, 20 << 20, 1 << 20, u64::MAX);
        let second = Window::lend(&lent, 20 << 20, 1 << 20, u64::MAX);
        let third = Window::lend(&lent, 20 << 20, 1 << 20, u64::MAX);
        assert_eq!(first.bytes, WINDOW);
        assert_eq!((second.bytes, third.bytes), (4 << 20, 1 << 20));
        drop((first, second, third));
        assert_eq!(lent.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn the_writer_keeps_pace_with_the_furthest_reader() {
        for keep in [Keep::Read, window(2 * SLICE)] {
            let fill = fill(100, keep);
            assert_eq!(fill.pace(), Pace::Alone);
            let mut fast = Attached::to(fill.clone(), 0);
            let slow = Attached::to(fill.clone(), 0);
            bring(&fill, 1);
            assert_eq!(fill.keep_pace().await, Pace::Close);
            bring(&fill, 1);
            let waiting = tokio::spawn({
                let fill = fill.clone();
                async move { fill.keep_pace().await }
            });
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            fast.read(SLICE).await;
            assert_eq!(waiting.await.unwrap(), Pace::Close);
            drop((fast, slow));
            assert_eq!(fill.keep_pace().await, Pace::Alone);
        }
    }
}
