//! Expiry, start and leeway at their edges.

use tokens::{Claims, Keyset, Reject, Request, SigningKey};

use crate::{NOW, request};

fn at(now: u64, leeway: u64, claims: &Claims) -> Result<(), Reject> {
    let key = SigningKey::generate("k").unwrap();
    let keyset = Keyset::new([key.public()]).unwrap().leeway(leeway);
    let request = Request {
        now_unix_s: now,
        ..request("/")
    };
    tokens::verify(&keyset, &tokens::mint(&key, claims).unwrap(), &request).map(drop)
}

#[test]
fn exp_is_the_first_refused_second() {
    let claims = Claims {
        exp: Some(NOW),
        ..Claims::default()
    };
    assert_eq!(at(NOW - 1, 0, &claims), Ok(()));
    assert_eq!(at(NOW, 0, &claims), Err(Reject::Expired));
    assert_eq!(at(NOW + 29, 30, &claims), Ok(()));
    assert_eq!(at(NOW + 30, 30, &claims), Err(Reject::Expired));
}

#[test]
fn nbf_is_the_first_accepted_second() {
    let claims = Claims::default().not_before(NOW);
    assert_eq!(at(NOW - 1, 0, &claims), Err(Reject::NotYetValid));
    assert_eq!(at(NOW, 0, &claims), Ok(()));
    assert_eq!(at(NOW - 30, 30, &claims), Ok(()));
    assert_eq!(at(NOW - 31, 30, &claims), Err(Reject::NotYetValid));
}

#[test]
fn leeway_never_exceeds_thirty_seconds() {
    let claims = Claims {
        exp: Some(NOW),
        ..Claims::default()
    };
    assert_eq!(at(NOW + 30, 3600, &claims), Err(Reject::Expired));
    assert!(Keyset::from_json(r#"{"leeway_s":31,"keys":[]}"#).is_err());
}

#[test]
fn a_token_from_the_far_future_is_refused() {
    let claims = Claims {
        iat: Some(NOW + 31),
        ..Claims::default()
    };
    assert_eq!(at(NOW, 0, &claims), Err(Reject::NotYetValid));
    let claims = Claims {
        iat: Some(NOW + 30),
        ..Claims::default()
    };
    assert_eq!(at(NOW, 0, &claims), Ok(()));
}

#[test]
fn a_kept_verdict_still_expires() {
    let key = SigningKey::generate("k").unwrap();
    let keyset = Keyset::new([key.public().valid(None, Some(NOW + 50))]).unwrap();
    let claims = Claims {
        exp: Some(NOW + 10),
        ..Claims::default()
    };
    let verified =
        tokens::authenticate(&keyset, &tokens::mint(&key, &claims).unwrap(), NOW).unwrap();
    assert_eq!(verified.expires_at(), Some(NOW + 10));
    assert_eq!(verified.check(&request("/")), Ok(()));
    let later = Request {
        now_unix_s: NOW + 10,
        ..request("/")
    };
    assert_eq!(verified.check(&later), Err(Reject::Expired));

    let claims = Claims {
        exp: Some(NOW + 100),
        ..Claims::default()
    };
    let verified =
        tokens::authenticate(&keyset, &tokens::mint(&key, &claims).unwrap(), NOW).unwrap();
    let later = Request {
        now_unix_s: NOW + 50,
        ..request("/")
    };
    assert_eq!(verified.check(&later), Err(Reject::KeyExpired));
}
