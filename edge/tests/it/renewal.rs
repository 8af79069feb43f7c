//! Tokens that are renewed, bound to countries, revoked.

use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use edge::{
    geoip::GeoIp,
    serve::{Edge, Settings},
};
use tokens::{
    Algorithm, Claims, Country, Keyset, Renewal, RenewalKind, Request, Scope, SigningKey,
};

use crate::{
    fake_origin::{Got, Origin, Resource, edge_with, get},
    mmdb,
};

const PATH: &str = "/media/t1/r1/opus-96.mp4";

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

async fn guarded(keyset: Keyset) -> Arc<Edge> {
    let origin = Origin::new();
    origin.put(PATH, Resource::immutable("sound", "\"1\""));
    let keyset = Some(keyset.into());
    let settings = Settings {
        keyset,
        ..Settings::default()
    };
    edge_with(&origin, settings).await
}

/// A token with `left` seconds to live that may be renewed for an hour at a time.
fn renewable(key: &SigningKey, left: u64, terms: Renewal) -> String {
    let claims = Claims::listening("anna", now(), Duration::from_secs(left))
        .scope(Scope::Track("t1".into()))
        .id([7; 16])
        .renewal(terms);
    tokens::mint(key, &claims).unwrap()
}

/// The renewed token of an answer, by header and by cookie.
fn renewed(got: &Got) -> (Option<String>, Option<String>) {
    let field = |name: &str| {
        got.headers
            .get(name)
            .map(|v| v.to_str().unwrap().to_owned())
    };
    (field("cta-common-access-token"), field("set-cookie"))
}

