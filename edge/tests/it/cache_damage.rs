//! A disk that lies: whatever bit of it changes, a client gets right bytes or none of ours.

use std::{fs, path::Path, sync::Arc};

use edge::serve::{Edge, Settings};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::fake_origin::{Origin, Resource, edge_with, get, pattern};

const OBJECTS: u8 = 12;
const SIZE: usize = 300_000;

/// Rounds of damage and rereading.
const ROUNDS: u64 = 6;

async fn on_disk(origin: &Arc<Origin>, directory: &Path) -> Arc<Edge> {
    let settings = Settings {
        disk: Some(directory.into()),
        disk_size: 64 << 20,
        slice: 64 << 10,
        ..Settings::default()
    };
    edge_with(origin, settings).await
}

/// Flips a bit in random places of what was written of the files, heads and indices included; now
/// and then in a file's first page, whose index says what lies where.
fn damage(directory: &Path, rng: &mut StdRng) {
    for file in fs::read_dir(directory.join("slices")).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |end| end + 1);
        if used == 0 {
            continue;
        }
        for n in 0..6 {
            let within = match n {
                0 if rng.random_bool(0.3) => used.min(4096),
                _ => used,
            };
            bytes[rng.random_range(0..within)] ^= 1 << rng.random_range(0..8);
        }
        fs::write(&path, bytes).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bits_are_misses_and_never_wrong_bytes() {
    let seed = std::env::var("SEGUE_SEED").map_or(7, |seed| seed.parse().unwrap());
    let mut rng = StdRng::seed_from_u64(seed);
    let (origin, directory) = (Origin::new(), tempfile::tempdir().unwrap());
    let (mut hits, mut misses) = (0, 0);
    for n in 0..OBJECTS {
        let resource = Resource::immutable(pattern(SIZE + usize::from(n), n), "\"1\"");
        origin.put(&format!("/{n}"), resource);
    }
    for round in 0..ROUNDS {
        let edge = on_disk(&origin, directory.path()).await;
        let asked = origin.asked();
        for again in 0..2 {
            for n in 0..OBJECTS {
                let expected = pattern(SIZE + usize::from(n), n);
                let got = get(&edge, &format!("/{n}"), &[]).await;
                assert!(got.bytes() == &expected, "seed {seed}, round {round}, /{n}");
                let at = rng.random_range(0..SIZE - 100);
                let range = format!("bytes={at}-{}", at + 99);
                let got = get(&edge, &format!("/{n}"), &[("range", &range)]).await;
                assert_eq!(got.bytes(), &expected.slice(at..at + 100), "seed {seed}");
                assert_eq!(got.field("etag"), "\"1\"");
            }
            if round > 0 && again == 0 {
                hits += edge.stats().disk_hits;
                misses += origin.asked() - asked;
            }
        }
        edge.close().await.unwrap();
        drop(edge);
        damage(directory.path(), &mut rng);
    }
    println!(
        "seed {seed}: {hits} entries came from the damaged disk, {misses} fetches replaced others"
    );
    assert!(
        hits > 0,
        "nothing was read from the disk: nothing was tested"
    );
    assert!(misses > 0, "no damage was met: nothing was tested");
}
