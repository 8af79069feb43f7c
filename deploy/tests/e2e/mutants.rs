//! Files of every format, spoilt at random from a seed: each is published or named with a reason,
//! and whoever ingests them survives them all.
//!
//! `SEGUE_MUTANTS` says how many (default 300; `make soak` takes 10,000), `SEGUE_SEED` which.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use serde_json::Value;

use crate::{
    bad_input::published,
    fixtures, process, signal, stack, tools,
    wav::{self, Sample},
};

/// Files that one run of `segue ingest` gets.
const BATCH: usize = 250;

/// Numbers that break parsers, as they stand in 32 bits.
const EDGES: [u32; 12] = [
    0,
    1,
    2,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x00ff_ffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fff0,
    0xffff_ffff,
];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..n`; 0 where there is nothing to choose from.
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// A place in a file: half of them where its headers are, an eighth at its end.
    fn place(&mut self, len: usize) -> usize {
        match self.below(8) {
            0..4 => self.below(len.min(1024)),
            4 => len - 1 - self.below(len.min(512)),
            _ => self.below(len),
        }
    }
}

/// Spoils a file in one to eight ways. `other` is a file of another format.
fn mutate(file: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for _ in 0..1 << random.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.place(bytes.len());
        let run = 1 + random.below(64).min(bytes.len() - at - 1);
        match random.below(9) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes[at..at + run].fill([0, 0xff, 0x80, 0x7f][random.below(4)]),
            3 | 4 => {
                let edge = EDGES[random.below(EDGES.len())];
                let four = match random.below(2) {
                    0 => edge.to_be_bytes(),
                    _ => edge.to_le_bytes(),
                };
                let end = bytes.len().min(at + 4);
                bytes[at..end].copy_from_slice(&four[..end - at]);
            }
            5 => drop(bytes.drain(at..at + run)),
            6 => {
                let copy = bytes[at..at + run].to_vec();
                let to = random.place(bytes.len());
                bytes.splice(to..to, copy);
            }
            7 if random.below(4) == 0 => bytes.truncate(at),
            7 => {
                let garbage: Vec<u8> = (0..run).map(|_| random.next() as u8).collect();
                bytes.splice(at..at, garbage);
            }
            _ => {
                let from = random.place(other.len());
                let piece = &other[from..other.len().min(from + run * 16)];
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
    bytes
}

/// A short file of every format, by extension.
fn originals(dir: &Path) -> Vec<(&'static str, Vec<u8>)> {
    fs::create_dir_all(dir).unwrap();
    let voices: Vec<Vec<f32>> = (0..2)
        .map(|c| signal::voice(c, 44_100, 11_025, 7000.0))
        .collect();
    let source = dir.join("source.wav");
    wav::write(&source, &voices, 44_100, Sample::S16);
    let ffmpeg = |codec: &'static str| -> Vec<&'static str> {
        let tags = ["-metadata", "title=Mutant", "-metadata", "artist=Nobody"];
        let mut words = vec!["ffmpeg", "-v", "error", "-i", "{in}", "-c:a", codec];
        words.extend(tags);
        words.push("{out}");
        words
    };
    let formats: Vec<(&'static str, Vec<&'static str>)> = vec![
        ("aiff", vec!["sox", "{in}", "{out}"]),
        ("flac", ffmpeg("flac")),
        (
            "mp3",
            vec!["lame", "--quiet", "--tt", "Mutant", "{in}", "{out}"],
        ),
        (
            "ogg",
            vec!["oggenc", "--quiet", "-t", "Mutant", "-o", "{out}", "{in}"],
        ),
        ("opus", vec!["opusenc", "--quiet", "{in}", "{out}"]),
        ("oga", ffmpeg("flac")),
        ("m4a", ffmpeg("aac")),
        ("mp4", ffmpeg("alac")),
        ("aac", ffmpeg("aac")),
        ("caf", ffmpeg("pcm_s16be")),
        ("mka", ffmpeg("libvorbis")),
        ("webm", ffmpeg("libopus")),
        ("w64.wav", ffmpeg("adpcm_ms")),
    ];
    let mut made = vec![("wav", fs::read(&source).unwrap())];
    for (extension, words) in formats {
        if tools::find(words[0]).is_some() {
            let out = dir.join(format!("original.{extension}"));
            made.push((
                extension,
                fs::read(fixtures::convert(&words, &source, &out)).unwrap(),
            ));
        }
    }
    made
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

#[test]
fn spoilt_files_are_published_or_named_and_nothing_breaks() {
    let _busy = process::busy();
    tools::have(fixtures::ENCODERS);
    let (count, seed) = (
        setting("SEGUE_MUTANTS", 300) as usize,
        setting("SEGUE_SEED", 1),
    );
    let dir = stack::scratch("mutants");
    let originals = originals(&dir.join("originals"));
    let since = Instant::now();
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for first in (0..count).step_by(BATCH) {
        let numbers = first..count.min(first + BATCH);
        for (reason, number) in batch(&dir, &originals, numbers, seed) {
            *outcomes.entry(reason).or_default() += number;
        }
    }
    println!(
        "{count} spoilt files of {} formats from seed {seed} in {:.0?}: {outcomes:?}",
        originals.len(),
        since.elapsed()
    );
    assert_eq!(outcomes.values().sum::<usize>(), count);
    assert_eq!(outcomes.get("internal"), None, "a fault of Segue's own");
    assert!(
        outcomes.get("published") > Some(&0),
        "every file was refused"
    );
}

/// Ingests mutants of those numbers, and says how many came to what.
fn batch(
    dir: &Path,
    originals: &[(&str, Vec<u8>)],
    numbers: std::ops::Range<usize>,
    seed: u64,
) -> BTreeMap<String, usize> {
    let (music, data) = (dir.join("music"), dir.join("data"));
    for folder in [&music, &data] {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).unwrap();
    }
    let mut paths: Vec<PathBuf> = Vec::new();
    for n in numbers {
        // Each from a seed of its own, so that one can be made again alone.
        let mut random = Random(seed.wrapping_mul(0x1_0000_0001).wrapping_add(n as u64));
        let (extension, file) = &originals[n % originals.len()];
        let (_, other) = &originals[random.below(originals.len())];
        let path = music.join(format!("{n:06}.{extension}"));
        fs::write(&path, mutate(file, other, &mut random)).unwrap();
        paths.push(path);
    }
    let output = stack::ingest_command(&data, &[&music]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "{}: {words}",
        output.status
    );
    assert!(!words.contains("panicked"), "{words}");
    let mut outcomes = BTreeMap::new();
    let mut seen = 0;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let Some(status) = line["status"].as_str() else {
            continue;
        };
        let reason = match status {
            "failed" => line["reason"].as_str().unwrap(),
            _ => "published",
        };
        if matches!(
            reason,
            "internal" | "crashed" | "stalled" | "memory_limit" | "cpu_limit"
        ) {
            println!("{line}");
            keep(&music, &line);
        }
        *outcomes.entry(reason.to_owned()).or_default() += 1;
        seen += 1;
    }
    assert_eq!(seen, paths.len(), "a line for each file: {words}");
    published(&data);
    outcomes
}

/// Keeps a file that a decoder could not bear, for whoever mends it.
fn keep(music: &Path, line: &Value) {
    let Some(name) = line["file"].as_str().and_then(|f| Path::new(f).file_name()) else {
        return;
    };
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
    let _ = fs::create_dir_all(&kept);
    let _ = fs::copy(music.join(name), kept.join(name));
}
