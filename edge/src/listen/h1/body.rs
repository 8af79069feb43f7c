//! A request's body out of its framing (RFC 9112 §§6 and 7).

use http::{HeaderMap, HeaderName, HeaderValue};

use super::head::{Framing, Refusal};

/// Longest line of a chunk's size and its extensions.
const SIZE_LINE: usize = 512;

/// Bytes of all trailers.
const TRAILERS: usize = 8 << 10;

/// Extensions of a body's chunks in all, per chunk on average: many small chunks with much beside
/// them are an attack.
const EXTENSIONS: usize = 64;

/// What comes next of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// Bytes of it.
    Data(&'a [u8]),
    /// The end, with trailers if there were any.
    End(Option<HeaderMap>),
}

/// Takes a body out of its framing.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
    /// A line whose end hasn't come.
    line: Vec<u8>,
    trailers: HeaderMap,
    /// Bytes of trailers so far.
    trailing: usize,
    /// Bytes of extensions that may still come.
    extensions: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Within a body of known length.
    Length(u64),
    /// Within a chunk's size line.
    Size,
    /// Within a chunk's data.
    Chunk(u64),
    /// Within the line end behind a chunk's data.
    ChunkEnd,
    Trailers,
    Ended,
}

impl Decoder {
    /// Of a body that begins; none where there is none.
    pub(super) fn new(framing: Framing) -> Option<Self> {
        let state = match framing {
            Framing::Empty => return None,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size,
        };
        Some(Self {
            state,
            line: Vec::new(),
            trailers: HeaderMap::new(),
            trailing: 0,
            extensions: SIZE_LINE,
        })
    }

    /// Bytes that are still to come, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            State::Ended => Some(0),
            _ => None,
        }
    }

    /// The next part, at most `most` bytes of data; takes what it is made of off the front. None where
    /// more has to come.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub(super) fn next<'a>(
        &mut self,
        bytes: &mut &'a [u8],
        most: usize,
    ) -> Result<Option<Part<'a>>, Refusal> {
        loop {
            match self.state {
                State::Ended => return Ok(None),
                State::Length(0) => return Ok(Some(self.end())),
                State::Length(left) | State::Chunk(left) if left > 0 => {
                    let length = bytes.len().min(most);
                    let length = usize::try_from(left).map_or(length, |left| left.min(length));
                    if length == 0 {
                        return Ok(None);
                    }
                    let (data, rest) = bytes.split_at(length);
                    *bytes = rest;
                    let left = left - length as u64;
                    self.state = match self.state {
                        State::Length(_) => State::Length(left),
                        _ if left == 0 => State::ChunkEnd,
                        _ => State::Chunk(left),
                    };
                    return Ok(Some(Part::Data(data)));
                }
                _ => {
                    let Some(line) = self.line(bytes)? else {
                        return Ok(None);
                    };
                    if self.act(&line)? {
                        return Ok(Some(self.end()));
                    }
                }
            }
        }
    }

    fn end<'a>(&mut self) -> Part<'a> {
        self.state = State::Ended;
        let trailers = std::mem::take(&mut self.trailers);
        Part::End(Some(trailers).filter(|trailers| !trailers.is_empty()))
    }

    /// A whole line, without its end.
    fn line(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        let end = memchr::memchr(b'\n', bytes);
        let (part, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        let most = match self.state {
            State::Size => SIZE_LINE,
            State::ChunkEnd => 2,
            _ => TRAILERS.saturating_sub(self.trailing),
        };
        if self.line.len() + part.len() > most {
            return Err(Refusal::Malformed);
        }
        self.line.extend_from_slice(part);
        *bytes = rest;
        // A carriage return ends a line or is a fault: nothing may follow it but a line feed.
        let whole = match self.line.as_slice() {
            [text @ .., b'\r', b'\n'] | [text @ .., b'\r'] | text => text,
        };
        if whole.contains(&b'\r') || whole.contains(&b'\n') {
            return Err(Refusal::Malformed);
        }
        if end.is_none() {
            return Ok(None);
        }
        let length = whole.len();
        let mut line = std::mem::take(&mut self.line);
        line.truncate(length);
        Ok(Some(line))
    }

    /// Acts on a line; whether it is the body's last.
    fn act(&mut self, line: &[u8]) -> Result<bool, Refusal> {
        match self.state {
            State::Size => {
                let (size, extension) = size(line)?;
                self.extensions = (self.extensions + EXTENSIONS).min(SIZE_LINE);
                self.extensions = self
                    .extensions
                    .checked_sub(extension)
                    .ok_or(Refusal::Malformed)?;
                self.state = match size {
                    0 => State::Trailers,
                    size => State::Chunk(size),
                };
            }
            State::ChunkEnd if line.is_empty() => self.state = State::Size,
            State::Trailers if line.is_empty() => return Ok(true),
            State::Trailers => {
                self.trailing += line.len() + 2;
                self.trailer(line)?;
            }
            _ => return Err(Refusal::Malformed),
        }
        Ok(false)
    }

    /// A trailer field. One that frames, or is folded, is an attack.
    fn trailer(&mut self, line: &[u8]) -> Result<(), Refusal> {
        const BAD: Refusal = Refusal::Malformed;
        let colon = memchr::memchr(b':', line).ok_or(BAD)?;
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| BAD)?;
        if name == http::header::CONTENT_LENGTH || name == http::header::TRANSFER_ENCODING {
            return Err(BAD);
        }
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).map_err(|_| BAD)?;
        self.trailers.append(name, value);
        Ok(())
    }
}

