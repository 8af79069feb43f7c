//! The web player's files.

use axum::body::Body;
use http::Method;

use crate::stack::Stack;

#[tokio::test]
async fn the_player_is_served_with_all_that_its_page_names() {
    let stack = Stack::start().await;
    let page = stack.client.get("/").await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    assert_eq!(page.header("cache-control"), "no-cache");
    let tag = page.header("etag").to_owned();
    assert_eq!(
        stack
            .client
            .get_with("/", &[("if-none-match", &tag)])
            .await
            .status,
        304
    );

    let assets = page.text().split('"').filter(|s| s.starts_with("/assets/"));
    let mut scripts = 0;
    for asset in assets {
        let answer = stack.client.get(asset).await;
        assert_eq!(answer.status, 200, "{asset}");
        if asset.ends_with(".js") {
            scripts += 1;
            assert_eq!(
                answer.header("content-type"),
                "text/javascript; charset=utf-8"
            );
        }
    }
    assert!(scripts > 0, "a player has scripts: {}", page.text());
}

#[tokio::test]
async fn only_files_of_the_player_are_served() {
    let stack = Stack::start().await;
    let paths = [
        "/assets/",
        "/assets/../Cargo.toml",
        "/assets/%2e%2e/Cargo.toml",
        "/Cargo.toml",
    ];
    for path in paths {
        let answer = stack.client.get(path).await;
        assert_eq!(
            (answer.status, answer.error_code().as_str()),
            (404, "not_found"),
            "{path}"
        );
    }
    let post = stack
        .client
        .send(Method::POST, "/nowhere", &[], Body::empty())
        .await;
    assert_eq!(post.status, 404);
}
