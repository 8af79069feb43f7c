//! Requests that two parsers could frame differently (CWE-444): each is refused with 400 and the
//! connection closed, and the origin never sees what was hidden in them.

use std::{sync::Arc, time::Duration};

use edge::config::HostPolicy;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{Edge, answer, edge, origin};

/// What the origin was asked, as `METHOD target body`.
type Seen = Arc<Mutex<Vec<String>>>;

async fn watched() -> (Edge, Seen) {
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    let origin = origin(move |request| {
        let noted = Arc::clone(&noted);
        async move {
            use http_body_util::BodyExt;
            let (head, body) = request.into_parts();
            let body = body
                .collect()
                .await
                .map(|b| b.to_bytes())
                .unwrap_or_default();
            let host = head.headers.get("host");
            noted.lock().push(format!(
                "{} {} {} {}",
                head.method,
                head.uri,
                host.map_or("-", |h| h.to_str().unwrap()),
                String::from_utf8_lossy(&body)
            ));
            answer(200, &[("cache-control", "no-store")], "answer")
        }
    })
    .await;
    let edge = edge(origin.address, |config| {
        config.upstream_host = HostPolicy::Client;
    });
    (edge.await, seen)
}

/// Everything the edge says until it closes, and whether it closed within a second.
async fn exchange(edge: &Edge, bytes: &[u8], piece: usize) -> (String, bool) {
    let mut tcp = TcpStream::connect(edge.http()).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    for part in bytes.chunks(piece) {
        if tcp.write_all(part).await.is_err() {
            break;
        }
        if piece < bytes.len() {
            tokio::task::yield_now().await;
        }
    }
    let mut got = Vec::new();
    let closed = timeout(Duration::from_secs(1), tcp.read_to_end(&mut got)).await;
    (String::from_utf8_lossy(&got).into_owned(), closed.is_ok())
}

/// A request of those lines with a whole second request where its body would be.
fn hiding(lines: &str, body: &str) -> String {
    format!(
        "POST /outer HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
    )
}

const CHUNKS: &str = "3\r\nabc\r\n0\r\n\r\n";

