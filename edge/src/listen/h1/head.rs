//! A request's head (RFC 9112 §§2.2, 3, 5 and 6): where it ends, what it says, and how the body behind
//! it is framed.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri, header,
    uri::{Authority, PathAndQuery},
};

use crate::{config::Limits, listen::unfit::Fault};

/// Why the rest of a connection can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is no HTTP, or could be read in two ways.
    Malformed,
    /// A head without end within its limit.
    TooLarge,
    /// A request line that is longer alone.
    TargetTooLong,
}

/// Looks for the end of a head that comes in pieces, each byte once.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Bytes looked at.
    looked: usize,
    /// Where the line begins that they end in.
    line: usize,
}

impl Scan {
    /// The length of the head that `bytes` begin with, or none where its end hasn't come. They begin
    /// with what was looked at before.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn find(&mut self, bytes: &[u8], most: u64) -> Result<Option<usize>, Refusal> {
        // What begins otherwise is another protocol: no need to wait for a line.
        if bytes.first().is_some_and(|b| !b.is_ascii_graphic()) {
            return Err(Refusal::Malformed);
        }
        while let Some(at) = memchr::memchr(b'\n', &bytes[self.looked..]) {
            let end = self.looked + at;
            if end as u64 >= most {
                break;
            }
            let text = end.checked_sub(1).filter(|last| bytes[*last] == b'\r');
            let text = text.ok_or(Refusal::Malformed)?;
            let empty = text == self.line;
            (self.looked, self.line) = (end + 1, end + 1);
            if empty {
                return Ok(Some(end + 1));
            }
        }
        if bytes.len() as u64 > most {
            return Err(match self.line {
                0 => Refusal::TargetTooLong,
                _ => Refusal::TooLarge,
            });
        }
        self.looked = bytes.len();
        Ok(None)
    }
}

/// How a request's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    Empty,
    /// So many bytes, at least one.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// A request's head, its fields without those that frame.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) target: PathAndQuery,
    pub(super) authority: Option<Authority>,
    pub(super) fields: HeaderMap,
    pub(super) framing: Framing,
    /// Whether the client speaks HTTP/1.1, not 1.0.
    pub(super) chunks: bool,
    /// Whether the client may ask for more on the connection.
    pub(super) keep: bool,
    /// What makes it unfit for the service.
    pub(super) fault: Option<Fault>,
}

/// Fields that say how the body is framed, as they come.
#[derive(Debug, Default)]
struct Framed {
    length: Option<u64>,
    chunked: bool,
}

impl Framed {
    fn length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let digits = (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        let text = std::str::from_utf8(value).ok().filter(|_| digits);
        let length = text.and_then(|text| text.parse().ok());
        match self.length.replace(length.ok_or(Refusal::Malformed)?) {
            None => Ok(()),
            Some(_) => Err(Refusal::Malformed),
        }
    }

    fn encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if !value.eq_ignore_ascii_case(b"chunked") || std::mem::replace(&mut self.chunked, true) {
            return Err(Refusal::Malformed);
        }
        Ok(())
    }

    /// What they come to. HTTP/1.0 knows no chunks (RFC 9112 §6.1).
    fn framing(&self, chunks: bool) -> Result<Framing, Refusal> {
        match (self.chunked, self.length) {
            (true, None) if chunks => Ok(Framing::Chunked),
            (true, _) => Err(Refusal::Malformed),
            (false, Some(length @ 1..)) => Ok(Framing::Length(length)),
            (false, _) => Ok(Framing::Empty),
        }
    }
}

/// What the `Connection` fields say.
#[derive(Debug, Default)]
struct Options {
    close: bool,
    keep_alive: bool,
}

