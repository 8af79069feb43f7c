//! Writing responses (RFC 9112 §§4, 6 and 7).

use http::{HeaderMap, HeaderName, StatusCode, header};

use crate::{
    exchange::{Body, Protocol, Response},
    listen::date,
};

/// How a response's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    Bodiless,
    /// So many bytes are left to come.
    Length(u64),
    /// In chunks; with trailers where the client takes them.
    Chunked { trailers: bool },
    /// It ends with the connection: HTTP/1.0.
    Close,
}

/// How a response goes out.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// Its request's method was HEAD.
    pub(super) head: bool,
    /// The client speaks HTTP/1.1.
    pub(super) chunks: bool,
    /// The client takes trailers (RFC 9110 §6.5.1).
    pub(super) trailers: bool,
    /// The connection stays open after it, as far as the client goes.
    pub(super) keep: bool,
}

impl Form {
    /// The framing of a response (RFC 9112 §6.3). A hit has its length in its own fields.
    pub(super) fn framing(&self, response: &Response) -> Framing {
        match &response.hit {
            Some(hit) if !self.head => Framing::Length(hit.length()),
            _ => self.framing_of(response.status, &response.headers, &response.body),
        }
    }

    fn framing_of(&self, status: StatusCode, fields: &HeaderMap, body: &Body) -> Framing {
        if self.head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return Framing::Bodiless;
        }
        let announced = fields
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok());
        match announced.and_then(|text| text.parse().ok()).or(body.len()) {
            Some(length) => Framing::Length(length),
            None if self.chunks => Framing::Chunked {
                trailers: self.trailers,
            },
            None => Framing::Close,
        }
    }
}

/// The status line.
pub(super) fn put_status(out: &mut Vec<u8>, status: StatusCode) {
    let known: &[u8] = match status {
        StatusCode::OK => b"HTTP/1.1 200 OK\r\n",
        StatusCode::PARTIAL_CONTENT => b"HTTP/1.1 206 Partial Content\r\n",
        StatusCode::NOT_MODIFIED => b"HTTP/1.1 304 Not Modified\r\n",
        _ => {
            out.extend_from_slice(b"HTTP/1.1 ");
            out.extend_from_slice(status.as_str().as_bytes());
            out.push(b' ');
            out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
            b"\r\n"
        }
    };
    out.extend_from_slice(known);
}

/// A field; its value is sound.
pub(super) fn put_field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    let name = name.as_str().as_bytes();
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Fields.
pub(super) fn put_fields(out: &mut Vec<u8>, fields: &HeaderMap) {
    for (name, value) in fields {
        put_field(out, name, value.as_bytes());
    }
}

/// All fields of a response but those that are its connection's.
pub(super) fn put_response(out: &mut Vec<u8>, response: &Response, framing: Framing) {
    let fields = &response.headers;
    if let Some(hit) = &response.hit {
        out.extend_from_slice(hit.kept(Protocol::H1, put_field));
        hit.own(|name, value| put_field(out, name, value));
        return put_fields(out, fields);
    }
    // A 204 has none, whatever an upstream says (RFC 9110 §8.6).
    let none = response.status == StatusCode::NO_CONTENT;
    for (name, value) in fields {
        if !(none && *name == header::CONTENT_LENGTH) {
            put_field(out, name, value.as_bytes());
        }
    }
    put_framing(out, framing, fields);
    if !fields.contains_key(header::DATE) {
        put_field(out, &header::DATE, date::now().as_bytes());
    }
}

/// The field that tells of the framing, where the response's own fields don't.
fn put_framing(out: &mut Vec<u8>, framing: Framing, fields: &HeaderMap) {
    match framing {
        Framing::Length(length) if !fields.contains_key(header::CONTENT_LENGTH) => {
            let mut digits = itoa::Buffer::new();
            put_field(
                out,
                &header::CONTENT_LENGTH,
                digits.format(length).as_bytes(),
            );
        }
        Framing::Chunked { .. } => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Length(_) | Framing::Bodiless | Framing::Close => {}
    }
}

/// What comes before a chunk of so many bytes, at least one.
pub(super) fn put_chunk(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(format!("{length:x}\r\n").as_bytes());
}

/// The end of a body in chunks.
pub(super) fn put_last_chunk(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        put_fields(out, trailers);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderValue;
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn framings() {
        let form = |head, chunks| Form {
            head,
            chunks,
            ..Form::default()
        };
        let (none, mut five) = (HeaderMap::new(), HeaderMap::new());
        five.insert(header::CONTENT_LENGTH, HeaderValue::from(5));
        let stream = || Body::Stream {
            body: http_body_util::Empty::new()
                .map_err(|e| match e {})
                .boxed_unsync(),
            len: None,
        };
        let full = Body::Full(Bytes::from_static(b"abc"));
        let (ok, gone) = (StatusCode::OK, StatusCode::NOT_MODIFIED);
        for (form, status, fields, body, expected) in [
            (form(false, true), ok, &none, &full, Framing::Length(3)),
            (
                form(false, true),
                ok,
                &none,
                &Body::Empty,
                Framing::Length(0),
            ),
            (form(false, true), ok, &five, &stream(), Framing::Length(5)),
            (
                form(false, true),
                ok,
                &none,
                &stream(),
                Framing::Chunked { trailers: false },
            ),
            (form(false, false), ok, &none, &stream(), Framing::Close),
            (form(true, true), ok, &five, &Body::Empty, Framing::Bodiless),
            (
                form(false, true),
                gone,
                &five,
                &Body::Empty,
                Framing::Bodiless,
            ),
        ] {
            assert_eq!(form.framing_of(status, fields, body), expected);
        }
    }
}
