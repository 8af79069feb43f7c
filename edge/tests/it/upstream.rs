//! Upstreams that misbehave: what clients notice of it, and what the upstreams do.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use edge::{
    Config,
    metrics::Metrics,
    upstream::{Lookup, Upstreams, config::Origin},
};
use http::StatusCode;
use parking_lot::Mutex;

use crate::{
    moody_origin::{Mood, Moody},
    support::{Edge, answer, edge, origin, pattern},
};

const SECOND: Duration = Duration::from_secs(1);

/// An edge in front of several origins, named a, b, c.
async fn edge_of(origins: &[&Moody], adjust: impl FnOnce(&mut Config)) -> Edge {
    edge(origins[0].address, |config| {
        config.upstream.clear();
        config.upstreams.origins = origins
            .iter()
            .zip(["a", "b", "c"])
            .map(|(moody, name)| Origin {
                name: Some(name.into()),
                ..Origin::from(moody.url().as_str())
            })
            .collect();
        adjust(config);
    })
    .await
}

/// Never opens the breaker, so that other things can be seen.
fn patient(config: &mut Config) {
    config.upstreams.breaker.failures = 1_000_000;
    config.upstreams.breaker.min_requests = 1_000_000;
}

/// Opens the breaker at once, and for this long.
fn touchy(config: &mut Config, open: Duration) {
    let breaker = &mut config.upstreams.breaker;
    breaker.failing_for = Duration::ZERO;
    (breaker.open, breaker.open_max) = (open, open);
}

