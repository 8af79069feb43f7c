//! What is fetched before it is asked for: for whom, how much, and that it stays out of the way.

use std::{sync::Arc, time::Duration};

use edge::serve::{Edge, Settings};

use crate::fake_origin::{Origin, Resource, edge, edge_with, get, pattern, until};

const SLICE: usize = 256 << 10;

/// Reads the slices of `parts` in order, a range each.
async fn read_parts(edge: &Arc<Edge>, target: &str, parts: std::ops::Range<usize>) {
    for n in parts {
        let range = format!("bytes={}-{}", n * SLICE, (n + 1) * SLICE - 1);
        assert_eq!(get(edge, target, &[("range", &range)]).await.status, 206);
    }
}

fn track(origin: &Arc<Origin>, path: &str) {
    let body = pattern(12 * SLICE, 1);
    origin.put(path, Resource::immutable(body, "\"1\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_in_order_finds_the_next_slices_there() {
    let origin = Origin::new();
    track(&origin, "/t");
    let edge = edge(&origin).await;
    read_parts(&edge, "/t", 0..2).await;
    until("the readahead", || {
        edge.stats().prefetch_bytes >= 2 * SLICE as u64
    })
    .await;
    let asked = origin.asked();
    let got = get(&edge, "/t", &[("range", "bytes=524288-786431")]).await;
    assert!(got.is_hit());
    assert_eq!(
        got.bytes(),
        &pattern(12 * SLICE, 1).slice(2 * SLICE..3 * SLICE)
    );
    assert!(edge.stats().prefetch_useful_bytes >= SLICE as u64);
    until("the next one", || origin.asked() > asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readahead_ends_with_the_track_and_fetches_nothing_twice() {
    let origin = Origin::new();
    track(&origin, "/t");
    let edge = edge(&origin).await;
    for n in 0..12 {
        read_parts(&edge, "/t", n..n + 1).await;
        let done = || edge.stats().fills == 0;
        until("quiet", done).await;
    }
    assert_eq!(origin.sent(), 12 * SLICE);
    assert_eq!(edge.stats().prefetch_wasted_bytes, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jumping_about_reads_nothing_ahead() {
    let origin = Origin::new();
    track(&origin, "/t");
    let edge = edge(&origin).await;
    for n in [7, 2, 9, 4, 0] {
        read_parts(&edge, "/t", n..n + 1).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(edge.stats().prefetch_bytes, 0);
    assert_eq!(origin.sent(), 5 * SLICE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn linked_targets_are_fetched_without_anything_of_the_clients() {
    let origin = Origin::new();
    let fields = [
        ("cache-control", "max-age=60"),
        (
            "link",
            "</next>; rel=prefetch, <https://other.example/x>; rel=prefetch, </../up>; rel=prefetch",
        ),
    ];
    origin.put("/list", Resource::new("list", &fields));
    track(&origin, "/next");
    let edge = edge(&origin).await;
    let secret = [("authorization", "Bearer secret"), ("cookie", "a=secret")];
    // Shared answers to requests with credentials aren't stored; the target's is.
    get(&edge, "/list", &secret).await;
    until("the prefetch", || edge.stats().prefetch_bytes > 0).await;
    let seen = origin.seen();
    let targets: Vec<_> = seen.iter().map(|seen| seen.target.as_str()).collect();
    assert_eq!(targets, ["/list", "/next"]);
    assert!(!format!("{:?}", seen[1]).contains("secret"));
    assert_eq!(seen[1].headers["sec-purpose"], "prefetch");
    assert_eq!(origin.sent(), 4 + SLICE, "its head, not the whole");
    let got = get(&edge, "/next", &[("range", "bytes=0-99")]).await;
    assert!(got.is_hit());
    assert!(edge.stats().prefetch_useful_bytes > 0);
    // Not again and again.
    for _ in 0..3 {
        get(&edge, "/list", &[]).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(
        origin.seen().iter().filter(|s| s.target == "/next").count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_player_asks_for_next_is_there() {
    let origin = Origin::new();
    track(&origin, "/a/0.m4s");
    for path in ["/a/1.m4s", "/b/2.m4s"] {
        origin.put(path, Resource::immutable(pattern(50_000, 2), "\"1\""));
    }
    let edge = edge(&origin).await;
    let seen = |target: &str| origin.seen().iter().filter(|s| s.target == target).count();
    // Version 1 as a query argument and as a field, version 2's list.
    let said = "/a/0.m4s?CMCD=nor%3D%221.m4s%22";
    get(&edge, said, &[("range", "bytes=0-99")]).await;
    until("the next segment", || seen("/a/1.m4s") == 1).await;
    let said = [
        ("range", "bytes=0-99"),
        ("cmcd-request", "nor=(\"..%2Fb%2F2.m4s\" \"1.m4s\"),v=2"),
    ];
    get(&edge, "/a/0.m4s", &said).await;
    until("the list", || seen("/b/2.m4s") == 1).await;
    // A fill counts from the origin's answer on, so quiet alone may be the moment before it.
    until("both", || edge.stats().prefetch_bytes >= 100_000).await;
    until("quiet", || edge.stats().fills == 0).await;
    for path in ["/a/1.m4s", "/b/2.m4s"] {
        assert!(get(&edge, path, &[]).await.is_hit(), "{path}");
        assert_eq!(seen(path), 1, "{path}");
    }
    // A range alone is of the same object.
    let range = format!("nrr=\"{}-{}\"", 5 * SLICE, 5 * SLICE + 10);
    let said = [("range", "bytes=0-99"), ("cmcd-request", &range)];
    get(&edge, "/a/0.m4s", &said).await;
    let part = format!("bytes={}-{}", 5 * SLICE, 5 * SLICE + 10);
    until("the slice", || {
        edge.stats().prefetch_bytes >= 100_000 + SLICE as u64
    })
    .await;
    until("quiet", || edge.stats().fills == 0).await;
    let asked = origin.asked();
    let got = get(&edge, "/a/0.m4s", &[("range", &part)]).await;
    assert!(got.is_hit());
    assert_eq!(origin.asked(), asked);
    // What is another host's, or has a query, isn't touched.
    for nor in [
        "https://other.example/x",
        "x?CAT=secret",
        "..%2F..%2F..%2Fx",
    ] {
        let said = format!("nor=\"{nor}\"");
        get(&edge, "/a/0.m4s", &[("cmcd-request", &said)]).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(origin.seen().iter().all(|seen| !seen.target.contains('x')));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_fetched_beyond_the_budget() {
    // None at all, and less than a slice.
    for prefetch in [0, SLICE as u64 / 2] {
        let origin = Origin::new();
        track(&origin, "/t");
        let settings = Settings {
            prefetch,
            ..Settings::default()
        };
        let edge = edge_with(&origin, settings).await;
        read_parts(&edge, "/t", 0..5).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(edge.stats().prefetch_bytes, 0);
        assert_eq!(origin.sent(), 5 * SLICE);
    }
}