/// The size on a chunk's line (RFC 9112 §7.1), hexadecimal digits, and the length of its extensions.
fn size(line: &[u8]) -> Result<(u64, usize), Refusal> {
    let digits = line.split(|b| *b == b';').next().unwrap_or_default();
    let sound = (1..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| sound);
    let size = text.and_then(|text| u64::from_str_radix(text, 16).ok());
    Ok((size.ok_or(Refusal::Malformed)?, line.len() - digits.len()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Decodes in pieces: the data, the trailers' number, and what is left behind the body.
    fn decode(
        framing: Framing,
        text: &[u8],
        size: usize,
    ) -> Result<(Vec<u8>, usize, usize), Refusal> {
        let mut decoder = Decoder::new(framing).unwrap();
        let mut data = Vec::new();
        for (at, piece) in text.chunks(size).enumerate() {
            let mut rest = piece;
            while let Some(part) = decoder.next(&mut rest, 3)? {
                match part {
                    Part::Data(bytes) => data.extend_from_slice(bytes),
                    Part::End(trailers) => {
                        let left = text.len() - at * size - (piece.len() - rest.len());
                        return Ok((data, trailers.map_or(0, |t| t.len()), left));
                    }
                }
            }
            assert!(rest.is_empty());
        }
        panic!("no end of {text:?}")
    }

    #[test]
    fn bodies_in_any_pieces() {
        let text = b"5;x=y\r\na\nb\rc\r\n0A\r\n0123456789\r\n000\r\ncheck: sum\r\n\r\nGET";
        for size in 1..=text.len() {
            let got = decode(Framing::Chunked, text, size).unwrap();
            assert_eq!(
                got,
                (b"a\nb\rc0123456789".to_vec(), 1, 3),
                "in pieces of {size}"
            );
            let got = decode(Framing::Length(7), b"a\r\n\r\nb\nGET", size).unwrap();
            assert_eq!(got, (b"a\r\n\r\nb\n".to_vec(), 0, 3), "in pieces of {size}");
        }
    }

    #[test]
    fn ambiguous_chunks_are_refused_in_any_pieces() {
        for text in [
            "1\na\r\n0\r\n\r\n",
            "1\r\nab\r\n",
            "1\r\na\n0\r\n\r\n",
            "0x1\r\na\r\n",
            "-1\r\n",
            "+1\r\n",
            "1 \r\n",
            "\r\n",
            "ffffffffffffffff\r\n",
            "0\r\ncontent-length: 5\r\n\r\n",
            "0\r\ntransfer-encoding: chunked\r\n\r\n",
            "0\r\n folded: x\r\n\r\n",
            "0\r\nx: y\rz\r\n\r\n",
            "1;x\ry\r\n",
        ] {
            for size in 1..=text.len() {
                let got = decode(Framing::Chunked, text.as_bytes(), size);
                assert_eq!(got, Err(Refusal::Malformed), "{text:?} in pieces of {size}");
            }
        }
        let long = format!("1;{}\r\n", "x".repeat(600));
        assert!(decode(Framing::Chunked, long.as_bytes(), 9).is_err());
        let many = format!("1;{}\r\na\r\n", "x".repeat(200)).repeat(9);
        assert!(decode(Framing::Chunked, many.as_bytes(), 1000).is_err());
    }
}
