//! The table of limits: every entry has a test that shows it at work, here or where the last test
//! of this file says.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use edge::config::Limits;
use http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream, UdpSocket},
    time::{sleep, timeout},
};

use crate::support::{Edge, answer, edge, object_origin, origin, pattern};

async fn limited(limits: Limits) -> Edge {
    let origin = object_origin(pattern(8 << 20)).await;
    edge(origin.address, |config| config.limits = limits).await
}

/// An edge whose origin never answers.
async fn waiting(limits: Limits) -> Edge {
    let origin = origin(|_| async {
        std::future::pending::<()>().await;
        answer(200, &[], "")
    })
    .await;
    edge(origin.address, |config| config.limits = limits).await
}

#[tokio::test]
async fn a_client_gets_so_many_requests_a_second() {
    let edge = limited(Limits {
        requests_per_client: 5,
        requests_burst: 10,
        ..Limits::default()
    })
    .await;
    let mut granted = 0;
    // One count over protocols and connections.
    for mut client in [edge.plain().await, edge.h2().await, edge.h3().await] {
        for _ in 0..10 {
            let got = client.get("/x", &[("range", "bytes=0-9")]).await;
            if got.status == StatusCode::TOO_MANY_REQUESTS {
                let wait = got.header("retry-after").unwrap();
                assert_eq!(wait, "1");
            } else {
                assert_eq!(got.status, StatusCode::PARTIAL_CONTENT);
                granted += 1;
            }
        }
    }
    // The burst, and what a slow machine earns meanwhile.
    assert!((10..25).contains(&granted), "{granted}");
    sleep(Duration::from_millis(1100)).await;
    let got = edge
        .plain()
        .await
        .get("/x", &[("range", "bytes=0-9")])
        .await;
    assert_eq!(got.status, StatusCode::PARTIAL_CONTENT);
}

#[tokio::test]
async fn large_bodies_are_refused() {
    let origin = origin(|request| async {
        use http_body_util::BodyExt;
        let body = request.into_body().collect().await;
        let length = body.map_or(0, |body| body.to_bytes().len());
        answer(200, &[], length.to_string())
    })
    .await;
    let edge = edge(origin.address, |config| {
        config.limits = Limits {
            body_size: 100_000,
            ..Limits::default()
        };
    })
    .await;
    for name in ["h1", "h2", "h3"] {
        let mut client = match name {
            "h1" => edge.plain().await,
            "h2" => edge.h2().await,
            _ => edge.h3().await,
        };
        let got = client.send("POST", "/x", &[], vec![0; 90_000]).await;
        assert_eq!(got.map(|got| got.text()), Ok("90000".into()), "{name}");
        let got = client.send("POST", "/x", &[], vec![0; 110_000]).await;
        // A client that is still sending may see the end of the stream first.
        assert!(
            got.as_ref()
                .is_ok_and(|got| got.status == StatusCode::PAYLOAD_TOO_LARGE)
                || got.is_err(),
            "{name}: {got:?}"
        );
    }
    // Nor does a body of no announced length get through.
    let mut tcp = TcpStream::connect(edge.http()).await.unwrap();
    let head = b"POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    tcp.write_all(head).await.unwrap();
    let chunk = [b"8000\r\n", &[0; 0x8000][..], b"\r\n"].concat();
    for _ in 0..8 {
        let _ = tcp.write_all(&chunk).await;
    }
    let mut got = Vec::new();
    let _ = timeout(Duration::from_secs(5), tcp.read_to_end(&mut got)).await;
    let got = String::from_utf8_lossy(&got).into_owned();
    assert!(got.is_empty() || got.starts_with("HTTP/1.1 4"), "{got}");
}

#[tokio::test]
async fn a_connection_gets_so_many_requests_at_once() {
    let edge = waiting(Limits {
        streams: 4,
        ..Limits::default()
    })
    .await;
    // HTTP/2 says so in its settings, and refuses what ignores them.
    let mut tcp = TcpStream::connect(edge.http()).await.unwrap();
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for stream in [1, 3, 5, 7, 9] {
        // GET, http, `/`, authority `a`.
        hello.extend([
            0, 0, 6, 1, 5, 0, 0, 0, stream, 0x82, 0x86, 0x84, 0x41, 1, b'a',
        ]);
    }
    tcp.write_all(&hello).await.unwrap();
    let mut got = Vec::new();
    let _ = timeout(Duration::from_millis(700), tcp.read_to_end(&mut got)).await;
    let setting = [0, 3, 0, 0, 0, 4];
    assert!(got.windows(6).any(|w| w == setting), "{got:02x?}");
    let refused = [0, 0, 4, 3, 0, 0, 0, 0, 9, 0, 0, 0, 7];
    assert!(got.windows(13).any(|w| w == refused), "{got:02x?}");
    // HTTP/3 gives no more credit.
    let quic = edge.quic().await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        let (mut send, recv) = quic.open_bi().await.unwrap();
        send.write_all(&[0x1, 0x8, 0, 0, 0xd1, 0xd7, 0xc1, 0x50, 1, b'a'])
            .await
            .unwrap();
        send.finish().unwrap();
        streams.push((send, recv));
    }
    let fifth = timeout(Duration::from_millis(500), quic.open_bi()).await;
    assert!(fifth.is_err(), "a fifth request");
}

