//! What anyone could try with tokens and public keys at hand.

use ciborium::value::{Integer, Value};
use coset::{
    CborSerializable, CoseMac0Builder, CoseSign1, CoseSign1Builder, HeaderBuilder,
    TaggedCborSerializable, iana,
};
use proptest::prelude::*;
use tokens::{Algorithm, Claims, Keyset, Reject, SigningKey};

use crate::{NOW, TRACK, key, listener, request};

fn unbase64(token: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(token)
        .unwrap()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

fn verify(keyset: &Keyset, token: &str) -> Result<(), Reject> {
    tokens::verify(keyset, token, &request(&format!("/media/{TRACK}/r/a.mp4"))).map(drop)
}

/// A token with claims that our own side wouldn't write, soundly signed.
fn signed(claims: Value) -> String {
    let secret = [9u8; 32];
    let mut payload = Vec::new();
    ciborium::into_writer(&claims, &mut payload).unwrap();
    let protected = HeaderBuilder::new()
        .algorithm(iana::Algorithm::HMAC_256_256)
        .build();
    let mac0 = CoseMac0Builder::new()
        .protected(protected)
        .unprotected(HeaderBuilder::new().key_id(b"hs".to_vec()).build())
        .payload(payload)
        .create_tag(&[], |message| hmac(&secret, message))
        .build();
    base64(&[&[0xd8, 61][..], &mac0.to_tagged_vec().unwrap()].concat())
}

fn hmac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec()
}

fn hs() -> Keyset {
    Keyset::new([SigningKey::from_secret("hs", &[9; 32]).unwrap().public()]).unwrap()
}

fn map(pairs: &[(i64, Value)]) -> Value {
    Value::Map(
        pairs
            .iter()
            .map(|(k, v)| (Value::Integer(Integer::from(*k)), v.clone()))
            .collect(),
    )
}

#[test]
fn every_flipped_bit_is_noticed() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256] {
        let key = SigningKey::generate_with(algorithm, "k").unwrap();
        let keyset = Keyset::new([key.public()]).unwrap();
        let token = tokens::mint(&key, &listener()).unwrap();
        assert_eq!(verify(&keyset, &token), Ok(()));
        let bytes = unbase64(&token);
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                verify(&keyset, &base64(&forged)).is_err(),
                "{algorithm:?} bit {bit}"
            );
        }
        for bit in 0..token.len() * 8 {
            let mut forged = token.clone().into_bytes();
            forged[bit / 8] ^= 1 << (bit % 8);
            let Ok(forged) = String::from_utf8(forged) else {
                continue;
            };
            assert!(
                verify(&keyset, &forged).is_err(),
                "{algorithm:?} text bit {bit}"
            );
        }
    }
}

#[test]
fn every_truncation_and_extension_is_noticed() {
    let (key, keyset) = key();
    let token = tokens::mint(&key, &listener()).unwrap();
    for len in 0..token.len() {
        assert!(verify(&keyset, &token[..len]).is_err(), "{len}");
    }
    for tail in ["A", "AA", "=", "==", " ", "\n", "\0"] {
        assert!(
            verify(&keyset, &format!("{token}{tail}")).is_err(),
            "{tail:?}"
        );
    }
    let mut bytes = unbase64(&token);
    bytes.push(0);
    assert_eq!(
        verify(&keyset, &base64(&bytes)),
        Err(Reject::Malformed("trailing bytes"))
    );
    assert_eq!(verify(&keyset, &"A".repeat(5000)), Err(Reject::TooLong));
}

/// The classic: the verifier's public key, known to all, used as an HMAC secret.
#[test]
fn a_public_key_is_no_secret() {
    let (key, keyset) = key();
    let json: serde_json::Value = serde_json::from_str(&keyset.to_json()).unwrap();
    let public = unbase64(json["keys"][0]["x"].as_str().unwrap());
    let mut forger = SigningKey::from_secret("k1", &public).unwrap();
    let forged = tokens::mint(&forger, &listener()).unwrap();
    assert_eq!(verify(&keyset, &forged), Err(Reject::AlgorithmMismatch));
    forger = SigningKey::generate_with(Algorithm::Es256, key.kid()).unwrap();
    let forged = tokens::mint(&forger, &listener()).unwrap();
    assert_eq!(verify(&keyset, &forged), Err(Reject::AlgorithmMismatch));
}

#[test]
fn the_structure_belongs_to_the_algorithm() {
    let (key, keyset) = key();
    let mut bytes = unbase64(&tokens::mint(&key, &listener()).unwrap());
    assert_eq!(bytes[2], 0xd2, "COSE_Sign1");
    bytes[2] = 0xd1;
    assert_eq!(
        verify(&keyset, &base64(&bytes)),
        Err(Reject::AlgorithmMismatch)
    );
    assert_eq!(verify(&keyset, &base64(&bytes[2..])), Err(Reject::NotCwt));
}

