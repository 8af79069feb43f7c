//! An origin whose responses can be framed in two ways, or hide a second response: none of it is
//! passed on as an answer, and its connection is never used again.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::edge;

/// An origin that answers `/good` as one should, and everything else with `bytes`. Keeps its
/// connections open. With the count of connections.
async fn scripted(bytes: Vec<u8>) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            count.fetch_add(1, SeqCst);
            tokio::spawn(connection(tcp, bytes.clone()));
        }
    });
    (address, connections)
}

async fn connection(mut tcp: TcpStream, bytes: Vec<u8>) {
    let mut asked = Vec::new();
    let mut buf = [0; 4096];
    while let Ok(n @ 1..) = tcp.read(&mut buf).await {
        asked.extend_from_slice(&buf[..n]);
        while let Some(end) = asked.windows(4).position(|w| w == b"\r\n\r\n") {
            let head: Vec<u8> = asked.drain(..end + 4).collect();
            let good =
                b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nCache-Control: no-store\r\n\r\ngood";
            let answer = if head.starts_with(b"GET /good") {
                &good[..]
            } else {
                &bytes
            };
            if tcp.write_all(answer).await.is_err() {
                return;
            }
        }
    }
}

/// A second response behind the first one's end.
const EVIL: &str =
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nCache-Control: max-age=9999\r\n\r\nevil";

#[tokio::test]
async fn ambiguous_responses_are_refused() {
    for (what, head) in [
        (
            "CL.TE",
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "TE.CL",
            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "CL twice, different",
            "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        ),
        (
            "CL twice, same",
            "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        ),
        ("CL list", "Content-Length: 3, 3\r\n\r\nabc"),
        ("CL plus", "Content-Length: +3\r\n\r\nabc"),
        ("CL hex", "Content-Length: 0x3\r\n\r\nabc"),
        ("TE identity", "Transfer-Encoding: identity\r\n\r\nabc"),
        (
            "TE chunked, identity",
            "Transfer-Encoding: chunked, identity\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "TE gzip, chunked",
            "Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "TE twice",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        ("folded", "X: a\r\n b\r\nContent-Length: 3\r\n\r\nabc"),
        ("space colon", "Content-Length : 3\r\n\r\nabc"),
        ("NUL", "X: a\0b\r\nContent-Length: 3\r\n\r\nabc"),
        ("bare CR", "X: a\rContent-Length: 3\r\n\r\nabc"),
        ("no colon", "nonsense\r\nContent-Length: 3\r\n\r\nabc"),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=9999\r\n{head}{EVIL}");
        check(what, answer.into_bytes()).await;
    }
    for (what, answer) in [
        ("HTTP/0.9", "abc".to_owned()),
        (
            "HTTP/2 in HTTP/1",
            "HTTP/2.0 200 OK\r\nContent-Length: 3\r\n\r\nabc".to_owned(),
        ),
        (
            "status 99",
            "HTTP/1.1 99 No\r\nContent-Length: 3\r\n\r\nabc".to_owned(),
        ),
        (
            "status 1000",
            "HTTP/1.1 1000 No\r\nContent-Length: 3\r\n\r\nabc".to_owned(),
        ),
        (
            "status +20",
            "HTTP/1.1 +20 No\r\nContent-Length: 3\r\n\r\nabc".to_owned(),
        ),
        (
            "unasked upgrade",
            format!("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n{EVIL}"),
        ),
        (
            "TE in 1.0",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "endless head",
            format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(200_000)),
        ),
    ] {
        check(what, answer.into_bytes()).await;
    }
}

/// The answer is refused, and the next request is answered by another connection.
async fn check(what: &str, answer: Vec<u8>) {
    let (origin, connections) = scripted(answer).await;
    let edge = edge(origin, |_| {}).await;
    let mut client = edge.plain().await;
    let got = client.get("/bad", &[]).await;
    assert_eq!(got.status, 502, "{what}: {got:?}");
    let before = connections.load(SeqCst);
    let got = client.get("/good", &[]).await;
    assert_eq!(&got.body[..], b"good", "{what}: {got:?}");
    assert_eq!(connections.load(SeqCst), before + 1, "{what}");
}

#[tokio::test]
async fn what_follows_a_response_answers_nobody() {
    for (what, answer) in [
        (
            "sized",
            format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc{EVIL}"),
        ),
        (
            "chunked",
            format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n{EVIL}"
            ),
        ),
        (
            "no content",
            format!("HTTP/1.1 204 No Content\r\n\r\n{EVIL}"),
        ),
        (
            "not modified",
            format!("HTTP/1.1 304 Not Modified\r\n\r\n{EVIL}"),
        ),
        (
            "empty",
            format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n{EVIL}"),
        ),
    ] {
        let (origin, _) = scripted(answer.into_bytes()).await;
        let edge = edge(origin, |_| {}).await;
        let mut client = edge.plain().await;
        for round in 0..20 {
            // Whatever the edge makes of the first, it isn't the second.
            if let Ok(got) = client.send("GET", &format!("/bad{round}"), &[], "").await {
                assert!(!got.text().contains("evil"), "{what}: {got:?}");
            }
            let mut client = edge.plain().await;
            let got = client.get("/good", &[]).await;
            assert_eq!(&got.body[..], b"good", "{what}, round {round}: {got:?}");
        }
        // A HEAD has no body, whatever follows.
        let _ = client.send("HEAD", "/bad-head", &[], "").await;
        let got = edge.plain().await.get("/good", &[]).await;
        assert_eq!(&got.body[..], b"good", "{what}, head: {got:?}");
    }
}

#[tokio::test]
async fn broken_bodies_are_cut_short_and_not_kept() {
    for (what, body) in [
        ("signed size", "+3\r\nabc\r\n0\r\n\r\n"),
        ("hex prefix", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("overflow", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
        ("longer than said", "3\r\nabcd\r\n0\r\n\r\n"),
        ("no size", "\r\nabc\r\n0\r\n\r\n"),
    ] {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=9999\r\nTransfer-Encoding: chunked\r\n\r\n{body}{EVIL}"
        );
        let (origin, _) = scripted(answer.into_bytes()).await;
        let edge = edge(origin, |_| {}).await;
        for _ in 0..2 {
            let got = edge.plain().await.send("GET", "/bad", &[], "").await;
            if let Ok(got) = got {
                assert!(got.status.is_server_error(), "{what}: {got:?}");
            }
        }
        let got = edge.plain().await.get("/good", &[]).await;
        assert_eq!(&got.body[..], b"good", "{what}");
    }
}
