//! Freshness, validation, variants, invalidation and purging, as clients see them.

use std::time::Duration;

use edge::{
    exchange::{Purge, PurgeMode, RequestBody, Service as _},
    serve::Settings,
};
use http::Method;
use http_body_util::{BodyExt as _, Full};

use crate::fake_origin::{Origin, Resource, edge, edge_with, get, pattern, read, request, until};

#[tokio::test]
async fn a_hit_tells_its_age_and_status() {
    let origin = Origin::new();
    origin.put(
        "/a",
        Resource::new(
            "x",
            &[
                ("cache-control", "max-age=60"),
                ("age", "20"),
                ("connection", "x-hop"),
                ("x-hop", "1"),
            ],
        ),
    );
    let settings = Settings {
        host_in_key: true,
        ..Settings::default()
    };
    let edge = edge_with(&origin, settings).await;
    let miss = get(
        &edge,
        "/a",
        &[
            ("connection", "x-mine"),
            ("x-mine", "1"),
            ("te", "trailers"),
        ],
    )
    .await;
    assert!(
        miss.field("cache-status")
            .starts_with("Segue; fwd=uri-miss; fwd-status=200; ttl=")
    );
    assert!(
        miss.field("cache-status")
            .ends_with("; stored; key=\"cdn.example/a\"")
    );
    assert_eq!(miss.facts.outcome.as_str(), "miss");
    let hit = get(&edge, "/a", &[]).await;
    assert_eq!(
        (
            hit.field("age"),
            hit.field("x-hop"),
            hit.field("content-length")
        ),
        ("20", "", "1")
    );
    let ttl: u32 = hit
        .field("cache-status")
        .strip_prefix("Segue; hit; ttl=")
        .unwrap()
        .strip_suffix("; key=\"cdn.example/a\"")
        .unwrap()
        .parse()
        .unwrap();
    assert!((38..=40).contains(&ttl));
    let seen = &origin.seen()[0];
    assert!(!seen.headers.contains_key("x-mine") && !seen.headers.contains_key("te"));
    assert_eq!(
        (&seen.headers["via"], &seen.headers["host"]),
        (&"2 Segue".parse().unwrap(), &"cdn.example".parse().unwrap())
    );
}

#[tokio::test]
async fn a_304_freshens_and_keeps_the_bytes() {
    let origin = Origin::new();
    origin.put(
        "/a",
        Resource::new(
            pattern(9, 1),
            &[
                ("cache-control", "max-age=0"),
                ("etag", "\"1\""),
                ("x", "old"),
            ],
        ),
    );
    let edge = edge(&origin).await;
    get(&edge, "/a", &[]).await;
    origin.put(
        "/a",
        Resource::new(
            pattern(9, 2),
            &[
                ("cache-control", "max-age=60"),
                ("etag", "\"1\""),
                ("x", "new"),
            ],
        ),
    );
    let got = get(&edge, "/a", &[]).await;
    assert_eq!((got.field("x"), got.bytes()), ("new", &pattern(9, 1)));
    assert_eq!(got.facts.outcome.as_str(), "revalidated");
    assert!(get(&edge, "/a", &[]).await.is_hit());
    assert_eq!(origin.asked(), 2);
}

#[tokio::test]
async fn a_client_that_has_it_is_told_so() {
    let origin = Origin::new();
    origin.put("/a", Resource::immutable(pattern(9, 1), "\"1\""));
    let edge = edge(&origin).await;
    for _ in 0..2 {
        let got = get(&edge, "/a", &[("if-none-match", "\"1\"")]).await;
        assert_eq!(
            (got.status.as_u16(), got.field("etag"), got.bytes().len()),
            (304, "\"1\"", 0)
        );
    }
    assert_eq!(
        get(&edge, "/a", &[("if-none-match", "\"2\"")])
            .await
            .bytes()
            .len(),
        9
    );
    assert_eq!(origin.asked(), 1);
}

#[tokio::test]
async fn a_dead_origin_does_not_stop_what_is_cached() {
    let origin = Origin::new();
    origin.put(
        "/a",
        Resource::new("x", &[("cache-control", "max-age=0"), ("etag", "\"1\"")]),
    );
    origin.put(
        "/strict",
        Resource::new(
            "x",
            &[
                ("cache-control", "max-age=0, must-revalidate"),
                ("etag", "\"1\""),
            ],
        ),
    );
    let edge = edge(&origin).await;
    get(&edge, "/a", &[]).await;
    get(&edge, "/strict", &[]).await;
    origin.die();
    let got = get(&edge, "/a", &[]).await;
    assert_eq!(
        (got.bytes().as_ref(), got.facts.outcome.as_str()),
        (&b"x"[..], "stale")
    );
    // For a moment it isn't even asked again.
    let asked = origin.asked();
    assert_eq!(get(&edge, "/a", &[]).await.bytes().as_ref(), b"x");
    assert_eq!(origin.asked(), asked);
    assert_eq!(get(&edge, "/strict", &[]).await.status, 502);
    assert_eq!(get(&edge, "/unknown", &[]).await.status, 502);
}

#[tokio::test]
async fn a_server_error_does_not_replace_what_is_cached() {
    let origin = Origin::new();
    origin.put(
        "/a",
        Resource::new(
            "x",
            &[
                ("cache-control", "max-age=0, stale-if-error=60"),
                ("etag", "\"1\""),
            ],
        ),
    );
    let edge = edge(&origin).await;
    get(&edge, "/a", &[]).await;
    let mut broken = Resource::new("broken", &[("cache-control", "max-age=60")]);
    broken.status = http::StatusCode::SERVICE_UNAVAILABLE;
    origin.put("/a", broken);
    assert_eq!(get(&edge, "/a", &[]).await.bytes().as_ref(), b"x");
}

