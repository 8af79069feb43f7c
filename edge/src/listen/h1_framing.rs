//! Framing of HTTP/1.1 requests, watched as their bytes pass on to hyper: what two parsers could
//! frame differently is refused (RFC 9112 §§2.2, 5.2, 6, 7.1; CWE-444).
//!
//! hyper forgives what the RFC lets a server forgive: bare line feeds, `Content-Length` beside
//! `Transfer-Encoding`, lengths that repeat. An attacker uses exactly that. The watcher follows the
//! framing and, where it is ambiguous, says from where on hyper is to get [`REFUSAL`] instead, which
//! it answers with 400 and the end of the connection. It never holds bytes back.

/// Bytes of a line kept while its end hasn't come; longer lines that frame a body are refused.
/// hyper bounds the whole head.
const LINE: usize = 512;

/// No head or chunk may hold NUL, and hyper looks at a head when it ends.
pub(crate) const REFUSAL: &[u8] = b"\0\r\n\r\n";

/// Follows one connection's requests.
#[derive(Debug)]
pub(crate) struct Framing {
    state: State,
    /// Begin of the current line, where it came in several pieces.
    line: Vec<u8>,
    /// What the current head has said so far.
    head: Head,
    /// Whether the byte before was a carriage return.
    after_cr: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Head {
    length: Option<u64>,
    chunked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before or within a request line.
    Request,
    /// Within a head's fields.
    Fields,
    /// Within a body of known length.
    Body(u64),
    /// Within a chunk's size line.
    Size,
    /// Within a chunk's data.
    Chunk(u64),
    /// Within the line end behind a chunk's data.
    ChunkEnd,
    /// Within the trailers.
    Trailers,
    /// Refused: hyper closes.
    Refused,
}

/// The framing is ambiguous.
#[derive(Debug, PartialEq, Eq)]
struct Ambiguous;

impl Framing {
    /// At the start of a connection.
    pub(crate) fn new() -> Self {
        Self {
            state: State::Request,
            line: Vec::new(),
            head: Head::default(),
            after_cr: false,
        }
    }

    /// Whether a request was refused.
    pub(crate) fn refused(&self) -> bool {
        self.state == State::Refused
    }

    /// Looks at the next bytes on their way to hyper.
    ///
    /// # Errors
    /// Where a request is ambiguous: the offset at which hyper must be told so.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::Refused => return Ok(()),
                State::Body(left) => {
                    at += self.skip(left, bytes.len() - at, State::Body, State::Request);
                }
                State::Chunk(left) => {
                    at += self.skip(left, bytes.len() - at, State::Chunk, State::ChunkEnd);
                }
                _ => {
                    let rest = &bytes[at..];
                    let Some(end) = rest.iter().position(|b| *b == b'\n') else {
                        return self.keep(rest).map_err(|within| at + within);
                    };
                    let in_size = self.state == State::Size;
                    let bare = match end.checked_sub(1) {
                        Some(before) => rest[before] != b'\r',
                        None => !self.after_cr,
                    };
                    if self.ended(&rest[..end]).is_err() {
                        self.state = State::Refused;
                        // A bare line feed in a chunk's line hyper refuses itself.
                        return Err(at + end + usize::from(in_size && bare));
                    }
                    self.line.clear();
                    self.after_cr = false;
                    at += end + 1;
                }
            }
        }
        Ok(())
    }

    /// Steps over body bytes; how many.
    fn skip(&mut self, left: u64, here: usize, more: fn(u64) -> State, then: State) -> usize {
        let now = left.min(here as u64);
        self.state = if left > now { more(left - now) } else { then };
        now as usize
    }

    /// Keeps the begin of a line whose end hasn't come.
    fn keep(&mut self, part: &[u8]) -> Result<(), usize> {
        let Some((last, inner)) = part.split_last() else {
            return Ok(());
        };
        // A carriage return ends a line or is a fault: nothing may follow it but a line feed.
        let stray = if self.after_cr {
            Some(0)
        } else {
            inner.iter().position(|b| *b == b'\r').map(|at| at + 1)
        };
        if let Some(at) = stray {
            self.state = State::Refused;
            return Err(at);
        }
        self.after_cr = *last == b'\r';
        let room = LINE.saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..part.len().min(room)]);
        Ok(())
    }

    /// A line has ended; `part` is what of it wasn't kept, without its line feed.
    fn ended(&mut self, part: &[u8]) -> Result<(), Ambiguous> {
        let part = match part.split_last() {
            Some((b'\r', part)) if !self.after_cr => part,
            // The carriage return came with the piece before.
            None if self.after_cr => part,
            _ => return Err(Ambiguous),
        };
        if part.contains(&b'\r') {
            return Err(Ambiguous);
        }
        let mut kept = std::mem::take(&mut self.line);
        let result = if kept.is_empty() {
            self.line(part)
        } else {
            if kept.last() == Some(&b'\r') {
                kept.pop();
            }
            kept.extend_from_slice(&part[..part.len().min(LINE.saturating_sub(kept.len()))]);
            self.line(&kept)
        };
        kept.clear();
        self.line = kept;
        result
    }

    /// A whole line, without its end.
    fn line(&mut self, line: &[u8]) -> Result<(), Ambiguous> {
        match self.state {
            // Empty lines before a request are forgiven (RFC 9112 §2.2).
            State::Request if line.is_empty() => {}
            State::Request => {
                self.head = Head::default();
                self.state = State::Fields;
            }
            State::Fields if line.is_empty() => {
                self.state = match self.head {
                    Head {
                        chunked: true,
                        length: Some(_),
                    } => return Err(Ambiguous),
                    Head { chunked: true, .. } => State::Size,
                    Head {
                        length: Some(length),
                        ..
                    } if length > 0 => State::Body(length),
                    _ => State::Request,
                };
            }
            State::Fields => self.field(line)?,
            State::Size => {
                self.state = match size(line)? {
                    0 => State::Trailers,
                    size => State::Chunk(size),
                };
            }
            State::ChunkEnd if line.is_empty() => self.state = State::Size,
            State::ChunkEnd => return Err(Ambiguous),
            State::Trailers if line.is_empty() => self.state = State::Request,
            State::Trailers => {
                if folded(line) || framing_field(line).is_some() {
                    return Err(Ambiguous);
                }
            }
            State::Body(_) | State::Chunk(_) | State::Refused => {}
        }
        Ok(())
    }

    /// A field line of a head.
    fn field(&mut self, line: &[u8]) -> Result<(), Ambiguous> {
        if folded(line) {
            return Err(Ambiguous);
        }
        match framing_field(line) {
            None => Ok(()),
            Some(_) if line.len() >= LINE => Err(Ambiguous),
            Some((Field::Length, value)) => {
                let digits =
                    (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
                let length = std::str::from_utf8(value).ok().filter(|_| digits);
                let length = length.and_then(|v| v.parse().ok()).ok_or(Ambiguous)?;
                match self.head.length.replace(length) {
                    None => Ok(()),
                    Some(_) => Err(Ambiguous),
                }
            }
            Some((Field::Encoding, value)) => {
                if self.head.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Ambiguous);
                }
                self.head.chunked = true;
                Ok(())
            }
        }
    }
}

