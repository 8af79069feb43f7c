//! Ranges: every one is the slice of the body that it names, and the origin is asked for little
//! more.

use edge::{exchange::Service as _, serve::Settings};
use http::Method;
use proptest::prelude::*;

use crate::fake_origin::{Origin, Resource, edge, edge_with, get, pattern, read, request};

const SLICE: usize = 4 << 10;

#[tokio::test]
async fn edge_cases() {
    let origin = Origin::new();
    origin.put("/a", Resource::immutable(pattern(10, 1), "\"1\""));
    origin.put("/empty", Resource::immutable("", "\"1\""));
    let edge = edge(&origin).await;
    let body = pattern(10, 1);
    for (range, status, expected, content_range) in [
        ("bytes=0-0", 206, 0..1, "bytes 0-0/10"),
        ("bytes=2-", 206, 2..10, "bytes 2-9/10"),
        ("bytes=-3", 206, 7..10, "bytes 7-9/10"),
        ("bytes=-99", 206, 0..10, "bytes 0-9/10"),
        ("bytes=5-99", 206, 5..10, "bytes 5-9/10"),
        ("bytes=10-", 416, 0..0, "bytes */10"),
        ("bytes=-0", 416, 0..0, "bytes */10"),
        ("bytes=0-1,2-4", 206, 0..5, "bytes 0-4/10"),
        ("bytes=20-,8-30", 206, 8..10, "bytes 8-9/10"),
        ("bytes=10-,20-", 416, 0..0, "bytes */10"),
        ("bytes=0-1,4-3", 200, 0..10, ""),
        ("bytes=4-2", 200, 0..10, ""),
        ("lines=0-1", 200, 0..10, ""),
    ] {
        let got = get(&edge, "/a", &[("range", range)]).await;
        assert_eq!(
            (got.status.as_u16(), got.field("content-range")),
            (status, content_range),
            "{range}"
        );
        assert_eq!(got.bytes(), &body.slice(expected), "{range}");
    }
    assert_eq!(
        get(&edge, "/empty", &[("range", "bytes=0-")]).await.status,
        416
    );
    assert_eq!(get(&edge, "/empty", &[]).await.status, 200);
}

#[tokio::test]
async fn if_range_guards() {
    let origin = Origin::new();
    origin.put("/a", Resource::immutable(pattern(10, 1), "\"1\""));
    let edge = edge(&origin).await;
    for (condition, status) in [("\"1\"", 206), ("\"2\"", 200), ("W/\"1\"", 200)] {
        let got = get(
            &edge,
            "/a",
            &[("range", "bytes=0-1"), ("if-range", condition)],
        )
        .await;
        assert_eq!(got.status, status, "{condition}");
    }
}

#[tokio::test]
async fn head_has_the_size_and_no_body() {
    let origin = Origin::new();
    origin.put("/a", Resource::immutable(pattern(10, 1), "\"1\""));
    let edge = edge(&origin).await;
    for _ in 0..2 {
        let got = read(edge.serve(request(Method::HEAD, "/a", &[])).await).await;
        assert_eq!((got.field("content-length"), got.bytes().len()), ("10", 0));
        get(&edge, "/a", &[]).await;
    }
    assert_eq!(origin.asked(), 2);
}

#[tokio::test]
async fn a_range_of_a_cold_object_costs_its_slices() {
    let origin = Origin::new();
    let size = 1_000_000;
    origin.put("/a", Resource::immutable(pattern(size, 1), "\"1\""));
    let edge = edge_with(
        &origin,
        Settings {
            slice: SLICE as u64,
            ..Settings::default()
        },
    )
    .await;
    let got = get(&edge, "/a", &[("range", "bytes=500000-500009")]).await;
    assert_eq!(got.bytes(), &pattern(size, 1).slice(500_000..500_010));
    assert_eq!(
        (got.field("content-range"), got.field("content-length")),
        ("bytes 500000-500009/1000000", "10")
    );
    assert_eq!(origin.sent(), SLICE);
    // A neighbour in the same slice costs nothing, the whole what is missing.
    assert!(
        get(&edge, "/a", &[("range", "bytes=500001-500002")])
            .await
            .is_hit()
    );
    assert_eq!(get(&edge, "/a", &[]).await.bytes(), &pattern(size, 1));
    assert_eq!(origin.sent(), size);
    assert!(
        origin.seen()[1..]
            .iter()
            .all(|seen| seen.headers["if-range"] == "\"1\"")
    );
}

