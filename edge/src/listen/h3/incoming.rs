//! What a client sends on a request stream: head, body, trailers, out of the frames that arrive
//! (RFC 9114 §4.1), each under its limit. No I/O.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::{
    error::{Code, Fault},
    frame::{Input, Taken, kind},
    qpack::{self, Line},
};
use crate::{config::Limits, listen::head::Head};

/// What comes next of a request.
#[derive(Debug)]
pub(super) enum Event {
    /// Nothing before more arrives.
    More,
    /// The head, and the body's length if announced.
    Head(Box<Head>, Option<u64>),
    /// A head over its limits, to be answered with that status. Nothing comes after it.
    TooLarge(StatusCode),
    /// Bytes of the body.
    Data(Bytes),
    /// Trailers. The end comes after them.
    Trailers(HeaderMap),
    /// The end.
    End,
}

/// Where in its frames a stream is.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Before a frame.
    Frame,
    /// In a frame of no meaning of which that much is left.
    Skip(u64),
    /// In a field section of that length.
    Section(u64),
    /// In a DATA frame of which that much is left.
    Data(u64),
    /// Done.
    Ended,
}

/// A request stream's receiving side.
#[derive(Debug)]
pub(super) struct Incoming {
    input: Input,
    /// Payload that arrived while nothing was buffered: passed on uncopied.
    direct: Bytes,
    state: State,
    /// Whether the head is behind us.
    headed: bool,
    /// Left of the announced length.
    announced: Option<u64>,
    /// Left of what a body may have.
    allowed: u64,
    limits: Bounds,
}

/// Limits of a request's parts.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    sections: qpack::Limits,
    target: u64,
    body: u64,
}

impl Incoming {
    /// A stream of which nothing has arrived.
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            input: Input::new(limits.h3_unresolved),
            direct: Bytes::new(),
            state: State::Frame,
            headed: false,
            announced: None,
            allowed: limits.body_size,
            limits: Bounds {
                sections: qpack::Limits {
                    size: limits.header_size,
                    count: limits.header_count,
                },
                target: limits.target_size,
                body: limits.body_size,
            },
        }
    }

    /// Takes bytes that arrived. Call [`Incoming::next`] until it wants more before the next.
    pub(super) fn feed(&mut self, bytes: Bytes) {
        if matches!(self.state, State::Data(_)) && self.input.is_empty() && self.direct.is_empty() {
            self.direct = bytes;
        } else {
            self.input.feed(&bytes);
        }
    }

    /// The stream ends after what has arrived.
    pub(super) fn finish(&mut self) {
        self.input.finish();
    }

    /// Whether the client has ended the stream and all of it was taken.
    pub(super) fn at_end(&self) -> bool {
        self.input.at_end() && self.direct.is_empty()
    }

    /// What comes next.
    ///
    /// # Errors
    /// [`Fault`]: the stream or the connection is lost.
    pub(super) fn next(&mut self) -> Result<Event, Fault> {
        loop {
            match self.state {
                State::Frame => match self.input.header()? {
                    Taken::More => return Ok(Event::More),
                    Taken::End => return self.end(),
                    Taken::Got((kind, length)) => {
                        if let Some(event) = self.frame(kind, length)? {
                            return Ok(event);
                        }
                    }
                },
                State::Skip(mut left) => {
                    let done = self.input.skip(&mut left)?;
                    self.state = if done {
                        State::Frame
                    } else {
                        State::Skip(left)
                    };
                    if !done {
                        return Ok(Event::More);
                    }
                }
                State::Section(length) => match self.input.payload(length)? {
                    Taken::Got(section) => return self.section(section),
                    Taken::More | Taken::End => return Ok(Event::More),
                },
                State::Data(0) => self.state = State::Frame,
                State::Data(left) => return self.data(left),
                State::Ended => return Ok(Event::End),
            }
        }
    }

    /// The stream's end between two frames.
    fn end(&mut self) -> Result<Event, Fault> {
        if !self.headed {
            return Err(Fault::Stream(Code::RequestIncomplete));
        }
        if self.announced.is_some_and(|left| left > 0) {
            return Err(Fault::Stream(Code::Message));
        }
        self.state = State::Ended;
        Ok(Event::End)
    }

    /// A frame begins.
    fn frame(&mut self, kind: u64, length: u64) -> Result<Option<Event>, Fault> {
        match kind {
            kind::HEADERS if length <= self.limits.sections.size => {
                self.input.spend(length)?;
                self.state = State::Section(length);
            }
            // The section is smaller than what it decodes to, or larger by bits: either is refused.
            kind::HEADERS if !self.headed => {
                self.state = State::Ended;
                return Ok(Some(Event::TooLarge(
                    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                )));
            }
            kind::HEADERS => return Err(Fault::Stream(Code::ExcessiveLoad)),
            kind::DATA if self.headed => {
                self.allowed = self
                    .allowed
                    .checked_sub(length)
                    .ok_or(Fault::Stream(Code::ExcessiveLoad))?;
                if let Some(left) = &mut self.announced {
                    *left = left
                        .checked_sub(length)
                        .ok_or(Fault::Stream(Code::Message))?;
                }
                // Frames of useful size pay for their headers.
                self.input.allow((length / 16).min(16));
                self.state = State::Data(length);
            }
            kind if kind == kind::DATA || forbidden(kind) => {
                return Err(Fault::Connection(Code::FrameUnexpected));
            }
            _ => self.state = State::Skip(length),
        }
        Ok(None)
    }

    /// Bytes of a DATA frame of which `left` are to come.
    fn data(&mut self, left: u64) -> Result<Event, Fault> {
        let bytes = if self.direct.is_empty() {
            self.input.some(left)
        } else {
            let now = left.min(self.direct.len() as u64) as usize;
            let bytes = self.direct.split_to(now);
            if now as u64 == left {
                // What follows is the next frame's.
                self.input.feed(&self.direct);
                self.direct.clear();
            }
            bytes
        };
        if bytes.is_empty() {
            return if self.input.finished() {
                Err(Fault::Connection(Code::Frame))
            } else {
                Ok(Event::More)
            };
        }
        self.state = State::Data(left - bytes.len() as u64);
        Ok(Event::Data(bytes))
    }

    /// A field section: the head first, trailers after it.
    fn section(&mut self, section: Bytes) -> Result<Event, Fault> {
        if self.headed {
            self.state = State::Ended;
            return self.trailers(section).map(Event::Trailers);
        }
        self.state = State::Frame;
        self.headed = true;
        let mut head = Head::default();
        let too_large = |this: &mut Self, status| {
            this.state = State::Ended;
            Ok(Event::TooLarge(status))
        };
        match qpack::decode(section, self.limits.sections, |line| head.take(line)) {
            Ok(()) => {}
            Err(qpack::Error::Decompression) => {
                return Err(Fault::Connection(Code::QpackDecompression));
            }
            Err(qpack::Error::Malformed) => return Err(Fault::Stream(Code::Message)),
            Err(qpack::Error::TooLarge | qpack::Error::Bomb) => {
                return too_large(self, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
            }
        }
        let length = head.check().ok_or(Fault::Stream(Code::Message))?;
        let target = head.path.as_ref().map_or(0, |path| path.as_str().len());
        if target as u64 > self.limits.target {
            return too_large(self, StatusCode::URI_TOO_LONG);
        }
        if length.is_some_and(|length| length > self.limits.body) {
            return too_large(self, StatusCode::PAYLOAD_TOO_LARGE);
        }
        self.announced = length;
        // Trailers and unknown frames between DATA frames.
        self.input.allow(self.limits.sections.size);
        Ok(Event::Head(Box::new(head), length))
    }

    fn trailers(&self, section: Bytes) -> Result<HeaderMap, Fault> {
        let malformed = Fault::Stream(Code::Message);
        if self.announced.is_some_and(|left| left > 0) {
            return Err(malformed);
        }
        let mut fields = HeaderMap::new();
        let taken = qpack::decode(section, self.limits.sections, |line| match line {
            Line::Field(name, value) => {
                fields.append(name, value);
                Ok(())
            }
            Line::Pseudo(..) => Err(qpack::Error::Malformed),
        });
        taken.map_err(|_| malformed)?;
        Ok(fields)
    }
}

