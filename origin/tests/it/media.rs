//! Objects and the segment view.

use std::sync::{Arc, atomic::Ordering};

use axum::body::Body;
use bytes::Bytes;
use http::Method;
use manifests::Track;
use storage::{Key, ObjectStore as _};
use tokio_util::sync::CancellationToken;

use crate::{
    client::{Answer, Client},
    sample,
    stack::Stack,
};

async fn stack() -> (Stack, Track, String) {
    let stack = Stack::start().await;
    let track = stack.add(1, sample::tags("Ann", "Blue", 1, "One")).await;
    let base = format!("/media/{}/{}", track.id, track.revision);
    (stack, track, base)
}

fn assert_bytes(answer: &Answer, start: u64, end: u64) {
    let expected: Vec<u8> = (start..end).map(sample::byte).collect();
    assert_eq!(answer.header("content-length"), expected.len().to_string());
    assert!(
        answer.body == expected,
        "bytes {start}..{end} of {}",
        answer.body.len()
    );
}

#[tokio::test]
async fn a_rendition_is_served_whole_and_in_ranges() {
    let (stack, track, base) = stack().await;
    let url = format!("{base}/opus-96.mp4");
    let size = track.rendition("opus-96").unwrap().bytes;

    let whole = stack.client.get(&url).await;
    assert_eq!(whole.status, 200);
    assert_bytes(&whole, 0, size);
    assert_eq!(whole.header("content-type"), "audio/mp4");
    assert_eq!(
        whole.header("cache-control"),
        "public, max-age=31536000, immutable"
    );
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("surrogate-key"), format!("track/{}", track.id));
    assert_eq!(whole.header("access-control-allow-origin"), "*");

    let ranges = [
        ("bytes=0-999", 0, 1_000),
        ("bytes=1000-1000", 1_000, 1_001),
        ("bytes=5000-", 5_000, size),
        ("bytes=-7", size - 7, size),
        ("bytes=100-99999999999", 100, size),
    ];
    for (range, start, end) in ranges {
        let part = stack.client.get_with(&url, &[("range", range)]).await;
        assert_eq!(part.status, 206, "{range}");
        assert_eq!(
            part.header("content-range"),
            format!("bytes {start}-{}/{size}", end - 1)
        );
        assert_bytes(&part, start, end);
    }
    let beyond = stack
        .client
        .get_with(&url, &[("range", &format!("bytes={size}-"))])
        .await;
    assert_eq!(beyond.status, 416);
    assert_eq!(beyond.header("content-range"), format!("bytes */{size}"));
    let several = stack
        .client
        .get_with(&url, &[("range", "bytes=0-1,5-6")])
        .await;
    assert_eq!(several.status, 200, "a server may ignore several ranges");
}

#[tokio::test]
async fn conditions_are_answered_without_touching_the_store() {
    let (stack, _, base) = stack().await;
    let url = format!("{base}/opus-96.mp4");
    let tag = stack.client.get(&url).await.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.len() > 20, "{tag}");
    let before = stack.store.gets.load(Ordering::Relaxed);

    let same = stack
        .client
        .get_with(&url, &[("if-none-match", &tag)])
        .await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    assert_eq!(same.header("etag"), tag);
    let other = stack
        .client
        .get_with(&url, &[("if-match", "\"other\"")])
        .await;
    assert_eq!(other.status, 412);
    let head = stack
        .client
        .send(Method::HEAD, &url, &[("range", "bytes=0-1")], Body::empty())
        .await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.header("content-length").parse::<u64>().unwrap() > 1_000);
    assert_eq!(stack.store.gets.load(Ordering::Relaxed), before);

    let current = stack
        .client
        .get_with(&url, &[("range", "bytes=0-1"), ("if-range", &tag)])
        .await;
    assert_eq!(current.status, 206);
    let outdated = stack
        .client
        .get_with(&url, &[("range", "bytes=0-1"), ("if-range", "\"b\"")])
        .await;
    assert_eq!(outdated.status, 200);
}

#[tokio::test]
async fn segments_are_windows_of_the_rendition() {
    let (stack, track, base) = stack().await;
    let rendition = track.rendition("aac-128").unwrap();
    let init = stack.client.get(&format!("{base}/aac-128/init.mp4")).await;
    assert_eq!(init.status, 200);
    assert_bytes(&init, 0, 900);
    let mut tags = vec![init.header("etag").to_owned()];
    for (number, segment) in (1..).zip(&rendition.segments) {
        let url = format!("{base}/aac-128/{number}.m4s");
        let answer = stack.client.get(&url).await;
        assert_eq!(answer.status, 200);
        assert_bytes(&answer, segment.bytes.start, segment.bytes.end());
        tags.push(answer.header("etag").to_owned());
        let part = stack
            .client
            .get_with(&url, &[("range", "bytes=10-19")])
            .await;
        assert_eq!(part.status, 206);
        assert_bytes(&part, segment.bytes.start + 10, segment.bytes.start + 20);
        let content_range = format!("bytes 10-19/{}", segment.bytes.len);
        assert_eq!(part.header("content-range"), content_range);
    }
    tags.sort();
    tags.dedup();
    assert_eq!(
        tags.len(),
        rendition.segments.len() + 1,
        "each part has a tag of its own"
    );
    for missing in [
        "aac-128/0.m4s",
        "aac-128/99.m4s",
        "aac-128/01.m4s",
        "aac-128/x",
        "aac-1/1.m4s",
    ] {
        let answer = stack.client.get(&format!("{base}/{missing}")).await;
        assert_eq!(
            (answer.status, answer.error_code().as_str()),
            (404, "not_found"),
            "{missing}"
        );
    }
}