#[tokio::test]
async fn cancelled_requests_are_counted() {
    let edge = limited(Limits {
        resets: 50,
        ..Limits::default()
    })
    .await;
    let mut tcp = TcpStream::connect(edge.http()).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for n in 0..500_u16 {
        let [high, low] = (n * 2 + 1).to_be_bytes();
        bytes.extend([
            0, 0, 6, 1, 5, 0, 0, high, low, 0x82, 0x86, 0x84, 0x41, 1, b'a',
        ]);
        bytes.extend([0, 0, 4, 3, 0, 0, 0, high, low, 0, 0, 0, 8]);
    }
    let _ = tcp.write_all(&bytes).await;
    let mut got = Vec::new();
    let closed = timeout(Duration::from_secs(5), tcp.read_to_end(&mut got)).await;
    assert!(closed.is_ok(), "not closed");
}

#[tokio::test]
async fn frames_that_ask_for_nothing_are_counted() {
    let edge = limited(Limits {
        h2_control: 100,
        ..Limits::default()
    })
    .await;
    let mut tcp = TcpStream::connect(edge.http()).await.unwrap();
    tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let ping = b"\0\0\x08\x06\0\0\0\0\x0012345678";
    let _ = tcp.write_all(&ping.repeat(50)).await;
    let mut got = [0; 4096];
    assert!(tcp.read(&mut got).await.unwrap() > 0);
    let _ = tcp.write_all(&ping.repeat(500)).await;
    let mut rest = Vec::new();
    let closed = timeout(Duration::from_secs(5), tcp.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "not closed");
    assert!(
        edge.metric("segue_edge_cut_total{protocol=\"h2\",reason=\"limit\"}")
            .await
            >= 1
    );
}

