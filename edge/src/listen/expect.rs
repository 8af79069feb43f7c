//! `Expect: 100-continue` (RFC 9110 §10.1.1) where the listener is ours: the client is told to go on
//! when somebody wants its body and it hasn't come.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header::EXPECT};
use http_body::{Body, Frame, SizeHint};

use crate::{exchange::BodyError, interim::Interim};

/// Whether a client waits for a word before it sends its body.
pub(crate) fn continues(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(EXPECT).iter();
    values.any(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// A request's body that is asked for when it is first waited for.
pub(crate) struct Expected<B> {
    body: B,
    /// Until it was asked for, or came by itself.
    interim: Interim,
}

impl<B> Expected<B> {
    /// The body of a request whose interim responses go there.
    pub(crate) fn new(body: B, interim: Interim) -> Self {
        Self { body, interim }
    }
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Body for Expected<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let interim = std::mem::take(&mut self.interim);
        if polled.is_pending() {
            interim.tell(StatusCode::CONTINUE, &HeaderMap::new());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
