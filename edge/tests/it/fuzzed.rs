//! The fuzz targets, each over its seeds and a few thousand mutations of them, from a fixed seed:
//! no panic, no hang. `make fuzz` looks longer and with instrumentation.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

use edge::fuzzing::TARGETS;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// Inputs tried on each target.
const INPUTS: usize = 6_000;

/// No input may take longer; far more than any does, since machines are shared.
const SLOW: Duration = Duration::from_secs(2);

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// Bytes that mean something to some parser.
const ODD: [&[u8]; 16] = [
    b"\r\n",
    b"\0",
    b"\xff",
    b"\"",
    b"\\",
    b"%",
    b",",
    b";",
    b"=",
    b"-",
    b"..",
    b"//",
    b"\x80",
    b"18446744073709551615",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"(",
];

fn mutate(random: &mut StdRng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds.choose(random).unwrap().clone();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = random.random(),
            2 => bytes.truncate(at),
            3 => {
                let odd = ODD.choose(random).unwrap();
                bytes.splice(at..at, odd.iter().copied());
            }
            4 => {
                let end = random.random_range(at..=bytes.len());
                bytes.drain(at..end);
            }
            5 => {
                let other = seeds.choose(random).unwrap();
                let from = random.random_range(0..=other.len());
                bytes.splice(at..at, other[from..].iter().copied());
            }
            _ => {
                let end = random.random_range(at..=bytes.len()).min(at + 64);
                let part = bytes[at..end].repeat(random.random_range(1..40));
                bytes.splice(at..at, part);
            }
        }
        bytes.truncate(16 << 10);
    }
    bytes
}

#[test]
fn any_bytes_are_read_without_panic_or_hang() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        let mut random = StdRng::seed_from_u64(4711);
        let check = |input: &[u8]| {
            let begun = Instant::now();
            let done = catch_unwind(AssertUnwindSafe(|| target(input)));
            let input = String::from_utf8_lossy(&input[..input.len().min(400)]).into_owned();
            assert!(done.is_ok(), "{name}: panics on {input:?}");
            assert!(
                begun.elapsed() < SLOW,
                "{name}: {:?} for {input:?}",
                begun.elapsed()
            );
        };
        seeds.iter().for_each(|seed| check(seed));
        for _ in 0..INPUTS {
            check(&mutate(&mut random, &seeds));
        }
    }
}
