//! HTTP/3 clients that break rules or waste our memory, by raw QUIC.

use std::time::Duration;

use edge::config::Limits;
use quinn::{ConnectionError, SendStream, VarInt};
use tokio::time::timeout;

use crate::support::{Edge, edge, object_origin, pattern};

const FRAME_UNEXPECTED: u32 = 0x105;
const FRAME_ERROR: u32 = 0x106;
const EXCESSIVE_LOAD: u32 = 0x107;
const STREAM_CREATION: u32 = 0x103;
const CLOSED_CRITICAL: u32 = 0x104;
const SETTINGS_ERROR: u32 = 0x109;
const MISSING_SETTINGS: u32 = 0x10a;
const QPACK_FAILED: u32 = 0x200;
const QPACK_ENCODER: u32 = 0x201;

/// Waits for the connection's end and checks the code the edge gave.
async fn closed_with(quic: &quinn::Connection, code: u32, what: &str) {
    let end = timeout(Duration::from_secs(5), quic.closed())
        .await
        .unwrap_or_else(|_| panic!("{what}: not closed"));
    match end {
        ConnectionError::ApplicationClosed(close) => {
            assert_eq!(close.error_code, VarInt::from_u32(code), "{what}")
        }
        end => panic!("{what}: {end:?}"),
    }
}

async fn running() -> Edge {
    let origin = object_origin(pattern(100)).await;
    let limits = Limits {
        header: Duration::from_millis(400),
        ..Limits::default()
    };
    edge(origin.address, |config| config.limits = limits).await
}

/// Writes until done or stopped.
async fn pour(stream: &mut SendStream, bytes: &[u8], times: usize) {
    for _ in 0..times {
        if timeout(Duration::from_secs(2), stream.write_all(bytes))
            .await
            .is_err()
        {
            return;
        }
    }
}

#[tokio::test]
async fn broken_rules_close_the_connection() {
    let edge = running().await;
    // On a request stream.
    for (what, bytes, code) in [
        ("data first", &[0x0, 0x1, b'a'][..], FRAME_UNEXPECTED),
        ("settings", &[0x4, 0x0], FRAME_UNEXPECTED),
        ("http/2 ping", &[0x6, 0x0], FRAME_UNEXPECTED),
        ("dynamic table", &[0x1, 0x3, 0x0, 0x0, 0x80], QPACK_FAILED),
    ] {
        let quic = edge.quic().await;
        let (mut send, _recv) = quic.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        closed_with(&quic, code, what).await;
    }
    let quic = edge.quic().await;
    let (mut send, _recv) = quic.open_bi().await.unwrap();
    send.write_all(&[0x1, 0x9, 0x0]).await.unwrap();
    send.finish().unwrap();
    closed_with(&quic, FRAME_ERROR, "truncated headers").await;
    // On unidirectional streams.
    for (what, bytes, finish, code) in [
        (
            "no settings",
            &[0x0, 0x7, 0x1, 0x0][..],
            false,
            MISSING_SETTINGS,
        ),
        (
            "http/2 setting",
            &[0x0, 0x4, 0x2, 0x3, 0x1],
            false,
            SETTINGS_ERROR,
        ),
        (
            "settings twice",
            &[0x0, 0x4, 0x0, 0x4, 0x0],
            false,
            FRAME_UNEXPECTED,
        ),
        ("control ends", &[0x0, 0x4, 0x0], true, CLOSED_CRITICAL),
        ("push", &[0x1, 0x0], false, STREAM_CREATION),
        (
            "encoder inserts",
            &[0x2, 0xc1, 0x1, b'a'],
            false,
            QPACK_ENCODER,
        ),
    ] {
        let quic = edge.quic().await;
        let mut send = quic.open_uni().await.unwrap();
        send.write_all(bytes).await.unwrap();
        if finish {
            send.finish().unwrap();
        }
        closed_with(&quic, code, what).await;
    }
    // Twice the same.
    let quic = edge.quic().await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut send = quic.open_uni().await.unwrap();
        send.write_all(&[0x0, 0x4, 0x0]).await.unwrap();
        kept.push(send);
    }
    closed_with(&quic, STREAM_CREATION, "two control streams").await;
}

