//! A response as frames: what is still to be handed to QUIC.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use quinn_proto::{SendStream, WriteError};

use super::{
    error::Fault,
    frame::{kind, put_varint},
    qpack,
};
use crate::exchange::{Body, Response};

/// Longest encoded head for which no growth is needed.
const HEAD: usize = 512;

/// Room in front of a head for its frame's type and length.
const HEAD_FRAME: usize = 5;

/// A response on its way out.
#[derive(Debug)]
pub(super) struct Answer {
    /// Ready to be written.
    chunks: Vec<Bytes>,
    /// Of the bytes to be written, those in front that aren't the body's.
    framing: usize,
    /// One DATA frame holds the whole body.
    framed: bool,
    /// The rest, where it isn't there yet and nobody else has it.
    pub(super) rest: Option<Body>,
    /// Nothing comes after `chunks`.
    pub(super) ended: bool,
}

/// How far writing got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    /// All that is there.
    All,
    /// The client, or our own bound, takes no more for now.
    Blocked,
}

impl Answer {
    /// A response's head, and its body as far as it is there. Takes the body.
    pub(super) fn new(response: &mut Response) -> Self {
        let length = response.body.len().filter(|length| *length > 0);
        let head = head(response, length);
        let mut this = Self {
            framing: head.len(),
            framed: length.is_some(),
            chunks: Vec::with_capacity(2),
            rest: None,
            ended: true,
        };
        this.chunks.push(head);
        match std::mem::take(&mut response.body) {
            Body::Empty => {}
            Body::Full(bytes) => this.chunks.push(bytes),
            Body::Chunks(all) => this.chunks.extend(all),
            body @ Body::Stream { .. } => {
                this.rest = Some(body);
                this.ended = false;
            }
        }
        this
    }

    /// Comes behind what else there is to be written of the stream.
    pub(super) fn follow(&mut self, mut before: Vec<Bytes>) {
        if !before.is_empty() {
            self.framing += before.iter().map(Bytes::len).sum::<usize>();
            before.append(&mut self.chunks);
            self.chunks = before;
        }
    }

    /// Appends the body's next frame.
    pub(super) fn push(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) => {
                if !self.framed {
                    self.frame(kind::DATA, data.len());
                }
                self.chunks.push(data);
            }
            Err(frame) => {
                if let Ok(fields) = frame.into_trailers() {
                    let mut section = BytesMut::new();
                    qpack::encode_trailers(&mut section, &fields);
                    self.frame(kind::HEADERS, section.len());
                    self.framing += section.len();
                    self.chunks.push(section.freeze());
                }
            }
        }
    }

    fn frame(&mut self, kind: u64, length: usize) {
        let mut out = BytesMut::with_capacity(16);
        put_varint(&mut out, kind);
        put_varint(&mut out, length as u64);
        self.framing += out.len();
        self.chunks.push(out.freeze());
    }

    /// Hands QUIC what it takes. Also the number of the body's bytes among that.
    ///
    /// # Errors
    /// Where the client doesn't want it any more.
    pub(super) fn write(&mut self, mut stream: SendStream<'_>) -> Result<(Wrote, usize), Fault> {
        let mut body = 0;
        while !self.chunks.is_empty() {
            match stream.write_chunks(&mut self.chunks) {
                Ok(written) => {
                    self.chunks.drain(..written.chunks);
                    let framing = self.framing.min(written.bytes);
                    self.framing -= framing;
                    body += written.bytes - framing;
                }
                Err(WriteError::Blocked) => return Ok((Wrote::Blocked, body)),
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => return Err(Fault::Gone),
            }
        }
        if self.ended {
            stream.finish().map_err(|_| Fault::Gone)?;
        }
        Ok((Wrote::All, body))
    }

    /// Whether something waits to be written.
    pub(super) fn waits(&self) -> bool {
        !self.chunks.is_empty()
    }
}

/// The HEADERS frame of an interim response (RFC 9114 §4.1).
pub(super) fn interim(status: StatusCode, headers: &HeaderMap) -> Bytes {
    let mut section = BytesMut::new();
    qpack::encode(&mut section, status, headers);
    let mut out = BytesMut::with_capacity(section.len() + HEAD_FRAME);
    put_varint(&mut out, kind::HEADERS);
    put_varint(&mut out, section.len() as u64);
    out.extend_from_slice(&section);
    out.freeze()
}

/// The HEADERS frame, and the header of the DATA frame that follows where the length is known.
fn head(response: &Response, length: Option<u64>) -> Bytes {
    // The section is encoded behind room for the longest frame header, which is then put right in
    // front of it.
    let mut out = BytesMut::with_capacity(HEAD);
    out.put_bytes(0, HEAD_FRAME);
    qpack::encode_response(&mut out, response);
    let section = (out.len() - HEAD_FRAME) as u64;
    let mut front = [0; HEAD_FRAME];
    let mut rest = &mut front[..];
    put_varint(&mut rest, kind::HEADERS);
    put_varint(&mut rest, section);
    let skip = rest.len();
    let used = HEAD_FRAME - skip;
    out[skip..HEAD_FRAME].copy_from_slice(&front[..used]);
    if let Some(length) = length {
        put_varint(&mut out, kind::DATA);
        put_varint(&mut out, length);
    }
    out.freeze().slice(skip..)
}
