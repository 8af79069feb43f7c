//! What is fetched before it is asked for: for whom, how much, and that it stays out of the way.

use std::{sync::Arc, time::Duration};

use edge::serve::{Edge, Settings};

use crate::fake_origin::{Origin, Resource, edge, edge_with, get, pattern, until};

const SLICE: usize = 256 << 10;

/// Reads the slices of `parts` in order, a range each.
async fn read_parts(edge: &Edge, target: &str, parts: std::ops::Range<usize>) {
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