impl Options {
    fn take(&mut self, value: &[u8]) {
        for option in value.split(|b| *b == b',') {
            let option = option.trim_ascii();
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
}

/// Reads a head, its last line's end included.
///
/// # Errors
/// [`Refusal::Malformed`].
pub(super) fn parse(head: &Bytes, limits: &Limits) -> Result<Head, Refusal> {
    const BAD: Refusal = Refusal::Malformed;
    let mut lines = Lines { head, at: 0 };
    let (method, target, chunks) = request_line(lines.next().ok_or(BAD)?, head)?;
    let (target, named) = target;
    let mut fields = HeaderMap::with_capacity(16);
    let (mut framed, mut options) = (Framed::default(), Options::default());
    let mut fault =
        (target.as_str().len() as u64 > limits.target_size).then_some(Fault::TargetTooLong);
    let (mut host, mut count) = (Host::None, 0);
    for line in lines {
        let (name, value) = field(line, head)?;
        count += 1;
        if count > limits.header_count {
            // The framing of what is behind it must still be known: the connection ends there.
            fault.get_or_insert(Fault::TooManyFields);
            continue;
        }
        match name {
            header::CONTENT_LENGTH => framed.length(value.as_bytes())?,
            header::TRANSFER_ENCODING => framed.encoding(value.as_bytes())?,
            name => {
                if name == header::CONNECTION {
                    options.take(value.as_bytes());
                } else if name == header::HOST {
                    host.is(head.slice_ref(value.as_bytes()));
                }
                fields.append(name, value);
            }
        }
    }
    let framing = framed.framing(chunks)?;
    let authority = match authority(host, named, chunks) {
        Ok(authority) => authority,
        Err(bad) => {
            fault.get_or_insert(bad);
            None
        }
    };
    if matches!(framing, Framing::Length(length) if length > limits.body_size) {
        fault.get_or_insert(Fault::BodyTooLarge);
    }
    Ok(Head {
        method,
        target,
        authority,
        fields,
        framing,
        chunks,
        keep: !options.close && (chunks || options.keep_alive),
        fault,
    })
}

/// The lines of a head up to the empty one, without their ends.
struct Lines<'a> {
    head: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = &self.head[self.at..];
        let end = memchr::memchr(b'\n', rest)?;
        self.at += end + 1;
        // The scan has seen the carriage return.
        rest.get(..end.checked_sub(1)?)
            .filter(|line| !line.is_empty())
    }
}

/// Where a request is to: path and query, and an authority if the target names one.
type Target = (PathAndQuery, Option<Authority>);

/// A request line: method, target, and whether it is of HTTP/1.1.
fn request_line(line: &[u8], head: &Bytes) -> Result<(Method, Target, bool), Refusal> {
    const BAD: Refusal = Refusal::Malformed;
    let space = memchr::memchr(b' ', line).ok_or(BAD)?;
    let method = Method::from_bytes(&line[..space]).map_err(|_| BAD)?;
    let (target, chunks) = match line[space + 1..].split_last_chunk::<9>() {
        Some((target, b" HTTP/1.1")) => (target, true),
        Some((target, b" HTTP/1.0")) => (target, false),
        _ => return Err(BAD),
    };
    let text = head.slice_ref(target);
    let target = match target.first() {
        Some(b'/') => (
            PathAndQuery::from_maybe_shared(text).map_err(|_| BAD)?,
            None,
        ),
        Some(b'*') if target.len() == 1 => (PathAndQuery::from_static("*"), None),
        _ => other_form(text, method == Method::CONNECT).ok_or(BAD)?,
    };
    Ok((method, target, chunks))
}

/// A target in absolute form, or in authority form where the method is CONNECT (RFC 9112 §3.2).
fn other_form(text: Bytes, connect: bool) -> Option<Target> {
    let parts = Uri::from_maybe_shared(text).ok()?.into_parts();
    let authority = parts.authority.filter(|a| !a.as_str().is_empty())?;
    (connect != parts.scheme.is_some()).then_some(())?;
    let root = PathAndQuery::from_static("/");
    Some((parts.path_and_query.unwrap_or(root), Some(authority)))
}

/// A field line (RFC 9112 §5): nothing before or behind its name, nothing folded.
fn field(line: &[u8], head: &Bytes) -> Result<(HeaderName, HeaderValue), Refusal> {
    const BAD: Refusal = Refusal::Malformed;
    let colon = memchr::memchr(b':', line).ok_or(BAD)?;
    let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| BAD)?;
    let value = trim(&line[colon + 1..]);
    let value = HeaderValue::from_maybe_shared(head.slice_ref(value)).map_err(|_| BAD)?;
    Ok((name, value))
}

/// Without optional white space around it (RFC 9110 §5.6.3).
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The `Host` fields of a head.
enum Host {
    None,
    One(Bytes),
    Several,
}

impl Host {
    fn is(&mut self, value: Bytes) {
        *self = match self {
            Self::None => Self::One(value),
            Self::One(_) | Self::Several => Self::Several,
        };
    }
}

