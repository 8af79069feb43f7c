//! Tokens: who is let in, and where a token never shows up.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use edge::{
    exchange::Service as _,
    serve::{Edge, Settings},
};
use http::Method;
use tokens::{Claims, Keyset, Scope, SigningKey};

use crate::fake_origin::{Origin, Resource, edge_with, get, read, request};

const PATH: &str = "/media/t1/r1/opus-96.mp4";

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

async fn guarded(origin: &Arc<Origin>, key: &SigningKey) -> Arc<Edge> {
    let keyset = Keyset::new([key.public()]).unwrap();
    origin.put(PATH, Resource::immutable("sound", "\"1\""));
    origin.put("/api/x?a=1&b=2", Resource::new("open", &[]));
    edge_with(
        origin,
        Settings {
            keyset: Some(keyset.into()),
            ..Settings::default()
        },
    )
    .await
}

fn token(key: &SigningKey, scope: Scope) -> String {
    tokens::mint(
        key,
        &Claims::listening("anna", now(), Duration::from_secs(60)).scope(scope),
    )
    .unwrap()
}

#[tokio::test]
async fn a_token_opens_by_every_way_it_can_travel() {
    let (origin, key) = (Origin::new(), SigningKey::generate("k").unwrap());
    let edge = guarded(&origin, &key).await;
    let token = token(&key, Scope::Track("t1".into()));
    let other = self::token(&key, Scope::All);
    let bearer = format!("Bearer {token}");
    let cookie = format!("a=b; CTA-Common-Access-Token={token}");
    for (target, fields) in [
        (format!("/~{token}{PATH}"), vec![]),
        (format!("/~{other}{PATH}"), vec![]),
        (
            PATH.to_owned(),
            vec![("cta-common-access-token", token.as_str())],
        ),
        (PATH.to_owned(), vec![("authorization", bearer.as_str())]),
        (PATH.to_owned(), vec![("cookie", cookie.as_str())]),
        (format!("{PATH}?CAT={token}"), vec![]),
    ] {
        let got = get(&edge, &target, &fields).await;
        assert_eq!(got.bytes().as_ref(), b"sound", "{target}");
        assert_eq!(got.facts.target.unwrap().as_str(), PATH);
        assert_eq!(got.facts.subject.as_deref(), Some("anna"));
    }
    // One object, one fetch, and the origin saw no token.
    assert_eq!(origin.asked(), 1);
    let got = get(
        &edge,
        &format!("/api/x?a=1&cat={token}&b=2"),
        &[("cookie", cookie.as_str())],
    )
    .await;
    assert_eq!(got.bytes().as_ref(), b"open");
    let seen = origin.seen();
    assert_eq!(seen[1].headers["cookie"], "a=b");
    assert!(!format!("{seen:?}").contains(&token));
}

#[tokio::test]
async fn without_a_fitting_token_the_gate_stays_shut() {
    let (origin, key) = (Origin::new(), SigningKey::generate("k").unwrap());
    let edge = guarded(&origin, &key).await;
    let stranger = SigningKey::generate("k").unwrap();
    let expired = Claims::listening("anna", now() - 7200, Duration::from_secs(60));
    let expired = tokens::mint(&key, &expired).unwrap();
    for (target, status, reason) in [
        (PATH.to_owned(), 401, "missing-token"),
        (
            format!("/~{}{PATH}", token(&key, Scope::Track("t2".into()))),
            403,
            "uri",
        ),
        (
            format!("/~{}{PATH}", token(&key, Scope::Track("t".into()))),
            403,
            "uri",
        ),
        (
            format!("/~{}{PATH}", token(&stranger, Scope::All)),
            403,
            "bad_signature",
        ),
        (format!("/~{expired}{PATH}"), 403, "expired"),
        (format!("/~nonsense{PATH}"), 403, "not_cwt"),
    ] {
        let got = get(&edge, &target, &[]).await;
        assert_eq!(got.status, status, "{target}");
        assert!(
            got.facts.reason.unwrap().starts_with(reason),
            "{:?}",
            got.facts
        );
        assert!(!String::from_utf8_lossy(got.bytes()).contains("sig"));
    }
    assert_eq!(origin.asked(), 0);
}

#[tokio::test]
async fn paths_that_can_be_read_two_ways_are_refused() {
    let (origin, key) = (Origin::new(), SigningKey::generate("k").unwrap());
    let edge = guarded(&origin, &key).await;
    let token = token(&key, Scope::Track("t1".into()));
    for path in [
        "/media/t1/../t2/r/x.mp4",
        "/media/t1/%2e%2e/t2/r/x.mp4",
        "/media/t1/%252e%252e/t2",
        "/media//t1/x",
        "//media/t1/x",
        "/x/../media/t1/x",
        "/%6dedia/t1/x",
        "/%256dedia/t1/x",
        "/media/t1%2fx",
        "/media/t1/x%00",
        "/media%5ct1",
    ] {
        let got = get(&edge, &format!("/~{token}{path}"), &[]).await;
        assert!(
            got.status == 400 || got.status == 403,
            "{path}: {}",
            got.status
        );
    }
    assert_eq!(origin.asked(), 0);
}

#[tokio::test]
async fn new_keys_hold_at_once() {
    let (origin, key) = (Origin::new(), SigningKey::generate("k").unwrap());
    let edge = guarded(&origin, &key).await;
    let target = format!("/~{}{PATH}", token(&key, Scope::All));
    assert_eq!(get(&edge, &target, &[]).await.status, 200);
    let next = SigningKey::generate("k2").unwrap();
    edge.set_keyset(Some(Keyset::new([next.public()]).unwrap().into()));
    assert_eq!(get(&edge, &target, &[]).await.status, 403);
}

#[tokio::test]
async fn without_keys_everything_passes_as_it_is() {
    let origin = Origin::new();
    for target in ["/~x/y", "//a//b", "/media/../x?cat=1", "/%2e%2e/x"] {
        origin.put(target, Resource::new("x", &[]));
        let edge = edge_with(&origin, Settings::default()).await;
        assert_eq!(
            get(&edge, target, &[("authorization", "Bearer x")])
                .await
                .status,
            200,
            "{target}"
        );
        let seen = origin.seen();
        assert_eq!(
            (
                seen.last().unwrap().target.as_str(),
                &seen.last().unwrap().headers["authorization"]
            ),
            (target, &"Bearer x".parse().unwrap())
        );
    }
    let edge = edge_with(&origin, Settings::default()).await;
    assert_eq!(
        read(edge.serve(request(Method::CONNECT, "/", &[])).await)
            .await
            .status,
        501
    );
}
