//! A request's body between the HTTP/1.1 or HTTP/2 connection that receives it and whoever reads it. What
//! the client may send grows by what was read, so a slow upstream slows the client instead of filling memory:
//! at most a stream's window waits here.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame};
use parking_lot::Mutex;

use super::{dribble::Dribble, wakes::Wakes};
use crate::{config::Limits, exchange::BodyError};

/// Bytes of one request's body that may wait for us. Clients send requests, not bodies: small
/// windows bound what they can make us hold.
pub(crate) const WINDOW: u32 = 64 << 10;

/// Bytes read after which the client is told that it may send more.
const CLAIM: u32 = WINDOW / 2;

#[derive(Debug, Default)]
struct State {
    /// One buffer, so that many small frames cost no more than their bytes.
    data: BytesMut,
    trailers: Option<HeaderMap>,
    end: Option<Result<(), BodyError>>,
    /// Read, and not yet claimed by the connection.
    read: u32,
    /// The connection was told of that, or that the reader is gone.
    told: bool,
    abandoned: bool,
    reader: Option<Waker>,
}

struct Pipe {
    state: Mutex<State>,
    wakes: Arc<Wakes>,
    stream: u32,
}

/// The connection's end.
pub(crate) struct Sender(Arc<Pipe>);

/// The reader's end. Ends the body where the client is too slow.
pub(crate) struct Receiver {
    pipe: Arc<Pipe>,
    dribble: Dribble,
}

/// Both ends; `wakes` is told of the stream when enough was read or the reader is gone.
pub(crate) fn channel(wakes: &Arc<Wakes>, stream: u32, limits: &Limits) -> (Sender, Receiver) {
    let pipe = Arc::new(Pipe {
        state: Mutex::default(),
        wakes: Arc::clone(wakes),
        stream,
    });
    let sender = Sender(Arc::clone(&pipe));
    let dribble = Dribble::new(limits);
    (sender, Receiver { pipe, dribble })
}

impl Sender {
    /// Appends bytes; false where nobody wants them.
    pub(crate) fn push(&self, data: &[u8]) -> bool {
        self.change(|state| state.data.extend_from_slice(data))
    }

    /// Appends trailers.
    pub(crate) fn trailers(&self, fields: HeaderMap) {
        self.change(|state| state.trailers = Some(fields));
    }

    /// Ends the body, well or not. The first end counts.
    pub(crate) fn end(&self, end: Result<(), BodyError>) {
        self.change(|state| {
            state.end.get_or_insert(end);
        });
    }

    /// Bytes that were read since the last call.
    pub(crate) fn claim(&self) -> u32 {
        let mut state = self.0.state.lock();
        state.told = false;
        std::mem::take(&mut state.read)
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> bool {
        let mut state = self.0.state.lock();
        if state.abandoned || state.end.is_some() {
            return false;
        }
        change(&mut state);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        true
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.end(Err(BodyError::Client("the stream was cut off".into())));
    }
}

impl Pipe {
    /// What there is to be read.
    fn read(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.state.lock();
        if !state.data.is_empty() {
            let data = std::mem::take(&mut state.data).freeze();
            // No more than a window.
            state.read += data.len() as u32;
            let tell = state.read >= CLAIM && !std::mem::replace(&mut state.told, true);
            drop(state);
            if tell {
                self.wakes.wake(self.stream);
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(fields) = state.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(fields))));
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
}

impl Body for Receiver {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Poll::Ready(read) = this.pipe.read(cx) else {
            ready!(this.dribble.poll_late(cx));
            let why = "the request's body stalled";
            return Poll::Ready(Some(Err(BodyError::Client(why.into()))));
        };
        if let Some(Ok(frame)) = &read {
            this.dribble
                .came(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        Poll::Ready(read)
    }

    fn is_end_stream(&self) -> bool {
        let state = self.pipe.state.lock();
        state.data.is_empty() && state.trailers.is_none() && matches!(state.end, Some(Ok(())))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = self.pipe.state.lock();
        state.abandoned = true;
        state.read += state.data.len() as u32;
        state.data = BytesMut::new();
        state.trailers = None;
        let tell = !std::mem::replace(&mut state.told, true);
        drop(state);
        if tell {
            self.pipe.wakes.wake(self.pipe.stream);
        }
    }
}
