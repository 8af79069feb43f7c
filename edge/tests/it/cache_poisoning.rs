//! The same key gives the same bytes whatever else a request carries.
//!
//! The origin answers by everything that frameworks and proxies are known to answer by: overrides of
//! host, scheme, URI and method, ranges, conditions, and one field that it names in `Vary`. Clients
//! send all of that in any combination. What a client gets must be what its own key selects.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use edge::{
    exchange::{BoxBody, RequestBody, Service as _, Upstream, UpstreamError},
    serve::{Edge, Settings},
};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use proptest::prelude::*;

use crate::fake_origin::{read, request};

/// Fields by which the origin answers though no cache has them in its key.
const OVERRIDES: [&str; 10] = [
    "x-forwarded-host",
    "x-host",
    "forwarded",
    "x-original-url",
    "x-rewrite-url",
    "x-http-method-override",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-prefix",
    "x-forwarded-port",
];

/// Fields that the origin doesn't look at, or that change only what part of an answer is sent.
const OTHERS: [&str; 16] = [
    "user-agent",
    "cookie",
    "origin",
    "referer",
    "accept",
    "accept-language",
    "cache-control",
    "pragma",
    "connection",
    "te",
    "via",
    "x-forwarded-for",
    "if-none-match",
    "if-modified-since",
    "range",
    "if-range",
];

const VALUES: [&str; 16] = [
    "evil.example",
    "/admin",
    "DELETE",
    "https",
    "host=evil.example;proto=http",
    "no-cache",
    "max-age=0",
    "no-store",
    "only-if-cached",
    "x-kind",
    "\"1\"",
    "W/\"1\", *",
    "Sun, 09 Sep 2001 01:46:40 GMT",
    "bytes=1-3",
    "bytes=0-0,-1",
    "trailers",
];

/// Its answers depend on path, query and `x-kind`, and on whatever gets through.
struct Gullible;

/// The bytes that belong to a path and a kind.
fn belongs(target: &str, kind: &str) -> String {
    format!("{target} as {kind}")
}

#[async_trait]
impl Upstream for Gullible {
    async fn fetch(
        &self,
        request: http::Request<RequestBody>,
    ) -> Result<http::Response<BoxBody>, UpstreamError> {
        let (head, _) = request.into_parts();
        let text = |name: &str| {
            let value = head
                .headers
                .get(name)
                .map(|v| v.to_str().unwrap().to_owned());
            value.unwrap_or_default()
        };
        let mut body = belongs(head.uri.path_and_query().unwrap().as_str(), &text("x-kind"));
        for name in OVERRIDES {
            if head.headers.contains_key(name) {
                body = format!("{body} by {name}={}", text(name));
            }
        }
        if let Some(host) = head.headers.get("host") {
            body = format!("{body} at {host:?}");
        }
        let mut response = http::Response::new(());
        let whole = body.clone();
        // One range of bytes; anything else is ignored (RFC 9110 §14.2).
        let range = text("range");
        let ends = range
            .strip_prefix("bytes=")
            .and_then(|range| range.split_once('-'))
            .and_then(|(first, last)| {
                let end = match last {
                    "" => body.len(),
                    last => body.len().min(last.parse::<usize>().ok()?.checked_add(1)?),
                };
                Some((first.parse::<usize>().ok()?, end))
            });
        if let Some((first, end)) = ends.filter(|(first, end)| first < end) {
            body = body[first..end].to_owned();
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let told = format!("bytes {first}-{}/{}", end - 1, whole.len());
            response
                .headers_mut()
                .insert("content-range", told.parse().unwrap());
        }
        let headers = response.headers_mut();
        headers.insert("cache-control", "max-age=3600".parse().unwrap());
        headers.insert("vary", "x-kind".parse().unwrap());
        headers.insert("etag", "\"1\"".parse().unwrap());
        let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
        Ok(response.map(|()| body.boxed_unsync()))
    }
}

/// A client's fields: any of those that matter to somebody, and any other.
fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    let names: Vec<&'static str> = OVERRIDES.into_iter().chain(OTHERS).collect();
    let known = (
        prop::sample::select(names),
        prop::sample::select(VALUES.to_vec()),
    )
        .prop_map(|(name, value)| (name.to_owned(), value.to_owned()));
    let unknown = ("x-[a-j]{1,12}", "[ -~]{0,24}");
    prop::collection::vec(prop_oneof![3 => known, 1 => unknown], 0..8)
}

fn headers(fields: &[(String, String)], kind: &str) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(
            name.parse::<http::HeaderName>().unwrap(),
            value.parse().unwrap(),
        );
    }
    if !kind.is_empty() {
        map.insert("x-kind", kind.parse().unwrap());
    }
    map
}

#[test]
fn the_same_key_gives_the_same_bytes() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let edge = runtime
        .block_on(Edge::open(Settings::default(), Arc::new(Gullible)))
        .unwrap();
    let edge = Arc::new(edge);
    let cases = AtomicU64::new(0);
    let config = ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let client = (
        fields(),
        prop::sample::select(vec!["", "a", "b"]),
        any::<bool>(),
    );
    let clients = prop::collection::vec(client, 1..4);
    let host = prop::sample::select(vec!["cdn.example", "evil.example"]);
    proptest!(config, |(clients in clients, host in host)| {
        // A path of its own for each case: all begin cold, in one cache.
        let target = format!("/{}?q", cases.fetch_add(1, Ordering::Relaxed));
        runtime.block_on(async {
            for (fields, kind, head) in &clients {
                let method = if *head { Method::HEAD } else { Method::GET };
                let mut asked = request(method, &target, &[]);
                asked.headers = headers(fields, kind);
                asked.authority = Some(host.parse().unwrap());
                let named = asked.headers.get_all("connection").iter().any(|v| v == "x-kind");
                let got = read(edge.serve(asked).await).await;
                if *head {
                    continue;
                }
                // A kind that `Connection` names is the client's hop's alone: it isn't sent on.
                let hidden = if named { "" } else { kind };
                let (whole, other) = (belongs(&target, kind), belongs(&target, hidden));
                let body = std::str::from_utf8(got.bytes()).unwrap();
                match got.status.as_u16() {
                    200 if body == other => {}
                    200 => prop_assert_eq!(body, whole),
                    206 if got.field("content-range").is_empty() => {
                        prop_assert!(got.field("content-type").starts_with("multipart/"));
                    }
                    206 => prop_assert_eq!(body, &whole[1..4]),
                    304 | 504 => {}
                    status => prop_assert!(false, "{}", status),
                }
            }
            // Whoever comes next with nothing special gets what belongs to the key.
            for kind in ["", "a"] {
                let mut plain = request(Method::GET, &target, &[]);
                plain.headers = headers(&[], kind);
                let got = read(edge.serve(plain).await).await;
                prop_assert_eq!(got.bytes(), &belongs(&target, kind));
            }
            Ok(())
        })?;
    });
}
