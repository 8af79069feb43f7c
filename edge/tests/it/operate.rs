//! What operators do to a running edge: reload, drain, watch, ask.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use bytes::Bytes;
use edge::{
    Config, Server,
    config::{AccessLog, KeysetSource, Limits, Secret},
};
use http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};

use crate::{
    exposition,
    support::{Edge, answer, edge, object_origin, origin, pattern, plain},
};

/// A certificate of its own for the test, valid for 30 days.
fn write_certificate(dir: &std::path::Path, name: &str) -> Config {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.not_after = (std::time::SystemTime::now() + Duration::from_secs(30 * 86_400)).into();
    let pair = rcgen::KeyPair::generate().unwrap();
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&cert, params.self_signed(&pair).unwrap().pem()).unwrap();
    std::fs::write(&key, pair.serialize_pem()).unwrap();
    Config {
        cert: Some(cert),
        key: Some(key),
        ..Config::default()
    }
}

/// The certificates that TLS and QUIC show, in DER.
async fn shown(edge: &Edge) -> [Vec<u8>; 2] {
    let tls = edge.insecure_tls().await;
    let quic = edge.insecure_quic().await;
    let identity = quic.peer_identity().unwrap();
    let chain = identity
        .downcast::<Vec<rustls_pki_types::CertificateDer<'static>>>()
        .unwrap();
    [
        tls.get_ref().1.peer_certificates().unwrap()[0].to_vec(),
        chain[0].to_vec(),
    ]
}

