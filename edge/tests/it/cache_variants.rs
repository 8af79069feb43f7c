//! Variants by `Vary` of which the cache has others: the upstream may say that one of them is it.

use crate::fake_origin::{Origin, Resource, edge, get, pattern};

fn by_kind(body: u8, etag: &str) -> Resource {
    let fields = [
        ("cache-control", "max-age=60"),
        ("vary", "x-kind"),
        ("etag", etag),
    ];
    Resource::new(pattern(40_000, body), &fields)
}

#[tokio::test]
async fn a_variant_that_the_upstream_names_is_not_sent_again() {
    let origin = Origin::new();
    let edge = edge(&origin).await;
    // What two kinds of client get is the same, and then what another gets.
    origin.put("/a", by_kind(1, "\"one\""));
    get(&edge, "/a", &[("x-kind", "a")]).await;
    let sent = origin.sent();
    let got = get(&edge, "/a", &[("x-kind", "b")]).await;
    assert_eq!(got.status, 200);
    assert_eq!(got.bytes(), &pattern(40_000, 1));
    assert!(
        got.field("cache-status")
            .contains("fwd=vary-miss; fwd-status=304")
    );
    assert_eq!(origin.sent(), sent);
    origin.put("/a", by_kind(2, "\"two\""));
    let got = get(&edge, "/a", &[("x-kind", "c")]).await;
    assert_eq!(got.bytes(), &pattern(40_000, 2));
    // Each is now stored under its own fields.
    let asked = origin.asked();
    for (kind, body) in [("a", 1), ("b", 1), ("c", 2)] {
        let got = get(&edge, "/a", &[("x-kind", kind)]).await;
        assert!(got.is_hit(), "{kind}");
        assert_eq!(got.bytes(), &pattern(40_000, body), "{kind}");
    }
    assert_eq!(origin.asked(), asked);
    // All that is stored is named, each tag once.
    get(&edge, "/a", &[("x-kind", "d")]).await;
    let seen = origin.seen();
    assert_eq!(
        seen.last().unwrap().headers["if-none-match"],
        "\"two\", \"one\""
    );
    // A client's own condition is answered by what was found.
    let fields = [("x-kind", "e"), ("if-none-match", "\"two\"")];
    assert_eq!(get(&edge, "/a", &fields).await.status, 304);
}

#[tokio::test]
async fn a_304_that_names_nothing_stored_is_asked_again() {
    let origin = Origin::new();
    let edge = edge(&origin).await;
    origin.put("/a", by_kind(1, "\"one\""));
    get(&edge, "/a", &[("x-kind", "a")]).await;
    let mut odd = by_kind(9, "\"nine\"");
    odd.status = http::StatusCode::NOT_MODIFIED;
    origin.put("/a", odd);
    let asked = origin.asked();
    let got = get(&edge, "/a", &[("x-kind", "b")]).await;
    // Whatever it is then told is the upstream's answer to what the client asked.
    let seen = &origin.seen()[asked..];
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].headers["if-none-match"], "\"one\"");
    assert!(!seen[1].headers.contains_key("if-none-match"));
    assert_eq!(got.status, 304);
}
