//! A request's body on its way up: while it moves, nobody waits for the response's head in vain.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::exchange::{BodyError, BoxBody, RequestBody};

/// How much of a body was taken, in pieces.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Option<Arc<AtomicU64>>);

impl Progress {
    /// Watches a request's body, if it has one.
    pub(super) fn of(request: &mut Request<RequestBody>) -> Self {
        let RequestBody::Stream { body, .. } = request.body_mut() else {
            return Self(None);
        };
        let pieces = Arc::new(AtomicU64::new(0));
        let watched = Watched {
            body: std::mem::take(body),
            pieces: Arc::clone(&pieces),
        };
        *body = watched.boxed_unsync();
        Self(Some(pieces))
    }

    /// Waits for the response's head, for `limit` from the last piece on; none where that is over.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        head: impl Future<Output = T>,
    ) -> Option<T> {
        let Some(pieces) = &self.0 else {
            return timeout(limit, head).await.ok();
        };
        let mut head = std::pin::pin!(head);
        let mut before = pieces.load(Relaxed);
        loop {
            if let Ok(done) = timeout(limit, &mut head).await {
                return Some(done);
            }
            let now = pieces.load(Relaxed);
            if now == before {
                return None;
            }
            before = now;
        }
    }
}

/// A body that tells how far it is.
struct Watched {
    body: BoxBody,
    pieces: Arc<AtomicU64>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_ready() {
            self.pieces.fetch_add(1, Relaxed);
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