#[tokio::test]
async fn endless_frames_before_a_head_close_the_connection() {
    let edge = running().await;
    // An unknown frame of a gigabyte, many small unknown ones, and the same on a control stream.
    let quic = edge.quic().await;
    let (mut send, _recv) = quic.open_bi().await.unwrap();
    send.write_all(&[0x21, 0xc0, 0, 0, 0, 0x40, 0, 0, 0])
        .await
        .unwrap();
    pour(&mut send, &[0; 1024], 1024).await;
    closed_with(&quic, EXCESSIVE_LOAD, "one huge frame").await;

    let quic = edge.quic().await;
    let (mut send, _recv) = quic.open_bi().await.unwrap();
    pour(&mut send, &[0x21, 0x0].repeat(512), 1024).await;
    closed_with(&quic, EXCESSIVE_LOAD, "many frames").await;

    let quic = edge.quic().await;
    let mut send = quic.open_uni().await.unwrap();
    send.write_all(&[0x0, 0x4, 0x0]).await.unwrap();
    pour(&mut send, &[0x21, 0x0].repeat(512), 1024).await;
    closed_with(&quic, EXCESSIVE_LOAD, "control stream").await;

    let quic = edge.quic().await;
    let mut send = quic.open_uni().await.unwrap();
    send.write_all(&[0x0, 0x4, 0x80, 0x10, 0, 0]).await.unwrap();
    pour(&mut send, &[0x40, 0x21, 0x0, 0x0], 1024).await;
    closed_with(&quic, EXCESSIVE_LOAD, "huge settings").await;
    assert!(
        edge.metric("segue_edge_cut_total{protocol=\"h3\",reason=\"limit\"}")
            .await
            >= 4
    );
    // Others are served all the while.
    assert_eq!(edge.h3().await.get("/", &[]).await.status.as_u16(), 200);
}

#[tokio::test]
async fn heads_too_large_or_too_slow_lose_their_stream_only() {
    let edge = running().await;
    let quic = edge.quic().await;
    // HEADERS announced with 1 MiB: answered before any of it is held.
    let (mut send, mut recv) = quic.open_bi().await.unwrap();
    send.write_all(&[0x1, 0x80, 0x10, 0, 0]).await.unwrap();
    let answer = timeout(Duration::from_secs(5), recv.read_to_end(1000))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.windows(3).any(|w| w == b"431"), "{answer:02x?}");
    // A head that never ends.
    let (mut send, mut recv) = quic.open_bi().await.unwrap();
    send.write_all(&[0x1, 0x20, 0x0, 0x0]).await.unwrap();
    let reset = timeout(Duration::from_secs(5), recv.read_to_end(1000))
        .await
        .unwrap();
    assert!(reset.is_err(), "{reset:?}");
    // A malformed one: no path.
    let (mut send, mut recv) = quic.open_bi().await.unwrap();
    send.write_all(&[0x1, 0x4, 0x0, 0x0, 0xd1, 0xd7])
        .await
        .unwrap();
    send.finish().unwrap();
    let reset = timeout(Duration::from_secs(5), recv.read_to_end(1000))
        .await
        .unwrap();
    assert!(reset.is_err(), "{reset:?}");
    // The connection goes on.
    let (mut send, mut recv) = quic.open_bi().await.unwrap();
    // After an unknown frame: GET, https, `/`, authority `a`.
    send.write_all(&[
        0x21, 0x2, 0, 0, 0x1, 0x8, 0x0, 0x0, 0xd1, 0xd7, 0xc1, 0x50, 0x1, b'a',
    ])
    .await
    .unwrap();
    send.finish().unwrap();
    let answer = timeout(Duration::from_secs(5), recv.read_to_end(10_000))
        .await
        .unwrap()
        .unwrap();
    // HEADERS, and in it `:status 200` from the static table.
    assert_eq!(
        (answer[0], answer.contains(&0xd9)),
        (0x1, true),
        "{answer:02x?}"
    );
    assert!(quic.close_reason().is_none(), "{answer:02x?}");
}

/// Several shards share the port, and each new address may lead to another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_that_moves_keeps_its_connection() {
    let edge = running().await;
    let (quic, endpoint) = edge.quic_with_endpoint().await;
    let (mut driver, mut requests) = h3::client::new(h3_quinn::Connection::new(quic.clone()))
        .await
        .unwrap();
    tokio::spawn(async move { driver.wait_idle().await });
    for round in 0..8 {
        let request = http::Request::get("https://localhost/object")
            .body(())
            .unwrap();
        let mut stream = requests.send_request(request).await.unwrap();
        stream.finish().await.unwrap();
        let answered = timeout(Duration::from_secs(5), stream.recv_response()).await;
        let response = answered.unwrap_or_else(|_| panic!("round {round}: no answer"));
        assert_eq!(response.unwrap().status(), 200, "round {round}");
        while stream.recv_data().await.unwrap().is_some() {}
        let elsewhere = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        endpoint.rebind(elsewhere).unwrap();
    }
    assert!(quic.close_reason().is_none());
}