#[test]
fn another_key_of_the_set_does_not_do() {
    let (a, b) = (
        SigningKey::generate("a").unwrap(),
        SigningKey::generate("b").unwrap(),
    );
    let keyset = Keyset::new([a.public(), b.public()]).unwrap();
    let impostor = SigningKey::from_json(
        &b.to_json()
            .unwrap()
            .replace("\"kid\":\"b\"", "\"kid\":\"a\""),
    )
    .unwrap();
    assert_eq!(
        verify(&keyset, &tokens::mint(&impostor, &listener()).unwrap()),
        Err(Reject::BadSignature)
    );
    let stranger = SigningKey::generate("c").unwrap();
    assert_eq!(
        verify(&keyset, &tokens::mint(&stranger, &listener()).unwrap()),
        Err(Reject::UnknownKey)
    );
    assert_eq!(
        verify(&Keyset::default(), &tokens::mint(&a, &listener()).unwrap()),
        Err(Reject::UnknownKey)
    );
}

#[test]
fn unprotected_or_doubled_headers_are_refused() {
    let keyset = hs();
    let token = |protected, unprotected| {
        let mac0 = CoseMac0Builder::new()
            .protected(protected)
            .unprotected(unprotected)
            .payload(vec![0xa0])
            .create_tag(&[], |message| hmac(&[9; 32], message))
            .build();
        base64(&[&[0xd8, 61][..], &mac0.to_tagged_vec().unwrap()].concat())
    };
    let alg = || HeaderBuilder::new().algorithm(iana::Algorithm::HMAC_256_256);
    let kid = || HeaderBuilder::new().key_id(b"hs".to_vec());
    assert_eq!(
        verify(&keyset, &token(alg().build(), kid().build())),
        Ok(())
    );
    let open_alg = token(kid().build(), alg().build());
    assert_eq!(
        verify(&keyset, &open_alg),
        Err(Reject::Malformed("unprotected algorithm"))
    );
    let two = token(alg().key_id(b"hs".to_vec()).build(), kid().build());
    assert_eq!(
        verify(&keyset, &two),
        Err(Reject::Malformed("two key identifiers"))
    );
    let critical = alg().add_critical(iana::HeaderParameter::Kid).build();
    assert_eq!(
        verify(&keyset, &token(critical, kid().build())),
        Err(Reject::Malformed("critical headers"))
    );
    assert_eq!(
        verify(&keyset, &token(alg().build(), HeaderBuilder::new().build())),
        Err(Reject::UnknownKey)
    );
}

/// An independent COSE implementation reads ours and ours reads its.
#[test]
fn coset_reads_our_envelope() {
    let (key, _) = key();
    let bytes = unbase64(&tokens::mint(&key, &listener()).unwrap());
    let sign1 = CoseSign1::from_tagged_slice(&bytes[2..]).unwrap();
    assert_eq!(sign1.protected.header.key_id, b"k1");
    assert_eq!(
        sign1.protected.header.alg,
        Some(coset::Algorithm::Assigned(iana::Algorithm::EdDSA))
    );
    let rebuilt = CoseSign1Builder::new()
        .protected(sign1.protected.header.clone())
        .payload(sign1.payload.clone().unwrap())
        .signature(sign1.signature.clone())
        .build();
    let json: serde_json::Value =
        serde_json::from_str(&Keyset::new([key.public()]).unwrap().to_json()).unwrap();
    let x = unbase64(json["keys"][0]["x"].as_str().unwrap());
    let public = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, x);
    rebuilt
        .verify_signature(&[], |signature, message| public.verify(message, signature))
        .unwrap();
    assert!(rebuilt.to_vec().is_ok());
}

