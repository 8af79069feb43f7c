//! The same bytes over every protocol, the admin listener, the drain, the log.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use edge::config::AccessLog;
use http::StatusCode;
use tokio::sync::Semaphore;

use crate::support::{Client, answer, edge, object_origin, origin, pattern, plain};

#[tokio::test]
async fn the_same_bytes_over_every_protocol() {
    let object = pattern(1_500_000);
    let origin = object_origin(object.clone()).await;
    let edge = edge(origin.address, |_| {}).await;
    let clients = [
        ("h1c", edge.plain().await),
        ("h2c", edge.h2c().await),
        ("h1", edge.h1().await),
        ("h2", edge.h2().await),
        ("h3", edge.h3().await),
    ];
    for (name, mut client) in clients {
        let whole = client.get("/a", &[]).await;
        assert_eq!(
            (whole.status, whole.body == object),
            (StatusCode::OK, true),
            "{name}"
        );
        for (range, expected) in [
            ("bytes=0-0", 0..1),
            ("bytes=65536-131071", 65_536..131_072),
            ("bytes=262100-262200", 262_100..262_201),
            ("bytes=100000-1100000", 100_000..1_100_001),
            ("bytes=-7", 1_499_993..1_500_000),
        ] {
            let part = client.get("/a", &[("range", range)]).await;
            assert_eq!(part.status, StatusCode::PARTIAL_CONTENT, "{name} {range}");
            assert!(part.body == object.slice(expected), "{name} {range}");
        }
        let head = client.send("HEAD", "/a", &[], "").await.unwrap();
        assert_eq!(
            (head.status, head.header("content-length")),
            (StatusCode::OK, Some("1500000")),
            "{name}"
        );
        assert!(head.body.is_empty());
        let alt_svc = format!("h3=\":{}\"; ma=86400", edge.https().port());
        match name {
            "h1" | "h2" => assert_eq!(head.header("alt-svc"), Some(alt_svc.as_str()), "{name}"),
            _ => assert_eq!(head.header("alt-svc"), None, "{name}"),
        }
        assert!(head.header("date").is_some(), "{name}");
    }
    assert_eq!(
        edge.metric("segue_edge_responses_total{protocol=\"h3\",status=\"2xx\"}")
            .await,
        7
    );
    assert_eq!(
        edge.metric("segue_edge_requests_total{protocol=\"h2\",outcome=\"hit\"}")
            .await,
        14
    );
}

#[tokio::test]
async fn many_at_once_on_one_connection() {
    let object = pattern(300_000);
    let origin = object_origin(object.clone()).await;
    let edge = edge(origin.address, |_| {}).await;
    let (h2, h3) = (edge.h2().await, edge.h3().await);
    let (Client::H2(h2), Client::H3(h3)) = (h2, h3) else {
        unreachable!()
    };
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..60_usize {
        let object = object.clone();
        let mut client = if i % 2 == 0 {
            Client::H2(h2.clone())
        } else {
            Client::H3(h3.clone())
        };
        tasks.spawn(async move {
            let start = i * 4_000;
            let range = format!("bytes={start}-{}", start + 64_999.min(299_999 - start));
            let got = client.get("/a", &[("range", &range)]).await;
            assert!(
                got.body == object.slice(start..start + got.body.len()),
                "{range}"
            );
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn bodies_and_trailers_pass_both_ways() {
    let origin = origin(|request| async move {
        use http_body_util::BodyExt;
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        let forwarded = request
            .headers()
            .get("x-forwarded-host")
            .map(|v| v.to_str().unwrap().to_owned());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        answer(
            201,
            &[
                ("x-host", &host),
                ("x-fwd", forwarded.as_deref().unwrap_or("")),
            ],
            body,
        )
    })
    .await;
    let edge = edge(origin.address, |_| {}).await;
    let body = pattern(700_000);
    for mut client in [edge.plain().await, edge.h2().await, edge.h3().await] {
        let got = client
            .send("POST", "/up", &[("x-forwarded-host", "evil")], body.clone())
            .await
            .unwrap();
        assert_eq!(got.status, StatusCode::CREATED);
        assert!(got.body == body);
        assert_eq!(
            got.header("x-host"),
            Some(origin.address.to_string().as_str())
        );
        assert_eq!(got.header("x-fwd"), Some(""));
    }
}

#[tokio::test]
async fn a_kept_connection_that_went_stale_costs_no_request() {
    // Answers one request per connection, then closes it without saying so.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = tcp.read(&mut head).await;
                let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\ncache-control: no-store\r\ncontent-length: 2\r\n\r\nok").await;
                // Takes the next request, then resets.
                let _ = tcp.read(&mut head).await;
            });
        }
    });
    let edge = edge(address, |_| {}).await;
    let mut client = edge.plain().await;
    for i in 0..5 {
        let got = client.get(&format!("/{i}"), &[]).await;
        assert_eq!((got.status, got.text().as_str()), (StatusCode::OK, "ok"));
    }
    assert_eq!(edge.metric("segue_edge_upstream_retries_total").await, 4);
}

