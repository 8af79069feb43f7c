//! HTTP/1.1 by hand: pipelines, old clients, chunks and trailers, bodies that nobody wants.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};

use crate::{
    support::{Edge, answer, edge, object_origin, origin, pattern},
    wire_uploads::raw_origin,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Sends `text` and reads until the edge closes.
async fn exchange(edge: &Edge, text: &str) -> String {
    let mut tcp = TcpStream::connect(edge.http()).await.unwrap();
    tcp.write_all(text.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    let end = timeout(PATIENCE, tcp.read_to_end(&mut got)).await;
    end.expect("the edge never closed").unwrap();
    String::from_utf8_lossy(&got).into_owned()
}

/// Reads up to and including the next head.
async fn head(tcp: &mut TcpStream) -> String {
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n") {
        got.push(timeout(PATIENCE, tcp.read_u8()).await.unwrap().unwrap());
    }
    String::from_utf8(got).unwrap()
}

/// An answer of unknown length, in two pieces and with a trailer.
const PIECES: &str = "HTTP/1.1 200 OK\r\ncache-control: no-store\r\ntransfer-encoding: chunked\r\n\r\n\
    6\r\nhello \r\n5\r\nworld\r\n0\r\nx-sum: 7\r\n\r\n";

#[tokio::test]
async fn requests_in_a_row_are_answered_in_order() {
    let object = pattern(100_000);
    let origin = object_origin(object.clone()).await;
    let edge = edge(origin.address, |_| {}).await;
    let mut text = String::new();
    for n in 0..50 {
        let (from, to) = (n * 100, n * 100 + 9);
        text += &format!("GET /a HTTP/1.1\r\nhost: a\r\nrange: bytes={from}-{to}\r\n\r\n");
    }
    text += "GET /a HTTP/1.1\r\nhost: a\r\nrange: bytes=0-0\r\nconnection: close\r\n\r\n";
    text += "GET /never HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut tcp = TcpStream::connect(edge.http()).await.unwrap();
    tcp.write_all(text.as_bytes()).await.unwrap();
    for n in 0..50 {
        let head = head(&mut tcp).await;
        assert!(head.starts_with("HTTP/1.1 206 "), "{n}: {head}");
        assert!(!head.contains("connection: close"), "{n}: {head}");
        let mut body = [0; 10];
        tcp.read_exact(&mut body).await.unwrap();
        assert_eq!(body, object[n * 100..n * 100 + 10], "{n}");
    }
    let last = head(&mut tcp).await;
    assert!(last.contains("connection: close\r\n"), "{last}");
    let mut rest = Vec::new();
    timeout(PATIENCE, tcp.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(rest, object[..1], "nothing is answered after the last");
}

#[tokio::test]
async fn old_clients_are_served() {
    let known = [("cache-control", "max-age=60")];
    let origin = origin(move |_| async move { answer(200, &known, "known") }).await;
    let pieces = edge(raw_origin(PIECES).await, |_| {}).await;
    let edge = edge(origin.address, |_| {}).await;
    let got = exchange(&edge, "GET /a HTTP/1.0\r\n\r\n").await;
    assert!(
        got.ends_with("\r\n\r\nknown") && got.contains("connection: close\r\n"),
        "{got}"
    );
    // What has no length ends with the connection: HTTP/1.0 knows no chunks.
    let text = "GET /pieces HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n";
    let got = exchange(&pieces, text).await;
    assert!(got.ends_with("\r\n\r\nhello world"), "{got}");
    assert!(!got.contains("transfer-encoding"), "{got}");
    // What has one leaves it open, where the client wants that.
    let text = "GET /a HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\nGET /a HTTP/1.0\r\nhost: a\r\n\r\n";
    let got = exchange(&edge, text).await;
    assert_eq!(got.matches("\r\n\r\nknown").count(), 2, "{got}");
    assert_eq!(
        got.matches("connection: keep-alive\r\n").count(),
        1,
        "{got}"
    );
}

#[tokio::test]
async fn trailers_go_to_who_takes_them() {
    let edge = edge(raw_origin(PIECES).await, |_| {}).await;
    let text = |te: &str| format!("GET / HTTP/1.1\r\nhost: a\r\n{te}connection: close\r\n\r\n");
    let got = exchange(&edge, &text("te: trailers\r\n")).await;
    assert!(got.contains("transfer-encoding: chunked\r\n"), "{got}");
    assert!(
        got.ends_with("5\r\nworld\r\n0\r\nx-sum: 7\r\n\r\n"),
        "{got}"
    );
    let got = exchange(&edge, &text("")).await;
    assert!(got.ends_with("5\r\nworld\r\n0\r\n\r\n"), "{got}");
}

#[tokio::test]
async fn what_has_no_body_has_no_length() {
    let nothing = "HTTP/1.1 204 No Content\r\ncache-control: no-store\r\ncontent-length: 0\r\n\r\n";
    let edge = edge(raw_origin(nothing).await, |_| {}).await;
    let got = exchange(
        &edge,
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(got.starts_with("HTTP/1.1 204 "), "{got}");
    assert!(
        !got.contains("content-length") && !got.contains("transfer-encoding"),
        "{got}"
    );
}

#[tokio::test]
async fn a_body_that_is_too_large_is_answered_not_reset() {
    let origin = object_origin(pattern(10)).await;
    let edge = edge(origin.address, |config| config.limits.body_size = 1_000).await;
    // The client sends all of it before it reads: the answer must survive that.
    let mut tcp = TcpStream::connect(edge.http()).await.unwrap();
    let head = "PUT /a HTTP/1.1\r\nhost: a\r\ncontent-length: 300000\r\n\r\n";
    tcp.write_all(head.as_bytes()).await.unwrap();
    tcp.write_all(&pattern(300_000)).await.unwrap();
    let mut got = Vec::new();
    timeout(PATIENCE, tcp.read_to_end(&mut got))
        .await
        .unwrap()
        .unwrap();
    let got = String::from_utf8_lossy(&got).into_owned();
    assert!(got.starts_with("HTTP/1.1 413 "), "{got}");
}

#[tokio::test]
async fn a_small_body_that_nobody_reads_costs_no_connection() {
    let origin = object_origin(pattern(10)).await;
    let edge = edge(origin.address, |_| {}).await;
    // The body is a request of its own, to who doesn't read it as one.
    let refused = "CONNECT a:1 HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nGET /";
    let text = format!("{refused}GET /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let got = exchange(&edge, &text).await;
    assert!(got.starts_with("HTTP/1.1 501 "), "{got}");
    assert_eq!(got.matches("HTTP/1.1 200 ").count(), 1, "{got}");
}

#[tokio::test]
async fn who_leaves_is_not_waited_for() {
    let gate = Arc::new(Semaphore::new(0));
    let theirs = Arc::clone(&gate);
    let origin = origin(move |_| {
        let gate = Arc::clone(&theirs);
        async move {
            gate.acquire().await.unwrap().forget();
            answer(200, &[("cache-control", "no-store")], "late")
        }
    })
    .await;
    let edge = edge(origin.address, |_| {}).await;
    let mut tcp = TcpStream::connect(edge.http()).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let open = "segue_edge_connections{protocol=\"h1\"}";
    timeout(PATIENCE, async {
        while edge.metric(open).await == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(tcp);
        while edge.metric(open).await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the connection stays");
    gate.add_permits(1);
}
