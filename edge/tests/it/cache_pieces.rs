//! Parts of a representation that no strong validator names: kept as they came, never joined.

use edge::serve::Settings;

use crate::fake_origin::{Origin, Resource, edge, edge_with, get, pattern};

const SLICE: usize = 4 << 10;

fn weak(size: usize, seed: u8) -> Resource {
    let fields = [("cache-control", "max-age=60"), ("etag", "W/\"1\"")];
    Resource::new(pattern(size, seed), &fields)
}

#[tokio::test]
async fn a_part_answers_for_what_lies_within_it() {
    let origin = Origin::new();
    origin.put("/a", weak(20_000, 1));
    let settings = Settings {
        slice: SLICE as u64,
        ..Settings::default()
    };
    let edge = edge_with(&origin, settings).await;
    let body = pattern(20_000, 1);
    for (range, bytes, hit) in [
        ("bytes=5000-5004", 5000..5005, false),
        ("bytes=5000-5004", 5000..5005, true),
        ("bytes=4096-8191", 4096..8192, true),
        ("bytes=8191-8192", 8191..8193, false),
        ("bytes=-5", 19_995..20_000, false),
        ("bytes=-3", 19_997..20_000, true),
        ("bytes=19995-", 19_995..20_000, true),
        ("bytes=19994-", 19_994..20_000, false),
        ("bytes=6000-6001", 6000..6002, true),
    ] {
        let got = get(&edge, "/a", &[("range", range)]).await;
        assert_eq!((got.status.as_u16(), got.is_hit()), (206, hit), "{range}");
        let told = format!("bytes {}-{}/20000", bytes.start, bytes.end - 1);
        assert_eq!(got.field("content-range"), told, "{range}");
        assert_eq!(got.bytes(), &body.slice(bytes), "{range}");
    }
    // The whole is asked for as if nothing were there, and then answers for all.
    assert_eq!(get(&edge, "/a", &[]).await.bytes(), &body);
    assert!(!origin.seen().last().unwrap().headers.contains_key("range"));
    assert!(get(&edge, "/a", &[("range", "bytes=0-")]).await.is_hit());
}

#[tokio::test]
async fn parts_of_two_revisions_are_never_joined() {
    let origin = Origin::new();
    origin.put("/a", weak(20_000, 1));
    let settings = Settings {
        slice: SLICE as u64,
        ..Settings::default()
    };
    let edge = edge_with(&origin, settings).await;
    get(&edge, "/a", &[("range", "bytes=0-9")]).await;
    origin.put("/a", weak(20_000, 2));
    get(&edge, "/a", &[("range", "bytes=5000-5009")]).await;
    let got = get(&edge, "/a", &[("range", "bytes=0-8191")]).await;
    assert_eq!(got.bytes(), &pattern(20_000, 2).slice(0..8192));
}

#[tokio::test]
async fn a_part_survives_a_restart() {
    let origin = Origin::new();
    origin.put("/a", weak(20_000, 1));
    let dir = tempfile::tempdir().unwrap();
    let settings = || Settings {
        disk: Some(dir.path().to_owned()),
        disk_size: 64 << 20,
        ..Settings::default()
    };
    let first = edge_with(&origin, settings()).await;
    // On its second use it goes to disk.
    for _ in 0..3 {
        get(&first, "/a", &[("range", "bytes=-5")]).await;
    }
    first.close().await.unwrap();
    drop(first);
    let second = edge_with(&origin, settings()).await;
    let got = get(&second, "/a", &[("range", "bytes=-4")]).await;
    assert!(got.is_hit(), "{got:?}");
    assert_eq!(got.bytes(), &pattern(20_000, 1).slice(19_996..));
    assert_eq!(origin.asked(), 1);
}

#[tokio::test]
async fn a_part_is_of_no_use_to_other_requests() {
    let origin = Origin::new();
    origin.put("/a", weak(20_000, 1));
    let edge = edge(&origin).await;
    get(&edge, "/a", &[("range", "bytes=-5")]).await;
    for fields in [
        &[("range", "bytes=-5"), ("if-range", "\"2\"")][..],
        &[("range", "bytes=0-0,-5")],
        &[],
    ] {
        let got = get(&edge, "/a", fields).await;
        assert_eq!(
            (got.status.as_u16(), got.is_hit()),
            (200, false),
            "{fields:?}"
        );
        origin.put("/a", weak(20_000, 1));
        edge.purge(edge::exchange::Purge::All, edge::exchange::PurgeMode::Hard)
            .await
            .unwrap();
        get(&edge, "/a", &[("range", "bytes=-5")]).await;
    }
}
