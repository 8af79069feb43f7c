//! A request's body between the connection that receives it and whoever reads it: a bounded queue,
//! so that a slow upstream slows the client by flow control instead of filling memory.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use parking_lot::Mutex;

use super::wakes::{Key, Wakes};
use crate::exchange::BodyError;

/// Bytes that may wait in the queue before no more are read from the client.
const QUEUE: usize = 64 << 10;

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Frame<Bytes>>,
    bytes: usize,
    end: Option<Result<(), BodyError>>,
    /// The reader is gone.
    abandoned: bool,
    reader: Option<Waker>,
    /// The connection waits for room.
    hungry: bool,
}

struct Pipe {
    state: Mutex<State>,
    wakes: Arc<Wakes>,
    key: Key,
}

/// The connection's end.
pub(super) struct Sender(Arc<Pipe>);

/// The reader's end.
pub(super) struct Receiver(Arc<Pipe>);

/// Both ends; `wakes` is told of `key` when there is room again or the reader is gone.
pub(super) fn channel(wakes: &Arc<Wakes>, key: Key) -> (Sender, Receiver) {
    let pipe = Arc::new(Pipe {
        state: Mutex::default(),
        wakes: Arc::clone(wakes),
        key,
    });
    (Sender(Arc::clone(&pipe)), Receiver(pipe))
}

impl Sender {
    /// Whether more should be read from the client; if not, a wake follows.
    pub(super) fn has_room(&self) -> bool {
        let mut state = self.0.state.lock();
        let room = state.bytes < QUEUE;
        state.hungry = !room;
        room
    }

    /// Whether the reader is gone.
    pub(super) fn is_abandoned(&self) -> bool {
        self.0.state.lock().abandoned
    }

    /// Appends a frame.
    pub(super) fn push(&self, frame: Frame<Bytes>) {
        self.change(|state| {
            state.bytes += frame.data_ref().map_or(0, Bytes::len);
            state.frames.push_back(frame);
        });
    }

    /// Ends the body, well or not. The first end counts.
    pub(super) fn end(&self, end: Result<(), BodyError>) {
        self.change(|state| {
            state.end.get_or_insert(end);
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.state.lock();
        if state.abandoned {
            return;
        }
        change(&mut state);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.end(Err(BodyError::Client("the stream was cut off".into())));
    }
}

impl Body for Receiver {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.0.state.lock();
        if let Some(frame) = state.frames.pop_front() {
            state.bytes -= frame.data_ref().map_or(0, Bytes::len);
            let hungry = std::mem::take(&mut state.hungry);
            drop(state);
            if hungry {
                self.0.wakes.wake(self.0.key);
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        match &state.end {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(error)) => {
                let error = error.clone();
                state.end = Some(Ok(()));
                Poll::Ready(Some(Err(error)))
            }
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.0.state.lock();
        state.frames.is_empty() && matches!(state.end, Some(Ok(())))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.abandoned = true;
        state.frames.clear();
        let unread = state.end.is_none();
        drop(state);
        if unread {
            self.0.wakes.wake(self.0.key);
        }
    }
}
