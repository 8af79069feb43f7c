//! One fetch, however many want it, and nobody waits for anyone else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use edge::exchange::{Purge, PurgeMode, Service as _};
use http::Method;

use crate::fake_origin::{Origin, Resource, edge, first_frame, get, pattern, read, request, until};

const SIZE: usize = 600_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_cold_requests_make_one_fetch() {
    let origin = Origin::slow(Duration::from_secs(1));
    origin.put("/a", Resource::immutable(pattern(SIZE, 1), "\"1\""));
    let edge = edge(&origin).await;
    let clients: Vec<_> = (0..1000)
        .map(|n| {
            let edge = edge.clone();
            tokio::spawn(async move {
                match n % 3 {
                    0 => get(&edge, "/a", &[("range", "bytes=100-199")]).await,
                    _ => get(&edge, "/a", &[]).await,
                }
            })
        })
        .collect();
    let (mut collapsed, whole) = (0, pattern(SIZE, 1));
    for (n, client) in clients.into_iter().enumerate() {
        let got = client.await.unwrap();
        let expected = if n % 3 == 0 {
            whole.slice(100..200)
        } else {
            whole.clone()
        };
        assert_eq!(got.bytes(), &expected);
        collapsed += usize::from(got.field("cache-status").contains("collapsed"));
    }
    // The first may be asked for as a range of slices: then the rest is one more fetch.
    assert!(origin.asked() <= 2, "{} fetches", origin.asked());
    assert!(origin.sent() <= SIZE + (256 << 10));
    assert!(collapsed > 900, "{collapsed} collapsed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_for_a_cold_slice_make_one_fetch_and_stream_along() {
    const CLIENTS: usize = 10_000;
    let origin = Origin::gated(0, 0);
    origin.put("/a", Resource::immutable(pattern(256 << 10, 1), "\"1\""));
    let edge = edge(&origin).await;
    let (seen, whole) = (Arc::new(AtomicUsize::new(0)), pattern(256 << 10, 1));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let (edge, seen, whole) = (edge.clone(), seen.clone(), whole.clone());
            tokio::spawn(async move {
                let range = ("range", "bytes=0-262143");
                let mut response = edge.serve(request(Method::GET, "/a", &[range])).await;
                let first = first_frame(&mut response.body).await;
                seen.fetch_add(1, SeqCst);
                match n % 100 {
                    // Some leave, some stall until everybody else is through.
                    0 => None,
                    1 => Some((first, response)),
                    _ => {
                        let rest = read(response).await;
                        assert!([first.as_ref(), rest.bytes()].concat() == whole);
                        None
                    }
                }
            })
        })
        .collect();
    until("the fetch", || origin.asked() == 1).await;
    origin.heads.add_permits(1);
    origin.pieces.add_permits(1);
    // Everybody has the first piece while the origin keeps the others back.
    until("the first piece at all", || seen.load(SeqCst) == CLIENTS).await;
    assert_eq!(origin.sent(), 16 << 10);
    origin.pieces.add_permits(1000);
    let mut stalled = Vec::new();
    for client in clients {
        stalled.extend(client.await.unwrap());
    }
    assert_eq!(stalled.len(), CLIENTS / 100);
    for (first, response) in stalled {
        let rest = read(response).await;
        assert!([first.as_ref(), rest.bytes()].concat() == whole);
    }
    assert_eq!(origin.asked(), 1);
}

#[tokio::test]
async fn what_was_purged_on_its_way_is_not_given_to_who_comes_later() {
    let origin = Origin::gated(0, 1000);
    origin.put("/a", Resource::immutable(pattern(SIZE, 1), "\"1\""));
    let edge = edge(&origin).await;
    let early = tokio::spawn({
        let edge = edge.clone();
        async move { get(&edge, "/a", &[]).await }
    });
    until("the fetch", || origin.asked() == 1).await;
    let purge = Purge::Url("/a".into());
    edge.purge(purge, PurgeMode::Hard).await.unwrap();
    let late = tokio::spawn({
        let edge = edge.clone();
        async move { get(&edge, "/a", &[]).await }
    });
    tokio::task::yield_now().await;
    origin.heads.add_permits(1);
    until("another fetch", || origin.asked() == 2).await;
    origin.put("/a", Resource::immutable(pattern(SIZE, 2), "\"2\""));
    origin.heads.add_permits(10);
    assert_eq!(early.await.unwrap().field("etag"), "\"1\"");
    assert_eq!(late.await.unwrap().field("etag"), "\"2\"");
    assert_eq!(get(&edge, "/a", &[]).await.field("etag"), "\"2\"");
}

#[tokio::test]
async fn the_first_asker_leaving_changes_nothing_for_others() {
    let origin = Origin::gated(1, 1);
    origin.put("/a", Resource::immutable(pattern(SIZE, 2), "\"1\""));
    let edge = edge(&origin).await;
    let mut leader = edge.serve(request(Method::GET, "/a", &[])).await;
    first_frame(&mut leader.body).await;
    let follower = tokio::spawn({
        let edge = edge.clone();
        async move { get(&edge, "/a", &[]).await }
    });
    tokio::task::yield_now().await;
    drop(leader);
    origin.pieces.add_permits(1000);
    assert_eq!(follower.await.unwrap().bytes(), &pattern(SIZE, 2));
    assert_eq!(origin.asked(), 1);
}

