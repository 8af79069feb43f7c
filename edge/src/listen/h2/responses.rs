//! Responses: begun by whoever serves the connection, then written as far as windows and output
//! have room.

use bytes::Bytes;
use futures_util::stream::AbortHandle;
use http::{HeaderMap, StatusCode};
use http_body::Frame;

use super::{
    answer::{Answer, Next},
    core::Core,
    error::Code,
    sending::{HIGH, Standing},
    stream::Stream,
};
use crate::exchange::{Body, BodyError, Response};

/// Interim responses to one request; more are dropped.
const INTERIMS: u8 = 8;

impl Core {
    /// Begins a response. Where all of it is there and nothing stands in the way, it is over with
    /// that.
    pub(super) fn respond(&mut self, mut stream: Box<Stream>, response: Response) {
        let over = response.body.is_empty();
        self.sending.head(stream.id, &response, over);
        if over {
            return self.finish(stream);
        }
        stream.answer = Some(Answer::new(response.body));
        self.go_on(stream);
    }

    /// Writes an interim response (RFC 9113 §8.1), unless the final one has begun.
    pub(super) fn interim(&mut self, id: u32, status: StatusCode, fields: &HeaderMap) {
        if let Some(stream) = self.streams.get(id)
            && stream.answer.is_none()
            && stream.interims < INTERIMS
        {
            stream.interims += 1;
            self.sending.interim(id, status, fields);
        }
    }

    /// Writes of a stream that is not with the others, unless others come first.
    fn go_on(&mut self, mut stream: Box<Stream>) {
        let bytes = stream
            .answer
            .as_mut()
            .is_some_and(|answer| answer.next() == Next::Data);
        if bytes && !self.sending.ready.is_empty() {
            self.sending.ready.push(&mut stream, false);
            return self.streams.put(stream);
        }
        let standing = self.sending.advance(&mut stream);
        self.settle(stream, standing);
    }

    fn settle(&mut self, mut stream: Box<Stream>, standing: Standing) {
        match standing {
            Standing::Done => return self.finish(stream),
            Standing::Ready => self.sending.ready.push(&mut stream, true),
            Standing::Starved => {}
            Standing::Awaited => self.hungry.push(stream.id),
        }
        self.streams.put(stream);
    }

    /// Writes of those whose turn it is, until the output is full or nobody has more.
    pub(super) fn pump(&mut self) {
        while self.sending.out.len() < HIGH && self.sending.window > 0 {
            let Some(id) = self.sending.ready.pop() else {
                return;
            };
            if let Some(mut stream) = self.streams.take(id) {
                stream.queued = false;
                let standing = self.sending.advance(&mut stream);
                self.settle(stream, standing);
            }
        }
    }

    /// The next stream whose body is to be asked for more, with the body.
    pub(super) fn hungry(&mut self) -> Option<(u32, Body)> {
        while let Some(id) = self.hungry.pop() {
            let answer = self.streams.get(id).and_then(|s| s.answer.as_mut());
            // One that was noted twice may have bytes again.
            if let Some(answer) = answer
                && answer.next() == Next::Awaited
                && let Some(body) = answer.take_rest()
            {
                return Some((id, body));
            }
        }
        if self.hungry.capacity() > 0 {
            self.hungry = Vec::new();
        }
        None
    }

    /// A stream's body is waited for.
    pub(super) fn wait(&mut self, id: u32, job: AbortHandle) {
        if let Some(stream) = self.streams.get(id) {
            stream.job = Some(job);
            if let Some(exchange) = &mut stream.exchange {
                exchange.wait_for_us(true);
            }
        }
    }

    /// What a stream's body had.
    pub(super) fn feed(
        &mut self,
        id: u32,
        body: Body,
        next: Option<Result<Frame<Bytes>, BodyError>>,
    ) {
        let Some(mut stream) = self.streams.take(id) else {
            return;
        };
        stream.job = None;
        if let Some(exchange) = &mut stream.exchange {
            exchange.wait_for_us(false);
        }
        let Some(answer) = &mut stream.answer else {
            return self.streams.put(stream);
        };
        match answer.feed(body, next) {
            Ok(()) => self.go_on(stream),
            // The client must not take what it has for the whole.
            Err(_) => self.reset(stream, Code::Internal),
        }
    }

    /// A response is written to its end.
    fn finish(&mut self, mut stream: Box<Stream>) {
        if let Some(exchange) = &mut stream.exchange {
            exchange.complete();
        }
        if stream.receiving.open {
            // We don't need the rest (RFC 9113 §8.1): no error.
            self.reset(stream, Code::NoError);
        } else {
            self.close_stream(stream, false);
        }
    }
}
