//! Sessions and keys.

use std::{net::IpAddr, os::unix::fs::PermissionsExt as _};

use http::Method;
use serde_json::json;
use tokens::{Keyset, Request, verify};

use crate::stack::Stack;

#[tokio::test]
async fn a_session_opens_media_and_manifests_for_who_holds_the_keyset() {
    let stack = Stack::start().await;
    let answer = stack
        .client
        .send(Method::POST, "/api/v1/session", &[], "")
        .await;
    assert_eq!(
        (answer.status, answer.header("cache-control")),
        (200, "no-store")
    );
    let session = answer.json();
    let token = session["token"].as_str().unwrap();
    assert_eq!(session["prefix"], format!("/~{token}"));
    assert!(!token.contains('='));

    let keyset = stack.client.get("/api/v1/keyset").await;
    assert!(
        !keyset.text().contains("\"d\""),
        "no private part: {}",
        keyset.text()
    );
    let keyset = Keyset::from_json(keyset.text()).unwrap();
    let expires = session["expires_at"].as_u64().unwrap();
    let at = |path, now_unix_s| Request {
        method: "GET",
        scheme: "https",
        host: "music.example",
        port: 443,
        path,
        query: "",
        client_ip: IpAddr::from([127, 0, 0, 1]),
        client_country: None,
        now_unix_s,
    };
    for path in [
        "/v1/tracks/t1/index.m3u8",
        "/media/t1/r1/opus-96.mp4",
        "/v1/playlists/p1/index.m3u8",
    ] {
        assert!(
            verify(&keyset, token, &at(path, expires - 1)).is_ok(),
            "{path}"
        );
        assert!(
            verify(&keyset, token, &at(path, expires + 60)).is_err(),
            "{path}"
        );
    }
    assert!(verify(&keyset, token, &at("/api/v1/playlists", expires - 1)).is_err());
}

#[tokio::test]
async fn no_session_where_anonymous_listening_is_off() {
    let stack = Stack::start_with(|c| c.anonymous_listening = false).await;
    let (status, answer) = stack
        .client
        .json(Method::POST, "/api/v1/session", json!({}))
        .await;
    assert_eq!(
        (status.as_u16(), &answer["error"]["code"]),
        (403, &"no_anonymous_listening".into())
    );
}

#[tokio::test]
async fn the_signing_key_is_for_its_owner_only() {
    let stack = Stack::start().await;
    let dir = stack.data.path().join("keys");
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("signing.json")), 0o600);
    assert_eq!(mode(&dir.join("worker.key")), 0o600);
    assert_eq!(
        std::fs::read_dir(&dir).unwrap().count(),
        2,
        "no draft is left behind"
    );
    assert!(
        !format!("{:?}", stack.origin).contains("\"d\""),
        "keys don't print"
    );
}
