//! Field sections (RFC 9204) with the static table alone: our settings allow clients no dynamic
//! table, and we use none of theirs, so no stream ever waits for another.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, StatusCode, header};

use super::static_table;
use crate::{
    exchange::{Protocol, Response},
    listen::{
        date,
        field::{field_value, get_int, get_string, literal_line, put_int, put_string},
    },
};

pub(super) use crate::listen::field::{Error, Limits, Line};

/// Decodes a field section, handing each line to `take`.
///
/// # Errors
/// [`Error`], or what `take` answers.
pub(super) fn decode(
    mut section: Bytes,
    limits: Limits,
    mut take: impl FnMut(Line) -> Result<(), Error>,
) -> Result<(), Error> {
    // Prefix: no dynamic entries, so both numbers are 0 (the base's sign is immaterial).
    let (_, insert_count) = get_int(&mut section, 8)?;
    let (_, _base) = get_int(&mut section, 7)?;
    if insert_count != 0 {
        return Err(Error::Decompression);
    }
    let mut left = limits.size;
    let mut count = 0;
    while section.has_remaining() {
        let (line, size) = line(&mut section, left)?;
        left = left.checked_sub(size).ok_or(Error::TooLarge)?;
        count += 1;
        if count > limits.count {
            return Err(Error::TooLarge);
        }
        take(line)?;
    }
    Ok(())
}

/// One line and its size.
fn line(section: &mut Bytes, left: u64) -> Result<(Line, u64), Error> {
    let first = section[0];
    let size = |name: usize, value: usize| (name + value + 32) as u64;
    if first & 0x80 != 0 {
        let (flags, index) = get_int(section, 6)?;
        let (name, value) = entry(flags & 0x40 != 0, index)?;
        let size = size(name.len(), value.len());
        return Ok((static_line(index, None)?, size));
    }
    if first & 0x40 != 0 {
        let (flags, index) = get_int(section, 4)?;
        let (name, _) = entry(flags & 0x10 != 0, index)?;
        let value = get_string(section, 7, left)?;
        let size = size(name.len(), value.len());
        return Ok((static_line(index, Some(value))?, size));
    }
    if first & 0x20 != 0 {
        let name = get_string(section, 3, left)?;
        let value = get_string(section, 7, left)?;
        let size = size(name.len(), value.len());
        return Ok((literal_line(name, value)?, size));
    }
    // Post-base references are to the dynamic table.
    Err(Error::Decompression)
}

/// A static entry.
fn entry(is_static: bool, index: u64) -> Result<(&'static str, &'static str), Error> {
    let index = usize::try_from(index).map_err(|_| Error::Decompression)?;
    static_table::ENTRIES
        .get(index)
        .copied()
        .filter(|_| is_static)
        .ok_or(Error::Decompression)
}

/// A line whose name, and perhaps value, is a static entry's.
fn static_line(index: u64, value: Option<Bytes>) -> Result<Line, Error> {
    let index = index as usize;
    match &static_table::FIELDS[index] {
        Some((name, own)) => {
            let value = match value {
                Some(value) => field_value(value)?,
                None => own.clone(),
            };
            Ok(Line::Field(name.clone(), value))
        }
        None => {
            let (name, own) = static_table::ENTRIES[index];
            let value = value.unwrap_or_else(|| Bytes::from_static(own.as_bytes()));
            Ok(Line::Pseudo(Bytes::from_static(name.as_bytes()), value))
        }
    }
}

/// Encodes a response's field section.
pub(super) fn encode(out: &mut BytesMut, status: StatusCode, fields: &HeaderMap) {
    out.put_slice(&[0, 0]);
    put_status(out, status);
    put_fields(out, fields);
}

/// Encodes a response's field section.
pub(super) fn encode_response(out: &mut BytesMut, response: &Response) {
    encode(out, response.status, &response.headers);
    if let Some(hit) = &response.hit {
        out.put_slice(hit.kept(Protocol::H3, put_field));
        hit.own(|name, value| put_field(out, name, value));
    } else if !response.headers.contains_key(header::DATE) {
        put_field(out, &header::DATE, date::now().as_bytes());
    }
}

/// Encodes trailers' field section.
pub(super) fn encode_trailers(out: &mut BytesMut, fields: &HeaderMap) {
    out.put_slice(&[0, 0]);
    put_fields(out, fields);
}

/// `:status`, indexed where the static table has it.
fn put_status(out: &mut BytesMut, status: StatusCode) {
    let index = match status.as_u16() {
        103 => 24,
        200 => 25,
        304 => 26,
        404 => 27,
        503 => 28,
        100 => 63,
        204 => 64,
        206 => 65,
        302 => 66,
        400 => 67,
        403 => 68,
        421 => 69,
        425 => 70,
        500 => 71,
        _ => {
            // Literal with the name of entry 24.
            put_int(out, 0x50, 4, 24);
            return put_string(out, 0, 7, status.as_str().as_bytes());
        }
    };
    put_int(out, 0xc0, 6, index);
}

