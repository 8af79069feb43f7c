//! Several ranges in one request: parts that are the slices of the body they name, at the cost of
//! little more than these.

use bytes::Bytes;
use edge::{exchange::Service as _, serve::Settings};
use http::Method;
use proptest::prelude::*;

use crate::fake_origin::{Got, Origin, Resource, edge, edge_with, get, pattern, read, request};

const SLICE: usize = 4 << 10;

/// The parts of a `multipart/byteranges` body: type, range as told, bytes.
fn parts(got: &Got) -> Vec<(String, String, Bytes)> {
    let kind = got.field("content-type");
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap_or_else(|| panic!("{kind}"));
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = &got.bytes()[..];
    let mut parts = Vec::new();
    loop {
        rest = rest
            .strip_prefix(delimiter.as_bytes())
            .expect("a delimiter");
        if rest == b"--\r\n" {
            return parts;
        }
        let end = rest.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&rest[..end]).unwrap();
        let field = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().to_owned()
        };
        let told = field("Content-Range: ");
        let (range, _) = told
            .strip_prefix("bytes ")
            .unwrap()
            .split_once('/')
            .unwrap();
        let (first, last) = range.split_once('-').unwrap();
        let length = last.parse::<usize>().unwrap() + 1 - first.parse::<usize>().unwrap();
        rest = &rest[end + 4..];
        parts.push((
            field("Content-Type: "),
            told,
            Bytes::copy_from_slice(&rest[..length]),
        ));
        rest = &rest[length..];
    }
}

#[tokio::test]
async fn parts_are_told_apart_and_grow_together() {
    let origin = Origin::new();
    let mut resource = Resource::immutable(pattern(10, 1), "\"1\"");
    resource
        .headers
        .insert("content-type", "audio/mp4".parse().unwrap());
    origin.put("/a", resource);
    let edge = edge(&origin).await;
    let body = pattern(10, 1);
    for hit in [false, true] {
        let got = get(&edge, "/a", &[("range", "bytes=8-,0-1,3-4, 2-2")]).await;
        assert_eq!((got.status.as_u16(), got.is_hit()), (206, hit));
        assert_eq!(got.field("content-range"), "");
        assert_eq!(got.field("etag"), "\"1\"");
        let audio = |range: &str, bytes| ("audio/mp4".to_owned(), range.to_owned(), bytes);
        assert_eq!(
            parts(&got),
            [
                audio("bytes 8-9/10", body.slice(8..10)),
                audio("bytes 0-4/10", body.slice(0..5)),
            ]
        );
    }
    assert_eq!(origin.asked(), 1);
}

#[tokio::test]
async fn more_than_eight_are_ignored() {
    let origin = Origin::new();
    origin.put("/a", Resource::immutable(pattern(100, 1), "\"1\""));
    let edge = edge(&origin).await;
    let ranges = |count: usize| {
        let all: Vec<_> = (0..count).map(|n| format!("{0}-{0}", n * 2)).collect();
        format!("bytes={}", all.join(","))
    };
    let eight = ranges(8);
    let got = read(
        edge.serve(request(Method::GET, "/a", &[("range", &eight)]))
            .await,
    )
    .await;
    assert_eq!((got.status.as_u16(), parts(&got).len()), (206, 8));
    let nine = ranges(9);
    let got = read(
        edge.serve(request(Method::GET, "/a", &[("range", &nine)]))
            .await,
    )
    .await;
    assert_eq!((got.status.as_u16(), got.bytes()), (200, &pattern(100, 1)));
    let changed = [("range", eight.as_str()), ("if-range", "\"2\"")];
    let got = read(edge.serve(request(Method::GET, "/a", &changed)).await).await;
    assert_eq!(got.status.as_u16(), 200);
}

#[tokio::test]
async fn what_cannot_be_pinned_is_left_to_the_origin() {
    let origin = Origin::new();
    let fields = [("cache-control", "max-age=60"), ("etag", "W/\"1\"")];
    origin.put("/a", Resource::new(pattern(20_000, 1), &fields));
    let edge = edge(&origin).await;
    let got = get(&edge, "/a", &[("range", "bytes=0-1,9000-9001")]).await;
    assert_eq!(got.status.as_u16(), 200);
    let asked = origin.seen();
    assert_eq!(
        asked.last().unwrap().headers["range"],
        "bytes=0-1,9000-9001"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whichever ranges are asked of a cold object: every part is the slice that it names, all that
    /// was asked for is there, and the origin sends no more than the slices that hold it.
    #[test]
    fn any_ranges_of_a_cold_object(
        size in 1..200_000usize,
        asks in prop::collection::vec((0..200_000usize, 0..9_000usize), 2..=8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let origin = Origin::new();
            let body = pattern(size, 7);
            origin.put("/a", Resource::immutable(body.clone(), "\"1\""));
            let settings = Settings { slice: SLICE as u64, ..Settings::default() };
            let edge = edge_with(&origin, settings).await;
            let specs: Vec<_> = asks.iter().map(|(at, len)| format!("{at}-{}", at + len)).collect();
            let header = format!("bytes={}", specs.join(","));
            let got = read(edge.serve(request(Method::GET, "/a", &[("range", &header)])).await).await;
            let wanted: Vec<_> = asks
                .iter()
                .map(|(at, len)| *at..size.min(at + len + 1))
                .filter(|range| range.start < range.end)
                .collect();
            let told = match got.status.as_u16() {
                416 => {
                    prop_assert!(wanted.is_empty());
                    return Ok(());
                }
                206 if got.field("content-type").starts_with("multipart/") => parts(&got)
                    .into_iter()
                    .map(|(_, told, bytes)| (told, bytes))
                    .collect(),
                206 => vec![(got.field("content-range").to_owned(), got.bytes().clone())],
                status => panic!("{status}"),
            };
            let mut sent = Vec::new();
            for (told, bytes) in told {
                let (range, total) = told.strip_prefix("bytes ").unwrap().split_once('/').unwrap();
                prop_assert_eq!(total.parse::<usize>().unwrap(), size);
                let first: usize = range.split_once('-').unwrap().0.parse().unwrap();
                prop_assert_eq!(&bytes, &body.slice(first..first + bytes.len()));
                sent.push(first..first + bytes.len());
            }
            for range in &wanted {
                let held = sent.iter().any(|s| s.start <= range.start && range.end <= s.end);
                prop_assert!(held, "{:?} of {:?}", range, sent);
            }
            let most: usize = sent.iter().map(|range| range.len() + 2 * SLICE).sum();
            prop_assert!(origin.sent() <= most, "{} of {}", origin.sent(), most);
            Ok(())
        })?;
    }
}
