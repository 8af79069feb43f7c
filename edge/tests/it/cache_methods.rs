//! What methods other than GET do to the cache, and the cache to them.

use std::sync::Arc;

use edge::exchange::{RequestBody, Service as _};
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full};

use crate::fake_origin::{Got, Origin, Resource, edge, get, pattern, read, request};

/// Sends a request with a body.
async fn send(
    edge: &Arc<edge::serve::Edge>,
    method: &str,
    target: &str,
    fields: &[(&'static str, &str)],
) -> Got {
    let mut request = request(method.parse().unwrap(), target, fields);
    let body = Full::new("hello".into()).map_err(|never| match never {});
    request.body = RequestBody::Stream {
        body: body.boxed_unsync(),
        len: Some(5),
    };
    read(edge.serve(request).await).await
}

async fn head(edge: &Arc<edge::serve::Edge>, target: &str) -> Got {
    read(edge.serve(request(Method::HEAD, target, &[])).await).await
}

#[tokio::test]
async fn a_head_is_answered_from_what_a_get_stored() {
    let origin = Origin::new();
    origin.put("/a", Resource::immutable(pattern(10, 1), "\"1\""));
    let edge = edge(&origin).await;
    // Nothing stored: passed through, and no body is asked for.
    assert_eq!(head(&edge, "/a").await.field("content-length"), "10");
    assert_eq!(origin.seen()[0].method, Method::HEAD);
    get(&edge, "/a", &[]).await;
    let got = head(&edge, "/a").await;
    assert!(got.is_hit() && got.bytes().is_empty());
    assert_eq!(got.field("content-length"), "10");
    assert_eq!(origin.asked(), 2);
}

#[tokio::test]
async fn a_head_renews_what_it_describes_and_drops_what_it_does_not() {
    let stale = |etag, x| {
        let fields = [("cache-control", "max-age=0"), ("etag", etag), ("x", x)];
        Resource::new(pattern(10, 1), &fields)
    };
    let fresh = |etag| {
        let fields = [("cache-control", "max-age=60"), ("etag", etag)];
        Resource::new(pattern(10, 1), &fields)
    };
    let origin = Origin::new();
    let edge = edge(&origin).await;
    origin.put("/a", stale("\"1\"", "kept"));
    get(&edge, "/a", &[]).await;
    origin.put("/a", fresh("\"1\""));
    let got = head(&edge, "/a").await;
    assert_eq!(
        (got.field("x"), got.field("content-length")),
        ("kept", "10")
    );
    assert!(get(&edge, "/a", &[]).await.is_hit());

    origin.put("/b", stale("\"1\"", ""));
    get(&edge, "/b", &[]).await;
    origin.put("/b", fresh("\"2\""));
    head(&edge, "/b").await;
    let got = get(&edge, "/b", &[]).await;
    assert_eq!(got.field("etag"), "\"2\"");
    assert!(
        !origin
            .seen()
            .last()
            .unwrap()
            .headers
            .contains_key("if-none-match")
    );
}

#[tokio::test]
async fn a_post_that_names_its_own_target_answers_gets() {
    let origin = Origin::new();
    let edge = edge(&origin).await;
    let resource = |fields: &[(&'static str, &str)]| Resource::new("made", fields);
    let fresh = ("cache-control", "max-age=60");
    for (fields, request, kept) in [
        (&[fresh, ("content-location", "/a")][..], &[][..], true),
        (&[fresh, ("content-location", "")], &[], true),
        (&[fresh], &[], false),
        (&[fresh, ("content-location", "/b")], &[], false),
        (&[("content-location", "/a"), ("etag", "\"1\"")], &[], false),
        (
            &[("cache-control", "no-store"), ("content-location", "/a")],
            &[],
            false,
        ),
        // It isn't in the key, so that what it brings about must not be kept.
        (
            &[fresh, ("content-location", "/a")],
            &[("x-forwarded-host", "evil")],
            false,
        ),
    ] {
        origin.put("/a", resource(fields));
        let got = send(&edge, "POST", "/a", request).await;
        assert_eq!(got.bytes(), "made", "{fields:?}");
        assert!(got.field("cache-status").contains("fwd=method"));
        assert_eq!(
            got.field("cache-status").contains("stored"),
            kept,
            "{fields:?}"
        );
        let got = get(&edge, "/a", &[]).await;
        assert_eq!(got.is_hit(), kept, "{fields:?}");
        send(&edge, "DELETE", "/a", &[]).await;
    }
}

#[tokio::test]
async fn unknown_methods_pass_and_change() {
    let origin = Origin::new();
    let edge = edge(&origin).await;
    origin.put("/a", Resource::new("x", &[("cache-control", "max-age=60")]));
    get(&edge, "/a", &[]).await;
    let got = send(&edge, "PROPPATCH", "/a", &[]).await;
    assert_eq!(got.status, StatusCode::OK);
    let seen = origin.seen();
    let last = seen.last().unwrap();
    assert_eq!(
        (last.method.as_str(), last.body.as_ref()),
        ("PROPPATCH", &b"hello"[..])
    );
    assert!(!get(&edge, "/a", &[]).await.is_hit());
    // A failed one changes nothing.
    let mut broken = Resource::new("", &[]);
    broken.status = StatusCode::INTERNAL_SERVER_ERROR;
    origin.put("/a", broken);
    send(&edge, "PROPPATCH", "/a", &[]).await;
    assert!(get(&edge, "/a", &[]).await.is_hit());
    // A safe one neither.
    origin.put("/a", Resource::new("", &[]));
    send(&edge, "OPTIONS", "/a", &[]).await;
    assert!(get(&edge, "/a", &[]).await.is_hit());
    assert_eq!(
        read(edge.serve(request(Method::CONNECT, "/a", &[])).await)
            .await
            .status,
        StatusCode::NOT_IMPLEMENTED
    );
}

#[tokio::test]
async fn hops_are_counted_down() {
    let origin = Origin::new();
    origin.put("/a", Resource::new("x", &[]));
    let edge = edge(&origin).await;
    send(&edge, "OPTIONS", "/a", &[("max-forwards", "3")]).await;
    assert_eq!(origin.seen()[0].headers["max-forwards"], "2");
    for (method, status) in [("OPTIONS", 200), ("TRACE", 501)] {
        let got = send(&edge, method, "/a", &[("max-forwards", "0")]).await;
        assert_eq!(got.status.as_u16(), status, "{method}");
    }
    assert_eq!(origin.asked(), 1);
}
