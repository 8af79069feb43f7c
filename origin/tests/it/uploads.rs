//! Files that come in pieces, and the jobs that they become.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Method;
use origin::jobs::{Outcome, Queue as _, State};

use crate::{client::Answer, stack::Stack};

const TUS: (&str, &str) = ("tus-resumable", "1.0.0");
const BYTES: (&str, &str) = ("content-type", "application/offset+octet-stream");
const UPLOADS: &str = "/api/v1/uploads";
/// `song.flac`, `audio/flac`.
const METADATA: (&str, &str) = (
    "upload-metadata",
    "filename c29uZy5mbGFj,filetype YXVkaW8vZmxhYw==",
);

/// The key of an origin, as a field's value.
pub(crate) fn key(data: &std::path::Path) -> String {
    let key = std::fs::read_to_string(data.join("keys/worker.key")).unwrap();
    format!("Bearer {}", key.trim())
}

impl Stack {
    async fn tus(
        &self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let key = key(self.data.path());
        let mut all = vec![TUS, ("authorization", key.as_str())];
        all.extend_from_slice(fields);
        self.client.send(method, path, &all, body).await
    }

    async fn announce(&self, length: u64) -> Answer {
        let length = length.to_string();
        let fields = [("upload-length", length.as_str()), METADATA];
        self.tus(Method::POST, UPLOADS, &fields, Body::empty())
            .await
    }

    /// The place of a file of so many bytes.
    async fn place(&self, length: u64) -> String {
        let made = self.announce(length).await;
        assert_eq!(made.status, 201, "{}", made.text());
        made.header("location").to_owned()
    }

    async fn append(&self, place: &str, offset: u64, bytes: &'static [u8]) -> Answer {
        let offset = offset.to_string();
        let fields = [("upload-offset", offset.as_str()), BYTES];
        self.tus(Method::PATCH, place, &fields, Bytes::from_static(bytes))
            .await
    }

    async fn offset(&self, place: &str) -> String {
        let head = self.tus(Method::HEAD, place, &[], Body::empty()).await;
        assert_eq!(
            (head.status, head.header("cache-control")),
            (200, "no-store")
        );
        head.header("upload-offset").to_owned()
    }
}

#[tokio::test]
async fn a_file_comes_in_pieces_and_becomes_a_job() {
    let stack = Stack::start().await;
    let place = stack.place(8).await;
    let part = stack.append(&place, 0, b"fLaC").await;
    assert_eq!((part.status, part.header("upload-offset")), (204, "4"));
    assert!(!part.header("upload-expires").is_empty());
    // What was there before a restart is there after it.
    let data = stack.stop().await;
    let stack = Stack::start_in(data, |_| {}).await;
    assert_eq!(stack.offset(&place).await, "4");
    assert_eq!(stack.append(&place, 0, b"fLaC").await.status, 409);
    let last = stack.append(&place, 4, b"song").await;
    assert_eq!((last.status, last.header("upload-offset")), (204, "8"));

    let job = last.header("segue-job").to_owned();
    let job = stack.origin.jobs().get(&job).await.unwrap();
    assert_eq!(job.state, State::Queued);
    let source = std::path::Path::new(&job.sources[0]);
    assert_eq!(source.file_name().unwrap(), "song.flac");
    assert_eq!(std::fs::read(source).unwrap(), b"fLaCsong");
    assert_eq!(stack.offset(&place).await, "8", "it can still be asked for");

    // Staged for as long as the job needs it, and no longer.
    stack.place(1).await;
    assert!(source.exists());
    let queue = stack.origin.jobs();
    let lease = queue.claim("w", Duration::from_secs(60)).await.unwrap();
    let lease = lease.unwrap();
    queue
        .finish(&lease.job.id, &lease.lease, Outcome::default())
        .await
        .unwrap();
    stack.place(1).await;
    assert!(!source.exists());
}

#[tokio::test]
async fn uploads_ask_for_the_key_and_the_protocol() {
    let stack = Stack::start().await;
    let length = ("upload-length", "8");
    let keyless = [TUS, length];
    let refused = stack
        .client
        .send(Method::POST, UPLOADS, &keyless, Body::empty())
        .await;
    assert_eq!(refused.status, 401);
    let key = key(stack.data.path());
    let tusless = [("authorization", key.as_str()), length];
    let refused = stack
        .client
        .send(Method::POST, UPLOADS, &tusless, Body::empty())
        .await;
    assert_eq!(
        (refused.status, refused.header("tus-version")),
        (412, "1.0.0")
    );
    let options = stack
        .client
        .send(Method::OPTIONS, UPLOADS, &[], Body::empty())
        .await;
    assert_eq!(options.status, 204);
    assert_eq!(
        options.header("tus-extension"),
        "creation,expiration,termination"
    );
    assert_eq!(options.header("tus-max-size"), (4u64 << 30).to_string());
}

#[tokio::test]
async fn what_is_staged_is_bounded() {
    let stack = Stack::start_with(|config| {
        config.uploads.file = 100;
        config.uploads.staged = 250;
        config.uploads.unfinished = 3;
    })
    .await;
    assert_eq!(stack.announce(101).await.error_code(), "too_large");
    assert_eq!(stack.announce(0).await.status, 400);
    let html = [
        ("upload-length", "9"),
        ("upload-metadata", "filetype dGV4dC9odG1s"),
    ];
    let html = stack.tus(Method::POST, UPLOADS, &html, Body::empty()).await;
    assert_eq!(html.status, 415);
    let first = stack.place(100).await;
    stack.place(100).await;
    assert_eq!(stack.announce(51).await.error_code(), "no_room");
    stack.place(50).await;
    assert_eq!(stack.announce(1).await.error_code(), "no_room");
    // One that is ended makes room.
    let end = stack.tus(Method::DELETE, &first, &[], Body::empty()).await;
    assert_eq!(end.status, 204);
    let head = stack.tus(Method::HEAD, &first, &[], Body::empty()).await;
    assert_eq!(head.status, 404);
    let place = stack.place(1).await;
    // More than was announced is not taken.
    assert_eq!(stack.append(&place, 0, b"ab").await.status, 400);
    assert_eq!(stack.offset(&place).await, "0");
    for nowhere in ["/api/v1/uploads/x", "/api/v1/uploads/..%2f..%2fkeys"] {
        let answer = stack.tus(Method::HEAD, nowhere, &[], Body::empty()).await;
        assert_eq!(answer.status, 404, "{nowhere}");
    }
}

#[tokio::test]
async fn an_upload_that_nobody_goes_on_with_expires() {
    let stack = Stack::start_with(|config| {
        config.uploads.kept = Duration::from_secs(2);
        config.uploads.unfinished = 1;
    })
    .await;
    let place = stack.place(8).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let head = stack.tus(Method::HEAD, &place, &[], Body::empty()).await;
    assert_eq!(head.status, 404);
    assert_ne!(stack.place(8).await, place);
}

#[tokio::test]
async fn a_body_that_stalls_leaves_what_came_and_lets_another_go_on() {
    let stack = Stack::start_with(|c| c.uploads.stall = Duration::from_secs(2)).await;
    let place = stack.place(8).await;
    let piece = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"fLaC"))]);
    let silence = futures_util::stream::pending();
    let body = Body::from_stream(futures_util::StreamExt::chain(piece, silence));
    let fields = [("upload-offset", "0"), BYTES];
    let stalled = stack.tus(Method::PATCH, &place, &fields, body).await;
    assert_eq!(stalled.status, 400);
    assert_eq!(stack.offset(&place).await, "4");
    assert_eq!(stack.append(&place, 4, b"song").await.status, 204);
}
