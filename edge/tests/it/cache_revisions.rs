//! Bytes of two revisions never meet in one response.

use edge::{exchange::Service as _, serve::Settings};
use http::Method;
use proptest::prelude::*;

use crate::fake_origin::{Origin, Resource, edge_with, get, pattern, read, request};

const SLICE: usize = 4 << 10;
const SIZE: usize = 10 * SLICE;

fn small() -> Settings {
    Settings {
        slice: SLICE as u64,
        ..Settings::default()
    }
}

#[tokio::test]
async fn a_change_found_before_the_first_byte_restarts() {
    let origin = Origin::new();
    origin.put("/a", Resource::immutable(pattern(SIZE, 1), "\"1\""));
    let edge = edge_with(&origin, small()).await;
    get(&edge, "/a", &[("range", "bytes=0-9")]).await;
    origin.put("/a", Resource::immutable(pattern(SIZE, 2), "\"2\""));
    // Another slice: the origin has another revision by now.
    let got = get(&edge, "/a", &[("range", "bytes=20000-20009")]).await;
    assert_eq!(got.field("etag"), "\"2\"");
    assert_eq!(got.bytes(), &pattern(SIZE, 2).slice(20_000..20_010));
    // What was stored of the old one isn't used any more.
    let got = get(&edge, "/a", &[("range", "bytes=0-9")]).await;
    assert_eq!(got.bytes(), &pattern(SIZE, 2).slice(0..10));
}

#[tokio::test]
async fn a_change_found_later_breaks_the_response_off() {
    let origin = Origin::new();
    origin.put("/a", Resource::immutable(pattern(SIZE, 1), "\"1\""));
    let edge = edge_with(&origin, small()).await;
    get(&edge, "/a", &[("range", "bytes=0-9")]).await;
    origin.put("/a", Resource::immutable(pattern(SIZE, 2), "\"2\""));
    let got = get(&edge, "/a", &[]).await;
    let old = got.body.unwrap_err();
    assert_eq!(old, pattern(SIZE, 1).slice(..old.len()));
    assert_eq!(get(&edge, "/a", &[]).await.bytes(), &pattern(SIZE, 2));
}

#[tokio::test]
async fn a_changed_object_that_shrank_or_vanished() {
    let origin = Origin::new();
    origin.put("/a", Resource::immutable(pattern(SIZE, 1), "\"1\""));
    let edge = edge_with(&origin, small()).await;
    get(&edge, "/a", &[("range", "bytes=0-9")]).await;
    origin.put("/a", Resource::immutable(pattern(100, 2), "\"2\""));
    assert_eq!(
        get(&edge, "/a", &[("range", "bytes=20000-20009")])
            .await
            .status,
        416
    );
    origin.put("/a", Resource::immutable(pattern(SIZE, 1), "\"1\""));
    assert_eq!(
        get(&edge, "/a", &[("range", "bytes=20000-20009")])
            .await
            .status,
        206
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The origin changes between requests, memory holds next to nothing: every response is of the
    /// revision that its entity tag names.
    #[test]
    fn every_response_is_of_one_revision(
        steps in prop::collection::vec((any::<bool>(), 0..SIZE, 1..SIZE), 1..25),
        memory in prop_oneof![Just(8u64 << 10), Just(1 << 20)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let origin = Origin::new();
            let mut revision = 1u8;
            let put = |revision: u8| origin.put("/a", Resource::immutable(pattern(SIZE, revision), &format!("\"{revision}\"")));
            put(revision);
            let edge = edge_with(&origin, Settings { memory, ..small() }).await;
            for (change, from, length) in steps {
                if change {
                    revision += 1;
                    put(revision);
                }
                let to = SIZE.min(from + length);
                let range = format!("bytes={from}-{}", to - 1);
                let got = read(edge.serve(request(Method::GET, "/a", &[("range", &range)])).await).await;
                let told: u8 = got.field("etag").trim_matches('"').parse().unwrap();
                let expected = pattern(SIZE, told).slice(from..to);
                match &got.body {
                    Ok(bytes) => prop_assert_eq!(bytes, &expected),
                    Err(torso) => prop_assert_eq!(torso, &expected.slice(..torso.len())),
                }
            }
            Ok(())
        })?;
    }
}