#[tokio::test]
async fn what_is_not_published_is_not_there() {
    let (stack, track, base) = stack().await;
    let flac = stack.client.get(&format!("{base}/flac.mp4")).await;
    assert_eq!(flac.status, 404);
    assert!(
        flac.text().contains("the source is lossy"),
        "{}",
        flac.text()
    );

    let half = Key::new(format!("tracks/{}/00000000000000ff/opus-96.mp4", track.id)).unwrap();
    stack
        .store
        .put(&half, Bytes::from_static(b"half"))
        .await
        .unwrap();
    let url = format!("/media/{}/00000000000000ff/opus-96.mp4", track.id);
    assert_eq!(
        stack.client.get(&url).await.status,
        404,
        "no track.json, no track"
    );
    for evil in [
        "/media/../x/y.mp4",
        "/media/%2e%2e/%2e%2e/a.mp4",
        "/media/t0/a%2fb/opus-96.mp4",
    ] {
        assert_eq!(stack.client.get(evil).await.status, 404, "{evil}");
    }
}

#[tokio::test]
async fn a_failing_store_is_reported_and_not_cached() {
    let (stack, track, base) = stack().await;
    let url = format!("{base}/opus-96.mp4");
    stack.store.broken.store(true, Ordering::Relaxed);
    let failed = stack.client.get(&url).await;
    assert_eq!(
        (failed.status, failed.error_code().as_str()),
        (502, "storage_unavailable")
    );
    assert_eq!(failed.header("cache-control"), "no-store");
    stack.store.broken.store(false, Ordering::Relaxed);
    assert_eq!(stack.client.get(&url).await.status, 200);

    let key = Key::new(format!(
        "tracks/{}/{}/opus-96.mp4",
        track.id, track.revision
    ))
    .unwrap();
    stack
        .store
        .put(&key, Bytes::from_static(b"truncated"))
        .await
        .unwrap();
    assert_eq!(
        stack.client.get(&url).await.status,
        502,
        "never other bytes under a known tag"
    );
}

#[tokio::test]
async fn one_reading_of_an_index_serves_all_who_wait() {
    let (stack, _, base) = stack().await;
    let before = stack.store.gets.load(Ordering::Relaxed);
    let url = format!("{base}/opus-96/init.mp4");
    let requests = (0..20).map(|_| stack.client.get(&url));
    for answer in futures_util::future::join_all(requests).await {
        assert_eq!(answer.status, 200);
    }
    let gets = stack.store.gets.load(Ordering::Relaxed) - before;
    assert_eq!(gets, 21, "20 bodies and one index");
}

#[tokio::test]
async fn covers_are_public_and_immutable() {
    let (stack, track, _) = stack().await;
    let cover = stack
        .client
        .get(&format!(
            "/api/v1/covers/{}/{}/cover.png",
            track.id, track.revision
        ))
        .await;
    assert_eq!(
        (cover.status, cover.header("content-type")),
        (200, "image/png")
    );
    assert_eq!(&cover.body[..], sample::COVER);
    assert!(cover.header("cache-control").contains("immutable"));
}

#[tokio::test]
async fn files_in_a_directory_are_served_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(storage::Directory::open(dir.path().join("store")).unwrap());
    let track = sample::track(1, sample::tags("Ann", "Blue", 1, "One"));
    sample::publish(&*store, &track).await;
    let config = origin::Config::at(dir.path().join("data"));
    let origin = Arc::new(origin::Origin::open(config, store).await.unwrap());
    assert_eq!(origin.reconcile().await.unwrap(), 1);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(listener.local_addr().unwrap());
    let cancel = CancellationToken::new();
    let served = tokio::spawn(Arc::clone(&origin).serve(listener, cancel.clone()));

    let url = format!("/media/{}/{}/opus-96.mp4", track.id, track.revision);
    let part = client
        .get_with(&url, &[("range", "bytes=70000-99999")])
        .await;
    assert_eq!(part.status, 206);
    assert_bytes(&part, 70_000, 100_000);
    let last = track.rendition("aac-128").unwrap().segments.len();
    let segment = format!("/media/{}/{}/aac-128/{last}.m4s", track.id, track.revision);
    assert_eq!(client.get(&segment).await.status, 200);
    cancel.cancel();
    served.await.unwrap().unwrap();
}
