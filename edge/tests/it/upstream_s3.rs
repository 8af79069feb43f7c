//! A bucket as the upstream, in a real SeaweedFS.

use std::{process::Command, time::Duration};

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
};
use bytes::Bytes;
use http::StatusCode;

use crate::{
    support::{edge, pattern},
    weed::{ACCESS, SECRET, Weed},
};

/// Tells the inner test where the service is.
const ENDPOINT: &str = "SEGUE_TEST_S3_ENDPOINT";

/// Credentials come from the environment, and that of a running process is not to be changed: so the
/// test proper runs in a process of its own.
#[test]
fn a_bucket_serves_as_upstream() {
    let Some(weed) = Weed::start() else { return };
    let inner = |access: &str, name: &str| {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--ignored", "--nocapture"])
            .env(ENDPOINT, weed.endpoint())
            .env("AWS_ACCESS_KEY_ID", access)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env_remove("AWS_SESSION_TOKEN")
            .env_remove("AWS_REGION")
            .status();
        assert!(status.unwrap().success(), "{name}");
    };
    inner(ACCESS, "upstream_s3::objects");
    inner("nobody", "upstream_s3::wrong_credentials");
}

async fn put(endpoint: &str, objects: &[(&str, &Bytes, &str)]) {
    let client = Client::from_conf(
        aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(endpoint)
            .force_path_style(true)
            .credentials_provider(Credentials::new(ACCESS, SECRET, None, None, "test"))
            .build(),
    );
    let mut last = String::new();
    // The gateway listens before its filer and volumes are ready.
    for _ in 0..150 {
        let _ = client.create_bucket().bucket("music").send().await;
        let mut sent = Ok(());
        for (key, body, kind) in objects {
            let put = client.put_object().bucket("music").key(*key);
            let put = put.content_type(*kind).body((*body).clone().into());
            sent = sent.and(put.send().await.map(drop).map_err(|e| format!("{e:?}")));
        }
        match sent {
            Ok(()) => return,
            Err(e) => last = e,
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the bucket can't be used: {last}");
}

#[tokio::test]
#[ignore = "run by a_bucket_serves_as_upstream with credentials in its environment"]
async fn objects() {
    let endpoint = std::env::var(ENDPOINT).unwrap();
    let body = pattern(1_500_000);
    put(
        &endpoint,
        &[
            ("tracks/t 1/opus+96.mp4", &body, "audio/mp4"),
            ("elsewhere/secret", &Bytes::from_static(b"no"), "text/plain"),
        ],
    )
    .await;
    let url = format!(
        "s3://music/tracks?endpoint={endpoint}&cache-control=public,%20max-age=31536000,%20immutable"
    );
    let edge = edge("127.0.0.1:1".parse().unwrap(), |config| {
        config.upstream = url
    })
    .await;
    let mut client = edge.plain().await;
    let object = "/t%201/opus+96.mp4";

    // A range alone brings only its slices; all of it, the rest.
    let got = client
        .get(object, &[("range", "bytes=300000-300009")])
        .await;
    assert_eq!(got.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(got.body, body.slice(300_000..300_010));
    assert_eq!(
        got.header("content-range"),
        Some("bytes 300000-300009/1500000")
    );
    assert_eq!(got.header("content-type"), Some("audio/mp4"));
    let fetched = edge.metric("segue_edge_upstream_bytes_total").await;
    assert_eq!(fetched, 256 << 10);
    let whole = client.get(object, &[]).await;
    assert_eq!(whole.status, StatusCode::OK);
    assert!(whole.body == body);
    let etag = whole.header("etag").unwrap().to_owned();
    assert!(etag.starts_with('"') && whole.header("last-modified").is_some());
    assert!(
        whole
            .headers
            .keys()
            .all(|name| !name.as_str().starts_with("x-amz"))
    );
    let fetched = edge.metric("segue_edge_upstream_bytes_total").await;
    assert_eq!(fetched, 1_500_000, "each byte once");
    let hit = client.get(object, &[]).await;
    assert!(
        hit.header("cache-status").unwrap().contains("hit"),
        "{hit:?}"
    );

    // Validation reaches the bucket, and its 304 comes back.
    let no_cache = [("cache-control", "no-cache")];
    let validated = client.get(object, &no_cache).await;
    assert!(validated.body == body);
    let told = validated.header("cache-status").unwrap();
    assert!(told.contains("fwd-status=304"), "{told}");
    let conditional = client.get(object, &[("if-none-match", &etag)]).await;
    assert_eq!(conditional.status, StatusCode::NOT_MODIFIED);
    let head = client
        .send("HEAD", "/t%201/opus+96.mp4?x", &[], "")
        .await
        .unwrap();
    assert_eq!(head.header("content-length"), Some("1500000"));

    // What is no object below the prefix is not there, and the bucket can't be listed or changed.
    for absent in [
        "/nothing",
        "/",
        "/t%201/",
        "/..%2felsewhere/secret",
        "//elsewhere/secret",
    ] {
        let got = client.get(absent, &[]).await;
        assert_eq!(got.status, StatusCode::NOT_FOUND, "{absent}");
        assert!(got.body.is_empty(), "{}", got.text());
    }
    let beyond = client.get(object, &[("range", "bytes=9000000-")]).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    for method in ["PUT", "POST", "DELETE"] {
        let got = client.send(method, object, &[], "").await.unwrap();
        assert_eq!(got.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    assert!(client.get(object, &[]).await.body == body);
}

#[tokio::test]
#[ignore = "run by a_bucket_serves_as_upstream with wrong credentials in its environment"]
async fn wrong_credentials() {
    let endpoint = std::env::var(ENDPOINT).unwrap();
    let url = format!("s3://music?endpoint={endpoint}&region=us-east-1");
    let edge = edge("127.0.0.1:1".parse().unwrap(), |config| {
        config.upstream = url
    })
    .await;
    let got = edge.plain().await.get("/any", &[]).await;
    // The operator's fault, not the client's; and nothing of it is told.
    assert_eq!(got.status, StatusCode::BAD_GATEWAY);
    assert!(!got.text().contains("nobody"), "{}", got.text());
}