#[test]
fn claims_that_restrict_unevaluated_are_refused() {
    let keyset = hs();
    assert_eq!(
        verify(&keyset, &signed(map(&[(4, Value::from(NOW + 9))]))),
        Ok(())
    );
    // Proof of possession, geohash, probability of rejection, ALPN, header, geography, TLS key…
    for label in [8, 282, 309, 314, 315, 317, 318, 319, 321, 324, 999, -70_000] {
        let token = signed(map(&[(label, Value::from(1))]));
        assert_eq!(
            verify(&keyset, &token),
            Err(Reject::UnsupportedClaim(label))
        );
    }
    let replay = |value: i64| verify(&keyset, &signed(map(&[(308, Value::from(value))])));
    assert_eq!(
        (replay(0), replay(1)),
        (Ok(()), Err(Reject::UnsupportedClaim(308)))
    );
    assert_eq!(
        verify(&keyset, &signed(map(&[(310, Value::from(2))]))),
        Err(Reject::Version)
    );
    let named = Value::Map(vec![(Value::from("admin"), Value::from(true))]);
    assert!(matches!(
        verify(&keyset, &signed(named)),
        Err(Reject::Malformed(_))
    ));
    let twice = map(&[(4, Value::from(NOW + 9)), (4, Value::from(NOW + 99))]);
    assert_eq!(
        verify(&keyset, &signed(twice)),
        Err(Reject::Malformed("duplicate claim"))
    );
    let nobody = map(&[(3, Value::Array(vec![]))]);
    assert_eq!(verify(&keyset, &signed(nobody)), Err(Reject::Audience));
}

#[test]
fn fractions_of_seconds_never_extend_a_token() {
    let keyset = hs();
    let check = |label, value: f64| verify(&keyset, &signed(map(&[(label, Value::from(value))])));
    assert_eq!(check(4, NOW as f64 + 0.9), Err(Reject::Expired));
    assert_eq!(check(4, NOW as f64 + 1.1), Ok(()));
    assert_eq!(check(5, NOW as f64 + 0.1), Err(Reject::NotYetValid));
    assert_eq!(
        check(4, f64::NAN),
        Err(Reject::Malformed("not a finite number"))
    );
    assert_eq!(
        check(4, f64::INFINITY),
        Err(Reject::Malformed("not a finite number"))
    );
    assert_eq!(check(4, -1.0), Err(Reject::Expired));
}

#[test]
fn odd_uri_rules_are_refused() {
    let keyset = hs();
    let check = |catu: Value| verify(&keyset, &signed(map(&[(312, catu)])));
    let rule = |component, label, value: Value| map(&[(component, map(&[(label, value)]))]);
    let regex = |parts: &[&str]| Value::Array(parts.iter().map(|p| Value::from(*p)).collect());
    assert_eq!(check(rule(3, 4, regex(&["^/media/"]))), Ok(()));
    assert_eq!(
        check(rule(3, 4, regex(&["^/(media)/", "x"]))),
        Err(Reject::BadRule("regular expression with parameters"))
    );
    assert_eq!(
        check(rule(3, 4, regex(&["("]))),
        Err(Reject::BadRule("regular expression invalid or too large"))
    );
    assert_eq!(
        check(rule(3, 4, regex(&[&"a".repeat(300)]))),
        Err(Reject::BadRule("regular expression too long"))
    );
    assert_eq!(
        check(rule(9, 0, Value::from("x"))),
        Err(Reject::BadRule("unknown component"))
    );
    assert_eq!(
        check(rule(3, 5, Value::from("x"))),
        Err(Reject::BadRule("unknown match type"))
    );
    assert_eq!(
        check(map(&[(3, map(&[]))])),
        Err(Reject::BadRule("no match for a component"))
    );
    assert_eq!(
        check(rule(3, -1, Value::Bytes(vec![0; 31]))),
        Err(Reject::BadRule("digest of another size"))
    );
}

proptest! {
    #[test]
    fn no_bytes_panic_or_pass(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let keyset = hs();
        prop_assert!(verify(&keyset, &base64(&bytes)).is_err());
    }

    /// Reaches the claims' parser, which arbitrary bytes never do without a key.
    #[test]
    fn no_signed_bytes_panic(payload in prop::collection::vec(any::<u8>(), 0..120)) {
        let keyset = hs();
        let protected = HeaderBuilder::new().algorithm(iana::Algorithm::HMAC_256_256).build();
        let mac0 = CoseMac0Builder::new()
            .protected(protected)
            .unprotected(HeaderBuilder::new().key_id(b"hs".to_vec()).build())
            .payload(payload)
            .create_tag(&[], |message| hmac(&[9; 32], message))
            .build();
        let token = base64(&[&[0xd8, 61][..], &mac0.to_tagged_vec().unwrap()].concat());
        let _ = verify(&keyset, &token);
    }
}

#[test]
fn minting_refuses_what_nobody_would_accept() {
    let (key, _) = key();
    assert!(tokens::mint(&key, &Claims::default().issuer("x".repeat(2000))).is_err());
    assert!(
        tokens::mint(
            &key,
            &Claims {
                exp: Some(u64::MAX),
                ..Claims::default()
            }
        )
        .is_err()
    );
    let many = (0..65).fold(Claims::default(), |claims, i| {
        claims.audience(i.to_string())
    });
    assert!(tokens::mint(&key, &many).is_err());
}