/// Waits until `done`, at most twenty seconds.
async fn until<F: Future<Output = bool>>(what: &str, done: impl Fn() -> F) {
    let begun = Instant::now();
    while !done().await {
        assert!(begun.elapsed() < 20 * SECOND, "{what} never happened");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn status(edge: &Edge, target: &str) -> StatusCode {
    edge.plain().await.get(target, &[]).await.status
}

#[tokio::test]
async fn a_dead_origin_costs_no_client_anything_and_is_left_alone() {
    let (a, b, dead) = (
        Moody::new("a").await,
        Moody::new("b").await,
        Moody::new("c").await,
    );
    let edge = edge_of(&[&a, &b, &dead], |config| {
        touchy(config, 60 * SECOND);
    })
    .await;
    drop(dead);
    for n in 0..60 {
        assert_eq!(status(&edge, &format!("/{n}")).await, StatusCode::OK);
    }
    assert_eq!(a.asked() + b.asked(), 60);
    assert!(
        a.asked() > 10 && b.asked() > 10,
        "{} {}",
        a.asked(),
        b.asked()
    );
    let breaker = "segue_edge_upstream_breaker{upstream=\"c\"}";
    assert_eq!(edge.metric(breaker).await, 2);
    let attempts = "segue_edge_upstream_attempts_total{upstream=\"c\"}";
    assert_eq!(edge.metric(attempts).await, 5, "then its breaker opened");
    let faults = "segue_edge_upstream_faults_total{upstream=\"c\",fault=\"connect\"}";
    assert_eq!(edge.metric(faults).await, 5);
}

#[tokio::test]
async fn retries_stay_within_a_tenth_of_the_requests() {
    let (a, b) = (Moody::new("a").await, Moody::new("b").await);
    a.be(Mood::Resets);
    b.be(Mood::Resets);
    let edge = edge_of(&[&a, &b], patient).await;
    let mut client = edge.plain().await;
    let requests = 200;
    for n in 0..requests {
        let got = client.get(&format!("/{n}"), &[]).await;
        assert_eq!(got.status, StatusCode::BAD_GATEWAY);
    }
    let asked = a.asked() + b.asked();
    assert!(asked > requests, "nothing was retried");
    assert!(asked <= requests + requests / 10 + 10, "{asked}");
    // What can't be repeated isn't.
    let before = a.asked() + b.asked();
    let post = client.send("POST", "/", &[], "x").await.unwrap();
    assert_eq!(post.status, StatusCode::BAD_GATEWAY);
    assert_eq!(a.asked() + b.asked(), before + 1);
}

#[tokio::test]
async fn a_reset_is_made_good_by_another_try() {
    let (a, b) = (Moody::new("a").await, Moody::new("b").await);
    a.be(Mood::Resets);
    let edge = edge_of(&[&a, &b], |_| {}).await;
    for n in 0..20 {
        assert_eq!(status(&edge, &format!("/{n}")).await, StatusCode::OK);
    }
    assert_eq!(b.asked(), 20);
    let retried = edge
        .metric("segue_edge_upstream_retried_total{upstream=\"b\"}")
        .await;
    assert_eq!(retried, a.asked() as u64);
}

#[tokio::test]
async fn with_the_breaker_open_everything_cached_plays_on() {
    let origin = Moody::new("body").await;
    let address = origin.address;
    let edge = edge(address, |config| {
        touchy(config, Duration::from_millis(400));
    })
    .await;
    for n in 0..10 {
        assert_eq!(status(&edge, &format!("/stale/{n}")).await, StatusCode::OK);
        assert_eq!(status(&edge, &format!("/kept/{n}")).await, StatusCode::OK);
    }
    drop(origin);
    for n in 0..6 {
        let gone = status(&edge, &format!("/unknown/{n}")).await;
        assert!(gone.is_server_error(), "{gone}");
    }
    let breaker = format!("segue_edge_upstream_breaker{{upstream=\"{address}\"}}");
    assert!(edge.metric(&breaker).await > 0);
    let begun = Instant::now();
    let mut client = edge.plain().await;
    for round in 0..3 {
        for n in 0..10 {
            for kind in ["stale", "kept"] {
                let got = client.get(&format!("/{kind}/{n}"), &[]).await;
                assert_eq!(got.status, StatusCode::OK, "{kind} {n}, round {round}");
                assert_eq!(got.text(), "body");
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(begun.elapsed() < 10 * SECOND);
    let _back = Moody::at(address, "again").await;
    until("the breaker closing", || async {
        status(&edge, "/new").await == StatusCode::OK && edge.metric(&breaker).await == 0
    })
    .await;
}

#[tokio::test]
async fn an_overloaded_origin_says_so_and_is_spared() {
    let origin = Moody::new("body").await;
    origin.be(Mood::Overloaded);
    let edge = edge(origin.address, |config| {
        touchy(config, 60 * SECOND);
    })
    .await;
    for n in 0..40 {
        assert_eq!(
            status(&edge, &format!("/{n}")).await,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
    assert_eq!(
        origin.asked(),
        20,
        "half of twenty requests open the breaker"
    );
}

#[tokio::test]
async fn a_slow_origin_is_hedged_within_the_budget_and_the_loser_cancelled() {
    let (a, b) = (Moody::new("a").await, Moody::new("b").await);
    let edge = edge_of(&[&a, &b], |config| {
        config.upstreams.hedge.min_delay = Duration::from_millis(50);
        patient(config);
    })
    .await;
    let mut client = edge.plain().await;
    for n in 0..300 {
        client.get(&format!("/{n}"), &[]).await;
    }
    a.be(Mood::Slow(30 * SECOND));
    for n in 0..12 {
        let begun = Instant::now();
        let got = client.get(&format!("/slow/{n}"), &[]).await;
        assert_eq!(got.text(), "b");
        assert!(begun.elapsed() < 10 * SECOND, "{:?}", begun.elapsed());
    }
    let hedged = edge
        .metric("segue_edge_upstream_hedged_total{upstream=\"b\"}")
        .await;
    let won = edge
        .metric("segue_edge_upstream_hedges_won_total{upstream=\"b\"}")
        .await;
    assert!(hedged > 0 && hedged <= 11, "{hedged}");
    assert_eq!(won, hedged);
    until("the slower request's end", || async {
        a.abandoned() as u64 == hedged
    })
    .await;
}

#[tokio::test]
async fn what_must_not_be_repeated_is_not_hedged() {
    let (a, b) = (Moody::new("a").await, Moody::new("b").await);
    let edge = edge_of(&[&a, &b], |config| {
        config.upstreams.hedge.min_delay = Duration::from_millis(1);
    })
    .await;
    let mut client = edge.plain().await;
    for n in 0..300 {
        client.get(&format!("/{n}"), &[]).await;
    }
    let before = a.asked() + b.asked();
    a.be(Mood::Slow(Duration::from_millis(300)));
    b.be(Mood::Slow(Duration::from_millis(300)));
    for method in ["POST", "DELETE", "PUT"] {
        client.send(method, "/x", &[], "").await.unwrap();
    }
    assert_eq!(a.asked() + b.asked(), before + 3);
}

#[tokio::test]
async fn an_origin_that_never_answers_times_out_and_another_is_asked() {
    let (mute, b) = (Moody::new("a").await, Moody::new("b").await);
    mute.be(Mood::Silent);
    let quick = |config: &mut Config| {
        config.upstream_limits.first_byte = Duration::from_millis(300);
    };
    let two = edge_of(&[&mute, &b], quick).await;
    for n in 0..8 {
        assert_eq!(status(&two, &format!("/{n}")).await, StatusCode::OK);
    }
    let one = edge(mute.address, quick).await;
    assert_eq!(status(&one, "/").await, StatusCode::GATEWAY_TIMEOUT);
    let timeouts = format!(
        "segue_edge_upstream_faults_total{{upstream=\"{}\",fault=\"timeout\"}}",
        mute.address
    );
    assert_eq!(one.metric(&timeouts).await, 1);
}

#[tokio::test]
async fn every_phase_has_its_deadline() {
    // Accepts, and says nothing: neither TLS nor HTTP/2 ever begins.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = mute.local_addr().unwrap();
    let edge = edge(address, |config| {
        config.upstream = format!("https://{address}");
        config.upstream_limits.tls = Duration::from_millis(200);
    })
    .await;
    let begun = Instant::now();
    assert_eq!(status(&edge, "/").await, StatusCode::GATEWAY_TIMEOUT);
    assert!(begun.elapsed() < 4 * SECOND, "{:?}", begun.elapsed());

    let stalling = Moody::new("half").await;
    stalling.be(Mood::Stalls);
    let edge = self::edge(stalling.address, |config| {
        config.upstream_limits.stall = Duration::from_millis(200);
    })
    .await;
    let begun = Instant::now();
    let cut = edge.plain().await.send("GET", "/", &[], "").await;
    assert!(cut.is_err(), "{cut:?}");
    assert!(begun.elapsed() < 10 * SECOND, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn requests_beyond_connections_and_queue_fail_at_once() {
    let origin = Moody::new("body").await;
    origin.be(Mood::Held);
    let edge = edge(origin.address, |config| {
        config.upstream_limits.connections = 2;
        config.upstream_limits.waiters = 3;
        config.upstream_limits.queue = 60 * SECOND;
        patient(config);
    })
    .await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..9 {
        let mut client = edge.plain().await;
        tasks.spawn(async move { client.get(&format!("/{n}"), &[]).await.status });
    }
    for _ in 0..4 {
        let refused = tasks.join_next().await.unwrap().unwrap();
        assert_eq!(refused, StatusCode::SERVICE_UNAVAILABLE);
    }
    origin.release(9);
    while let Some(served) = tasks.join_next().await {
        assert_eq!(served.unwrap(), StatusCode::OK);
    }
    assert_eq!((origin.asked(), origin.connections()), (5, 2));
}

#[tokio::test]
async fn checks_take_an_origin_down_and_bring_it_back() {
    let (a, b) = (Moody::new("a").await, Moody::new("b").await);
    let edge = edge_of(&[&a, &b], |config| {
        let health = &mut config.upstreams.health;
        health.path = Some("/healthz".into());
        health.interval = Duration::from_millis(50);
        patient(config);
    })
    .await;
    let up = "segue_edge_upstream_up{upstream=\"a\"}";
    a.be(Mood::Overloaded);
    until("its being down", || async { edge.metric(up).await == 0 }).await;
    let before = a.asked();
    for n in 0..20 {
        assert_eq!(status(&edge, &format!("/{n}")).await, StatusCode::OK);
    }
    assert_eq!((a.asked(), b.asked()), (before, 20));
    a.be(Mood::Well);
    until("its being up", || async { edge.metric(up).await == 1 }).await;
    for n in 0..40 {
        status(&edge, &format!("/again/{n}")).await;
    }
    assert!(a.asked() > before);
    // Where checks call everything down, they may be wrong.
    a.be(Mood::Overloaded);
    b.be(Mood::Overloaded);
    let both = "segue_edge_upstream_up{upstream=\"b\"}";
    until("both being down", || async {
        edge.metric(up).await + edge.metric(both).await == 0
    })
    .await;
    let before = a.asked() + b.asked();
    status(&edge, "/down").await;
    assert_eq!(a.asked() + b.asked(), before + 1);
}

#[tokio::test]
async fn backups_are_asked_only_where_nothing_else_is_up() {
    let (a, backup) = (Moody::new("a").await, Moody::new("backup").await);
    let edge = edge_of(&[&a, &backup], |config| {
        config.upstreams.origins[1].backup = true;
    })
    .await;
    let mut client = edge.plain().await;
    for n in 0..20 {
        assert_eq!(client.get(&format!("/{n}"), &[]).await.text(), "a");
    }
    drop(a);
    for n in 0..20 {
        assert_eq!(client.get(&format!("/b/{n}"), &[]).await.text(), "backup");
    }
}

#[tokio::test]
async fn many_requests_share_one_http2_connection() {
    use http_body_util::BodyExt;
    let object = pattern(900_000);
    let served = object.clone();
    let origin = origin(move |request| {
        let object = served.clone();
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let body = if body.is_empty() { object } else { body };
            answer(200, &[("cache-control", "no-store")], body)
        }
    })
    .await;
    // An edge is an HTTP/2 server: once over TLS by ALPN, once in the clear by prior knowledge.
    let inner = edge(origin.address, |_| {}).await;
    let https = format!("https://localhost:{}", inner.https().port());
    let ca = inner.path("dev-cert.pem");
    let tls = edge(origin.address, |config| {
        config.upstream = https;
        config.upstream_ca = Some(ca);
    })
    .await;
    let h2c = format!("h2c://{}", inner.http());
    let clear = edge(origin.address, |config| config.upstream = h2c).await;
    for (n, outer) in [&tls, &clear].into_iter().enumerate() {
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..40 {
            let mut client = outer.plain().await;
            tasks.spawn(async move { client.get(&format!("/{n}/{i}"), &[]).await });
        }
        while let Some(got) = tasks.join_next().await {
            let got = got.unwrap();
            assert_eq!(got.status, StatusCode::OK);
            assert!(got.body == object);
        }
        let opened = outer.metric("segue_edge_upstream_connections_total").await;
        assert_eq!(opened, 1, "of {n}");
        let body = pattern(300_000);
        let sent = body.clone();
        let posted = outer
            .plain()
            .await
            .send("POST", "/", &[], sent)
            .await
            .unwrap();
        assert!(posted.body == body);
    }
    let connections = "segue_edge_connections_total{protocol=\"h2\"}";
    assert_eq!(inner.metric(connections).await, 2);
}

#[tokio::test]
async fn an_http2_upstream_is_asked_for_trailers_and_their_fields_reach_who_takes_them() {
    let origin = origin(|request| async move {
        use http_body_util::BodyExt;
        let asked = request.headers().get("te").cloned();
        let trailers = http::HeaderMap::from_iter(
            asked.map(|te| (http::HeaderName::from_static("x-asked"), te)),
        );
        let body = http_body_util::Full::new(bytes::Bytes::from_static(b"body"))
            .map_err(|e| match e {})
            .with_trailers(async move { Some(Ok(trailers)) });
        http::Response::builder()
            .header("cache-control", "no-store")
            .body(body.boxed())
            .unwrap()
    })
    .await;
    let address = origin.address;
    let edge = edge(address, |config| {
        config.upstream = format!("h2c://{address}")
    })
    .await;
    // Whoever asks: what an upstream answers can't depend on it.
    for mut client in [edge.h2().await, edge.h3().await] {
        let got = client.send("POST", "/", &[], "x").await.unwrap();
        assert_eq!((got.status, &got.body[..]), (StatusCode::OK, &b"body"[..]));
        assert_eq!(got.trailer("x-asked"), Some("trailers"));
    }
}

#[tokio::test]
async fn an_http2_connection_takes_no_more_streams_than_allowed() {
    let origin = Moody::new("body").await;
    let inner = edge(origin.address, |_| {}).await;
    let h2c = format!("h2c://{}", inner.http());
    let outer = edge(origin.address, |config| {
        config.upstream = h2c;
        config.upstream_limits.streams = 4;
    })
    .await;
    origin.be(Mood::Held);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..10 {
        let mut client = outer.plain().await;
        tasks.spawn(async move { client.get(&format!("/{n}"), &[]).await.status });
    }
    until("ten requests", || async { origin.asked() == 10 }).await;
    assert_eq!(
        outer.metric("segue_edge_upstream_connections_total").await,
        3
    );
    origin.release(10);
    while let Some(status) = tasks.join_next().await {
        assert_eq!(status.unwrap(), StatusCode::OK);
    }
}

#[tokio::test]
async fn an_http2_upstream_that_restarts_costs_no_request() {
    let origin = origin(|_| async { answer(200, &[("cache-control", "no-store")], "ok") }).await;
    let inner = edge(origin.address, |_| {}).await;
    let address = inner.http();
    let outer = edge(origin.address, |config| {
        config.upstream = format!("h2c://{address}");
    })
    .await;
    assert_eq!(status(&outer, "/1").await, StatusCode::OK);
    inner.drain();
    inner.ended().await;
    let _again = edge(origin.address, |config| config.http = Some(address)).await;
    assert_eq!(status(&outer, "/2").await, StatusCode::OK);
}

#[tokio::test]
async fn an_edge_that_is_its_own_origin_notices() {
    let relay = crate::relay::Relay::new().await;
    let edge = edge(relay.address, |_| {}).await;
    relay.point_at(Some(edge.http()));
    assert_eq!(status(&edge, "/").await, StatusCode::LOOP_DETECTED);
}

/// A name whose address tests change.
struct Zone(Mutex<Option<SocketAddr>>);

impl Lookup for Zone {
    fn lookup(
        &self,
        _: &str,
        _: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> {
        let answer = *self.0.lock();
        Box::pin(async move {
            let address = answer.ok_or_else(|| io::Error::other("SERVFAIL"))?;
            Ok(vec![address])
        })
    }
}

#[tokio::test]
async fn a_name_that_moves_is_followed_and_a_lost_one_kept() {
    use edge::exchange::{RequestBody, Upstream};
    use http_body_util::BodyExt;
    let (a, b) = (Moody::new("a").await, Moody::new("b").await);
    let zone = Arc::new(Zone(Mutex::new(Some(a.address))));
    let mut config = Config {
        upstream: "http://origin.test".into(),
        ..Config::default()
    };
    config.upstreams.dns.interval = Duration::from_millis(30);
    let lookup = Arc::clone(&zone) as Arc<dyn Lookup>;
    let upstreams = Upstreams::open_with(&config, Arc::new(Metrics::default()), lookup)
        .await
        .unwrap();
    let ask = || async {
        let mut request = http::Request::new(RequestBody::Empty);
        *request.uri_mut() = "/".parse().unwrap();
        let response = upstreams.fetch(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    };
    assert_eq!(ask().await, "a");
    *zone.0.lock() = None;
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(ask().await, "a", "though the name is not found any more");
    *zone.0.lock() = Some(b.address);
    until("its being followed", || async { ask().await == "b" }).await;
    // Also the kept connection to the old address is given up.
    for _ in 0..5 {
        assert_eq!(ask().await, "b");
    }
}