fn put_fields(out: &mut BytesMut, fields: &HeaderMap) {
    for (name, value) in fields {
        put_field(out, name, value.as_bytes());
    }
}

/// A field; its value is sound.
fn put_field(out: &mut impl BufMut, name: &HeaderName, value: &[u8]) {
    match static_name(name) {
        Some(index) => put_int(out, 0x50, 4, index),
        None => put_string(out, 0x20, 3, name.as_str().as_bytes()),
    }
    put_string(out, 0, 7, value);
}

/// Index of a static entry of that name, for the names responses use.
fn static_name(name: &HeaderName) -> Option<u64> {
    let index = match name.as_str() {
        "age" => 2,
        "content-disposition" => 3,
        "content-length" => 4,
        "date" => 6,
        "etag" => 7,
        "last-modified" => 10,
        "link" => 11,
        "location" => 12,
        "set-cookie" => 14,
        "accept-ranges" => 32,
        "access-control-allow-origin" => 35,
        "cache-control" => 36,
        "content-encoding" => 42,
        "content-type" => 44,
        "strict-transport-security" => 56,
        "vary" => 59,
        "x-content-type-options" => 61,
        "content-security-policy" => 85,
        "server" => 92,
        _ => return None,
    };
    Some(index)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::HeaderValue;

    use super::*;

    const LIMITS: Limits = Limits {
        size: 1000,
        count: 5,
    };

    fn lines(section: &[u8]) -> Result<Vec<Line>, Error> {
        let mut lines = Vec::new();
        decode(Bytes::copy_from_slice(section), LIMITS, |line| {
            lines.push(line);
            Ok(())
        })?;
        Ok(lines)
    }

    #[test]
    fn example_of_the_rfc() {
        // RFC 9204 §B.1: literal with name reference.
        let section = [&[0, 0, 0x51, 0x0b][..], b"/index.html"].concat();
        let line = Line::Pseudo(
            Bytes::from_static(b":path"),
            Bytes::from_static(b"/index.html"),
        );
        assert_eq!(lines(&section), Ok(vec![line]));
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for status in [200, 206, 301, 416, 503, 599] {
            let mut fields = HeaderMap::new();
            fields.insert("content-range", HeaderValue::from_static("bytes 0-1/2"));
            fields.insert("etag", HeaderValue::from_static("\"x\""));
            fields.insert("x-long", HeaderValue::from_str(&"v".repeat(500)).unwrap());
            let mut out = BytesMut::new();
            encode(&mut out, StatusCode::from_u16(status).unwrap(), &fields);
            let mut lines = lines(&out).unwrap().into_iter();
            let text = Bytes::from(status.to_string());
            assert_eq!(
                lines.next(),
                Some(Line::Pseudo(Bytes::from_static(b":status"), text))
            );
            for (name, value) in &fields {
                assert_eq!(lines.next(), Some(Line::Field(name.clone(), value.clone())));
            }
        }
    }

    #[test]
    fn names_are_the_static_table_s() {
        let named = static_table::ENTRIES
            .iter()
            .filter(|(name, _)| !name.starts_with(':'))
            .filter_map(|(name, _)| Some((name, static_name(&name.parse().ok()?)?)));
        let mut count = 0;
        for (name, index) in named {
            assert_eq!(static_table::ENTRIES[index as usize].0, *name);
            count += 1;
        }
        assert!(count >= 19);
    }

    #[test]
    fn refused() {
        let check =
            |section: &[u8], error: Error| assert_eq!(lines(section), Err(error), "{section:02x?}");
        check(&[], Error::Decompression);
        check(&[1, 0], Error::Decompression);
        // Dynamic: indexed, name reference, post-base both ways.
        check(&[0, 0, 0x80], Error::Decompression);
        check(&[0, 0, 0x40, 0], Error::Decompression);
        check(&[0, 0, 0x10], Error::Decompression);
        check(&[0, 0, 0x00, 0], Error::Decompression);
        // Static entry 99, endless integer, string beyond the section.
        check(&[0, 0, 0xff, 36], Error::Decompression);
        check(
            &[0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            Error::Decompression,
        );
        check(&[0, 0, 0x51, 9, b'a'], Error::Decompression);
        // Upper case, control characters.
        check(&[0, 0, 0x21, b'A', 1, b'b'], Error::Malformed);
        check(&[0, 0, 0x21, b'a', 1, b'\n'], Error::Malformed);
        check(&[0, 0, 0xd9, 0xd9, 0xd9, 0xd9, 0xd9, 0xd9], Error::TooLarge);
        check(
            &[&[0, 0, 0x21, b'a', 0x7f, 0xc9, 0x07][..], &[b'b'; 1096]].concat(),
            Error::TooLarge,
        );
    }
}
