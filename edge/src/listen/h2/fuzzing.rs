//! HTTP/2's parsers, for the fuzz targets.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{core::Core, hpack::Decoder, reader::PREFACE, sending::HIGH};
use crate::{
    config::Limits,
    exchange::{Body, Facts, Response},
    listen::field::{self, Line},
};

/// Decodes field sections, each behind its length in a byte, on one connection; the largest's size
/// as the protocol counts it, as far as it came.
pub(crate) fn hpack(mut data: &[u8], limits: &Limits) -> u64 {
    let bounds = field::Limits {
        size: limits.header_size,
        count: limits.header_count,
    };
    let (mut decoder, mut largest) = (Decoder::default(), 0);
    while let Some((length, rest)) = data.split_first() {
        let (section, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        data = rest;
        let (mut size, mut count) = (0, 0);
        let decoded = decoder.decode(section, bounds, |line| {
            let length = match &line {
                Line::Pseudo(name, value) => name.len() + value.len(),
                Line::Field(name, value) => name.as_str().len() + value.len(),
            };
            size += length as u64 + 32;
            count += 1;
            Ok(())
        });
        assert!(count <= limits.header_count, "{count} fields");
        largest = largest.max(size);
        if matches!(
            decoded,
            Err(field::Error::Decompression | field::Error::Bomb)
        ) {
            break;
        }
    }
    largest
}

/// Runs a connection on what a client sends behind its preface, in pieces of `size`; requests are
/// answered with that body. What was asked, and what was written.
pub(crate) fn connection(
    data: &[u8],
    size: usize,
    body: &'static [u8],
    limits: &Limits,
) -> (Vec<String>, Vec<u8>) {
    let now = Instant::now();
    let mut core = Core::new(limits, None, now);
    let (mut requests, mut written) = (Vec::new(), Vec::new());
    let stream = [PREFACE, data].concat();
    for mut piece in stream.chunks(size) {
        // Each turn takes some of the piece, or lets output leave that was in its way.
        loop {
            while let Some(asked) = core.next(&mut piece, now) {
                requests.push(format!("{:?} {:?}", asked.head, asked.fault));
                core.respond(asked.stream, response(body));
            }
            core.pump();
            let out = &mut core.sending.out;
            assert!(out.len() < HIGH + (64 << 10), "{} bytes wait", out.len());
            if out.is_empty() {
                break;
            }
            let slices = out.whole();
            out.advance(slices.len());
            written.extend(slices);
        }
        assert!(piece.is_empty(), "{} bytes not taken", piece.len());
    }
    assert!(core.streams.len() <= limits.streams as usize);
    (requests, written)
}

fn response(body: &'static [u8]) -> Response {
    let mut headers = HeaderMap::new();
    // Else it is the time.
    headers.insert(header::DATE, HeaderValue::from_static("now"));
    Response {
        status: StatusCode::OK,
        headers,
        body: Body::Full(Bytes::from_static(body)),
        facts: Facts::default(),
        hit: None,
    }
}