#[tokio::test]
async fn an_origin_without_ranges_is_cut_here() {
    let origin = Origin::new();
    let mut resource = Resource::new(pattern(20_000, 1), &[("cache-control", "max-age=60")]);
    resource.ranges = false;
    origin.put("/a", resource);
    let edge = edge(&origin).await;
    for expected_hit in [false, true] {
        let got = get(&edge, "/a", &[("range", "bytes=5000-5004")]).await;
        assert_eq!((got.status.as_u16(), got.is_hit()), (206, expected_hit));
        assert_eq!(got.bytes(), &pattern(20_000, 1).slice(5000..5005));
    }
}

#[tokio::test]
async fn ranges_that_cannot_be_pinned_to_a_revision_are_passed_on() {
    let origin = Origin::new();
    origin.put(
        "/a",
        Resource::new(
            pattern(20_000, 1),
            &[("cache-control", "max-age=60"), ("etag", "W/\"1\"")],
        ),
    );
    let edge = edge(&origin).await;
    let got = get(&edge, "/a", &[("range", "bytes=5000-5004")]).await;
    assert_eq!(
        (got.status.as_u16(), got.field("content-range")),
        (206, "bytes 5000-5004/20000")
    );
    assert_eq!(got.bytes(), &pattern(20_000, 1).slice(5000..5005));
}

/// A range as a client may ask for it.
#[derive(Clone, Debug)]
enum Ask {
    Whole,
    FromTo(usize, usize),
    From(usize),
    Suffix(usize),
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let at = 0..70_000usize;
    let one = prop_oneof![
        Just(Ask::Whole),
        (at.clone(), 0..20_000usize).prop_map(|(from, length)| Ask::FromTo(from, from + length)),
        at.clone().prop_map(Ask::From),
        at.prop_map(Ask::Suffix),
    ];
    prop::collection::vec(one, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is asked in whatever order, with memory for all or next to nothing: the bytes are
    /// those of the body, and what the origin sends is bounded.
    #[test]
    fn any_sequence_of_ranges(
        size in 0..60_000usize,
        asks in asks(),
        memory in prop_oneof![Just(8u64 << 10), Just(1 << 20)],
        ranges: bool,
        sized: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let body = pattern(size, 9);
            let origin = Origin::new();
            let mut resource = Resource::immutable(body.clone(), "\"1\"");
            (resource.ranges, resource.sized, resource.piece) = (ranges, sized, 3000);
            origin.put("/a", resource);
            let edge = edge_with(&origin, Settings { slice: SLICE as u64, memory, ..Settings::default() }).await;
            for ask in &asks {
                let (header, part) = match *ask {
                    Ask::Whole => (None, Some(0..size)),
                    Ask::FromTo(a, b) => (Some(format!("bytes={a}-{b}")), (a < size).then(|| a..size.min(b + 1))),
                    Ask::From(a) => (Some(format!("bytes={a}-")), (a < size).then_some(a..size)),
                    Ask::Suffix(n) => (Some(format!("bytes=-{n}")), (n > 0 && size > 0).then(|| size.saturating_sub(n)..size)),
                };
                let before = origin.sent();
                let fields: Vec<_> = header.iter().map(|range| ("range", range.as_str())).collect();
                let got = read(edge.serve(request(Method::GET, "/a", &fields)).await).await;
                match (got.status.as_u16(), &part) {
                    (200, _) => prop_assert_eq!(got.bytes(), &body),
                    (206, Some(part)) => {
                        prop_assert_eq!(got.bytes(), &body.slice(part.clone()));
                        let told = format!("bytes {}-{}/{size}", part.start, part.end - 1);
                        prop_assert_eq!(got.field("content-range"), told);
                    }
                    (416, None) => {}
                    (status, part) => prop_assert!(false, "{} for {:?}, {:?}", status, ask, part),
                }
                if let (true, true, Some(part)) = (ranges, header.is_some(), part) {
                    let most = part.len() + 2 * SLICE;
                    prop_assert!(origin.sent() - before <= most, "{} bytes for {:?}", origin.sent() - before, ask);
                }
            }
            Ok(())
        })?;
    }
}
