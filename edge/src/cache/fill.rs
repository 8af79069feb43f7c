//! Bytes on their way in: one writer, any number of readers, nobody waits for the slowest.
//!
//! Readers are woken by what arrives. What every reader may still need is kept within a window;
//! a reader that falls behind it goes back to the store, or fetches again by range.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::memory::Reason;
use crate::exchange::BodyError;

/// Bytes a fill keeps for readers at most, and may run ahead of the fastest of them.
pub(crate) const WINDOW: u64 = 16 << 20;

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

/// One range of a body, arriving.
#[derive(Debug)]
pub(crate) struct Fill {
    /// The slices it brings: first, and one past the last ([`u32::MAX`] while unknown).
    pub(crate) slices: (u32, u32),
    /// Body offset of the first byte; within a slice where the upstream chose the range's start.
    #[cfg(test)]
    pub(crate) start: u64,
    state: Mutex<State>,
    grown: Notify,
    advanced: Notify,
    readers: AtomicUsize,
    furthest: AtomicU64,
    /// Whether anybody wants it; until then what it brings is only likely to be asked for.
    wanted: AtomicBool,
}

#[derive(Debug)]
struct State {
    /// Consecutive pieces with the body offset each starts at.
    pieces: VecDeque<(u64, Bytes)>,
    /// Body offset after the last piece.
    end: u64,
    done: Option<Result<(), Failure>>,
}

/// What a reader finds at its position.
#[derive(Debug)]
pub(crate) enum Found {
    /// Bytes from the position on.
    Bytes(Bytes),
    /// The end of the fill.
    End,
    /// Dropped from the window, or before the fill's start: look in the store.
    Gone,
    /// The fill ended early.
    Failed(Failure),
}

impl Fill {
    /// A fill of `slices` whose first byte is at body offset `start`.
    pub(crate) fn new(slices: (u32, u32), start: u64) -> Self {
        Self {
            slices,
            #[cfg(test)]
            start,
            state: Mutex::new(State {
                pieces: VecDeque::new(),
                end: start,
                done: None,
            }),
            grown: Notify::new(),
            advanced: Notify::new(),
            readers: AtomicUsize::new(0),
            furthest: AtomicU64::new(start),
            wanted: AtomicBool::new(false),
        }
    }

    /// Somebody wants what it brings, whether or not they stay to read it.
    pub(crate) fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
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
            self.look(at),
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
            let end = state.end;
            while state
                .pieces
                .front()
                .is_some_and(|(at, piece)| at + piece.len() as u64 + WINDOW < end)
            {
                state.pieces.pop_front();
            }
        }
        self.grown.notify_waiters();
    }

    /// Puts the one buffer of a finished slice in the place of its pieces.
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

    /// Ends it. The first end counts.
    pub(crate) fn finish(&self, result: Result<(), Failure>) {
        self.state.lock().done.get_or_insert(result);
        self.grown.notify_waiters();
    }

    /// Body offset up to which bytes have arrived.
    pub(crate) fn arrived(&self) -> u64 {
        self.state.lock().end
    }

    /// Waits for bytes at body offset `at`. Cancel safe.
    pub(crate) async fn read(&self, at: u64) -> Found {
        if self.furthest.fetch_max(at, Ordering::Relaxed) < at {
            self.advanced.notify_one();
        }
        loop {
            let grown = self.grown.notified();
            tokio::pin!(grown);
            // Registered before looking, so that nothing that arrives in between is missed.
            grown.as_mut().enable();
            if let Some(found) = self.look(at) {
                return found;
            }
            grown.await;
        }
    }

    fn look(&self, at: u64) -> Option<Found> {
        let state = self.state.lock();
        if at < state.end {
            let n = state.pieces.partition_point(|(offset, _)| *offset <= at);
            let Some((offset, piece)) = n.checked_sub(1).and_then(|n| state.pieces.get(n)) else {
                return Some(Found::Gone);
            };
            let skip = usize::try_from(at - offset).unwrap_or(usize::MAX);
            return Some(if skip < piece.len() {
                Found::Bytes(piece.slice(skip..))
            } else {
                Found::Gone
            });
        }
        match &state.done {
            Some(Ok(())) => Some(Found::End),
            Some(Err(failure)) => Some(Found::Failed(failure.clone())),
            None => None,
        }
    }

    /// Waits until the writer isn't more than [`WINDOW`] ahead of the fastest reader. False where
    /// no reader is left to write for.
    pub(crate) async fn keep_pace(&self) -> bool {
        loop {
            if self.readers.load(Ordering::Acquire) == 0 {
                return false;
            }
            if self.arrived() <= self.furthest.load(Ordering::Relaxed).saturating_add(WINDOW) {
                return true;
            }
            self.advanced.notified().await;
        }
    }
}

/// A reader's claim on a fill.
#[derive(Debug)]
pub(crate) struct Attached(Arc<Fill>);

impl Attached {
    /// Claims it.
    pub(crate) fn to(fill: Arc<Fill>) -> Self {
        fill.want();
        fill.readers.fetch_add(1, Ordering::AcqRel);
        Self(fill)
    }
}

impl std::ops::Deref for Attached {
    type Target = Fill;

    fn deref(&self) -> &Fill {
        &self.0
    }
}

impl Clone for Attached {
    fn clone(&self) -> Self {
        Self::to(self.0.clone())
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if self.0.readers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.advanced.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn readers_see_bytes_as_they_arrive_and_the_end() {
        let fill = Arc::new(Fill::new((0, 1), 0));
        let reader = tokio::spawn({
            let fill = fill.clone();
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
        fill.finish(Ok(()));
        assert_eq!(reader.await.unwrap(), b"one two three");
        assert!(matches!(fill.read(4).await, Found::Bytes(b) if &b[..] == b"two three"));
    }

    #[tokio::test]
    async fn what_leaves_the_window_is_gone() {
        let fill = Fill::new((0, 100), 0);
        for _ in 0..20 {
            fill.push(Bytes::from(vec![0; 1 << 20]));
        }
        assert!(matches!(fill.read(0).await, Found::Gone));
        assert!(matches!(fill.read(19 << 20).await, Found::Bytes(_)));
    }

    #[tokio::test]
    async fn the_writer_keeps_pace_with_the_fastest_reader() {
        let fill = Arc::new(Fill::new((0, 100), 0));
        let fast = Attached::to(fill.clone());
        let slow = Attached::to(fill.clone());
        for _ in 0..20 {
            fill.push(Bytes::from(vec![0; 1 << 20]));
        }
        let waiting = tokio::spawn({
            let fill = fill.clone();
            async move { fill.keep_pace().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        fast.read(10 << 20).await;
        assert!(waiting.await.unwrap());
        drop((fast, slow));
        assert!(!fill.keep_pace().await);
    }
}
