//! The disk tier: what was stored is there after a restart, what was purged is not.

use std::{path::Path, sync::Arc};

use edge::{
    exchange::{Purge, PurgeMode},
    serve::{Edge, Settings},
};

use crate::fake_origin::{Origin, Resource, edge_with, get, pattern, until};

const SIZE: usize = 600_000;

async fn on_disk(origin: &Arc<Origin>, directory: &Path) -> Arc<Edge> {
    let settings = Settings {
        disk: Some(directory.into()),
        disk_size: 64 << 20,
        ..Settings::default()
    };
    edge_with(origin, settings).await
}

/// Fetches, uses again (which admits to the disk), closes.
async fn fill(origin: &Arc<Origin>, directory: &Path, target: &str) {
    let edge = on_disk(origin, directory).await;
    for _ in 0..2 {
        get(&edge, target, &[]).await;
        // Who reads along as it arrives doesn't use again what is stored.
        until("the end of the fill", || edge.stats().fills == 0).await;
    }
    edge.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_what_was_used_twice() {
    let directory = tempfile::tempdir().unwrap();
    let origin = Origin::new();
    origin.put("/a", Resource::immutable(pattern(SIZE, 1), "\"1\""));
    fill(&origin, directory.path(), "/a").await;
    assert_eq!(origin.asked(), 1);
    origin.die();
    let edge = on_disk(&origin, directory.path()).await;
    let got = get(&edge, "/a", &[]).await;
    assert!(got.is_hit(), "{:?}", got.headers);
    assert_eq!(got.bytes(), &pattern(SIZE, 1));
    assert_eq!(got.field("etag"), "\"1\"");
    let got = get(&edge, "/a", &[("range", "bytes=300000-300009")]).await;
    assert_eq!(got.bytes(), &pattern(SIZE, 1).slice(300_000..300_010));
    assert_eq!(origin.asked(), 1);
    assert!(edge.stats().disk_hits >= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_purged_stays_away() {
    for purge in [
        Purge::Url("/a".into()),
        Purge::Prefix("/".into()),
        Purge::SurrogateKey("track/1".into()),
        Purge::All,
    ] {
        let directory = tempfile::tempdir().unwrap();
        let origin = Origin::new();
        let fields = [
            ("cache-control", "max-age=9999"),
            ("etag", "\"1\""),
            ("surrogate-key", "album/7 track/1"),
        ];
        origin.put("/a", Resource::new(pattern(SIZE, 1), &fields));
        fill(&origin, directory.path(), "/a").await;
        let edge = on_disk(&origin, directory.path()).await;
        edge.purge(purge.clone(), PurgeMode::Hard).await.unwrap();
        // No close: the process dies here.
        drop(edge);
        let edge = on_disk(&origin, directory.path()).await;
        assert!(!get(&edge, "/a", &[]).await.is_hit(), "{purge:?}");
        assert!(get(&edge, "/a", &[]).await.is_hit());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_disk_is_a_miss() {
    let directory = tempfile::tempdir().unwrap();
    let origin = Origin::new();
    origin.put("/a", Resource::immutable(pattern(SIZE, 1), "\"1\""));
    fill(&origin, directory.path(), "/a").await;
    for file in std::fs::read_dir(directory.path().join("slices")).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes
            .iter_mut()
            .skip(20_000)
            .step_by(5000)
            .for_each(|byte| *byte ^= 1);
        std::fs::write(&path, bytes).unwrap();
    }
    let edge = on_disk(&origin, directory.path()).await;
    assert_eq!(get(&edge, "/a", &[]).await.bytes(), &pattern(SIZE, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_overflows_to_disk() {
    let directory = tempfile::tempdir().unwrap();
    let origin = Origin::new();
    for n in 0..8 {
        origin.put(
            &format!("/{n}"),
            Resource::immutable(pattern(SIZE, n), "\"1\""),
        );
    }
    let settings = Settings {
        disk: Some(directory.path().into()),
        disk_size: 64 << 20,
        memory: 2 << 20,
        ..Settings::default()
    };
    let edge = edge_with(&origin, settings).await;
    for _ in 0..4 {
        for n in 0..8 {
            assert_eq!(
                get(&edge, &format!("/{n}"), &[]).await.bytes(),
                &pattern(SIZE, n)
            );
        }
    }
    assert!(edge.stats().disk_hits > 0, "{:?}", edge.stats());
    assert!(edge.stats().memory_bytes <= 2 << 20);
}