#[tokio::test]
async fn an_object_is_stored_though_its_only_asker_left() {
    let origin = Origin::gated(1, 1);
    origin.put("/a", Resource::immutable(pattern(SIZE, 3), "\"1\""));
    let edge = edge(&origin).await;
    drop(edge.serve(request(Method::GET, "/a", &[])).await);
    origin.pieces.add_permits(1000);
    until("the fill's end", || origin.sent() == SIZE).await;
    let got = get(&edge, "/a", &[]).await;
    assert_eq!(got.bytes(), &pattern(SIZE, 3));
    assert_eq!(origin.asked(), 1);
}

#[tokio::test]
async fn a_request_dropped_before_the_head_leaves_the_fetch_to_others() {
    let origin = Origin::gated(0, 1000);
    origin.put("/a", Resource::immutable(pattern(SIZE, 4), "\"1\""));
    let edge = edge(&origin).await;
    let leader = tokio::spawn({
        let edge = edge.clone();
        async move { get(&edge, "/a", &[]).await }
    });
    until("the fetch", || origin.asked() == 1).await;
    let follower = tokio::spawn({
        let edge = edge.clone();
        async move { get(&edge, "/a", &[]).await }
    });
    tokio::task::yield_now().await;
    leader.abort();
    origin.heads.add_permits(1);
    assert_eq!(follower.await.unwrap().bytes(), &pattern(SIZE, 4));
    assert_eq!(origin.asked(), 1);
}

#[tokio::test]
async fn a_slow_reader_holds_nobody_up() {
    let origin = Origin::new();
    // More than a fill keeps for readers.
    let body = pattern(40 << 20, 5);
    origin.put("/a", Resource::immutable(body.clone(), "\"1\""));
    let edge = edge(&origin).await;
    let mut slow = edge.serve(request(Method::GET, "/a", &[])).await;
    let first = first_frame(&mut slow.body).await;
    let fast = get(&edge, "/a", &[]).await;
    assert_eq!(fast.bytes(), &body);
    let rest = read(slow).await;
    assert_eq!([first.as_ref(), rest.bytes().as_ref()].concat(), body);
}

#[tokio::test]
async fn bytes_arrive_at_followers_before_the_end() {
    let origin = Origin::gated(1, 3);
    origin.put("/a", Resource::immutable(pattern(SIZE, 6), "\"1\""));
    let edge = edge(&origin).await;
    let mut leader = edge.serve(request(Method::GET, "/a", &[])).await;
    let mut follower = edge.serve(request(Method::GET, "/a", &[])).await;
    assert_eq!(
        first_frame(&mut leader.body).await,
        first_frame(&mut follower.body).await
    );
    assert!(origin.sent() < SIZE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_shared_is_not() {
    let origin = Origin::slow(Duration::from_millis(50));
    origin.put("/a", Resource::new("mine", &[("cache-control", "private")]));
    let edge = edge(&origin).await;
    let begun = Instant::now();
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let edge = edge.clone();
            tokio::spawn(async move { get(&edge, "/a", &[]).await })
        })
        .collect();
    for client in clients {
        assert!(!client.await.unwrap().is_hit());
    }
    assert_eq!(origin.asked(), 20);
    // One after the other they would take a second.
    assert!(
        begun.elapsed() < Duration::from_millis(700),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_body_cut_short_is_an_error_and_not_kept() {
    let origin = Origin::new();
    let mut resource = Resource::new(pattern(SIZE, 7), &[("cache-control", "max-age=60")]);
    resource.cut_at = Some(300_000);
    origin.put("/a", resource);
    let edge = edge(&origin).await;
    let got = get(&edge, "/a", &[]).await;
    assert_eq!(got.body.unwrap_err(), pattern(SIZE, 7).slice(..300_000));
    origin.put(
        "/a",
        Resource::new(pattern(SIZE, 7), &[("cache-control", "max-age=60")]),
    );
    assert_eq!(get(&edge, "/a", &[]).await.bytes(), &pattern(SIZE, 7));
}

#[tokio::test]
async fn a_length_that_was_not_told_is_learnt() {
    let origin = Origin::new();
    let mut resource = Resource::new(pattern(SIZE, 8), &[("cache-control", "max-age=60")]);
    resource.sized = false;
    origin.put("/a", resource);
    let edge = edge(&origin).await;
    assert_eq!(get(&edge, "/a", &[]).await.bytes(), &pattern(SIZE, 8));
    let got = get(&edge, "/a", &[("range", "bytes=-10")]).await;
    assert_eq!((got.status.as_u16(), got.is_hit()), (206, true));
    assert_eq!(got.bytes(), &pattern(SIZE, 8).slice(SIZE - 10..));
}