#[tokio::test]
async fn a_reload_changes_what_it_may_and_breaks_no_connection() {
    let (old, new) = (
        object_origin(pattern(1000)).await,
        object_origin(pattern(2000)).await,
    );
    let files = tempfile::tempdir().unwrap();
    let of_old = write_certificate(files.path(), "old");
    let edge = edge(old.address, |config| {
        config.cert = of_old.cert;
        config.key = of_old.key;
        config.access_log = AccessLog::File(config.state_dir.join("access.log"));
    })
    .await;
    let mut kept = edge.plain().await;
    assert_eq!(kept.get("/a", &[]).await.body.len(), 1000);
    let before = shown(&edge).await;
    assert_eq!(before[0], before[1]);

    records(&edge, 1).await;
    write_certificate(files.path(), "new");
    let rotated = edge.path("access.log.1");
    std::fs::rename(edge.path("access.log"), &rotated).unwrap();
    let mut config = edge.handle.config();
    config.upstream = format!("http://{}", new.address);
    config.limits.target_size = 300;
    config.server_timing = true;
    edge.reload(config).await.unwrap();

    let after = shown(&edge).await;
    assert_eq!(after[0], after[1]);
    assert_ne!(before[0], after[0], "the certificate is the old one");
    // The connection from before lives on, under the limits it came under.
    let long = format!("/{}", "x".repeat(400));
    let got = kept.get(&long, &[]).await;
    assert_eq!((got.status, got.body.len()), (StatusCode::OK, 2000));
    assert!(
        got.header("server-timing")
            .is_some_and(|v| v.starts_with("cache;desc=miss, upstream;dur="))
    );
    assert_eq!(
        kept.get("/a", &[]).await.header("server-timing"),
        Some("cache;desc=hit")
    );
    let refused = edge.plain().await.get(&long, &[]).await;
    assert_eq!(refused.status, StatusCode::URI_TOO_LONG);
    assert_eq!(
        edge.metric("segue_edge_config_reloads_total{result=\"applied\"}")
            .await,
        1
    );
    let until = edge.metric("segue_edge_certificate_expiry_seconds").await;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert!(
        (29 * 86_400..=30 * 86_400).contains(&(until - now)),
        "{until}"
    );

    for _ in 0..100 {
        let lines = |name: &str| {
            std::fs::read_to_string(edge.path(name))
                .unwrap_or_default()
                .lines()
                .count()
        };
        if (lines("access.log.1"), lines("access.log")) == (1, 3) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!(
        "the log was not opened anew: {}",
        std::fs::read_to_string(edge.path("access.log")).unwrap_or_default()
    );
}

#[tokio::test]
async fn a_faulty_reload_changes_nothing() {
    let origin = object_origin(pattern(1000)).await;
    let edge = edge(origin.address, |_| {}).await;
    let mut client = edge.plain().await;
    let good = edge.handle.config();
    let check = async |words: &[&str], change: &dyn Fn(&mut Config)| {
        let mut config = good.clone();
        config.server_timing = true;
        change(&mut config);
        let error = edge.reload(config).await.unwrap_err().to_string();
        assert!(
            words.iter().all(|w| error.contains(w)),
            "{words:?} in {error}"
        );
    };
    check(&["slice", "limits.header"], &|c| {
        c.slice = 3;
        c.limits.header = Duration::ZERO;
    })
    .await;
    check(&["keyset", "nowhere.json"], &|c| {
        c.keyset = KeysetSource::File("/nowhere.json".into());
    })
    .await;
    check(&["http can't change", "memory can't change"], &|c| {
        c.http = Some("127.0.0.1:1".parse().unwrap());
        c.memory *= 2;
    })
    .await;
    check(&["access log"], &|c| {
        c.access_log = AccessLog::File("/nowhere/access.log".into());
    })
    .await;
    let broken = edge.path("broken.pem");
    std::fs::write(
        &broken,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    check(&["cert", "broken.pem"], &|c| {
        c.cert = Some(broken.clone());
        c.key = Some(broken.clone());
    })
    .await;
    assert_eq!(client.get("/a", &[]).await.header("server-timing"), None);
    assert_eq!(
        edge.metric("segue_edge_config_reloads_total{result=\"refused\"}")
            .await,
        5
    );
    assert_eq!(
        edge.metric("segue_edge_config_last_reload_applied").await,
        0
    );
    edge.reload(good.clone()).await.unwrap();
    assert_eq!(
        edge.metric("segue_edge_config_last_reload_applied").await,
        1
    );
}

#[tokio::test]
async fn files_that_change_are_noticed() {
    let origin = object_origin(pattern(10)).await;
    let files = tempfile::tempdir().unwrap();
    let of_old = write_certificate(files.path(), "old");
    let edge = edge(origin.address, |config| {
        config.cert = of_old.cert;
        config.key = of_old.key;
        config.watch = Duration::from_secs(1);
    })
    .await;
    let before = shown(&edge).await;
    write_certificate(files.path(), "new");
    for _ in 0..100 {
        if shown(&edge).await[1] != before[1] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("still the old certificate");
}

/// An origin whose answers wait until they are let go.
async fn gated(gate: &Arc<Semaphore>) -> crate::support::Origin {
    let gate = Arc::clone(gate);
    origin(move |_| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            answer(200, &[("cache-control", "no-store")], "done")
        }
    })
    .await
}

#[tokio::test]
async fn an_idle_connection_gets_one_more_answer_in_a_drain() {
    let origin = object_origin(pattern(1000)).await;
    let edge = edge(origin.address, |config| {
        config.limits.drain_idle = Duration::from_secs(20);
    })
    .await;
    let (mut h1, mut silent) = (edge.plain().await, edge.plain().await);
    let mut fresh = edge.plain().await;
    for client in [&mut h1, &mut silent] {
        let got = client.get("/a", &[]).await;
        assert_eq!(got.header("connection"), None);
    }
    edge.drain();
    tokio::time::sleep(Duration::from_millis(200)).await;
    for client in [&mut h1, &mut fresh] {
        let got = client.get("/a", &[]).await;
        assert_eq!(
            (got.status, got.header("connection")),
            (StatusCode::OK, Some("close"))
        );
        assert!(
            client.send("GET", "/a", &[], "").await.is_err(),
            "it was not the last"
        );
    }
    drop(silent);
    timeout(Duration::from_secs(10), edge.ended())
        .await
        .unwrap();
}

#[tokio::test]
async fn silence_ends_an_idle_connection_in_a_drain() {
    let origin = object_origin(pattern(1000)).await;
    let edge = edge(origin.address, |_| {}).await;
    let mut client = edge.plain().await;
    client.get("/a", &[]).await;
    let _fresh = TcpStream::connect(edge.http()).await.unwrap();
    edge.drain();
    timeout(Duration::from_secs(10), edge.ended())
        .await
        .unwrap();
}

#[tokio::test]
async fn balancers_have_time_to_notice() {
    let origin = object_origin(pattern(1000)).await;
    let edge = edge(origin.address, |config| {
        config.limits.drain_delay = Duration::from_secs(3);
    })
    .await;
    edge.drain();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let ready = plain(edge.addrs.admin.unwrap())
        .await
        .get("/readyz", &[])
        .await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    // New connections are still served, and are not told to go.
    let got = edge.plain().await.get("/a", &[]).await;
    assert_eq!(
        (got.status, got.header("connection")),
        (StatusCode::OK, None)
    );
    timeout(Duration::from_secs(20), edge.ended())
        .await
        .unwrap();
}

#[tokio::test]
async fn slow_downloads_end_whole_in_a_drain() {
    let object = pattern(3 << 20);
    let origin = object_origin(object.clone()).await;
    let edge = edge(origin.address, |_| {}).await;
    // Fills the cache, so that the drain waits for clients alone.
    edge.plain().await.get("/a", &[]).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut tcp = TcpStream::connect(edge.http()).await.unwrap();
        let expected = object.clone();
        tasks.spawn(async move {
            tcp.write_all(b"GET /a HTTP/1.1\r\nhost: localhost\r\n\r\n")
                .await
                .unwrap();
            let (mut got, mut piece) = (Vec::new(), vec![0; 128 << 10]);
            loop {
                let n = tcp.read(&mut piece).await.unwrap();
                if n == 0 {
                    break;
                }
                got.extend_from_slice(&piece[..n]);
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
            assert!(
                got.ends_with(&expected),
                "{} bytes of {}",
                got.len(),
                expected.len()
            );
        });
    }
    for mut client in [edge.h2().await, edge.h3().await] {
        let expected = object.clone();
        tasks.spawn(async move {
            for _ in 0..3 {
                match client.send("GET", "/a", &[], "").await {
                    Ok(got) => assert!(got.body == expected),
                    // Refused after GOAWAY is no loss: nothing of it was sent.
                    Err(_) => return,
                }
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(60)).await;
    edge.drain();
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    timeout(Duration::from_secs(20), edge.ended())
        .await
        .unwrap();
}

#[tokio::test]
async fn the_drain_ends_by_its_deadline() {
    let gate = Arc::new(Semaphore::new(0));
    let origin = gated(&gate).await;
    let edge = edge(origin.address, |config| {
        config.limits.drain = Duration::from_millis(700);
    })
    .await;
    let mut client = edge.h2().await;
    let asked = tokio::spawn(async move { client.send("GET", "/a", &[], "").await });
    while origin.requests.load(SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    edge.drain();
    timeout(Duration::from_secs(10), edge.ended())
        .await
        .unwrap();
    asked.abort();
}

#[tokio::test]
async fn the_admin_listener_tells_strangers_nothing() {
    let origin = object_origin(pattern(1000)).await;
    let secret = "0123456789abcdef";
    let edge = edge(origin.address, |config| {
        config.admin_token = Some(secret.to_owned().into())
    })
    .await;
    let mut admin = plain(edge.addrs.admin.unwrap()).await;
    let bearer = format!("Bearer {secret}");
    let known = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    for (method, path, stranger, operator) in [
        ("GET", "/livez", 200, 200),
        ("GET", "/readyz", 200, 200),
        ("GET", "/metrics", 401, 200),
        ("GET", "/cache", 401, 200),
        ("GET", "/config", 401, 200),
        ("GET", "/log-level", 401, 409),
        ("PUT", "/log-level", 401, 400),
        ("POST", "/reload", 401, 409),
        ("POST", "/upgrade", 401, 409),
        ("GET", "/drain", 401, 405),
        ("DELETE", "/metrics", 401, 405),
        ("GET", "/nothing", 401, 404),
        ("POST", "/drain", 401, 200),
    ] {
        let got = admin.send(method, path, &known[1..], "").await.unwrap();
        assert_eq!(got.status.as_u16(), stranger, "{method} {path}");
        let got = admin.send(method, path, &known, "").await.unwrap();
        assert_eq!(
            got.status.as_u16(),
            operator,
            "{method} {path} {}",
            got.text()
        );
        assert!(!got.text().contains(secret), "{path} shows the token");
    }
    timeout(Duration::from_secs(10), edge.ended())
        .await
        .unwrap();
}

#[tokio::test]
async fn without_a_token_names_from_elsewhere_are_refused() {
    let origin = object_origin(pattern(1000)).await;
    let edge = edge(origin.address, |_| {}).await;
    let mut tcp = TcpStream::connect(edge.addrs.admin.unwrap()).await.unwrap();
    tcp.write_all(b"GET /config HTTP/1.1\r\nhost: rebound.example\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut got = String::new();
    tcp.read_to_string(&mut got).await.unwrap();
    assert!(got.starts_with("HTTP/1.1 401"), "{got}");

    let public = Config {
        upstream: format!("http://{}", origin.address),
        http: Some("127.0.0.1:0".parse().unwrap()),
        admin: Some("0.0.0.0:0".parse().unwrap()),
        ..Config::default()
    };
    let fault = Server::bind(public.clone())
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(fault.contains("admin-token"), "{fault}");
    let guarded = Config {
        admin_token: Some(Secret::from("0123456789abcdef".to_owned())),
        ..public
    };
    assert!(Server::bind(guarded).await.is_ok());
}

#[tokio::test]
async fn metrics_are_what_a_scraper_takes() {
    let origin = object_origin(pattern(300_000)).await;
    let edge = edge(origin.address, |_| {}).await;
    for mut client in [edge.plain().await, edge.h2().await, edge.h3().await] {
        client.get("/a", &[]).await;
        client.get("/a", &[("range", "bytes=0-9")]).await;
    }
    let mut admin = plain(edge.addrs.admin.unwrap()).await;
    let got = admin.get("/metrics", &[]).await;
    assert_eq!(
        got.header("content-type"),
        Some("text/plain; version=0.0.4")
    );
    let families = exposition::read(&got.text());
    let sum = |name: &str, label: &str, value: &str| -> f64 {
        let of = |s: &&exposition::Sample| s.labels.get(label).is_some_and(|v| v == value);
        families[name]
            .samples
            .iter()
            .filter(of)
            .map(|s| s.value)
            .sum()
    };
    for protocol in ["h1", "h2", "h3"] {
        assert_eq!(sum("segue_edge_requests_total", "protocol", protocol), 2.0);
    }
    assert_eq!(sum("segue_edge_requests_total", "outcome", "hit"), 5.0);
    assert!(sum("segue_edge_tier_hits_total", "tier", "memory") >= 5.0);
    let one = |name: &str| families[name].samples[0].value;
    assert!(one("process_resident_memory_bytes") > 1e6);
    assert!(one("process_open_fds") > 5.0 && one("process_max_fds") > one("process_open_fds"));
    assert!(one("process_cpu_seconds_total") > 0.0);
    assert_eq!(
        families["segue_build_info"].samples[0].labels["version"],
        env!("CARGO_PKG_VERSION")
    );
    // The number of series doesn't grow with what clients send.
    let series = |text: &str| text.lines().filter(|l| !l.starts_with('#')).count();
    let mut client = edge.plain().await;
    for i in 0..50 {
        let fields = [
            ("user-agent", format!("x{i}")),
            ("cmcd-session", format!("sid=\"{i}\"")),
        ];
        let fields = fields
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let _ = client
            .send("GET", &format!("/{i}?CMCD=sid%3D%22{i}%22"), &fields, "")
            .await;
    }
    let again = admin.get("/metrics", &[]).await.text();
    assert_eq!(series(&again), series(&got.text()));
}

#[tokio::test]
async fn what_players_say_is_logged_and_goes_no_further() {
    let origin = origin(|request| async move {
        let said = format!("{:?} {}", request.headers(), request.uri());
        answer(200, &[("cache-control", "max-age=60")], said)
    })
    .await;
    let edge = edge(origin.address, |config| {
        config.access_log = AccessLog::File(config.state_dir.join("access.log"));
    })
    .await;
    let mut client = edge.plain().await;
    let first = client
        .get("/a?x=1&CMCD=br%3D96%2Csid%3D%22one%22%2Cot%3Da&y=2", &[])
        .await;
    assert!(
        !first.text().to_lowercase().contains("cmcd"),
        "{}",
        first.text()
    );
    assert!(first.text().ends_with("/a?x=1&y=2"), "{}", first.text());
    let second = client
        .get(
            "/a?x=1&y=2",
            &[
                ("cmcd-session", "sid=\"two\""),
                ("cmcd-object", "br=128,d=3840"),
            ],
        )
        .await;
    assert_eq!(second.body, first.body, "CMCD is in the key");
    let only = client.get("/a?CMCD=su", &[]).await;
    assert!(only.text().ends_with(" /a"), "{}", only.text());
    assert_eq!(origin.requests.load(SeqCst), 2);
    let records = records(&edge, 3).await;
    let expected = [
        serde_json::json!({"br": 96, "sid": "one", "ot": "a"}),
        serde_json::json!({"sid": "two", "br": 128, "d": 3840}),
        serde_json::json!({"su": true}),
    ];
    for (record, expected) in records.iter().zip(expected) {
        assert_eq!(record["cmcd"], expected, "{record}");
    }
    assert_eq!(records[0]["target"], "/a?x=1&y=2");
}

/// The access log once it has so many records.
async fn records(edge: &Edge, count: usize) -> Vec<serde_json::Value> {
    for _ in 0..200 {
        let text = std::fs::read_to_string(edge.path("access.log")).unwrap_or_default();
        if text.lines().count() >= count {
            return text
                .lines()
                .map(|l| serde_json::from_str(l).unwrap())
                .collect();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no {count} records");
}

#[tokio::test]
async fn traces_go_on_at_the_upstream_and_reach_the_collector() {
    let messages = Arc::new(std::sync::Mutex::new(Vec::<serde_json::Value>::new()));
    let theirs = Arc::clone(&messages);
    let collector = origin(move |request| {
        let messages = Arc::clone(&theirs);
        async move {
            use http_body_util::BodyExt;
            let body: Bytes = request.into_body().collect().await.unwrap().to_bytes();
            messages
                .lock()
                .unwrap()
                .push(serde_json::from_slice(&body).unwrap());
            answer(200, &[("content-type", "application/json")], "{}")
        }
    })
    .await;
    let origin = origin(|request| async move {
        let parent = request.headers().get("traceparent").cloned();
        answer(
            200,
            &[("cache-control", "max-age=60")],
            Bytes::from(parent.map_or_else(Vec::new, |p| p.as_bytes().to_vec())),
        )
    })
    .await;
    let edge = edge(origin.address, |config| {
        config.traces.endpoint = Some(format!("http://{}/v1/traces", collector.address));
        config.traces.sample = 0.0;
    })
    .await;
    let mut client = edge.plain().await;
    // Neither sampled by its client nor by chance: passes untouched.
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let unsampled = format!("00-{trace}-b7ad6b7169203331-00");
    let got = client
        .get("/unsampled", &[("traceparent", &unsampled)])
        .await;
    assert_eq!(got.text(), unsampled);
    let sampled = format!("00-{trace}-b7ad6b7169203331-01");
    let got = client
        .get("/sampled?x=1", &[("traceparent", &sampled)])
        .await
        .text();
    assert!(
        got.starts_with(&format!("00-{trace}-")) && got.ends_with("-01") && got != sampled,
        "{got}"
    );
    let spans = loop {
        if let Some(message) = messages.lock().unwrap().first() {
            let spans = message["resourceSpans"][0]["scopeSpans"][0]["spans"].clone();
            break spans;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let spans = spans.as_array().unwrap();
    assert_eq!(spans.len(), 2, "{spans:?}");
    let (server, upstream) = (&spans[0], &spans[1]);
    assert_eq!(
        (&server["traceId"], &server["kind"]),
        (&trace.into(), &2.into())
    );
    assert_eq!(server["parentSpanId"], "b7ad6b7169203331");
    assert_eq!(
        (&upstream["parentSpanId"], &upstream["kind"]),
        (&server["spanId"], &3.into())
    );
    assert_eq!(got.split('-').nth(2), upstream["spanId"].as_str());
    let times = ["startTimeUnixNano", "endTimeUnixNano"]
        .map(|t| server[t].as_str().unwrap().parse::<u64>().unwrap());
    assert!(times[0] < times[1], "{times:?}");
    let attribute = |key: &str| {
        let all = server["attributes"].as_array().unwrap();
        all.iter()
            .find(|a| a["key"] == key)
            .map(|a| a["value"].clone())
    };
    assert_eq!(attribute("url.path").unwrap()["stringValue"], "/sampled");
    assert_eq!(
        attribute("http.response.status_code").unwrap()["intValue"],
        "200"
    );
    assert_eq!(attribute("segue.outcome").unwrap()["stringValue"], "miss");
    for _ in 0..100 {
        if edge.metric("segue_edge_spans_sent_total").await == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the spans are not counted");
}

#[tokio::test]
async fn a_dead_collector_costs_spans_and_nothing_else() {
    let origin = object_origin(pattern(10)).await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let edge = edge(origin.address, |config| {
        config.traces.endpoint = Some(format!("http://{dead}/v1/traces"));
        config.traces.sample = 1.0;
        config.traces.per_second = 3;
    })
    .await;
    let mut client = edge.plain().await;
    for i in 0..10 {
        assert_eq!(
            client.get(&format!("/{i}"), &[]).await.status,
            StatusCode::OK
        );
    }
    for _ in 0..200 {
        // Of ten requests within a second or two, three a second are traced, each with two spans.
        let dropped = edge.metric("segue_edge_spans_dropped_total").await;
        if dropped > 0 {
            assert!(dropped <= 18, "{dropped}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing was dropped");
}

/// Every key of the configuration has a row with its default in docs/edge.md.
#[test]
fn the_documentation_names_every_option_with_its_default() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/edge.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut expected = Vec::new();
    let whole = serde_json::to_value(Config::default()).unwrap();
    collect("", &whole, &mut expected);
    assert!(expected.len() > 50, "{expected:?}");
    let mut wrong = Vec::new();
    for (key, default) in &expected {
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{key}` |")));
        let cells: Vec<&str> = row.unwrap_or_default().split(" | ").collect();
        match cells.get(1) {
            Some(cell) if cell.trim_matches('`') == default => {}
            cell => wrong.push(format!("| `{key}` | `{default}` |  but there is {cell:?}")),
        }
        // What it is for.
        if cells.get(3).is_none_or(|why| why.len() < 15) {
            wrong.push(format!("{key}: no reason"));
        }
    }
    for line in page.lines().filter_map(|l| l.strip_prefix("| `")) {
        if let Some((key, rest)) = line.split_once("` | `")
            && !rest.is_empty()
            && !key.contains(['/', '_', ' '])
            && !expected.iter().any(|(known, _)| known == key)
        {
            wrong.push(format!("{key} is documented and does not exist"));
        }
    }
    assert!(wrong.is_empty(), "docs/edge.md:\n{}", wrong.join("\n"));
}

/// Keys below `above` and their defaults as the page writes them.
fn collect(above: &str, value: &serde_json::Value, out: &mut Vec<(String, String)>) {
    for (key, value) in value.as_object().unwrap() {
        let key = match above {
            "" => key.clone(),
            above => format!("{above}.{key}"),
        };
        match value {
            serde_json::Value::Object(_) => collect(&key, value, out),
            serde_json::Value::Null => out.push((key, "none".into())),
            serde_json::Value::String(text) if text.is_empty() => out.push((key, "none".into())),
            serde_json::Value::String(text) => out.push((key, text.clone())),
            value => out.push((key, value.to_string())),
        }
    }
}

/// The limits that the page's text speaks of are the real ones.
#[test]
fn the_drain_has_time_for_players() {
    let limits = Limits::default();
    assert!(
        limits.drain_idle > Duration::from_millis(3840),
        "a segment's length"
    );
    assert!(limits.drain > limits.drain_idle);
}