#[tokio::test]
async fn the_drain_lets_requests_finish() {
    let gate = Arc::new(Semaphore::new(0));
    let theirs = Arc::clone(&gate);
    let origin = origin(move |_| {
        let gate = Arc::clone(&theirs);
        async move {
            gate.acquire().await.unwrap().forget();
            answer(200, &[("cache-control", "no-store")], "done")
        }
    })
    .await;
    let edge = edge(origin.address, |_| {}).await;
    let admin = edge.addrs.admin.unwrap();
    assert_eq!(
        plain(admin).await.get("/readyz", &[]).await.status,
        StatusCode::OK
    );
    let mut tasks = tokio::task::JoinSet::new();
    for (i, mut client) in [
        edge.plain().await,
        edge.h1().await,
        edge.h2().await,
        edge.h3().await,
    ]
    .into_iter()
    .enumerate()
    {
        tasks.spawn(async move { client.get(&format!("/{i}"), &[]).await });
    }
    while origin.requests.load(SeqCst) < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    edge.drain();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(
        plain(admin).await.get("/readyz", &[]).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(
        plain(admin).await.get("/livez", &[]).await.status,
        StatusCode::OK
    );
    assert!(
        tokio::net::TcpStream::connect(edge.http()).await.is_err(),
        "new connections are refused"
    );
    gate.add_permits(4);
    while let Some(got) = tasks.join_next().await {
        assert_eq!(got.unwrap().text(), "done");
    }
    tokio::time::timeout(Duration::from_secs(5), edge.ended())
        .await
        .unwrap();
}

#[tokio::test]
async fn purging_needs_the_token() {
    let origin = object_origin(pattern(1000)).await;
    let secret = "0123456789abcdef".to_owned();
    let edge = edge(origin.address, |config| {
        config.admin_token = Some(secret.clone().into())
    })
    .await;
    let mut client = edge.plain().await;
    client.get("/a", &[]).await;
    client.get("/a", &[]).await;
    assert_eq!(origin.requests.load(SeqCst), 1);

    let mut admin = plain(edge.addrs.admin.unwrap()).await;
    let json = ("content-type", "application/json");
    let bearer = format!("Bearer {secret}");
    for (fields, body, status) in [
        (vec![json], "{\"url\":\"/a\"}", 401),
        (
            vec![json, ("authorization", "Bearer 0123456789abcdeF")],
            "{\"url\":\"/a\"}",
            401,
        ),
        (
            vec![("authorization", bearer.as_str())],
            "{\"url\":\"/a\"}",
            415,
        ),
        (vec![json, ("authorization", bearer.as_str())], "{}", 400),
        (
            vec![json, ("authorization", bearer.as_str())],
            "{\"url\":\"/a\",\"all\":true}",
            400,
        ),
        (
            vec![json, ("authorization", bearer.as_str())],
            "{\"url\":\"/a\"}",
            200,
        ),
    ] {
        let got = admin.send("POST", "/purge", &fields, body).await.unwrap();
        assert_eq!(got.status.as_u16(), status, "{body} {}", got.text());
    }
    client.get("/a", &[]).await;
    assert_eq!(origin.requests.load(SeqCst), 2);
    let nothing = admin.get("/nothing", &[("authorization", &bearer)]).await;
    assert_eq!(nothing.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn one_log_record_a_request() {
    let origin = object_origin(pattern(100_000)).await;
    let mut path = std::path::PathBuf::new();
    let edge = edge(origin.address, |config| {
        path = config.state_dir.join("access.log");
        config.access_log = AccessLog::File(path.clone());
    })
    .await;
    edge.plain().await.get("/a?x=1", &[]).await;
    edge.h2()
        .await
        .get("/a?x=1", &[("range", "bytes=0-9")])
        .await;
    edge.h3()
        .await
        .get("/a?x=1", &[("range", "bytes=10-29")])
        .await;
    let log = edge.path("access.log");
    edge.drain();
    // Read before the directory goes.
    let mut lines = Vec::new();
    for _ in 0..200 {
        lines = std::fs::read_to_string(&log)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        if lines.len() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let records: Vec<serde_json::Value> = lines
        .iter()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let seen: Vec<_> = records
        .iter()
        .map(|r| {
            (
                r["protocol"].as_str().unwrap(),
                r["status"].as_u64().unwrap(),
                r["bytes"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [("h1", 200, 100_000), ("h2", 206, 10), ("h3", 206, 20)]
    );
    assert!(
        records
            .iter()
            .all(|r| r["target"] == "/a?x=1" && r["peer"] == "127.0.0.1"),
        "{lines:?}"
    );
    assert_eq!(
        (&records[0]["outcome"], &records[2]["outcome"]),
        (&"miss".into(), &"hit".into())
    );
}
