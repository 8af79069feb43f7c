//! Requests with bodies, and messages around the response proper: streamed, not gathered; interim
//! responses and trailers dealt with.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::timeout,
};

use crate::support::{Answer, answer, edge, origin, pattern};

const PATIENCE: Duration = Duration::from_secs(30);

/// More than any buffer between a client and an origin.
const UPLOAD: usize = 24 << 20;

#[tokio::test]
async fn an_upload_reaches_the_origin_before_it_ends() {
    let arrived = Arc::new(Notify::new());
    let begun = Arc::clone(&arrived);
    let origin = origin(move |request| {
        let begun = Arc::clone(&begun);
        async move {
            let mut body = request.into_body();
            let mut total = 0;
            while let Some(frame) = body.frame().await {
                total += frame.unwrap().into_data().map_or(0, |data| data.len());
                begun.notify_one();
            }
            answer(200, &[], total.to_string())
        }
    })
    .await;
    let edge = edge(origin.address, |_| {}).await;
    let mut client = TcpStream::connect(edge.http()).await.unwrap();
    let head = format!(
        "PUT /up HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {UPLOAD}\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await.unwrap();
    let body = pattern(UPLOAD);
    client.write_all(&body[..64 << 10]).await.unwrap();
    // The origin has some of it while most hasn't been sent.
    timeout(PATIENCE, arrived.notified()).await.unwrap();
    client.write_all(&body[64 << 10..]).await.unwrap();
    let mut got = String::new();
    timeout(PATIENCE, client.read_to_string(&mut got))
        .await
        .unwrap()
        .unwrap();
    assert!(got.ends_with(&format!("\r\n\r\n{UPLOAD}")), "{got}");
}

/// An origin that sends these bytes to whoever asks, then closes.
pub(crate) async fn raw_origin(bytes: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = tcp.read_u8().await else {
                        return;
                    };
                    head.push(byte);
                }
                let _ = tcp.write_all(bytes.as_bytes()).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn interim_responses_are_not_taken_for_the_final_one() {
    let address = raw_origin(
        "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n\
         HTTP/1.1 102 Processing\r\n\r\n\
         HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncache-control: max-age=60\r\n\r\nfinal",
    )
    .await;
    let edge = edge(address, |_| {}).await;
    for mut client in [edge.plain().await, edge.h2().await, edge.h3().await] {
        let got = client.get("/a", &[]).await;
        assert_eq!((got.status, got.text().as_str()), (StatusCode::OK, "final"));
        assert!(!got.headers.contains_key("link"));
    }
}

/// An answer that ends with a trailer field.
fn with_trailers(cc: &'static str) -> Answer {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "7".parse().unwrap());
    let frames = [
        Ok(Frame::data("body".into())),
        Ok(Frame::trailers(trailers)),
    ];
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let mut response = http::Response::new(body.boxed());
    let headers = response.headers_mut();
    headers.insert("cache-control", cc.parse().unwrap());
    headers.insert("trailer", "x-checksum".parse().unwrap());
    response
}

#[tokio::test]
async fn trailers_are_no_part_of_what_is_stored() {
    let origin = origin(|_| async { with_trailers("max-age=60") }).await;
    let edge = edge(origin.address, |_| {}).await;
    let mut client = edge.plain().await;
    for _ in 0..2 {
        let got = client.get("/a", &[("te", "trailers")]).await;
        assert_eq!(got.text(), "body");
        assert!(!got.headers.contains_key("x-checksum"));
        assert!(!got.headers.contains_key("trailer"));
    }
    assert_eq!(origin.requests.load(std::sync::atomic::Ordering::SeqCst), 1);
}
