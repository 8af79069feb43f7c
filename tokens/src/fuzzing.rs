//! Entry points of the fuzz targets: each takes any bytes, must not panic and must not take long.

use crate::{
    Keyset, Request, SigningKey,
    catu::Matchers,
    claims::Claims,
    envelope::{self, Envelope},
    path::check_path,
};

/// A token's text.
pub fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let _ = crate::inspect(text);
    if let Ok(keyset) =
        SigningKey::from_secret("k", &[9; 32]).and_then(|k| Keyset::new([k.public()]))
    {
        let verdict = crate::authenticate(&keyset, text, 1_800_000_000);
        assert!(verdict.is_err(), "nobody has signed this");
    }
}

/// A token's bytes below base64.
pub fn envelope(data: &[u8]) {
    if let Ok(envelope) = Envelope::parse(data) {
        let _ = envelope.message();
        let _ = Claims::read(envelope.payload);
    }
    let _ = envelope::decode(&String::from_utf8_lossy(data));
}

/// A token's claims, as if they were signed. What is read is written and read again alike.
pub fn claims(data: &[u8]) {
    let Ok(claims) = Claims::read(data) else {
        return;
    };
    if let Ok(written) = claims.write() {
        let again = Claims::read(&written).map(|again| Claims {
            catv: claims.catv,
            ..again
        });
        assert_eq!(again, Ok(claims.clone()));
    }
    let Ok(matchers) = Matchers::compile(&claims.catu) else {
        return;
    };
    for path in ["/", "/media/t1/r1/opus-96.mp4", "/v1/tracks/t1/index.m3u8"] {
        let _ = matchers.check(&request(path));
    }
}

/// A path: what passes has one reading.
pub fn path(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else {
        return;
    };
    if check_path(path).is_ok() {
        let lower = path.to_ascii_lowercase();
        let bad = [
            "//", "/./", "/../", "\\", "%2f", "%2e", "%25", "%5c", "%00", "?", "#",
        ];
        assert!(path.starts_with('/') && path.is_ascii(), "{path}");
        assert!(!bad.iter().any(|bad| lower.contains(bad)), "{path}");
        assert!(!lower.ends_with("/..") && !lower.ends_with("/."), "{path}");
    }
}

fn request(path: &str) -> Request<'_> {
    Request {
        method: "GET",
        scheme: "https",
        host: "music.example",
        port: 443,
        path,
        query: "",
        client_ip: [192, 0, 2, 7].into(),
        client_country: None,
        now_unix_s: 1_800_000_000,
    }
}