#[tokio::test]
async fn a_token_that_is_due_is_renewed_where_it_came_from() {
    let key = SigningKey::generate("k").unwrap();
    let keyset = Keyset::new([key.public()]).unwrap();
    let edge = guarded(keyset.clone()).await;
    let terms = || Renewal {
        deadline_s: Some(300),
        ..Renewal::new(RenewalKind::Automatic, 3600)
    };
    let due = renewable(&key, 200, terms());
    let early = renewable(&key, 400, terms());
    let by_header = |token: &str| vec![("cta-common-access-token", token.to_owned())];
    let by_cookie = |token: &str| vec![("cookie", format!("CTA-Common-Access-Token={token}"))];
    let ask = async |fields: Vec<(&'static str, String)>| {
        let fields: Vec<_> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let got = get(&edge, PATH, &fields).await;
        assert_eq!(got.bytes().as_ref(), b"sound");
        got
    };
    // Without a key to sign with, nothing is renewed and everything plays.
    assert_eq!(renewed(&ask(by_header(&due)).await), (None, None));
    edge.set_renewal_key(Some(Arc::new(
        SigningKey::from_json(&key.to_json().unwrap()).unwrap(),
    )));
    assert_eq!(renewed(&ask(by_header(&early)).await), (None, None));

    let got = ask(by_header(&due)).await;
    let (Some(fresh), None) = renewed(&got) else {
        panic!("{:?}", got.headers)
    };
    // Nobody on the way may keep it, and scripts may read it.
    assert_eq!(got.field("cache-control"), "private, no-store");
    assert_eq!(
        got.field("access-control-expose-headers"),
        "cta-common-access-token"
    );
    let inspected = tokens::inspect(&fresh).unwrap().claims;
    assert_eq!(
        (inspected.sub.as_deref(), inspected.cti),
        (Some("anna"), Some(vec![7; 16]))
    );
    assert!(
        inspected.exp.unwrap() >= now() + 3590,
        "{:?}",
        inspected.exp
    );
    // It opens what the old one did, and no more.
    ask(by_header(&fresh)).await;
    let other = format!("/~{fresh}/media/t2/r1/x.mp4");
    assert_eq!(get(&edge, &other, &[]).await.status, 403);

    let (None, Some(cookie)) = renewed(&ask(by_cookie(&due)).await) else {
        panic!("no cookie")
    };
    let (value, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=None");
    ask(by_cookie(
        value.strip_prefix("CTA-Common-Access-Token=").unwrap(),
    ))
    .await;
    // From the path it can only go into a header.
    let got = get(&edge, &format!("/~{due}{PATH}"), &[]).await;
    assert!(matches!(renewed(&got), (Some(_), None)));
    // The stored answer knows nothing of it.
    assert_eq!(renewed(&ask(by_header(&early)).await), (None, None));
    // A revoked token's successors are revoked with it.
    let revoked = keyset.revoke_token([7; 16]).unwrap();
    edge.set_keyset(Some(revoked.into()));
    let got = get(&edge, PATH, &[("cta-common-access-token", &fresh)]).await;
    assert_eq!(
        (got.status.as_u16(), got.facts.reason),
        (403, Some("token_revoked"))
    );
}

#[tokio::test]
async fn terms_are_kept() {
    let key = SigningKey::generate_with(Algorithm::Hs256, "shared").unwrap();
    let edge = guarded(Keyset::new([key.public()]).unwrap()).await;
    let ask = async |terms: Renewal| {
        // A shared secret signs as well as it verifies. Due is the last minute where nobody says.
        let token = renewable(&key, 50, terms);
        renewed(&get(&edge, &format!("/~{token}{PATH}"), &[]).await)
    };
    let cookie = ask(Renewal {
        cookie_name: Some("cat".into()),
        cookie_params: vec!["Secure".into(), "Path=/media".into()],
        ..Renewal::new(RenewalKind::Cookie, 60)
    });
    let (None, Some(cookie)) = cookie.await else {
        panic!("no cookie")
    };
    assert!(
        cookie.starts_with("cat=2D3") && cookie.ends_with("; Secure; Path=/media"),
        "{cookie}"
    );
    let header = ask(Renewal::new(RenewalKind::Header, 60)).await;
    assert!(matches!(header, (Some(_), None)));
    // A range request can't follow a redirect.
    assert_eq!(
        ask(Renewal::new(RenewalKind::Redirect, 60)).await,
        (None, None)
    );
}

#[tokio::test]
async fn countries_bind_where_a_geoip_file_knows_them() {
    let key = SigningKey::generate("k").unwrap();
    let edge = guarded(Keyset::new([key.public()]).unwrap()).await;
    let bound = |code: &str| {
        let claims = Claims::listening("anna", now(), Duration::from_secs(60));
        let claims = claims.country(code.parse::<Country>().unwrap());
        format!("/~{}{PATH}", tokens::mint(&key, &claims).unwrap())
    };
    // Requests come from 192.0.2.7. Nothing is known at first: such a token opens nothing.
    let got = get(&edge, &bound("SE"), &[]).await;
    assert_eq!(
        (got.status.as_u16(), got.facts.reason),
        (403, Some("country"))
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("countries.mmdb");
    let networks = [
        (Ipv4Addr::new(192, 0, 2, 0), 24, "SE"),
        (Ipv4Addr::new(198, 51, 100, 0), 24, "NO"),
    ];
    std::fs::write(&file, mmdb::countries(&networks)).unwrap();
    edge.set_geoip(Some(Arc::new(GeoIp::open(&file).unwrap())));
    for (code, status) in [("SE", 200), ("se", 200), ("NO", 403), ("DE", 403)] {
        assert_eq!(get(&edge, &bound(code), &[]).await.status, status, "{code}");
    }
    // A file that is none is refused by name.
    std::fs::write(&file, "no database").unwrap();
    let fault = GeoIp::open(&file).unwrap_err().to_string();
    assert!(fault.contains("countries.mmdb"), "{fault}");
}

#[test]
fn revocation_is_of_one_token_or_of_a_key() {
    let key = SigningKey::generate("k").unwrap();
    let keyset = Keyset::new([key.public()]).unwrap();
    let mint = |id: u8| {
        let claims = Claims::listening("anna", now(), Duration::from_secs(60)).id([id; 16]);
        tokens::mint(&key, &claims).unwrap()
    };
    let request = |path| Request {
        method: "GET",
        scheme: "https",
        host: "a",
        port: 443,
        path,
        query: "",
        client_ip: [192, 0, 2, 7].into(),
        client_country: None,
        now_unix_s: now(),
    };
    let one = keyset.clone().revoke_token([1; 16]).unwrap();
    // As a file says it.
    let one = Keyset::from_json(&one.to_json()).unwrap();
    let verifier = tokens::Verifier::new(one);
    let verdict = |id| verifier.verify(&mint(id), &request(PATH)).map(drop);
    assert_eq!(verdict(1), Err(tokens::Reject::TokenRevoked));
    assert_eq!(verdict(2), Ok(()));
}
