//! What is authorised is what is keyed and what is fetched, byte for byte, and no path that any
//! upstream could read as another is let through the gate.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use edge::serve::{Edge, Settings};
use proptest::prelude::*;
use tokens::{Claims, Keyset, Scope, SigningKey};

use crate::fake_origin::{Origin, Resource, edge_with, get};

/// What paths are made of: plain parts, and everything that some parser reads in its own way.
const PARTS: [&str; 26] = [
    "/", "//", "a", "1", "10", ".", "..", "%2e", "%2E%2e", "%252e", "%2f", "%2F", "%252f", "\\",
    "%5c", ";", ";x=y", "..;", "%00", "%", "%zz", "%61", "?", "&", "~", "é",
];

struct Guarded {
    origin: Arc<Origin>,
    edge: Arc<Edge>,
    token: String,
}

/// An edge before an origin that has something cacheable everywhere, and a token for track 1.
async fn guarded() -> Guarded {
    let (origin, key) = (Origin::new(), SigningKey::generate("k").unwrap());
    origin.put_everywhere(Resource::immutable("sound", "\"1\""));
    let edge = edge_with(
        &origin,
        Settings {
            keyset: Some(Keyset::new([key.public()]).unwrap().into()),
            ..Settings::default()
        },
    )
    .await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let claims = Claims::listening("anna", now.as_secs(), Duration::from_secs(3600));
    let token = tokens::mint(&key, &claims.scope(Scope::Track("1".into()))).unwrap();
    Guarded {
        origin,
        edge,
        token,
    }
}

/// All that a path can mean to some upstream: each round of decoding, of everything or of all but
/// separators; backslashes as slashes or not; slashes merged or not; parameters cut or not; dots
/// resolved or not; up to the first NUL.
fn readings(path: &str) -> HashSet<String> {
    const KEPT: [&[u8]; 3] = [b"", b"/\\", b"/\\;%"];
    let mut decoded = HashSet::from([path.to_owned()]);
    let mut round = decoded.clone();
    for _ in 0..3 {
        round = round
            .iter()
            .flat_map(|text| KEPT.map(|kept| decode(text, kept)))
            .collect();
        decoded.extend(round.iter().cloned());
    }
    let mut readings = HashSet::new();
    for text in decoded {
        for text in [text.clone(), text.replace('\\', "/")] {
            let text = text.split('\0').next().unwrap().to_ascii_lowercase();
            let bare: Vec<&str> = text
                .split('/')
                .map(|s| s.split(';').next().unwrap())
                .collect();
            for text in [text.clone(), bare.join("/")] {
                for text in [text.clone(), merge(&text)] {
                    readings.insert(merge(&resolve(&text)));
                    readings.insert(text);
                }
            }
        }
    }
    readings
}

/// One round of percent-decoding, of all but the bytes that are kept.
fn decode(text: &str, kept: &[u8]) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|h| {
            let h = std::str::from_utf8(h).ok()?;
            u8::from_str_radix(h, 16)
                .ok()
                .filter(|_| !h.starts_with('+'))
        });
        match hex {
            Some(byte) if bytes[at] == b'%' && !kept.contains(&byte) => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// RFC 3986 §5.2.4: an empty segment is one that `..` takes away.
fn resolve(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => {
                out.pop();
            }
            segment => out.push(segment),
        }
    }
    format!("/{}", out.join("/"))
}

fn merge(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    format!("/{}", parts.join("/"))
}

impl Guarded {
    /// Asks for a path and checks what came of it.
    async fn check(&self, path: &str) {
        let target = format!("/~{}{path}", self.token);
        // A second prefix is a second token.
        if path.starts_with("/~") || http::uri::PathAndQuery::try_from(target.as_str()).is_err() {
            return;
        }
        let before = self.origin.asked();
        let got = get(&self.edge, &target, &[]).await;
        let seen = self.origin.seen();
        let fetched: Vec<&str> = seen[before..].iter().map(|s| s.target.as_str()).collect();
        let expected = path.split('#').next().unwrap();
        if got.status.is_success() {
            // Keyed and fetched as asked; asked again, nothing is fetched.
            assert!(
                fetched.iter().all(|f| *f == expected),
                "{path}: {fetched:?}"
            );
            assert_eq!(got.facts.target.as_ref().unwrap().as_str(), expected);
            let asked = self.origin.asked();
            get(&self.edge, &target, &[]).await;
            assert_eq!(self.origin.asked(), asked, "{path}: not keyed as fetched");
        } else {
            assert!(fetched.is_empty(), "{path}: {} though fetched", got.status);
        }
        // Whatever reached the origin is no other track's, in nobody's reading.
        for target in fetched {
            let path = target.split('?').next().unwrap();
            for reading in readings(path) {
                let guarded = reading.starts_with("/media/") || reading.starts_with("/v1/");
                let reading = format!("{reading}/");
                let ours = reading.starts_with("/media/1/") || reading.starts_with("/v1/tracks/1/");
                assert!(!guarded || ours, "{path} may be read as {reading}");
            }
        }
    }
}

#[tokio::test]
async fn every_path_of_three_odd_parts_means_one_thing() {
    let guarded = guarded().await;
    for base in ["/media/1/", "/media/", "/", "/x/"] {
        for a in PARTS {
            for b in PARTS {
                guarded.check(&format!("{base}{a}{b}")).await;
                for c in ["/media/2/x", "/2/x", "/1/x"] {
                    guarded.check(&format!("{base}{a}{b}{c}")).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn near_misses_of_a_track_stay_shut() {
    let guarded = guarded().await;
    assert!(
        get(
            &guarded.edge,
            &format!("/~{}/media/1/a", guarded.token),
            &[]
        )
        .await
        .status
        .is_success()
    );
    for path in [
        "/media/10/a",
        "/media/11",
        "/media/1",
        "/media/01/a",
        "/media/1%2fa",
        "/media/1;x/a",
        "/media/1.5/a",
        "/media/1%20/a",
        "/MEDIA/1/a",
        "/Media/2/a",
        "/media;x/2/a",
        "/v1/tracks/10/a",
        "/media/2/a?/media/1/",
        "/media/2/a?x=/media/1/a",
        "/x/..;/media/2/a",
        "/media/1/..;/2/a",
        "/media\\2\\a",
        "/v1\\tracks\\2\\a",
        "/%4dedia/2/a",
        "/media/1/%2e%2e/2/a",
    ] {
        let got = get(&guarded.edge, &format!("/~{}{path}", guarded.token), &[]).await;
        assert!(
            matches!(got.status.as_u16(), 400 | 403),
            "{path}: {}",
            got.status
        );
    }
    assert_eq!(guarded.origin.asked(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_mixture_means_one_thing(parts in prop::collection::vec(prop::sample::select(&PARTS[..]), 0..12), base in prop::sample::select(vec!["/media/1/", "/media/", "/v1/tracks/1/", "/", "/api/"]), tail in prop::sample::select(vec!["", "/media/2/a", "/../2/a", "a"])) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let path = format!("{base}{}{tail}", parts.concat());
        runtime.block_on(async { guarded().await.check(&path).await });
    }
}
