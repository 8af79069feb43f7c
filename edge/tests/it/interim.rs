//! Interim responses (RFC 9110 §15.2): an upstream's reach clients whose protocol can be sent them,
//! and whoever waits for a word before its body gets it.

use std::{sync::Arc, time::Duration};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use crate::support::{Client, Edge, answer, edge, origin};

const PATIENCE: Duration = Duration::from_secs(30);

/// An origin that hints at once, and answers when it is let.
async fn hinting(gate: &Arc<Semaphore>, cc: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, gate) = (listener.local_addr().unwrap(), Arc::clone(gate));
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(tcp.read_u8().await?);
                }
                let hint = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\
                            connection: x-hop\r\nx-hop: 1\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
                tcp.write_all(hint.as_bytes()).await?;
                gate.acquire().await.unwrap().forget();
                let last = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\ncache-control: {cc}\r\n\r\nfinal"
                );
                tcp.write_all(last.as_bytes()).await
            });
        }
    });
    address
}

type Stream = h3::client::RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

/// Sends a request's head over HTTP/3.
async fn begin(edge: &Edge, method: &str, fields: &[(&str, &str)]) -> (Client, Stream) {
    let mut client = edge.h3().await;
    let Client::H3(sender) = &mut client else {
        unreachable!()
    };
    let mut request = Request::builder().method(method).uri("https://localhost/a");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let stream = sender.send_request(request.body(()).unwrap()).await;
    (client, stream.unwrap())
}

/// The next head that comes, and its fields.
async fn head(stream: &mut Stream) -> (StatusCode, HeaderMap) {
    let head = timeout(PATIENCE, stream.recv_response()).await;
    let (parts, ()) = head.unwrap().unwrap().into_parts();
    (parts.status, parts.headers)
}

async fn body(stream: &mut Stream) -> String {
    let mut body = Vec::new();
    while let Some(mut data) = stream.recv_data().await.unwrap() {
        body.extend(data.copy_to_bytes(data.remaining()));
    }
    String::from_utf8(body).unwrap()
}

#[tokio::test]
async fn hints_reach_who_asked_before_the_answer_is_there() {
    // Whether the answer is then stored, passed on, or to a request that isn't a GET.
    for (method, cc) in [
        ("GET", "max-age=60"),
        ("GET", "no-store"),
        ("POST", "no-store"),
    ] {
        let gate = Arc::new(Semaphore::new(0));
        let edge = edge(hinting(&gate, cc).await, |_| {}).await;
        let (_client, mut stream) = begin(&edge, method, &[]).await;
        stream.finish().await.unwrap();
        let (status, fields) = head(&mut stream).await;
        assert_eq!(status, 103, "{method} {cc}");
        assert_eq!(fields["link"], "</a.css>; rel=preload");
        assert!(!fields.contains_key("x-hop") && !fields.contains_key("connection"));
        gate.add_permits(1);
        // The origin's 100 is none that anybody asked for.
        let (status, fields) = head(&mut stream).await;
        assert_eq!(status, StatusCode::OK, "{method} {cc}");
        assert!(!fields.contains_key("link"));
        assert_eq!(body(&mut stream).await, "final");
    }
}

#[tokio::test]
async fn what_is_stored_has_no_hints() {
    let gate = Arc::new(Semaphore::new(1));
    let edge = edge(hinting(&gate, "max-age=60").await, |_| {}).await;
    edge.plain().await.get("/a", &[]).await;
    let (_client, mut stream) = begin(&edge, "GET", &[]).await;
    stream.finish().await.unwrap();
    let (status, fields) = head(&mut stream).await;
    assert_eq!(status, StatusCode::OK);
    assert!(fields["cache-status"].to_str().unwrap().contains("; hit"));
}

/// An origin that sends a request's body back.
async fn echo() -> crate::support::Origin {
    origin(|request: Request<hyper::body::Incoming>| async move {
        assert!(!request.headers().contains_key("expect"));
        let body = request.into_body().collect().await.unwrap().to_bytes();
        answer(200, &[], body)
    })
    .await
}

#[tokio::test]
async fn whoever_waits_for_a_word_gets_it() {
    let origin = echo().await;
    let edge = edge(origin.address, |_| {}).await;

    let mut tcp = TcpStream::connect(edge.http()).await.unwrap();
    let head_1 = "POST /a HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n\r\n";
    tcp.write_all(head_1.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    let read = timeout(PATIENCE, tcp.read_exact(&mut interim)).await;
    read.unwrap().unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    tcp.write_all(b"hi").await.unwrap();
    let mut got = String::new();
    let read = timeout(PATIENCE, tcp.read_to_string(&mut got)).await;
    read.unwrap().unwrap();
    assert!(got.starts_with("HTTP/1.1 200") && got.ends_with("hi"));

    for length in [&[("content-length", "2")][..], &[]] {
        let fields = [&[("expect", "100-Continue")], length].concat();
        let (_client, mut stream) = begin(&edge, "POST", &fields).await;
        assert_eq!(head(&mut stream).await.0, StatusCode::CONTINUE);
        stream.send_data("hi".into()).await.unwrap();
        stream.finish().await.unwrap();
        assert_eq!(head(&mut stream).await.0, StatusCode::OK);
        assert_eq!(body(&mut stream).await, "hi");
    }
}

#[tokio::test]
async fn whoever_does_not_wait_is_served_as_well() {
    let origin = echo().await;
    let edge = edge(origin.address, |_| {}).await;
    let (_client, mut stream) = begin(&edge, "PUT", &[("expect", "100-continue")]).await;
    stream.send_data("hi".into()).await.unwrap();
    stream.finish().await.unwrap();
    let (mut status, _) = head(&mut stream).await;
    // It depends on what arrives together whether anybody had to wait.
    if status == StatusCode::CONTINUE {
        status = head(&mut stream).await.0;
    }
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body(&mut stream).await, "hi");
}

#[tokio::test]
async fn a_refusal_comes_instead_of_the_word() {
    // Nobody is there to take the body.
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let edge = edge(nobody, |_| {}).await;
    let (_client, mut stream) = begin(&edge, "POST", &[("expect", "100-continue")]).await;
    assert_eq!(head(&mut stream).await.0, StatusCode::BAD_GATEWAY);
    let mut tcp = TcpStream::connect(edge.http()).await.unwrap();
    let head_1 = "POST /a HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    tcp.write_all(head_1.as_bytes()).await.unwrap();
    let mut got = [0; 12];
    timeout(PATIENCE, tcp.read_exact(&mut got))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&got, b"HTTP/1.1 502");
}
