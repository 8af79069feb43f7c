//! Slow readers: what they cost in memory and in fetches, and that they get what they asked for.

use std::time::Duration;

use edge::{
    exchange::{Response, Service as _},
    serve::Settings,
};
use http::Method;

use crate::fake_origin::{
    Origin, Resource, edge_with, first_frame, get, pattern, read, request, until,
};

const SLICE: usize = 64 << 10;
const SLICES: usize = 12;
const SIZE: usize = SLICES * SLICE;

/// Room for so many slices, about.
fn room(slices: usize) -> Settings {
    Settings {
        memory: (slices * SLICE) as u64,
        slice: SLICE as u64,
        prefetch: 0,
        ..Settings::default()
    }
}

fn path(n: usize) -> String {
    format!("/{n}")
}

/// A frame of each in turn until all are through; whether every body was what it should be.
async fn read_in_turn(mut readers: Vec<(usize, Response, Vec<u8>)>) {
    while !readers.is_empty() {
        let mut left = Vec::new();
        for (n, mut response, mut got) in readers {
            match response.body.next().await {
                Some(frame) => {
                    got.extend_from_slice(&frame.unwrap().into_data().unwrap());
                    left.push((n, response, got));
                }
                None => assert!(got == pattern(SIZE, n as u8), "wrong bytes of {n}"),
            }
        }
        readers = left;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_readers_have_fetched_little_more_than_they_read() {
    const READERS: usize = 40;
    let origin = Origin::new();
    let edge = edge_with(&origin, room(4096)).await;
    let mut readers = Vec::new();
    for n in 0..READERS {
        let body = Resource::immutable(pattern(SIZE, n as u8), "\"1\"");
        origin.put(&path(n), body);
        let mut response = edge.serve(request(Method::GET, &path(n), &[])).await;
        let first = first_frame(&mut response.body).await;
        readers.push((n, response, first.to_vec()));
    }
    // Their fills wait for them, and then give their connections back.
    until("the fills' end", || edge.stats().fills == 0).await;
    let each = origin.sent() / READERS;
    assert!(each <= 3 * SLICE, "{each} bytes fetched for each");
    // They changed nothing for others, and get the rest, each byte fetched about once.
    let fast = get(&edge, &path(0), &[]).await;
    assert_eq!(fast.bytes(), &pattern(SIZE, 0));
    read_in_turn(readers).await;
    let each = origin.sent() / READERS;
    assert!(each <= SIZE + 2 * SLICE, "{each} bytes fetched for each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_crowd_each_other_out_of_memory_all_get_on() {
    const READERS: usize = 60;
    let origin = Origin::new();
    // A slice for every fourth of them.
    let edge = edge_with(&origin, room(READERS / 4)).await;
    let mut readers = Vec::new();
    for n in 0..READERS {
        let body = Resource::immutable(pattern(SIZE, n as u8), "\"1\"");
        origin.put(&path(n), body);
        let response = edge.serve(request(Method::GET, &path(n), &[])).await;
        readers.push((n, response, Vec::new()));
    }
    tokio::time::timeout(Duration::from_secs(60), read_in_turn(readers))
        .await
        .expect("readers keep fetching what others push out");
    let times = origin.sent() as f64 / (READERS * SIZE) as f64;
    assert!(times < 4.0, "every byte was fetched {times:.1} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_of_what_cannot_be_fetched_again_gets_all_of_it() {
    let origin = Origin::new();
    let plain = |seed| Resource::new(pattern(SIZE, seed), &[("cache-control", "max-age=60")]);
    origin.put("/slow", plain(1));
    let edge = edge_with(&origin, room(64)).await;
    let mut slow = edge.serve(request(Method::GET, "/slow", &[])).await;
    let first = first_frame(&mut slow.body).await;
    for n in 0..20 {
        origin.put(&path(n), Resource::immutable(pattern(SIZE, 2), "\"1\""));
        get(&edge, &path(n), &[]).await;
    }
    let rest = read(slow).await;
    assert!([first.as_ref(), rest.bytes().as_ref()].concat() == pattern(SIZE, 1));
}
