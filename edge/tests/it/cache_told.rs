//! `Cache-Status` (RFC 9211): what clients are told of each way a request can go.

use edge::serve::Settings;
use http::{Method, StatusCode};

use crate::fake_origin::{Origin, Resource, edge, edge_with, get, read, request};

/// A response with these fields.
fn resource(cc: &str, more: &[(&'static str, &str)]) -> Resource {
    Resource::new("x", &[&[("cache-control", cc)], more].concat())
}

/// The member without its `ttl`, which depends on the clock.
fn told(got: &crate::fake_origin::Got) -> String {
    let parts = got.field("cache-status").split("; ");
    let parts = parts.filter(|part| !part.starts_with("ttl="));
    parts.collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn every_way_is_told() {
    use edge::exchange::Service as _;
    let origin = Origin::new();
    let edge = edge(&origin).await;
    let etag = [("etag", "\"1\"")];
    origin.put("/a", resource("max-age=60", &etag));
    origin.put("/stale", resource("max-age=0", &etag));
    origin.put("/strict", resource("max-age=0, must-revalidate", &etag));
    origin.put(
        "/swr",
        resource("max-age=0, stale-while-revalidate=60", &etag),
    );
    origin.put("/secret", resource("no-store", &etag));
    origin.put("/vary", resource("max-age=60", &[("vary", "x-kind")]));
    let plain: &[(&'static str, &str)] = &[];
    for (target, fields, expected) in [
        ("/a", plain, "fwd=uri-miss; fwd-status=200; stored"),
        ("/a", plain, "hit"),
        (
            "/a",
            &[("cache-control", "no-cache")],
            "fwd=request; fwd-status=304; stored",
        ),
        ("/a", &[("if-match", "\"1\"")], "fwd=bypass; fwd-status=200"),
        ("/stale", plain, "fwd=uri-miss; fwd-status=200; stored"),
        ("/stale", plain, "fwd=stale; fwd-status=304; stored"),
        ("/swr", plain, "fwd=uri-miss; fwd-status=200; stored"),
        ("/swr", plain, "hit; detail=stale-while-revalidate"),
        (
            "/secret",
            plain,
            "fwd=uri-miss; fwd-status=200; detail=no-store",
        ),
        (
            "/vary",
            &[("x-kind", "1")],
            "fwd=uri-miss; fwd-status=200; stored",
        ),
        (
            "/vary",
            &[("x-kind", "2")],
            "fwd=vary-miss; fwd-status=200; stored",
        ),
        (
            "/none",
            &[("cache-control", "only-if-cached")],
            "fwd=uri-miss; detail=only-if-cached",
        ),
        ("/strict", plain, "fwd=uri-miss; fwd-status=200; stored"),
    ] {
        let got = get(&edge, target, fields).await;
        let key = match got.status {
            StatusCode::GATEWAY_TIMEOUT => String::new(),
            _ => format!("; key=\"{target}\""),
        };
        assert_eq!(told(&got), format!("Segue; {expected}{key}"), "{target}");
    }
    let got = read(edge.serve(request(Method::DELETE, "/a", &[])).await).await;
    assert_eq!(told(&got), "Segue; fwd=method; fwd-status=200; key=\"/a\"");

    origin.die();
    for (target, expected) in [
        (
            "/stale",
            "Segue; fwd=stale; detail=stale-if-error; key=\"/stale\"",
        ),
        (
            "/stale",
            "Segue; hit; detail=stale-if-error; key=\"/stale\"",
        ),
        ("/strict", "Segue; fwd=stale; detail=upstream-connect"),
    ] {
        assert_eq!(told(&get(&edge, target, &[]).await), expected, "{target}");
    }
}

#[tokio::test]
async fn a_part_that_is_missing_is_told() {
    let origin = Origin::new();
    let fields = [("cache-control", "max-age=60"), ("etag", "W/\"1\"")];
    origin.put("/a", Resource::new(vec![0; 20_000], &fields));
    let settings = Settings {
        slice: 4 << 10,
        ..Settings::default()
    };
    let edge = edge_with(&origin, settings).await;
    get(&edge, "/a", &[("range", "bytes=0-0")]).await;
    let got = get(&edge, "/a", &[("range", "bytes=5000-5000")]).await;
    assert!(told(&got).starts_with("Segue; fwd=partial; fwd-status=206; stored"));
    assert!(
        got.field("cache-status").contains("; ttl=6")
            || got.field("cache-status").contains("; ttl=5")
    );
}

#[tokio::test]
async fn names_share_what_is_stored_unless_the_upstream_sees_them() {
    use edge::exchange::Service as _;
    for host_in_key in [false, true] {
        let origin = Origin::new();
        origin.put("/a", resource("max-age=60", &[]));
        let settings = Settings {
            host_in_key,
            ..Settings::default()
        };
        let edge = edge_with(&origin, settings).await;
        get(&edge, "/a", &[]).await;
        let mut other = request(Method::GET, "/a", &[]);
        other.authority = Some("other.example".parse().unwrap());
        let got = read(edge.serve(other).await).await;
        assert_eq!(got.is_hit(), !host_in_key);
        let seen = origin.seen();
        assert_eq!(seen[0].headers.contains_key("host"), host_in_key);
        let key = if host_in_key { "other.example/a" } else { "/a" };
        assert!(
            got.field("cache-status")
                .ends_with(&format!("; key=\"{key}\""))
        );
    }
}

#[tokio::test]
async fn a_hit_says_what_any_other_answer_says() {
    use edge::exchange::Service as _;
    let origin = Origin::new();
    let edge = edge(&origin).await;
    let fields = [
        ("etag", "\"1\""),
        ("link", "</a>; rel=next"),
        ("link", "</b>; rel=last"),
        ("set-cookie", "a=b"),
        ("x-odd", "a,  b\t\"c\""),
    ];
    for (target, more) in [
        ("/plain", &fields[..]),
        ("/ranges", &[("accept-ranges", "none")]),
        ("/odd", &[("content-range", "bytes 0-0/1")]),
    ] {
        origin.put(target, resource("max-age=60", more));
        get(&edge, target, &[]).await;
        // A HEAD goes the long way.
        let [hit, head] = [Method::GET, Method::HEAD].map(|method| request(method, target, &[]));
        let hit = read(edge.serve(hit).await).await;
        let head = read(edge.serve(head).await).await;
        assert!(hit.is_hit() && head.is_hit(), "{target}");
        assert_eq!(hit.headers, head.headers, "{target}");
    }
}
