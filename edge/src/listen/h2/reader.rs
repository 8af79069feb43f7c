//! Bytes from a client as frames: the preface, then headers and payloads. Holds at most one
//! unfinished frame.

use super::{
    error::{Code, Fault},
    frame::{HEADER, Header, PAYLOAD},
};

/// What a client sends first (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection's receiving end.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// Bytes of the preface that have come.
    preface: usize,
    /// The frame that was begun.
    partial: Vec<u8>,
    /// It is complete, and was handed out.
    used: bool,
}

impl Reader {
    /// The next frame, out of what is held and `bytes`, of which what was used is taken off. None
    /// where more must come first; all of `bytes` is taken then.
    ///
    /// # Errors
    /// [`Fault`]: no preface, or a frame larger than we take (RFC 9113 §4.2).
    pub(super) fn next<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
    ) -> Result<Option<(Header, &'a [u8])>, Fault> {
        if self.preface < PREFACE.len() {
            let came = split(bytes, PREFACE.len() - self.preface);
            if !PREFACE[self.preface..].starts_with(came) {
                return Err(Fault::Connection(Code::Protocol));
            }
            self.preface += came.len();
        }
        if std::mem::take(&mut self.used) {
            self.partial = Vec::new();
        }
        if self.partial.is_empty() {
            // As a rule, frames come whole and are read where they are.
            if let Some(header) = bytes.first_chunk::<HEADER>() {
                let header = sized(header)?;
                if bytes.len() >= HEADER + header.length {
                    split(bytes, HEADER);
                    return Ok(Some((header, split(bytes, header.length))));
                }
            }
        }
        self.gather(bytes)
    }

    fn gather<'a>(&'a mut self, bytes: &mut &[u8]) -> Result<Option<(Header, &'a [u8])>, Fault> {
        let lacking = HEADER.saturating_sub(self.partial.len());
        self.partial.extend_from_slice(split(bytes, lacking));
        let Some(header) = self.partial.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let header = sized(header)?;
        let lacking = HEADER + header.length - self.partial.len();
        self.partial.extend_from_slice(split(bytes, lacking));
        if self.partial.len() < HEADER + header.length {
            return Ok(None);
        }
        self.used = true;
        Ok(Some((header, &self.partial[HEADER..])))
    }
}

/// A header whose frame isn't too large.
fn sized(header: &[u8; HEADER]) -> Result<Header, Fault> {
    let header = Header::read(header);
    if header.length > PAYLOAD {
        return Err(Fault::Connection(Code::FrameSize));
    }
    Ok(header)
}

/// Takes up to `length` bytes off the front.
fn split<'a>(bytes: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(length.min(bytes.len()));
    *bytes = rest;
    taken
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::frame, *};

    /// The frames of a stream fed in pieces of `step` bytes: type and payload.
    fn frames(bytes: &[u8], step: usize) -> Result<Vec<(u8, Vec<u8>)>, Fault> {
        let (mut reader, mut frames) = (Reader::default(), Vec::new());
        for mut piece in bytes.chunks(step) {
            while let Some((header, payload)) = reader.next(&mut piece)? {
                frames.push((header.kind, payload.to_vec()));
            }
            assert!(piece.is_empty());
        }
        Ok(frames)
    }

    fn one(kind: u8, payload: &[u8]) -> Vec<u8> {
        [&frame::header(payload.len(), kind, 0, 1)[..], payload].concat()
    }

    #[test]
    fn frames_in_pieces_of_any_size() {
        let stream = [PREFACE, &one(4, b""), &one(1, b"fields"), &one(0, b"body")].concat();
        let expected = [(4, vec![]), (1, b"fields".to_vec()), (0, b"body".to_vec())];
        for step in 1..=stream.len() {
            assert_eq!(frames(&stream, step).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_http_2() {
        for step in [1, 5, 99] {
            let refused = |bytes: &[u8], code| {
                assert_eq!(frames(bytes, step), Err(Fault::Connection(code)));
            };
            refused(b"GET / HTTP/1.1\r\n", Code::Protocol);
            // Refused before any of it is held.
            let large = frame::header(PAYLOAD + 1, 0, 0, 1);
            refused(&[PREFACE, &large].concat(), Code::FrameSize);
        }
    }
}