#[tokio::test]
async fn stale_while_revalidate_does_both() {
    let origin = Origin::new();
    let fields = |x| {
        [
            ("cache-control", "max-age=0, stale-while-revalidate=60"),
            ("etag", x),
        ]
    };
    origin.put("/a", Resource::new("1", &fields("\"1\"")));
    let edge = edge(&origin).await;
    get(&edge, "/a", &[]).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    origin.put("/a", Resource::new("2", &fields("\"2\"")));
    assert_eq!(get(&edge, "/a", &[]).await.bytes().as_ref(), b"1");
    until("revalidation", || origin.asked() == 2).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(get(&edge, "/a", &[]).await.bytes().as_ref(), b"2");
}

#[tokio::test]
async fn variants_stay_apart() {
    let origin = Origin::new();
    for (encoding, body) in [("gzip", "zipped"), ("br", "brotli")] {
        let fields = [
            ("cache-control", "max-age=60"),
            ("vary", "accept-encoding"),
            ("content-encoding", encoding),
        ];
        origin.put("/a", Resource::new(body, &fields));
        let edge = edge(&origin).await;
        assert_eq!(
            get(&edge, "/a", &[("accept-encoding", encoding)])
                .await
                .bytes(),
            body
        );
    }
    let edge = edge(&origin).await;
    get(&edge, "/a", &[("accept-encoding", "br")]).await;
    assert!(
        get(&edge, "/a", &[("accept-encoding", "BR;q=1.0")])
            .await
            .is_hit()
    );
    let got = get(&edge, "/a", &[("accept-encoding", "gzip")]).await;
    assert!(got.field("cache-status").contains("fwd=vary-miss"));
    assert!(
        get(&edge, "/a", &[("accept-encoding", "br")])
            .await
            .is_hit()
    );
}

#[tokio::test]
async fn a_change_forgets_what_it_changed() {
    let origin = Origin::new();
    for path in ["/a", "/b"] {
        origin.put(path, Resource::new("x", &[("cache-control", "max-age=60")]));
    }
    let edge = edge(&origin).await;
    get(&edge, "/a", &[]).await;
    get(&edge, "/b", &[]).await;
    origin.put("/form", Resource::new("done", &[("location", "b")]));
    for (target, hit) in [("/a", false), ("/form", true)] {
        let mut post = request(Method::POST, target, &[]);
        let body = Full::new("hello".into())
            .map_err(|never| match never {})
            .boxed_unsync();
        post.body = RequestBody::Stream { body, len: Some(5) };
        assert_eq!(read(edge.serve(post).await).await.status, 200);
        assert_eq!(origin.seen().last().unwrap().body.as_ref(), b"hello");
        assert_eq!(get(&edge, "/b", &[]).await.is_hit(), target == "/a");
        assert!(!get(&edge, "/a", &[]).await.is_hit() || hit);
    }
}

#[tokio::test]
async fn purges_are_in_force_at_once() {
    let origin = Origin::new();
    let fields = [
        ("cache-control", "max-age=60"),
        ("etag", "\"1\""),
        ("surrogate-key", "track/1 album/2"),
    ];
    origin.put("/m/a?b", Resource::new("x", &fields));
    let edge = edge(&origin).await;
    get(&edge, "/m/a?b", &[]).await;
    for purge in [
        Purge::Url("/m/a".into()),
        Purge::Prefix("/n".into()),
        Purge::SurrogateKey("track/2".into()),
    ] {
        edge.purge(purge.clone(), PurgeMode::Hard).await.unwrap();
        assert!(get(&edge, "/m/a?b", &[]).await.is_hit(), "{purge:?}");
    }
    for purge in [
        Purge::Url("/m/a?b".into()),
        Purge::Prefix("/m/".into()),
        Purge::SurrogateKey("album/2".into()),
        Purge::All,
    ] {
        edge.purge(purge.clone(), PurgeMode::Hard).await.unwrap();
        let got = get(&edge, "/m/a?b", &[]).await;
        assert_eq!(got.facts.outcome.as_str(), "miss", "{purge:?}");
        assert!(get(&edge, "/m/a?b", &[]).await.is_hit());
        edge.purge(purge, PurgeMode::Soft).await.unwrap();
        assert_eq!(
            get(&edge, "/m/a?b", &[]).await.facts.outcome.as_str(),
            "revalidated"
        );
        assert!(get(&edge, "/m/a?b", &[]).await.is_hit());
    }
}

#[tokio::test]
async fn only_if_cached_asks_nobody() {
    let origin = Origin::new();
    let edge = edge(&origin).await;
    assert_eq!(
        get(&edge, "/a", &[("cache-control", "only-if-cached")])
            .await
            .status,
        504
    );
    assert_eq!(origin.asked(), 0);
}

#[tokio::test]
async fn fields_named_private_go_to_the_first_asker_only() {
    let origin = Origin::new();
    origin.put(
        "/a",
        Resource::new(
            "x",
            &[
                ("cache-control", "max-age=60, private=\"x-mine\""),
                ("x-mine", "1"),
            ],
        ),
    );
    let edge = edge(&origin).await;
    assert_eq!(get(&edge, "/a", &[]).await.field("x-mine"), "1");
    let hit = get(&edge, "/a", &[]).await;
    assert!(hit.is_hit() && hit.field("x-mine").is_empty());
}
