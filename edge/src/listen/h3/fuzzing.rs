//! HTTP/3's parsers, for the fuzz targets.

use bytes::Bytes;

use super::{
    incoming::{Event, Incoming},
    qpack::{self, Line},
    uni::{Critical, Standing, Uni},
};
use crate::config::Limits;

/// Decodes a field section; its size as the protocol counts it, as far as it came.
pub(crate) fn qpack(section: Bytes, limits: &Limits) -> u64 {
    let bounds = qpack::Limits {
        size: limits.header_size,
        count: limits.header_count,
    };
    let (mut size, mut count) = (0, 0);
    let _ = qpack::decode(section, bounds, |line| {
        let length = match &line {
            Line::Pseudo(name, value) => name.len() + value.len(),
            Line::Field(name, value) => name.as_str().len() + value.len(),
        };
        size += length as u64 + 32;
        count += 1;
        Ok(())
    });
    assert!(count <= limits.header_count, "{count} fields");
    size
}

/// Reads a request stream that comes in pieces of `size`: what came of it, body bytes included.
pub(crate) fn request(data: &[u8], size: usize, limits: &Limits) -> Vec<String> {
    let mut incoming = Incoming::new(limits);
    let (mut events, mut body) = (Vec::new(), 0);
    let mut pieces = data.chunks(size);
    let mut finished = false;
    // Each turn takes a piece, an event or the end.
    for _ in 0..=2 * data.len() + 4 {
        match incoming.next() {
            Ok(Event::More) => match pieces.next() {
                Some(piece) => incoming.feed(Bytes::copy_from_slice(piece)),
                None if finished => break,
                None => {
                    incoming.finish();
                    finished = true;
                }
            },
            Ok(Event::Data(bytes)) => body += bytes.len(),
            Ok(Event::End) => break,
            Ok(Event::TooLarge(status)) => {
                events.push(format!("{status}"));
                break;
            }
            Ok(event) => events.push(format!("{event:?}")),
            Err(fault) => {
                events.push(format!("{fault:?}"));
                break;
            }
        }
    }
    assert!(body as u64 <= limits.body_size, "{body}");
    events.push(format!("{body} bytes"));
    events
}

/// Reads a unidirectional stream that comes in pieces of `size`.
pub(crate) fn control(data: &[u8], size: usize, limits: &Limits) -> String {
    let (mut uni, mut critical) = (Uni::new(limits), Critical::default());
    for piece in data.chunks(size) {
        uni.feed(piece);
        match uni.advance(&mut critical, 3) {
            Ok(Standing::Awaited | Standing::Critical) => {}
            ended => return format!("{ended:?}"),
        }
    }
    uni.finish();
    format!("{:?}", uni.advance(&mut critical, 3))
}
