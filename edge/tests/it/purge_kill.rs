//! kill -9 at any moment: what was purged and acknowledged stays away, over two hundred deaths.
//!
//! The edge that dies is this test's own binary, started again with [`CHILD`] set. It says on
//! standard output what it serves after its start and which purges were acknowledged; the parent
//! keeps the account.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use edge::{
    exchange::{Purge, PurgeMode},
    serve::Settings,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::fake_origin::{Origin, Resource, edge_with, get};

/// Set in the child: the directory, and which life it is.
const CHILD: &str = "SEGUE_TEST_PURGE_CHILD";

/// Deaths, where nothing else is said; fewer where the machine is so slow that they take longer
/// than [`ENOUGH`].
const DEATHS: u64 = 200;
const ENOUGH: Duration = Duration::from_secs(300);

const OBJECTS: u64 = 12;

fn path(n: u64) -> String {
    format!("/album{}/{n}", n % 3)
}

/// When an object was fetched or purged: the life, and a counter within it.
type When = (u64, u64);

#[test]
fn no_death_brings_back_what_was_purged() {
    let directory = tempfile::tempdir().unwrap();
    let deaths = std::env::var("SEGUE_DEATHS").map_or(DEATHS, |n| n.parse().unwrap());
    let mut rng = StdRng::seed_from_u64(11);
    let mut purged: HashMap<u64, When> = HashMap::new();
    let (mut served, mut acknowledged, mut lives) = (0, 0, 0);
    let begun = Instant::now();
    while lives < deaths && begun.elapsed() < ENOUGH {
        lives += 1;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "purge_kill::child",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(CHILD, format!("{lives} {}", directory.path().display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut patience = rng.random_range(OBJECTS..OBJECTS + 40);
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap_or_default();
            let words: Vec<_> = line.split(' ').collect();
            let numbers: Vec<u64> = words.iter().filter_map(|w| w.parse().ok()).collect();
            match (words[0], &numbers[..]) {
                ("served", [n, life, step]) => {
                    let last = purged.get(n).copied().unwrap_or_default();
                    assert!(
                        (*life, *step) > last,
                        "life {lives} served {} as of {life}.{step}, purged at {last:?}",
                        path(*n)
                    );
                    served += u64::from(*life < lives);
                }
                ("purged", [step, targets @ ..]) => {
                    purged.extend(targets.iter().map(|n| (*n, (lives, *step))));
                    acknowledged += 1;
                }
                _ => continue,
            }
            patience -= 1;
            if patience == 0 {
                std::thread::sleep(Duration::from_micros(rng.random_range(0..2000)));
                // SIGKILL.
                child.kill().unwrap();
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    println!("{lives} lives, {acknowledged} purges, {served} objects served from an earlier life");
    assert!(lives >= deaths.min(50), "{lives} lives in {ENOUGH:?}");
    assert!(
        acknowledged > lives && served > lives,
        "too little happened"
    );
}

/// Not a test of its own: one life of the edge, where the parent asks for one.
#[test]
fn child() {
    let Ok(life) = std::env::var(CHILD) else {
        return;
    };
    let (life, directory) = life.split_once(' ').unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(live(life.parse().unwrap(), Path::new(directory)));
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{line}").unwrap();
    out.flush().unwrap();
}

/// Says what the disk still has, then fetches and purges until it is killed.
async fn live(life: u64, directory: &Path) {
    let settings = Settings {
        disk: Some(directory.into()),
        disk_size: 64 << 20,
        ..Settings::default()
    };
    let origin = Origin::new();
    let edge = edge_with(&origin, settings).await;
    for n in 0..OBJECTS {
        let got = get(&edge, &path(n), &[("cache-control", "only-if-cached")]).await;
        if got.is_hit() {
            let text = String::from_utf8(got.bytes().to_vec()).unwrap();
            say(&format!("served {n} {text}"));
        }
    }
    let mut rng = StdRng::seed_from_u64(life);
    for step in 1..1_000_000 {
        let n = rng.random_range(0..OBJECTS);
        let fields = [
            ("cache-control", "max-age=100000".to_owned()),
            ("surrogate-key", format!("all genre-{} x", n % 4)),
        ];
        let fields = fields
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        origin.put(&path(n), Resource::new(format!("{life} {step}"), &fields));
        // The second use admits it to the disk.
        for _ in 0..2 {
            get(&edge, &path(n), &[]).await;
        }
        if rng.random_bool(0.5) {
            continue;
        }
        let (purge, hit): (_, fn(u64, u64) -> bool) = match rng.random_range(0..10) {
            0..5 => (Purge::Url(path(n)), |n, m| n == m),
            5..7 => (Purge::Prefix(format!("/album{}/", n % 3)), |n, m| {
                n % 3 == m % 3
            }),
            7..9 => (Purge::SurrogateKey(format!("genre-{}", n % 4)), |n, m| {
                n % 4 == m % 4
            }),
            _ => (Purge::All, |_, _| true),
        };
        let mode = match rng.random_bool(0.2) {
            true => PurgeMode::Soft,
            false => PurgeMode::Hard,
        };
        edge.purge(purge, mode).await.unwrap();
        let targets: Vec<_> = (0..OBJECTS)
            .filter(|m| hit(n, *m))
            .map(|m| m.to_string())
            .collect();
        say(&format!("purged {step} {}", targets.join(" ")));
    }
}