/// A continuation of the line before (RFC 9112 §5.2).
fn folded(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t'))
}

enum Field {
    Length,
    Encoding,
}

/// Name and trimmed value of a line that frames the body, however its name is written: white space
/// and control characters around it, `_` for `-`.
fn framing_field(line: &[u8]) -> Option<(Field, &[u8])> {
    // Most lines end here.
    let first = line.iter().find(|b| b.is_ascii_graphic())?;
    if !matches!(first, b'c' | b'C' | b't' | b'T') {
        return None;
    }
    let colon = line.iter().position(|b| *b == b':')?;
    let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
    if name.eq_ignore_ascii_case(b"content-length") {
        Some((Field::Length, value))
    } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
        Some((Field::Encoding, value))
    } else {
        None
    }
}

/// The size on a chunk's line (RFC 9112 §7.1): hexadecimal digits, perhaps an extension.
fn size(line: &[u8]) -> Result<u64, Ambiguous> {
    let digits = line.split(|b| *b == b';').next().unwrap_or_default();
    let sound = (1..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| sound);
    digits
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or(Ambiguous)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes `text` in pieces of `size`; whether it was refused, and whether it ends between
    /// requests.
    fn pass(text: &str, size: usize) -> (bool, bool) {
        let mut framing = Framing::new();
        let passed = text
            .as_bytes()
            .chunks(size)
            .all(|part| framing.pass(part).is_ok());
        assert_eq!(passed, !framing.refused(), "{text:?}");
        (!passed, framing.state == State::Request)
    }

    #[test]
    fn sound_requests_pass_in_any_pieces() {
        let text = "\r\nGET /a HTTP/1.1\r\nhost: a\r\n\r\n\
            POST / HTTP/1.1\r\nContent-Length: 12\r\nhost: a\r\n\r\na\nb\rc\r\n\r\nd\n!\
            POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=y\r\na\nb\rc\r\n0A\r\n0123456789\r\n0\r\n\
            check: sum\r\n\r\nGET / HTTP/1.1\r\ncontent-length: 0\r\ntransfer: x\r\n\r\n";
        for size in 1..=text.len() {
            assert_eq!(pass(text, size), (false, true), "in pieces of {size}");
        }
    }

    #[test]
    fn ambiguous_framing_is_refused_in_any_pieces() {
        let post = "POST / HTTP/1.1\r\nhost: a\r\n";
        for lines in [
            "content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n",
            "content-length: 1\r\ncontent-length: 1\r\n",
            "content-length: 1, 1\r\n",
            "content-length: +1\r\n",
            "content-length: 0x1\r\n",
            "content-length: 1 2\r\n",
            "content-length:\r\n",
            "content-length: 99999999999999999999\r\n",
            "content-length : 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked, identity\r\n",
            "transfer-encoding: xchunked\r\n",
            "transfer-encoding: \u{b}chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "x: y\r\n folded\r\n",
            "x: y\n",
            "x: y\rz\r\n",
            "\n",
            "transfer-encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
            "transfer-encoding: chunked\r\n\r\n0x1\r\na\r\n",
            "transfer-encoding: chunked\r\n\r\n-1\r\n",
            "transfer-encoding: chunked\r\n\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            "transfer-encoding: chunked\r\n\r\n0\r\ncontent-length: 5\r\n",
        ] {
            let text = format!("{post}{lines}");
            for size in 1..=text.len() {
                assert!(pass(&text, size).0, "{lines:?} in pieces of {size}");
            }
        }
    }
}