#[tokio::test]
async fn who_reads_too_slowly_is_cut_off() {
    for (min_rate, cut) in [(1 << 30, true), (1_000, false)] {
        let origin = object_origin(pattern(32 << 20)).await;
        let edge = edge(origin.address, |config| {
            config.limits = Limits {
                stall: Duration::from_millis(1_000),
                min_rate,
                ..Limits::default()
            };
        })
        .await;
        let mut tcp = TcpStream::connect(edge.http()).await.unwrap();
        tcp.write_all(b"GET /big HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        // At most 5 MiB a second, for three seconds.
        let mut buf = vec![0; 256 << 10];
        for _ in 0..60 {
            sleep(Duration::from_millis(50)).await;
            if !matches!(tcp.read(&mut buf).await, Ok(1..)) {
                break;
            }
        }
        let line = "segue_edge_cut_total{protocol=\"h1\",reason=\"stall\"}";
        assert_eq!(edge.metric(line).await > 0, cut, "{min_rate} B/s");
    }
}

#[tokio::test]
async fn connections_are_counted_in_all_and_by_client() {
    let edge = limited(Limits {
        connections: 5,
        connections_per_client: 3,
        ..Limits::default()
    })
    .await;
    let from = async |last: u8| {
        let socket = TcpSocket::new_v4().unwrap();
        let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
        socket.bind(address).unwrap();
        let mut tcp = socket.connect(edge.http()).await.unwrap();
        tcp.write_all(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let mut buf = [0; 2048];
        let served = matches!(tcp.read(&mut buf).await, Ok(1..));
        (tcp, served)
    };
    let mut held = Vec::new();
    for (last, served) in [
        (1, true),
        (1, true),
        (1, true),
        (1, false),
        (2, true),
        (2, true),
        (3, false),
    ] {
        let (tcp, was) = from(last).await;
        assert_eq!(was, served, "127.0.0.{last} after {}", held.len());
        held.extend(served.then_some(tcp));
    }
    held.clear();
    sleep(Duration::from_millis(200)).await;
    assert!(from(3).await.1);
}

/// A relay of datagrams between a QUIC client and the edge; the first byte of each from the edge.
async fn relay(to: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    back.connect(to).await.unwrap();
    let (address, firsts) = (
        front.local_addr().unwrap(),
        Arc::<Mutex<Vec<u8>>>::default(),
    );
    let noted = Arc::clone(&firsts);
    tokio::spawn(async move {
        let (mut there, mut here, mut client) = ([0; 2048], [0; 2048], None);
        loop {
            tokio::select! {
                Ok((n, from)) = front.recv_from(&mut there) => {
                    client = Some(from);
                    let _ = back.send(&there[..n]).await;
                }
                Ok(n) = back.recv(&mut here) => {
                    noted.lock().unwrap().push(here[0]);
                    if let Some(client) = client {
                        let _ = front.send_to(&here[..n], client).await;
                    }
                }
            }
        }
    });
    (address, firsts)
}

#[tokio::test]
async fn clients_prove_their_address_under_load() {
    for (retry_above, retried) in [(0, true), (256, false)] {
        let mut edge = limited(Limits {
            retry_above,
            ..Limits::default()
        })
        .await;
        let (address, firsts) = relay(edge.https()).await;
        edge.addrs.https = Some(address);
        let got = edge.h3().await.get("/x", &[("range", "bytes=0-9")]).await;
        assert_eq!(got.status, StatusCode::PARTIAL_CONTENT);
        // A long header of type Retry (RFC 9000 §17.2.5).
        let retry = firsts
            .lock()
            .unwrap()
            .first()
            .is_some_and(|b| b & 0xf0 == 0xf0);
        assert_eq!(retry, retried, "above {retry_above}");
    }
}

#[tokio::test]
async fn what_a_quic_client_may_send_unread_is_bounded() {
    let edge = waiting(Limits {
        h3_stream_window: 20_000,
        h3_connection_window: 50_000,
        ..Limits::default()
    })
    .await;
    let quic = edge.quic().await;
    let (mut streams, mut total) = (Vec::new(), 0);
    for _ in 0..4 {
        let (mut send, recv) = quic.open_bi().await.unwrap();
        // A frame of 15,000 bytes of which the edge can make nothing until it is whole.
        send.write_all(&[0x1, 0x80, 0, 0x3a, 0x98, 0, 0])
            .await
            .unwrap();
        let mut sent = 7;
        while sent < 14_000 {
            match timeout(Duration::from_millis(300), send.write(&[0; 1000])).await {
                Ok(Ok(n)) => sent += n,
                _ => break,
            }
        }
        total += sent;
        streams.push((send, recv));
    }
    // One that is never read at all: a body behind a head whose answer doesn't come.
    let (mut send, recv) = quic.open_bi().await.unwrap();
    send.write_all(&[
        0x1, 0x8, 0, 0, 0xd1, 0xd7, 0xc1, 0x50, 1, b'a', 0, 0x80, 1, 0x86, 0xa0,
    ])
    .await
    .unwrap();
    let mut sent = 0;
    while let Ok(Ok(n)) = timeout(Duration::from_millis(500), send.write(&[0; 1000])).await {
        sent += n;
    }
    drop(recv);
    assert!(
        total <= 4 * 14_999 && sent < 150_000,
        "{total} and {sent} bytes"
    );
}

/// Which test shows which entry at work.
const SHOWN: &[(&str, &str)] = &[
    ("handshake", "slow_heads_and_handshakes_are_cut_off"),
    ("header", "slow_heads_and_handshakes_are_cut_off"),
    ("idle", "slow_heads_and_handshakes_are_cut_off"),
    ("stall", "a_reader_that_takes_nothing_is_cut_off"),
    ("min-rate", "who_reads_too_slowly_is_cut_off"),
    ("drain", "the_drain_lets_requests_finish"),
    ("drain-delay", "balancers_have_time_to_notice"),
    ("drain-idle", "silence_ends_an_idle_connection_in_a_drain"),
    ("header-size", "large_heads_are_refused"),
    ("header-count", "large_heads_are_refused"),
    ("target-size", "large_heads_are_refused"),
    ("body-size", "large_bodies_are_refused"),
    ("streams", "a_connection_gets_so_many_requests_at_once"),
    (
        "pending-resets",
        "hostile_peers_are_cut_off_and_harm_nobody",
    ),
    ("resets", "cancelled_requests_are_counted"),
    ("h2-control", "frames_that_ask_for_nothing_are_counted"),
    (
        "h3-stream-window",
        "what_a_quic_client_may_send_unread_is_bounded",
    ),
    (
        "h3-connection-window",
        "what_a_quic_client_may_send_unread_is_bounded",
    ),
    (
        "h3-send-window",
        "hostile_peers_are_cut_off_and_harm_nobody",
    ),
    (
        "h3-unresolved",
        "endless_frames_before_a_head_close_the_connection",
    ),
    (
        "h3-control",
        "endless_frames_before_a_head_close_the_connection",
    ),
    (
        "connections",
        "connections_are_counted_in_all_and_by_client",
    ),
    (
        "connections-per-client",
        "connections_are_counted_in_all_and_by_client",
    ),
    (
        "requests-per-client",
        "a_client_gets_so_many_requests_a_second",
    ),
    ("requests-burst", "a_client_gets_so_many_requests_a_second"),
    ("retry-above", "clients_prove_their_address_under_load"),
];

#[test]
fn every_limit_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    for dir in ["tests/it", "../deploy/tests/e2e"] {
        for entry in std::fs::read_dir(root.join(dir)).unwrap() {
            sources.push_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default());
        }
    }
    let shown: BTreeMap<_, _> = SHOWN.iter().copied().collect();
    let table = serde_json::to_value(Limits::default()).unwrap();
    for field in table.as_object().unwrap().keys() {
        let test = shown.get(field.as_str());
        let test =
            test.unwrap_or_else(|| panic!("limits.{field} has no test that shows it at work"));
        assert!(
            sources.contains(&format!("fn {test}(")),
            "no test is called {test}"
        );
    }
    assert_eq!(
        shown.len(),
        table.as_object().unwrap().len(),
        "an entry is gone"
    );
}
