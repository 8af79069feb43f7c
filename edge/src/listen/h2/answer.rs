//! A response's body on its way out: what is there of it, and whether more comes.

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};

use crate::exchange::{Body, BodyError};

/// A response whose head is written.
#[derive(Debug)]
pub(super) struct Answer {
    /// The next bytes.
    chunk: Bytes,
    /// What comes after them; none while somebody waits for it.
    rest: Option<Body>,
    trailers: Option<HeaderMap>,
}

/// What is to be written next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Bytes.
    Data,
    /// Trailers, and with them the end.
    Trailers,
    /// The end alone.
    End,
    /// Nothing before the body has more.
    Awaited,
}

impl Answer {
    /// A response of that body.
    pub(super) fn new(body: Body) -> Self {
        Self {
            chunk: Bytes::new(),
            rest: Some(body),
            trailers: None,
        }
    }

    /// What comes next.
    pub(super) fn next(&mut self) -> Next {
        while self.chunk.is_empty() {
            match &mut self.rest {
                Some(Body::Empty) if self.trailers.is_some() => return Next::Trailers,
                Some(Body::Empty) => return Next::End,
                Some(Body::Full(bytes)) => {
                    self.chunk = std::mem::take(bytes);
                    self.rest = Some(Body::Empty);
                }
                Some(Body::Chunks(chunks)) => match chunks.pop_front() {
                    Some(chunk) => self.chunk = chunk,
                    None => self.rest = Some(Body::Empty),
                },
                Some(Body::Stream { .. }) | None => return Next::Awaited,
            }
        }
        Next::Data
    }

    /// Takes up to `most` bytes off the front.
    pub(super) fn take(&mut self, most: usize) -> Bytes {
        self.chunk.split_to(most.min(self.chunk.len()))
    }

    /// Whether nothing comes after what was taken.
    pub(super) fn is_over(&self) -> bool {
        self.chunk.is_empty()
            && self.trailers.is_none()
            && self.rest.as_ref().is_some_and(Body::is_empty)
    }

    /// The trailers.
    pub(super) fn take_trailers(&mut self) -> HeaderMap {
        self.trailers.take().unwrap_or_default()
    }

    /// The body, to ask it for more; none where somebody does already.
    pub(super) fn take_rest(&mut self) -> Option<Body> {
        match self.rest {
            Some(Body::Stream { .. }) => self.rest.take(),
            _ => None,
        }
    }

    /// What the body had.
    ///
    /// # Errors
    /// Where it ended before its end.
    pub(super) fn feed(
        &mut self,
        body: Body,
        next: Option<Result<Frame<Bytes>, BodyError>>,
    ) -> Result<(), BodyError> {
        let Some(frame) = next.transpose()? else {
            self.rest = Some(Body::Empty);
            return Ok(());
        };
        match frame.into_data() {
            Ok(data) => self.chunk = data,
            Err(frame) => self.trailers = frame.into_trailers().ok(),
        }
        let over = self.trailers.is_some() || body.is_end_stream();
        self.rest = Some(if over { Body::Empty } else { body });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    /// A body whose end isn't known before it is asked.
    fn stream() -> Body {
        let body = StreamBody::new(futures_util::stream::empty());
        Body::Stream {
            body: body.boxed_unsync(),
            len: None,
        }
    }

    #[test]
    fn bodies_in_memory() {
        let mut full = Answer::new(Body::Full("abc".into()));
        assert_eq!((full.next(), full.take(2)), (Next::Data, "ab".into()));
        assert!(!full.is_over());
        assert_eq!((full.next(), full.take(9)), (Next::Data, "c".into()));
        assert!(full.is_over());
        let chunks = ["a", "", "b", ""].map(Bytes::from).into();
        let mut chunks = Answer::new(Body::Chunks(chunks));
        assert_eq!((chunks.next(), chunks.take(9)), (Next::Data, "a".into()));
        assert!(!chunks.is_over());
        assert_eq!((chunks.next(), chunks.take(9)), (Next::Data, "b".into()));
        assert!(chunks.is_over());
    }

    #[test]
    fn bodies_that_come() {
        let mut answer = Answer::new(stream());
        assert_eq!(answer.next(), Next::Awaited);
        let body = answer.take_rest().unwrap();
        assert!(answer.take_rest().is_none());
        answer
            .feed(body, Some(Ok(Frame::data("x".into()))))
            .unwrap();
        assert_eq!((answer.next(), answer.take(9)), (Next::Data, "x".into()));
        assert!(!answer.is_over());
        let body = answer.take_rest().unwrap();
        let trailers = Frame::trailers(HeaderMap::new());
        answer.feed(body, Some(Ok(trailers))).unwrap();
        assert_eq!(answer.next(), Next::Trailers);
        let mut cut = Answer::new(stream());
        let body = cut.take_rest().unwrap();
        let error = BodyError::Upstream("cut".into());
        assert!(cut.feed(body, Some(Err(error))).is_err());
    }
}
