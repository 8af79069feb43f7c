//! Writing field sections (RFC 7541) of responses, with the static table alone.

use bytes::BufMut;
use http::{HeaderMap, HeaderName, StatusCode, header};

use crate::listen::field::{put_int, put_string};

/// A connection's encoder.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    /// Whether the client knows that its table stays empty (RFC 7541 §4.2).
    told: bool,
}

impl Encoder {
    /// Begins a section.
    pub(super) fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.told, true) {
            out.put_u8(0x20);
        }
    }
}

/// `:status`, indexed where the static table has it.
pub(super) fn put_status(out: &mut Vec<u8>, status: StatusCode) {
    let index = match status.as_u16() {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => {
            // Literal with the name of entry 8.
            out.put_u8(0x08);
            return put_string(out, 0, 7, status.as_str().as_bytes());
        }
    };
    out.put_u8(0x80 | index);
}

/// A field; its value is sound.
pub(super) fn put_field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    // What is somebody's secret is never indexed on its way on (RFC 7541 §7.1.3).
    let flags = if *name == header::SET_COOKIE { 0x10 } else { 0 };
    match static_name(name) {
        Some(index) => put_int(out, flags, 4, index),
        None => {
            out.put_u8(flags);
            put_string(out, 0, 7, name.as_str().as_bytes());
        }
    }
    put_string(out, 0, 7, value);
}

/// Fields.
pub(super) fn put_fields(out: &mut Vec<u8>, fields: &HeaderMap) {
    for (name, value) in fields {
        put_field(out, name, value.as_bytes());
    }
}

/// Index of a static entry of that name, for the names responses use.
fn static_name(name: &HeaderName) -> Option<u64> {
    let index = match name.as_str() {
        "accept-ranges" => 18,
        "access-control-allow-origin" => 20,
        "age" => 21,
        "allow" => 22,
        "cache-control" => 24,
        "content-disposition" => 25,
        "content-encoding" => 26,
        "content-language" => 27,
        "content-length" => 28,
        "content-location" => 29,
        "content-range" => 30,
        "content-type" => 31,
        "date" => 33,
        "etag" => 34,
        "expires" => 36,
        "last-modified" => 44,
        "link" => 45,
        "location" => 46,
        "retry-after" => 53,
        "server" => 54,
        "set-cookie" => 55,
        "strict-transport-security" => 56,
        "vary" => 59,
        "via" => 60,
        "www-authenticate" => 61,
        _ => return None,
    };
    Some(index)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::HeaderValue;

    use super::{
        super::{hpack::Decoder, static_table::ENTRIES},
        *,
    };
    use crate::listen::field::{Limits, Line};

    #[test]
    fn what_is_encoded_is_decoded() {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        for status in [200, 206, 301, 416, 503, 599] {
            let mut fields = HeaderMap::new();
            for (name, value) in [
                ("content-range", "bytes 0-1/2"),
                ("set-cookie", "a=b"),
                ("x-other", ""),
            ] {
                fields.insert(name, HeaderValue::from_static(value));
            }
            fields.insert("x-long", HeaderValue::from_str(&"v".repeat(500)).unwrap());
            let mut out = Vec::new();
            encoder.begin(&mut out);
            put_status(&mut out, StatusCode::from_u16(status).unwrap());
            put_fields(&mut out, &fields);
            let mut got = HeaderMap::new();
            let limits = Limits {
                size: 10_000,
                count: 100,
            };
            let read = decoder.decode(&out, limits, |line| {
                match line {
                    Line::Pseudo(name, value) => {
                        assert_eq!(
                            (&name[..], &value[..]),
                            (&b":status"[..], status.to_string().as_bytes())
                        );
                    }
                    Line::Field(name, value) => {
                        got.append(name, value);
                    }
                }
                Ok(())
            });
            assert_eq!((read, got), (Ok(()), fields));
        }
    }

    #[test]
    fn names_are_the_static_table_s() {
        let mut count = 0;
        for (place, (name, _)) in (1..).zip(ENTRIES) {
            if let Some(index) = name.parse().ok().and_then(|name| static_name(&name)) {
                assert_eq!(index, place, "{name}");
                count += 1;
            }
        }
        assert!(count >= 25, "{count}");
    }
}
