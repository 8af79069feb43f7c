//! The listeners' parsers, for the fuzz targets.

use std::time::Instant;

use bytes::Bytes;

use super::{h1, h2, h2_budget::Budget, h3};
use crate::config::Limits;

/// A field section decodes within its limits.
pub(crate) fn qpack(section: Bytes, limits: &Limits) {
    let size = h3::fuzzing::qpack(section, limits);
    assert!(size <= limits.header_size, "{size}");
}

/// A request stream is read alike whatever pieces it comes in.
pub(crate) fn h3_request(data: &[u8], limits: &Limits) {
    let whole = h3::fuzzing::request(data, data.len().max(1), limits);
    for size in [1, 7] {
        let pieces = h3::fuzzing::request(data, size, limits);
        // A stream that breaks may have passed on more of its body before.
        if whole.len() == 1 || pieces.len() == whole.len() {
            let same = pieces[..pieces.len() - 1] == whole[..whole.len() - 1];
            assert!(same, "{pieces:?} and {whole:?}");
        }
    }
}

/// A unidirectional stream is read alike whatever pieces it comes in.
pub(crate) fn h3_control(data: &[u8], limits: &Limits) {
    let whole = h3::fuzzing::control(data, data.len().max(1), limits);
    let pieces = h3::fuzzing::control(data, 1, limits);
    assert_eq!(pieces, whole);
}

/// Requests come to the same whatever pieces they come in.
pub(crate) fn h1_requests(data: &[u8], limits: &Limits) {
    let whole = h1::fuzzing::requests(data, data.len().max(1), limits);
    for size in [1, 2, 7] {
        assert_eq!(h1::fuzzing::requests(data, size, limits), whole);
    }
}

/// Frame headers come to the same whatever pieces they come in.
pub(crate) fn h2_budget(data: &[u8], limits: &Limits) {
    let now = Instant::now();
    let pass = |size: usize| {
        let mut budget = Budget::new(limits, now);
        let passed = data.chunks(size).all(|part| budget.pass(part).is_ok());
        (passed, passed && budget.heading())
    };
    let whole = pass(data.len().max(1));
    assert!(
        (1..4).all(|size| pass(size) == whole),
        "pieces make a difference"
    );
}

/// Field sections decode within their limits.
pub(crate) fn hpack(data: &[u8], limits: &Limits) {
    let size = h2::fuzzing::hpack(data, limits);
    assert!(size <= limits.header_size, "{size}");
}

/// A connection comes to the same whatever pieces its bytes come in, and holds no more than it may.
pub(crate) fn h2_connection(data: &[u8], limits: &Limits) {
    // Bodies end at other times where windows are read at others: without them, all is the same.
    let whole = h2::fuzzing::connection(data, usize::MAX, b"", limits);
    for size in [1, 7] {
        let pieces = h2::fuzzing::connection(data, size, b"", limits);
        assert_eq!(pieces, whole);
    }
    h2::fuzzing::connection(data, 99, &[b'x'; 100_000], limits);
}
