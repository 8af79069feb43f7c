//! Responses on their way out: windows, priorities, and the frames that come of them. No more is
//! taken of a body than the client and [`HIGH`] let through.

use std::collections::VecDeque;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    answer::Next,
    encode::{Encoder, put_field, put_fields, put_status},
    frame::PAYLOAD,
    stream::Stream,
};
use crate::{
    exchange::{Protocol, Response},
    listen::{date, output::Output, priority::Priority},
};

/// Bytes of output above which no more is made, and nothing more is read: one 64 KiB response with
/// its head, and some.
pub(super) const HIGH: usize = 96 << 10;

/// Where a response stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Written to its end.
    Done,
    /// It has more, and others their turn or the output none.
    Ready,
    /// Its client takes no more of it for now.
    Starved,
    /// Its body has no more for now.
    Awaited,
}

/// A connection's sending side.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) out: Output,
    encoder: Encoder,
    /// Bytes the client takes of all bodies.
    pub(super) window: i64,
    /// Bytes it takes of one to begin with.
    pub(super) initial: i64,
    pub(super) ready: Queue,
    /// Field that every response over TLS on TCP has.
    alt_svc: Option<HeaderValue>,
}

impl Sending {
    /// Of a new connection: windows are what RFC 9113 §6.9.2 begins with.
    pub(super) fn new(alt_svc: Option<HeaderValue>) -> Self {
        Self {
            out: Output::default(),
            encoder: Encoder::default(),
            window: 65_535,
            initial: 65_535,
            ready: Queue::default(),
            alt_svc,
        }
    }

    /// Writes a response's head.
    pub(super) fn head(&mut self, stream: u32, response: &Response, ends: bool) {
        let fields = &response.headers;
        let (encoder, alt_svc) = (&mut self.encoder, &self.alt_svc);
        self.out.section(stream, ends, |out| {
            encoder.begin(out);
            put_status(out, response.status);
            if let Some(hit) = &response.hit {
                out.extend_from_slice(hit.kept(Protocol::H2, put_field));
                hit.own(|name, value| put_field(out, name, value));
            } else if !fields.contains_key(header::DATE) {
                put_field(out, &header::DATE, date::now().as_bytes());
            }
            put_fields(out, fields);
            if let Some(alt_svc) = alt_svc {
                put_field(out, &header::ALT_SVC, alt_svc.as_bytes());
            }
        });
    }

    /// Writes an interim response.
    pub(super) fn interim(&mut self, stream: u32, status: StatusCode, fields: &HeaderMap) {
        let encoder = &mut self.encoder;
        self.out.section(stream, false, |out| {
            encoder.begin(out);
            put_status(out, status);
            put_fields(out, fields);
        });
    }

    /// Writes what there is of a response's body and may be written now.
    pub(super) fn advance(&mut self, stream: &mut Stream) -> Standing {
        let Some(answer) = &mut stream.answer else {
            return Standing::Awaited;
        };
        loop {
            match answer.next() {
                Next::Data => {
                    if self.out.len() >= HIGH || self.window <= 0 {
                        return Standing::Ready;
                    }
                    if stream.window <= 0 {
                        return Standing::Starved;
                    }
                    let most = self.window.min(stream.window).min(PAYLOAD as i64);
                    let data = answer.take(most as usize);
                    self.window -= data.len() as i64;
                    stream.window -= data.len() as i64;
                    stream.sent += data.len() as u64;
                    if let Some(exchange) = &mut stream.exchange {
                        exchange.sent(data.len());
                    }
                    let over = answer.is_over();
                    self.out.data(stream.id, data, over);
                    if over {
                        return Standing::Done;
                    }
                    if stream.priority.incremental && !self.ready.is_empty() {
                        return Standing::Ready;
                    }
                }
                Next::Trailers => {
                    let (fields, encoder) = (answer.take_trailers(), &mut self.encoder);
                    self.out.section(stream.id, true, |out| {
                        encoder.begin(out);
                        put_fields(out, &fields);
                    });
                    return Standing::Done;
                }
                Next::End => {
                    self.out.data(stream.id, Bytes::new(), true);
                    return Standing::Done;
                }
                Next::Awaited => return Standing::Awaited,
            }
        }
    }
}

/// Streams that have something to send, the most urgent first; those of one urgency in turn, but
/// one that isn't incremental stays in front until it is through (RFC 9218 §10).
#[derive(Debug, Default)]
pub(super) struct Queue {
    urgencies: [VecDeque<u32>; Priority::URGENCIES],
    length: usize,
}

impl Queue {
    /// Whether none has.
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Queues a stream; again in front where it was `interrupted`.
    pub(super) fn push(&mut self, stream: &mut Stream, interrupted: bool) {
        if std::mem::replace(&mut stream.queued, true) {
            return;
        }
        self.length += 1;
        let queue = &mut self.urgencies[usize::from(stream.priority.urgency)];
        if interrupted && !stream.priority.incremental {
            queue.push_front(stream.id);
        } else {
            queue.push_back(stream.id);
        }
    }

    /// The next stream's id.
    pub(super) fn pop(&mut self) -> Option<u32> {
        if self.length == 0 {
            // Nothing is kept for a connection at rest.
            self.urgencies
                .iter_mut()
                .filter(|queue| queue.capacity() > 0)
                .for_each(|queue| *queue = VecDeque::new());
            return None;
        }
        self.length -= 1;
        self.urgencies.iter_mut().find_map(VecDeque::pop_front)
    }

    /// Takes a stream out.
    pub(super) fn remove(&mut self, stream: &mut Stream) {
        if std::mem::take(&mut stream.queued) {
            self.length -= 1;
            self.urgencies[usize::from(stream.priority.urgency)].retain(|id| *id != stream.id);
        }
    }
}