#[tokio::test]
async fn ambiguous_requests_are_refused_and_hide_nothing() {
    let (edge, seen) = watched().await;
    let long = "a".repeat(600);
    let cases: Vec<(&str, String)> = vec![
        ("CL.TE", hiding("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", CHUNKS)),
        ("TE.CL", hiding("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", CHUNKS)),
        ("CL.TE, body 0", hiding("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", CHUNKS)),
        ("TE twice", hiding("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", CHUNKS)),
        ("TE identity", hiding("Transfer-Encoding: identity\r\n", CHUNKS)),
        ("TE chunked, identity", hiding("Transfer-Encoding: chunked, identity\r\n", CHUNKS)),
        ("TE identity, chunked", hiding("Transfer-Encoding: identity, chunked\r\n", CHUNKS)),
        ("TE gzip, chunked", hiding("Transfer-Encoding: gzip, chunked\r\n", CHUNKS)),
        ("TE chunked, chunked", hiding("Transfer-Encoding: chunked, chunked\r\n", CHUNKS)),
        ("TE xchunked", hiding("Transfer-Encoding: xchunked\r\n", CHUNKS)),
        ("TE 'chunked'", hiding("Transfer-Encoding: \"chunked\"\r\n", CHUNKS)),
        ("TE chunked;x", hiding("Transfer-Encoding: chunked;x=y\r\n", CHUNKS)),
        ("TE VT", hiding("Transfer-Encoding:\x0bchunked\r\n", CHUNKS)),
        ("TE NUL", hiding("Transfer-Encoding: chunked\0\r\n", CHUNKS)),
        ("TE behind space", hiding(" Transfer-Encoding: chunked\r\n", CHUNKS)),
        ("TE folded", hiding("Transfer-Encoding:\r\n chunked\r\n", CHUNKS)),
        ("TE folded by tab", hiding("Transfer-Encoding:\r\n\tchunked\r\n", CHUNKS)),
        ("TE space colon", hiding("Transfer-Encoding : chunked\r\n", CHUNKS)),
        ("TE tab colon", hiding("Transfer-Encoding\t: chunked\r\n", CHUNKS)),
        ("TE behind bare LF", hiding("X: y\nTransfer-Encoding: chunked\r\n", CHUNKS)),
        ("TE behind bare CR", hiding("X: y\rTransfer-Encoding: chunked\r\n", CHUNKS)),
        ("TE in 1.0", "POST /outer HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        ("CL twice, different", hiding("Content-Length: 3\r\nContent-Length: 0\r\n", "abc")),
        ("CL twice, same", hiding("Content-Length: 3\r\nContent-Length: 3\r\n", "abc")),
        ("CL list", hiding("Content-Length: 3, 3\r\n", "abc")),
        ("CL plus", hiding("Content-Length: +3\r\n", "abc")),
        ("CL minus", hiding("Content-Length: -3\r\n", "abc")),
        ("CL hex", hiding("Content-Length: 0x3\r\n", "abc")),
        ("CL float", hiding("Content-Length: 3.0\r\n", "abc")),
        ("CL inner space", hiding("Content-Length: 3 0\r\n", "abc")),
        ("CL empty", hiding("Content-Length:\r\n", "abc")),
        ("CL underscore digits", hiding("Content-Length: 3_0\r\n", "abc")),
        ("CL overflow", hiding("Content-Length: 18446744073709551619\r\n", "abc")),
        ("CL space colon", hiding("Content-Length : 3\r\n", "abc")),
        ("CL behind bare LF", hiding("X: y\nContent-Length: 3\r\n", "abc")),
        ("chunk size signed", hiding("Transfer-Encoding: chunked\r\n", "+3\r\nabc\r\n0\r\n\r\n")),
        ("chunk size 0x", hiding("Transfer-Encoding: chunked\r\n", "0x3\r\nabc\r\n0\r\n\r\n")),
        ("chunk size spaced", hiding("Transfer-Encoding: chunked\r\n", "3 \r\nabc\r\n0\r\n\r\n")),
        ("chunk size overflow", hiding("Transfer-Encoding: chunked\r\n", "10000000000000003\r\nabc\r\n0\r\n\r\n")),
        ("chunk size empty", hiding("Transfer-Encoding: chunked\r\n", "\r\nabc\r\n0\r\n\r\n")),
        ("chunk size bare LF", hiding("Transfer-Encoding: chunked\r\n", "3\nabc\r\n0\r\n\r\n")),
        ("chunk extension bare LF", hiding("Transfer-Encoding: chunked\r\n", "3;x\nabc\r\n0\r\n\r\n")),
        ("chunk longer than said", hiding("Transfer-Encoding: chunked\r\n", "3\r\nabcd\r\n0\r\n\r\n")),
        ("chunk end bare LF", hiding("Transfer-Encoding: chunked\r\n", "3\r\nabc\n0\r\n\r\n")),
        ("trailer CL", hiding("Transfer-Encoding: chunked\r\n", "0\r\nContent-Length: 5\r\n\r\n")),
        ("trailer TE", hiding("Transfer-Encoding: chunked\r\n", "0\r\nTransfer-Encoding: chunked\r\n\r\n")),
        ("folded", hiding("X: a\r\n b\r\n", "")),
        ("first line folded", "GET /outer HTTP/1.1\r\n Host: a\r\n\r\n".into()),
        ("bare LF lines", "GET /outer HTTP/1.1\nHost: a\n\n".into()),
        ("bare LF end", "GET /outer HTTP/1.1\r\nHost: a\r\n\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        ("bare CR in value", "GET /outer HTTP/1.1\r\nHost: a\r\nX: y\rGET /hidden HTTP/1.1\r\n\r\n".into()),
        ("NUL in value", "GET /outer HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n".into()),
        ("no colon", "GET /outer HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n".into()),
        ("empty name", "GET /outer HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n".into()),
        ("space colon", "GET /outer HTTP/1.1\r\nHost : a\r\n\r\n".into()),
        ("HTTP/0.9", "GET /outer\r\n\r\n".into()),
        ("HTTP/1.2", "GET /outer HTTP/1.2\r\nHost: a\r\n\r\n".into()),
        ("HTTP/2.0 in HTTP/1", "GET /outer HTTP/2.0\r\nHost: a\r\n\r\n".into()),
        ("version lower case", "GET /outer http/1.1\r\nHost: a\r\n\r\n".into()),
        ("two spaces", "GET  /outer HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        ("tab for space", "GET\t/outer\tHTTP/1.1\r\nHost: a\r\n\r\n".into()),
        ("space in target", "GET /out er HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        ("control in target", "GET /out\x01er HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        ("two hosts", "GET /outer HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into()),
        ("host list", "GET /outer HTTP/1.1\r\nHost: a, b\r\n\r\n".into()),
        ("host with path", "GET /outer HTTP/1.1\r\nHost: a/b\r\n\r\n".into()),
        ("host with user", "GET /outer HTTP/1.1\r\nHost: a@b\r\n\r\n".into()),
        ("no host", "GET /outer HTTP/1.1\r\n\r\n".into()),
        ("empty host", "GET /outer HTTP/1.1\r\nHost:\r\n\r\n".into()),
        ("absolute with user", "GET http://u@a/outer HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        ("long CL line", hiding(&format!("Content-Length: {long}3\r\n"), "abc")),
    ];
    for (what, text) in &cases {
        for piece in [text.len(), 1] {
            let (got, closed) = exchange(&edge, text.as_bytes(), piece).await;
            assert!(closed, "{what} in pieces of {piece}: not closed\n{got}");
            assert!(
                got.starts_with("HTTP/1.1 400 "),
                "{what} in pieces of {piece}: {got:?}"
            );
            assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{what}: {got}");
        }
    }
    let seen = seen.lock().clone();
    assert!(!seen.iter().any(|s| s.contains("/hidden")), "{seen:#?}");
}

#[tokio::test]
async fn sound_requests_pass_as_what_they_are() {
    let (edge, seen) = watched().await;
    let check = async |text: &str, answers: usize, expected: &[&str]| {
        seen.lock().clear();
        let (got, _) = exchange(&edge, text.as_bytes(), text.len()).await;
        assert_eq!(
            got.matches("HTTP/1.1 200 ").count(),
            answers,
            "{text}\n{got}"
        );
        assert_eq!(*seen.lock(), expected, "{text}");
    };
    // Pipelined, each with a body of its own framing, bytes in them that look like heads.
    check(
        "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 31\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\
         POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nGET /\r\n0\r\n\r\n\
         GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        3,
        &[
            "POST /1 a GET /hidden HTTP/1.1\r\nHost: a\r\n",
            "POST /2 a GET /",
            "GET /3 a ",
        ],
    )
    .await;
    // An absolute target wins over Host (RFC 9112 §3.2.2), for the key and for the upstream.
    check(
        "GET http://b/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        1,
        &["GET /x b "],
    )
    .await;
    // An upgrade that nobody grants leaves the framing alone and isn't passed on.
    check(
        "GET /u HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n\
         GET /v HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        2,
        &["GET /u a ", "GET /v a "],
    )
    .await;
    // `Connection` can't strip what the upstream relies on.
    check(
        "GET /w HTTP/1.1\r\nHost: a\r\nConnection: close, host\r\n\r\n",
        1,
        &["GET /w a "],
    )
    .await;
}
