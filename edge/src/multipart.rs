//! Several ranges in one response: `multipart/byteranges` (RFC 9110 §14.6).
//!
//! Each part is read like a response of its own, one after the other, so that a slow client pins no
//! more than for a single range.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE},
};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};

use crate::{
    asked::Asked,
    cache::{opening::Answer, record::Stored, store::Store},
    exchange::{Body, BodyError},
    range, respond,
};

/// The parts of a response, at most [`range::MAX_RANGES`].
pub(crate) struct Parts {
    /// What goes before each part's bytes, and the bytes.
    parts: VecDeque<(Bytes, Range<u64>)>,
    /// What goes after the last.
    close: Bytes,
    /// Bytes of it all.
    length: u64,
}

impl Parts {
    /// Cuts `ranges` of a body of `size` into parts and sets the response's fields to suit. The
    /// boundary is the stored response's identity: the same request is given the same bytes.
    pub(crate) fn new(
        stored: &Stored,
        headers: &mut HeaderMap,
        ranges: Vec<Range<u64>>,
        size: u64,
    ) -> Self {
        let boundary = format!("{:032x}", stored.id.0);
        let kind = headers.remove(CONTENT_TYPE);
        let mut parts = VecDeque::with_capacity(ranges.len());
        let close = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        let mut length = close.len() as u64;
        for range in ranges {
            let told = range::content_range_value(&range, Some(size));
            let head = part_head(&boundary, kind.as_ref(), &told);
            length += head.len() as u64 + (range.end - range.start);
            parts.push_back((head, range));
        }
        let kind = format!("multipart/byteranges; boundary={boundary}");
        if let Ok(kind) = HeaderValue::try_from(kind) {
            headers.insert(CONTENT_TYPE, kind);
        }
        headers.remove(CONTENT_RANGE);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        Self {
            parts,
            close,
            length,
        }
    }

    /// The body. Waits for the first part's first bytes; none where the upstream has others by
    /// now.
    pub(crate) async fn body(
        mut self,
        store: &Arc<Store>,
        asked: &Arc<Asked>,
        stored: &Arc<Stored>,
        answer: Option<&Answer>,
    ) -> Option<Result<Body, &'static str>> {
        let (head, range) = self.parts.pop_front()?;
        let span = (range.start, Some(range.end));
        let first = match respond::body(store, asked, stored, answer, span).await? {
            Ok(body) => body,
            Err(reason) => return Some(Err(reason)),
        };
        let length = self.length;
        let feed = Feed {
            store: store.clone(),
            asked: asked.clone(),
            stored: stored.clone(),
            next: Next::Head(head),
            current: first,
            parts: self,
        };
        let frames = stream::unfold(feed, |mut feed| async move {
            let frame = feed.next().await?;
            Some((frame.map(Frame::data), feed))
        });
        Some(Ok(Body::Stream {
            body: StreamBody::new(frames).boxed_unsync(),
            len: Some(length),
        }))
    }
}

/// The boundary and the fields of one part.
fn part_head(boundary: &str, kind: Option<&HeaderValue>, told: &HeaderValue) -> Bytes {
    let mut head = BytesMut::with_capacity(192);
    head.put_slice(b"\r\n--");
    head.put_slice(boundary.as_bytes());
    if let Some(kind) = kind {
        head.put_slice(b"\r\nContent-Type: ");
        head.put_slice(kind.as_bytes());
    }
    head.put_slice(b"\r\nContent-Range: ");
    head.put_slice(told.as_bytes());
    head.put_slice(b"\r\n\r\n");
    head.freeze()
}

/// A body on its way out.
struct Feed {
    store: Arc<Store>,
    asked: Arc<Asked>,
    stored: Arc<Stored>,
    next: Next,
    /// The current part's bytes.
    current: Body,
    parts: Parts,
}

/// What is to be sent next.
enum Next {
    /// A part's head, then its bytes.
    Head(Bytes),
    /// The current part's bytes.
    Bytes,
    /// Nothing.
    Nothing,
}

impl Feed {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            match std::mem::replace(&mut self.next, Next::Bytes) {
                Next::Head(head) => return Some(Ok(head)),
                Next::Nothing => {
                    self.next = Next::Nothing;
                    return None;
                }
                Next::Bytes => {}
            }
            match self.current.next().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
                Some(Err(error)) => {
                    self.next = Next::Nothing;
                    return Some(Err(error));
                }
                None => match self.parts.parts.pop_front() {
                    None => {
                        self.next = Next::Nothing;
                        return Some(Ok(self.parts.close.clone()));
                    }
                    Some((head, range)) => {
                        self.next = Next::Head(head);
                        if let Err(error) = self.open(range).await {
                            self.next = Next::Nothing;
                            return Some(Err(error));
                        }
                    }
                },
            }
        }
    }

    /// Begins with the next part's bytes.
    async fn open(&mut self, range: Range<u64>) -> Result<(), BodyError> {
        let span = (range.start, Some(range.end));
        let (store, asked, stored) = (&self.store, &self.asked, &self.stored);
        self.current = match respond::body(store, asked, stored, None, span).await {
            Some(Ok(body)) => body,
            Some(Err(reason)) => return Err(BodyError::Upstream(reason.into())),
            None => return Err(BodyError::Upstream("the object changed".into())),
        };
        Ok(())
    }
}
