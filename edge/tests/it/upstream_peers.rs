//! Several edges of one place: each object is asked of the origin once.

use std::time::Duration;

use edge::{Config, config::KeysetSource};
use http::StatusCode;
use tokens::{Claims, Keyset, SigningKey};

use crate::{
    moody_origin::Moody,
    relay::Relay,
    support::{Edge, edge},
};

/// Edges that know each other, each behind a relay.
struct Place {
    relays: Vec<Relay>,
    edges: Vec<Edge>,
}

/// A place of `n` edges; `adjust` gets each one's number.
async fn place(origin: &Moody, n: usize, adjust: impl Fn(usize, &mut Config)) -> Place {
    let mut relays = Vec::new();
    for _ in 0..n {
        relays.push(Relay::new().await);
    }
    let mut edges = Vec::new();
    for i in 0..n {
        let edge = edge(origin.address, |config| {
            config.upstreams.peers.members = relays.iter().map(Relay::url).collect();
            config.upstreams.peers.this = relays[i].url();
            adjust(i, config);
        })
        .await;
        relays[i].point_at(Some(edge.http()));
        edges.push(edge);
    }
    Place { relays, edges }
}

async fn ask(edge: &Edge, target: &str) -> StatusCode {
    edge.plain().await.get(target, &[]).await.status
}

#[tokio::test]
async fn each_object_is_asked_of_the_origin_once() {
    let origin = Moody::new("body").await;
    let place = place(&origin, 3, |_, _| {}).await;
    for n in 0..40 {
        for edge in &place.edges {
            assert_eq!(ask(edge, &format!("/kept/{n}")).await, StatusCode::OK);
        }
    }
    assert_eq!(origin.asked(), 40);
    // Each owns some: nobody asks for everything.
    for (i, edge) in place.edges.iter().enumerate() {
        let own = format!(
            "segue_edge_upstream_attempts_total{{upstream=\"{}\"}}",
            origin.address
        );
        let own = edge.metric(&own).await;
        assert!((3..=30).contains(&own), "edge {i} asked for {own} of 40");
    }
}

#[tokio::test]
async fn a_dead_peer_costs_no_client_anything() {
    let origin = Moody::new("body").await;
    let place = place(&origin, 3, |_, _| {}).await;
    place.relays[1].point_at(None);
    for n in 0..60 {
        for edge in [&place.edges[0], &place.edges[2]] {
            assert_eq!(ask(edge, &format!("/kept/{n}")).await, StatusCode::OK);
        }
    }
    let breaker = format!(
        "segue_edge_upstream_breaker{{upstream=\"{}\"}}",
        place.relays[1].url()
    );
    assert!(place.edges[0].metric(&breaker).await > 0);
    // Once its breaker is open, the others own its objects, and share them again.
    let before = origin.asked();
    assert!(before < 60 + 30, "{before}");
}

#[tokio::test]
async fn edges_that_disagree_cost_a_hop_and_no_loop() {
    let origin = Moody::new("body").await;
    let place = place(&origin, 2, |i, config| {
        if i == 1 {
            // Knows itself by another name, and so thinks that others own what they think is its.
            let peers = &mut config.upstreams.peers;
            peers.members[1] = "http://another.example".into();
            peers.this = "http://another.example".into();
        }
    })
    .await;
    for n in 0..60 {
        assert_eq!(
            ask(&place.edges[0], &format!("/kept/{n}")).await,
            StatusCode::OK
        );
    }
    assert_eq!(origin.asked(), 60);
    let at_0 = "segue_edge_requests_total{protocol=\"h1\",outcome=\"miss\"}";
    assert_eq!(
        place.edges[0].metric(at_0).await,
        60,
        "only its own clients'"
    );
    let hops: Vec<usize> = origin
        .heads()
        .iter()
        .map(|head| head.to_ascii_lowercase().matches("node=").count())
        .collect();
    assert!(hops.contains(&1) && hops.contains(&2), "{hops:?}");
    assert!(hops.iter().all(|hops| *hops <= 2), "{hops:?}");
}

#[tokio::test]
async fn peers_let_each_other_in_and_nobody_else() {
    let origin = Moody::new("body").await;
    let key = SigningKey::generate("k1").unwrap();
    let keyset = Keyset::new([key.public()]).unwrap();
    let place = place(&origin, 2, |_, config| {
        config.keyset = KeysetSource::Inline(keyset.clone());
        config.protect = vec!["/kept/".into()];
        config.upstreams.peers.secret = Some("0123456789abcdef0123456789abcdef".to_owned().into());
    })
    .await;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let claims = Claims {
        exp: Some(now + Duration::from_secs(600).as_secs()),
        ..Claims::default()
    };
    let token = tokens::mint(&key, &claims).unwrap();
    for n in 0..30 {
        let target = format!("/kept/{n}");
        for edge in &place.edges {
            assert_eq!(ask(edge, &target).await, StatusCode::UNAUTHORIZED);
            let fields = [("authorization", format!("Bearer {token}"))];
            let fields: Vec<_> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let got = edge.plain().await.get(&target, &fields).await;
            assert_eq!(got.status, StatusCode::OK);
        }
    }
    assert_eq!(origin.asked(), 30);
    for head in origin.heads() {
        let head = head.to_ascii_lowercase();
        assert!(
            !head.contains("token") && !head.contains("bearer"),
            "{head}"
        );
    }
}