/// Whether a known frame may not appear on a request stream (RFC 9114 §7.2).
fn forbidden(kind: u64) -> bool {
    matches!(
        kind,
        kind::CANCEL_PUSH | kind::SETTINGS | kind::PUSH_PROMISE | kind::GOAWAY | kind::MAX_PUSH_ID
    ) || kind::RESERVED.contains(&kind)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// HEADERS: GET https://a/ (RFC 9204's static table).
    const GET: [u8; 7] = [0x1, 0x5, 0, 0, 0xd1, 0xd7, 0xc1];
    /// The same with its authority.
    fn get() -> Vec<u8> {
        let section = [&[0, 0, 0xd1, 0xd7, 0xc1, 0x50, 1][..], b"a"].concat();
        [&[0x1, section.len() as u8][..], &section].concat()
    }

    /// All events of a stream fed in pieces of `step` bytes.
    fn events(bytes: &[u8], step: usize) -> Result<Vec<String>, Fault> {
        let mut incoming = Incoming::new(&Limits::default());
        let mut all: Vec<String> = Vec::new();
        let mut data: Vec<u8> = Vec::new();
        let mut pieces = bytes.chunks(step);
        loop {
            match incoming.next()? {
                Event::More => match pieces.next() {
                    Some(piece) => incoming.feed(Bytes::copy_from_slice(piece)),
                    None => incoming.finish(),
                },
                Event::Head(head, length) => all.push(format!("{} {length:?}", head.path.unwrap())),
                Event::TooLarge(status) => all.push(status.to_string()),
                Event::Data(bytes) => data.extend_from_slice(&bytes),
                Event::Trailers(fields) => all.push(format!("{fields:?}")),
                Event::End => break,
            }
        }
        all.push(String::from_utf8(data).unwrap());
        Ok(all)
    }

    #[test]
    fn requests_in_pieces_of_any_size() {
        let grease = [0x21, 3, 1, 2, 3];
        let stream = [
            &grease[..],
            &get(),
            &[0x0, 4],
            b"body",
            &grease,
            &[0x0, 0, 0x0, 2],
            b"!?",
        ]
        .concat();
        for step in 1..=stream.len() {
            assert_eq!(events(&stream, step).unwrap(), ["/ None", "body!?"]);
        }
    }

    #[test]
    fn broken_streams() {
        let check = |bytes: &[u8], fault: Fault| {
            for step in [1, 3, bytes.len().max(1)] {
                assert_eq!(events(bytes, step), Err(fault), "{bytes:02x?}");
            }
        };
        check(&[], Fault::Stream(Code::RequestIncomplete));
        check(&GET, Fault::Stream(Code::Message));
        check(&get()[..5], Fault::Connection(Code::Frame));
        check(&[0x0, 1, 1], Fault::Connection(Code::FrameUnexpected));
        check(&[0x4, 0], Fault::Connection(Code::FrameUnexpected));
        check(
            &[&get()[..], &[0x0, 9, 1]].concat(),
            Fault::Connection(Code::Frame),
        );
        // More unknown frames than a head may cost.
        check(
            &[0x21, 0x80, 0, 0x80, 1],
            Fault::Connection(Code::ExcessiveLoad),
        );
    }
}
