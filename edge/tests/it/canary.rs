//! A token in a request shows up nowhere: not in the access log, the program's own log, metrics,
//! answers, what the origin is sent, what is stored, or the text of a panic.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use edge::config::{AccessLog, KeysetSource, Limits};
use tokens::{Claims, Keyset, Scope, SigningKey};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::support::{answer, edge, origin, plain};

/// Everything that was said, wherever.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<String>>);

impl Said {
    fn note(&self, what: &str, text: &str) {
        let mut said = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let _ = writeln!(said, "{what}: {text}");
    }
}

/// Takes down every event and span, at every level.
struct Listener(Said);

impl Visit for Listener {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.note(field.name(), &format!("{value:?}"));
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // hyper's own tracing shows bytes on the wire, and is never enabled above `trace`.
        metadata.target().starts_with("edge") || *metadata.level() <= tracing::Level::DEBUG
    }
    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        span.record(&mut Self(self.0.clone()));
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut Self(self.0.clone()));
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut Self(self.0.clone()));
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Everything one raw HTTP/1.1 request brings back.
async fn raw(edge: &crate::support::Edge, text: &str) -> String {
    let mut tcp = TcpStream::connect(edge.http()).await.unwrap();
    tcp.write_all(text.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), tcp.read_to_end(&mut got)).await;
    String::from_utf8_lossy(&got).into_owned()
}

#[tokio::test]
async fn a_token_shows_up_nowhere() {
    let said = Said::default();
    let _logging = tracing::subscriber::set_default(Listener(said.clone()));
    let panics = said.clone();
    std::panic::set_hook(Box::new(move |panic| {
        panics.note("panic", &panic.to_string())
    }));

    // An origin that says aloud what it was sent, and breaks in several ways.
    let heard = said.clone();
    let origin = origin(move |request| {
        let heard = heard.clone();
        async move {
            let (head, _) = request.into_parts();
            heard.note("origin", &format!("{head:?}"));
            match head.uri.path() {
                "/media/t1/panic" => panic!("{head:?}"),
                "/media/t1/missing" => answer(404, &[], "no"),
                "/media/t1/broken" => answer(500, &[], "no"),
                "/media/t1/moved" => answer(302, &[("location", "/media/t1/x")], ""),
                _ => answer(
                    200,
                    &[("cache-control", "max-age=60"), ("etag", "\"1\"")],
                    "sound",
                ),
            }
        }
    })
    .await;
    let key = SigningKey::generate("k").unwrap();
    let keyset = Keyset::new([key.public()]).unwrap();
    let kept = tempfile::tempdir().unwrap();
    let edge = edge(origin.address, |config| {
        config.keyset = KeysetSource::Inline(keyset);
        config.access_log = AccessLog::File(kept.path().join("access.log"));
        config.disk = Some(kept.path().join("disk"));
        config.disk_size = 64 << 20;
        config.limits = Limits {
            target_size: 4_000,
            ..Limits::default()
        };
    })
    .await;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let mint = |ago: u64, scope| {
        let claims = Claims::listening("canary", now - ago, Duration::from_secs(600)).scope(scope);
        tokens::mint(&key, &claims).unwrap()
    };
    let good = mint(0, Scope::All);
    // Expired, for another track, forged, broken off.
    let tokens = [
        good.clone(),
        mint(7_200, Scope::All),
        mint(0, Scope::Track("t2".into())),
        format!("{}AAAA", &good[..good.len() - 4]),
        good[..good.len() / 2].to_owned(),
    ];
    for token in &tokens {
        let long = "p".repeat(4_000);
        let targets = [
            format!("/~{token}/media/t1/x"),
            format!("/~{token}/media/t1/../t2/x"),
            format!("/~{token}//media/t1/x"),
            format!("/~{token}/open"),
            format!("/~{token}"),
            format!("/~{token}?a=/b"),
            format!("/~{token}/~{token}/media/t1/x"),
            format!("/~{token}/media/t1/panic"),
            format!("/~{token}/media/t1/missing"),
            format!("/~{token}/media/t1/broken"),
            format!("/~{token}/media/t1/moved"),
            format!("/~{token}/media/t1/{long}"),
            format!("/media/t1/x?CAT={token}"),
            format!("/media/t1/x?a=1&cat={token}&Cat={token}&b=2"),
            format!("/open?cat={token}"),
        ];
        let fields = [
            ("cta-common-access-token", token.clone()),
            ("authorization", format!("Bearer {token}")),
            (
                "cookie",
                format!("a=b; CTA-Common-Access-Token={token}; c=d"),
            ),
            (
                "referer",
                format!("https://a.example/~{token}/v1/x.m3u8?cat={token}"),
            ),
            ("x-range", "x".into()),
        ];
        for target in &targets {
            for (name, value) in &fields {
                let head = format!(
                    "GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{name}: {value}\r\n\r\n"
                );
                said.note("answer", &raw(&edge, &head).await);
            }
            // Broken requests, with the token in every part of them.
            for head in [
                format!("GET {target} HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
                format!("GET {target} HTTP/9.9\r\nhost: a\r\n\r\n"),
                format!("GET {target} HTTP/1.1\r\nhost: {token}@a\r\n\r\n"),
                format!("CONNECT {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
                format!("OPTIONS {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
                format!(
                    "POST {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}"
                ),
            ] {
                said.note("answer", &raw(&edge, &head).await);
            }
        }
        for mut client in [edge.h2().await, edge.h3().await] {
            for target in &targets {
                for (name, value) in &fields {
                    let got = client.send("GET", target, &[(name, value)], "").await;
                    said.note("answer", &format!("{got:?}"));
                }
            }
        }
    }
    let mut admin = plain(edge.addrs.admin.unwrap()).await;
    said.note("metrics", &admin.get("/metrics", &[]).await.text());
    drop(admin);
    edge.drain();
    edge.ended().await;
    // Every file it has left, disk cache and access log included.
    let mut pending = vec![kept.path().to_owned()];
    let mut log = String::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            continue;
        }
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        if path.ends_with("access.log") {
            log.clone_from(&text);
        }
        for token in &tokens {
            assert!(!text.contains(&token[..40]), "{}", path.display());
        }
    }
    let _ = std::panic::take_hook();
    // It was heard at all.
    let said = said.0.lock().unwrap().clone();
    assert!(
        log.contains("/media/t1/x") && log.contains("canary"),
        "{log}"
    );
    for what in [
        "panic: ",
        "origin: ",
        "answer: HTTP/1.1 200",
        "answer: HTTP/1.1 403",
        "metrics: ",
    ] {
        assert!(said.contains(what), "{what} missing");
    }
    for token in &tokens {
        // Part of a token would do for a thief who has the rest; its begin is all tokens'.
        for part in [&token[8..48], &token[token.len() - 40..]] {
            let found = said.lines().find(|line| line.contains(part));
            assert!(found.is_none(), "{}", found.unwrap());
        }
    }
}