/// The authority a request is for: the target's, which wins (RFC 9112 §3.2.2), or `Host`'s.
fn authority(
    host: Host,
    named: Option<Authority>,
    needed: bool,
) -> Result<Option<Authority>, Fault> {
    let host = match host {
        Host::None if needed => return Err(Fault::BadHost),
        Host::None => None,
        Host::One(host) => {
            let host = Authority::from_maybe_shared(host).ok();
            Some(host.ok_or(Fault::BadHost)?)
        }
        Host::Several => return Err(Fault::BadHost),
    };
    match named.or(host) {
        Some(authority) if authority.as_str().contains('@') => Err(Fault::BadHost),
        authority => Ok(authority),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<Head, Refusal> {
        parse(&Bytes::copy_from_slice(text.as_bytes()), &Limits::default())
    }

    #[test]
    fn heads_end_where_they_end_in_any_pieces() {
        let text = b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET";
        for size in 1..=text.len() {
            let mut scan = Scan::default();
            let mut found = Vec::new();
            for end in (0..text.len())
                .step_by(size)
                .map(|at| (at + size).min(text.len()))
            {
                found.extend(scan.find(&text[..end], 100).unwrap());
                if !found.is_empty() {
                    break;
                }
            }
            assert_eq!(found, [text.len() - 3], "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_head_is_refused_early() {
        let find = |text: &[u8]| Scan::default().find(text, 40);
        for bad in [
            &b"GET / HTTP/1.1\nhost"[..],
            b"\n",
            b"\x16\x03\x01",
            b" GET",
            b"\r\r\n",
        ] {
            assert_eq!(find(bad), Err(Refusal::Malformed), "{bad:?}");
        }
        assert_eq!(find(&[b'a'; 41]), Err(Refusal::TargetTooLong));
        let fields = b"GET / HTTP/1.1\r\nabcdefghijklmnopqrstuvwxyz: a";
        assert_eq!(find(fields), Err(Refusal::TooLarge));
        assert_eq!(
            find(&[fields, &b"\r\n\r\n"[..]].concat()),
            Err(Refusal::TooLarge)
        );
    }

    #[test]
    fn sound_heads() {
        let head =
            read("GET /a?b HTTP/1.1\r\nHost: a:1\r\nRange: \t bytes=0-1 \r\nX:\r\n\r\n").unwrap();
        assert_eq!((head.method, head.target.as_str()), (Method::GET, "/a?b"));
        assert_eq!(head.authority.unwrap(), "a:1");
        assert_eq!(
            (&head.fields["range"], &head.fields["x"]),
            (&"bytes=0-1".parse().unwrap(), &"".parse().unwrap())
        );
        assert_eq!(
            (head.framing, head.keep, head.fault),
            (Framing::Empty, true, None)
        );
        let head = read("PUT http://b/x HTTP/1.1\r\nhost: a\r\ncontent-length: 7\r\nconnection: x, Close\r\n\r\n").unwrap();
        assert_eq!(
            (head.authority.unwrap().as_str(), head.target.as_str()),
            ("b", "/x")
        );
        assert_eq!((head.framing, head.keep), (Framing::Length(7), false));
        assert!(!head.fields.contains_key("content-length"));
        let head = read("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").unwrap();
        assert_eq!(
            (head.authority, head.keep, head.chunks),
            (None, true, false)
        );
        assert!(!read("GET / HTTP/1.0\r\n\r\n").unwrap().keep);
        let head = read("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        assert_eq!(head.target, "*");
        let head = read("CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        assert_eq!(head.authority.unwrap(), "a:443");
    }

    #[test]
    fn unfit_heads_are_told_from_malformed_ones() {
        let fault = |text: &str| read(text).map(|head| head.fault);
        assert_eq!(fault("GET / HTTP/1.1\r\n\r\n"), Ok(Some(Fault::BadHost)));
        assert_eq!(
            fault("GET / HTTP/1.1\r\nhost: u@a\r\n\r\n"),
            Ok(Some(Fault::BadHost))
        );
        assert_eq!(
            fault(&format!(
                "GET /{} HTTP/1.1\r\nhost: a\r\n\r\n",
                "p".repeat(9_000)
            )),
            Ok(Some(Fault::TargetTooLong))
        );
        let many = "x: y\r\n".repeat(150);
        assert_eq!(
            fault(&format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n")),
            Ok(Some(Fault::TooManyFields))
        );
        assert_eq!(
            fault("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n"),
            Ok(Some(Fault::BodyTooLarge))
        );
        for bad in [
            "GET a HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET a:1 HTTP/1.1\r\nhost: a\r\n\r\n",
            "CONNECT http://a/ HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET  / HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET / HTTP/1.1 \r\nhost: a\r\n\r\n",
            "GET /\x7f HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET /a b HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\n x: y\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nx y: z\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 1\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n",
            "GET / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
        ] {
            assert_eq!(read(bad).map(|_| ()), Err(Refusal::Malformed), "{bad:?}");
        }
    }
}
