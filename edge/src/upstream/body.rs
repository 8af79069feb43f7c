//! A response's body from an upstream: a stall timeout, and the connection given back at its end.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::{node::Ticket, transport::Held};
use crate::exchange::BodyError;

/// The body; dropping it before its end abandons the exchange.
pub(super) struct ResponseBody {
    incoming: Incoming,
    held: Option<Held>,
    ticket: Ticket,
    stall: Duration,
    sleep: Pin<Box<Sleep>>,
    /// Whether the sleep runs for the current wait.
    waiting: bool,
}

impl ResponseBody {
    pub(super) fn new(incoming: Incoming, held: Held, ticket: Ticket, stall: Duration) -> Self {
        let mut body = Self {
            incoming,
            held: Some(held),
            ticket,
            stall,
            sleep: Box::pin(tokio::time::sleep(stall)),
            waiting: false,
        };
        body.end_if_over();
        body
    }

    fn end_if_over(&mut self) {
        if self.incoming.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(held) = self.held.take() {
            held.give_back();
        }
    }

    fn break_off(&mut self, why: String) -> BodyError {
        self.held = None;
        self.ticket.broke_off();
        BodyError::Upstream(why)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            if !this.waiting {
                this.waiting = true;
                let stall = this.stall;
                this.sleep.as_mut().reset(Instant::now() + stall);
            }
            ready!(this.sleep.as_mut().poll(cx));
            let error = this.break_off("the response's body stalled".into());
            return Poll::Ready(Some(Err(error)));
        };
        this.waiting = false;
        match frame {
            None => {
                this.end();
                Poll::Ready(None)
            }
            Some(Ok(frame)) => {
                this.end_if_over();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(e)) => Poll::Ready(Some(Err(this.break_off(e.to_string())))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
