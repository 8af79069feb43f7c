//! What a reload changes while requests come in, and what it leaves as it was.

use std::{
    net::Ipv4Addr,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use edge::config::KeysetSource;
use http::StatusCode;
use tokens::{Claims, Keyset, Renewal, RenewalKind, SigningKey};

use crate::{
    mmdb,
    support::{answer, edge, object_origin, origin, pattern},
};

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

fn listening() -> Claims {
    Claims::listening("anna", now(), Duration::from_secs(50))
}

/// The target of a request that carries a token of those claims.
fn carrying(key: &SigningKey, claims: &Claims) -> String {
    format!("/~{}/media/a", tokens::mint(key, claims).unwrap())
}

#[tokio::test]
async fn rates_take_effect_on_connections_that_are_open() {
    let origin = object_origin(pattern(10)).await;
    let edge = edge(origin.address, |_| {}).await;
    let mut client = edge.plain().await;
    let mut statuses = async |count| {
        let mut statuses = Vec::new();
        for _ in 0..count {
            statuses.push(client.get("/a", &[]).await.status);
        }
        statuses
    };
    assert_eq!(statuses(20).await, [StatusCode::OK; 20]);
    let mut config = edge.handle.config();
    config.limits.requests_per_client = 1;
    config.limits.requests_burst = 3;
    edge.reload(config.clone()).await.unwrap();
    let limited = statuses(20).await;
    assert_eq!(limited[..3], [StatusCode::OK; 3]);
    assert!(limited.contains(&StatusCode::TOO_MANY_REQUESTS));
    config.limits.requests_per_client = 0;
    edge.reload(config).await.unwrap();
    assert_eq!(statuses(20).await, [StatusCode::OK; 20]);
}

#[tokio::test]
async fn guessed_freshness_is_turned_on_and_off() {
    let origin = origin(|_| async {
        let fields = [
            ("last-modified", "Fri, 01 Jan 2010 00:00:00 GMT"),
            ("etag", "\"1\""),
        ];
        answer(200, &fields, "old")
    })
    .await;
    let edge = edge(origin.address, |_| {}).await;
    let mut client = edge.plain().await;
    let mut is_hit = async |target: &str| {
        client.get(target, &[]).await;
        let got = client.get(target, &[]).await;
        got.header("cache-status").unwrap().contains("; hit")
    };
    assert!(!is_hit("/a").await);
    let mut config = edge.handle.config();
    config.heuristic_freshness.percent = 10;
    edge.reload(config.clone()).await.unwrap();
    assert!(is_hit("/b").await);
    config.heuristic_freshness.percent = 0;
    edge.reload(config).await.unwrap();
    assert!(!is_hit("/c").await);
}

/// A keyset file of the public halves.
fn write_keyset(file: &Path, keys: &[&SigningKey]) {
    let keyset = Keyset::new(keys.iter().map(|key| key.public())).unwrap();
    std::fs::write(file, keyset.to_json()).unwrap();
}

#[tokio::test]
async fn countries_are_read_anew() {
    let origin = object_origin(pattern(10)).await;
    let files = tempfile::tempdir().unwrap();
    let (keyset, geoip) = (
        files.path().join("keyset.json"),
        files.path().join("a.mmdb"),
    );
    let key = SigningKey::generate("k").unwrap();
    write_keyset(&keyset, &[&key]);
    let write = |country: &str| {
        let networks = [(Ipv4Addr::new(127, 0, 0, 0), 8, country)];
        std::fs::write(&geoip, mmdb::countries(&networks)).unwrap();
    };
    write("SE");
    let edge = edge(origin.address, |config| {
        config.keyset = KeysetSource::File(keyset.clone());
        config.watch = Duration::ZERO;
    })
    .await;
    let target = carrying(&key, &listening().country("SE".parse().unwrap()));
    let mut client = edge.plain().await;
    let mut status = async || client.get(&target, &[]).await.status;
    assert_eq!(status().await, 403, "nobody knows where it is");
    let mut config = edge.handle.config();
    config.geoip = Some(geoip.clone());
    edge.reload(config.clone()).await.unwrap();
    assert_eq!(status().await, 200);
    write("NO");
    edge.reload(config.clone()).await.unwrap();
    assert_eq!(status().await, 403);
    // A file that is none is refused, and the last one goes on.
    write("SE");
    edge.reload(config.clone()).await.unwrap();
    std::fs::write(&geoip, "no database").unwrap();
    let error = edge.reload(config.clone()).await.unwrap_err().to_string();
    assert!(error.contains("a.mmdb"), "{error}");
    assert_eq!(status().await, 200);
    config.geoip = None;
    edge.reload(config).await.unwrap();
    assert_eq!(status().await, 403);
}

#[tokio::test]
async fn the_key_that_renews_is_rotated() {
    let origin = object_origin(pattern(10)).await;
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str| files.path().join(name);
    let [first, second, stranger] =
        ["first", "second", "stranger"].map(|kid| SigningKey::generate(kid).unwrap());
    write_keyset(&file("keyset"), &[&first, &second]);
    let put = |key: &SigningKey| std::fs::write(file("renewal"), key.to_json().unwrap()).unwrap();
    put(&first);
    let edge = edge(origin.address, |config| {
        config.keyset = KeysetSource::File(file("keyset"));
        config.renewal_key = Some(file("renewal"));
        config.watch = Duration::ZERO;
    })
    .await;
    let claims = listening().renewal(Renewal::new(RenewalKind::Header, 3600));
    let target = carrying(&first, &claims);
    let mut client = edge.plain().await;
    let mut signed_by = async || {
        let got = client.get(&target, &[]).await;
        assert_eq!(got.status, StatusCode::OK);
        let renewed = got.header("cta-common-access-token")?.to_owned();
        Some(tokens::inspect(&renewed).unwrap().kid)
    };
    let of_first = signed_by().await.unwrap();
    put(&second);
    let config = edge.handle.config();
    edge.reload(config.clone()).await.unwrap();
    let of_second = signed_by().await.unwrap();
    assert_ne!(of_first, of_second);
    // What nobody would take isn't signed with.
    put(&stranger);
    let error = edge.reload(config.clone()).await.unwrap_err().to_string();
    assert!(error.contains("renewal-key"), "{error}");
    assert_eq!(signed_by().await.unwrap(), of_second);
    let mut without = config;
    without.renewal_key = None;
    edge.reload(without).await.unwrap();
    assert_eq!(signed_by().await, None);
}

#[tokio::test]
async fn counters_go_on() {
    let origin = object_origin(pattern(10)).await;
    let edge = edge(origin.address, |_| {}).await;
    let mut client = edge.plain().await;
    for n in 0..3 {
        client.get(&format!("/{n}"), &[]).await;
    }
    let counts = async || {
        let url = origin.address;
        let attempts = format!("segue_edge_upstream_attempts_total{{upstream=\"{url}\"}}");
        let opened = format!("segue_edge_upstream_opened_total{{upstream=\"{url}\"}}");
        let hits = "segue_edge_requests_total{protocol=\"h1\",outcome=\"miss\"}";
        let (attempts, opened) = (edge.metric(&attempts).await, edge.metric(&opened).await);
        (attempts, opened, edge.metric(hits).await)
    };
    let (attempts, opened, misses) = counts().await;
    assert_eq!((attempts, misses), (3, 3));
    let mut config = edge.handle.config();
    config.upstream_limits.connections = 7;
    edge.reload(config).await.unwrap();
    assert_eq!(counts().await, (attempts, opened, misses));
    client.get("/3", &[]).await;
    assert_eq!(counts().await, (4, opened + 1, 4));
}
