//! Keysets: rotation, revocation, pinning, JSON, and what never shows.

use tokens::{Algorithm, Claims, Error, Keyset, Reject, Request, SigningKey};

use crate::{NOW, request};

const ALGORITHMS: [Algorithm; 3] = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256];

fn verify(keyset: &Keyset, key: &SigningKey, claims: &Claims, now: u64) -> Result<(), Reject> {
    let request = Request {
        now_unix_s: now,
        ..request("/")
    };
    tokens::verify(keyset, &tokens::mint(key, claims).unwrap(), &request).map(drop)
}

#[test]
fn every_algorithm_survives_json() {
    for algorithm in ALGORITHMS {
        let key = SigningKey::generate_with(algorithm, "k").unwrap();
        let reread = SigningKey::from_json(&key.to_json().unwrap()).unwrap();
        assert_eq!((reread.kid(), reread.algorithm()), ("k", algorithm));
        let keyset = Keyset::new([key.public()]).unwrap();
        let keyset = Keyset::from_json(&keyset.to_json_with_secrets()).unwrap();
        assert_eq!(verify(&keyset, &reread, &Claims::default(), NOW), Ok(()));
    }
}

#[test]
fn rotation_overlaps() {
    let (old, new) = (
        SigningKey::generate("old").unwrap(),
        SigningKey::generate("new").unwrap(),
    );
    let keyset = Keyset::new([
        old.public().valid(None, Some(NOW + 100)),
        new.public().valid(Some(NOW), None),
    ])
    .unwrap();
    let keyset = Keyset::from_json(&keyset.to_json()).unwrap();
    let claims = Claims::default();
    assert_eq!(verify(&keyset, &old, &claims, NOW - 1), Ok(()));
    assert_eq!(
        verify(&keyset, &new, &claims, NOW - 1),
        Err(Reject::KeyNotYetValid)
    );
    assert_eq!(verify(&keyset, &old, &claims, NOW + 99), Ok(()));
    assert_eq!(verify(&keyset, &new, &claims, NOW + 99), Ok(()));
    assert_eq!(
        verify(&keyset, &old, &claims, NOW + 100),
        Err(Reject::KeyExpired)
    );
    assert_eq!(verify(&keyset, &new, &claims, NOW + 100), Ok(()));
}

#[test]
fn revoked_keys_are_refused_with_that_reason() {
    let key = SigningKey::generate("k").unwrap();
    let keyset = Keyset::new([key.public().revoke()]).unwrap();
    let keyset = Keyset::from_json(&keyset.to_json()).unwrap();
    assert_eq!(
        verify(&keyset, &key, &Claims::default(), NOW),
        Err(Reject::KeyRevoked)
    );
}

#[test]
fn issuers_and_audiences_bind() {
    let key = SigningKey::generate("k").unwrap();
    let keyset = Keyset::new([key.public().issued_by("segue")])
        .unwrap()
        .audience("edge");
    let check = |claims: Claims| verify(&keyset, &key, &claims, NOW);
    assert_eq!(check(Claims::default()), Err(Reject::Issuer));
    assert_eq!(
        check(Claims::default().issuer("other")),
        Err(Reject::Issuer)
    );
    let claims = Claims::default().issuer("segue");
    assert_eq!(check(claims.clone()), Ok(()));
    assert_eq!(
        check(claims.clone().audience("elsewhere")),
        Err(Reject::Audience)
    );
    assert_eq!(
        check(claims.clone().audience("elsewhere").audience("edge")),
        Ok(())
    );
    let keyset = Keyset::new([key.public()]).unwrap();
    assert_eq!(
        verify(&keyset, &key, &claims.audience("edge"), NOW),
        Err(Reject::Audience)
    );
}

#[test]
fn secrets_show_nowhere() {
    for algorithm in ALGORITHMS {
        let key = SigningKey::generate_with(algorithm, "k").unwrap();
        let json: serde_json::Value = serde_json::from_str(&key.to_json().unwrap()).unwrap();
        let secret = json["d"].as_str().or(json["k"].as_str()).unwrap();
        let keyset = Keyset::new([key.public()]).unwrap();
        let shown = format!("{key:?} {:?} {keyset:?} {}", key.public(), keyset.to_json());
        assert!(!shown.contains(secret), "{shown}");
        let bytes = format!("{:?}", base64_decode(secret));
        assert!(!shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
        let broken = key.to_json().unwrap().replace("\"kty\"", "\"ktx\"");
        let error = SigningKey::from_json(&broken).unwrap_err().to_string();
        assert!(!error.contains(secret), "{error}");
    }
}

fn base64_decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .unwrap()
}

#[test]
fn unsound_keysets_are_refused_by_name() {
    let key = SigningKey::generate("k").unwrap();
    assert!(
        matches!(Keyset::new([key.public(), key.public()]), Err(Error::Json(e)) if e.contains("two keys"))
    );
    let json = Keyset::new([key.public()]).unwrap().to_json();
    for (from, to, names) in [
        ("EdDSA", "ES256", "don't fit"),
        ("EdDSA", "none", "unexpected"),
        ("Ed25519", "X25519", "don't fit"),
        ("\"x\":\"", "\"x\":\"!", "base64url"),
        ("\"x\":\"", "\"x\":\"AAAA", "public key"),
        ("\"kid\":\"k\"", "\"kid\":\"\"", "kid"),
        ("\"keys\"", "\"keyz\"", "unexpected"),
    ] {
        let error = Keyset::from_json(&json.replacen(from, to, 1))
            .unwrap_err()
            .to_string();
        assert!(error.contains(names), "{from} -> {to}: {error}");
    }
    assert!(Keyset::from_json(&" ".repeat(300 << 10)).is_err());
    assert!(SigningKey::from_secret("k", &[1; 31]).is_err());
    assert!(SigningKey::generate("k".repeat(65)).is_err());
}
