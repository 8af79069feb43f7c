//! Clients that are slow, silent, too many or too large, on TCP.

use std::time::Duration;

use edge::config::Limits;
use http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::support::{edge, object_origin, pattern};

/// Tight limits, so that tests are quick.
fn tight() -> Limits {
    Limits {
        handshake: Duration::from_millis(300),
        header: Duration::from_millis(300),
        idle: Duration::from_millis(900),
        stall: Duration::from_millis(500),
        min_rate: 10_000,
        connections_per_client: 4,
        ..Limits::default()
    }
}

/// Reads until the server closes; how long that took and what came.
async fn closed(tcp: &mut TcpStream) -> (Duration, Vec<u8>) {
    let since = Instant::now();
    let mut got = Vec::new();
    let _ = timeout(Duration::from_secs(10), tcp.read_to_end(&mut got))
        .await
        .expect("the server never closed");
    (since.elapsed(), got)
}

#[tokio::test]
async fn slow_heads_and_handshakes_are_cut_off() {
    let origin = object_origin(pattern(10)).await;
    let edge = edge(origin.address, |config| config.limits = tight()).await;
    let expect = |took: Duration, least: u64, what: &str| {
        let range = Duration::from_millis(least)..Duration::from_millis(least + 2_000);
        assert!(range.contains(&took), "{what}: {took:?}");
    };

    let mut tcp = TcpStream::connect(edge.http()).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n")
        .await
        .unwrap();
    expect(closed(&mut tcp).await.0, 250, "head");

    // Dribbling doesn't help.
    let mut tcp = TcpStream::connect(edge.http()).await.unwrap();
    let (mut read, mut write) = tcp.split();
    let dribble = async {
        write.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        loop {
            tokio::time::sleep(Duration::from_millis(40)).await;
            if write.write_all(b"x: y\r\n").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let since = Instant::now();
    let mut got = Vec::new();
    tokio::select! { () = dribble => {}, _ = read.read_to_end(&mut got) => {} }
    expect(since.elapsed(), 250, "dribbled head");

    // After a request, silence is idleness, and may last longer.
    let mut tcp = TcpStream::connect(edge.http()).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    expect(closed(&mut tcp).await.0, 850, "idle");

    let mut tcp = TcpStream::connect(edge.https()).await.unwrap();
    expect(closed(&mut tcp).await.0, 250, "handshake");

    for (reason, least) in [("header", 2), ("idle", 1), ("handshake", 1)] {
        let line = format!("segue_edge_cut_total{{protocol=\"h1\",reason=\"{reason}\"}}");
        assert!(edge.metric(&line).await >= least, "{reason}");
    }
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut_off() {
    let origin = object_origin(pattern(32 << 20)).await;
    let edge = edge(origin.address, |config| config.limits = tight()).await;
    let mut tcp = TcpStream::connect(edge.http()).await.unwrap();
    tcp.write_all(b"GET /big HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let line = "segue_edge_cut_total{protocol=\"h1\",reason=\"stall\"}";
    timeout(Duration::from_secs(10), async {
        while edge.metric(line).await == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("the reader was never cut off");
    // While one that reads gets everything.
    let got = edge.plain().await.get("/big", &[]).await;
    assert_eq!(got.body.len(), 32 << 20);
}

#[tokio::test]
async fn large_heads_are_refused() {
    let origin = object_origin(pattern(10)).await;
    let edge = edge(origin.address, |_| {}).await;
    let long = "v".repeat(20_000);
    let many: Vec<(String, String)> = (0..150).map(|i| (format!("x-{i}"), "v".into())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    for name in ["h1", "h2", "h3"] {
        let client = async || match name {
            "h1" => edge.plain().await,
            "h2" => edge.h2().await,
            _ => edge.h3().await,
        };
        let refused = |result: Result<crate::support::Got, String>| match result {
            Ok(got) => got.status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            // Stacks may refuse to send what our settings forbid.
            Err(_) => true,
        };
        assert!(
            refused(client().await.send("GET", "/", &[("x", &long)], "").await),
            "{name} long"
        );
        assert!(
            refused(client().await.send("GET", "/", &many, "").await),
            "{name} many"
        );
        let target = format!("/{}", "p".repeat(9_000));
        let status = client()
            .await
            .send("GET", &target, &[], "")
            .await
            .map(|got| got.status);
        assert_eq!(status, Ok(StatusCode::URI_TOO_LONG), "{name} target");
        // The edge is unharmed.
        assert_eq!(
            client().await.get("/", &[]).await.status,
            StatusCode::OK,
            "{name}"
        );
    }
}

#[tokio::test]
async fn one_client_gets_so_many_connections() {
    let origin = object_origin(pattern(10)).await;
    let edge = edge(origin.address, |config| config.limits = tight()).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut client = edge.plain().await;
        assert_eq!(client.get("/", &[]).await.status, StatusCode::OK);
        open.push(client);
    }
    let mut fifth = TcpStream::connect(edge.http()).await.unwrap();
    assert!(closed(&mut fifth).await.0 < Duration::from_millis(250));
    drop(open);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(
        edge.plain().await.get("/", &[]).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn requests_without_a_sound_host_are_refused() {
    let origin = object_origin(pattern(10)).await;
    let edge = edge(origin.address, |_| {}).await;
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: u@a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
    ] {
        let mut tcp = TcpStream::connect(edge.http()).await.unwrap();
        tcp.write_all(head.as_bytes()).await.unwrap();
        let (_, got) = closed(&mut tcp).await;
        let got = String::from_utf8_lossy(&got).into_owned();
        assert!(got.starts_with("HTTP/1.1 400 "), "{head:?}: {got}");
    }
}

/// Bytes that the kernel holds for a connection between these ports, sent or not.
fn held_by_kernel(local: u16, remote: u16) -> Option<u64> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ports = (format!(":{local:04X}"), format!(":{remote:04X}"));
    table.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let ours = words.next()?.ends_with(&ports.0) && words.next()?.ends_with(&ports.1);
        let (sent, _) = words.nth(1)?.split_once(':')?;
        ours.then(|| u64::from_str_radix(sent, 16).unwrap())
    })
}

#[tokio::test]
async fn little_waits_in_the_kernel_for_a_slow_reader() {
    let origin = object_origin(pattern(12 << 20)).await;
    let edge = edge(origin.address, |_| {}).await;
    edge.plain().await.get("/a", &[]).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 << 10).unwrap();
    let mut tcp = socket.connect(edge.http()).await.unwrap();
    tcp.write_all(b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let (local, remote) = (edge.http().port(), tcp.local_addr().unwrap().port());
    let held = || held_by_kernel(local, remote).unwrap_or(0);
    let mut most = 0;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        most = most.max(held());
    }
    assert!(held() > 0, "it was all taken");
    assert!(most <= 320 << 10, "{most} bytes");
}

#[tokio::test]
async fn the_kernel_keeps_nothing_of_a_reader_that_was_cut_off() {
    let origin = object_origin(pattern(12 << 20)).await;
    let edge = edge(origin.address, |config| config.limits = tight()).await;
    edge.plain().await.get("/a", &[]).await;
    let mut tcp = TcpStream::connect(edge.http()).await.unwrap();
    tcp.write_all(b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let (local, remote) = (edge.http().port(), tcp.local_addr().unwrap().port());
    let end = Instant::now() + Duration::from_secs(20);
    tokio::time::sleep(Duration::from_millis(100)).await;
    while held_by_kernel(local, remote).is_some() {
        assert!(Instant::now() < end, "the kernel still holds it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn bodies_that_dribble_are_cut_off() {
    use http_body_util::BodyExt as _;
    let origin = crate::support::origin(|request| async move {
        let body = request.into_body().collect().await;
        let length = body.map_or(0, |body| body.to_bytes().len());
        crate::support::answer(200, &[], length.to_string())
    })
    .await;
    let edge = edge(origin.address, |config| config.limits = tight()).await;
    let (mut read, mut write) = TcpStream::connect(edge.http()).await.unwrap().into_split();
    let head = "POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";
    write.write_all(head.as_bytes()).await.unwrap();
    let dribble = tokio::spawn(async move {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    });
    let mut got = Vec::new();
    let end = timeout(Duration::from_secs(15), read.read_to_end(&mut got)).await;
    assert!(end.is_ok(), "the server never closed");
    dribble.abort();

    let mut client = edge.h3().await;
    let crate::support::Client::H3(sender) = &mut client else {
        unreachable!()
    };
    let request = http::Request::post("https://localhost/a").body(()).unwrap();
    let mut stream = sender.send_request(request).await.unwrap();
    let dribble = async {
        while stream.send_data("x".into()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    };
    let end = timeout(Duration::from_secs(15), dribble).await;
    assert!(end.is_ok(), "the server took it all");
    let cut = edge
        .metric("segue_edge_cut_total{protocol=\"h3\",reason=\"stall\"}")
        .await;
    assert_eq!(cut, 1);
}
