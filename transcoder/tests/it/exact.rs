//! The exactness matrix: every length, rate and layout, through the whole ingest, and back by ffmpeg.
//!
//! What `make test` runs is a part of it; with `SEGUE_EXACT=full` (as `make soak` sets) it is the
//! whole product of lengths, rates and layouts.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use manifests::{Codec, Rendition, Track};
use tokio_util::sync::CancellationToken;
use transcoder::{Config, Event, ingest};

use crate::sound;

/// Frames of the source: less than a frame of anything, around the frames of Opus and AAC, a second
/// at 48 kHz, a prime, and a common multiple of all codecs' frames.
const LENGTHS: [u64; 11] = [
    1, 959, 960, 961, 1_023, 1_024, 1_025, 15_360, 48_000, 24_001, 30_720,
];

const RATES: [u32; 13] = [
    8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 176_400,
    192_000,
];

/// One source of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Case {
    frames: u64,
    rate: u32,
    channels: u16,
}

impl Case {
    fn name(self) -> String {
        format!("{}-{}-{}.wav", self.rate, self.channels, self.frames)
    }

    fn write(self, dir: &Path) {
        let Case {
            frames,
            rate,
            channels,
        } = self;
        let mut pcm = sound::integers(&sound::music(frames, channels.into(), rate), 16);
        // The length and the layout alone would make equal files of some cases.
        if let Some(last) = pcm.last_mut() {
            *last ^= 1;
        }
        sound::wav(&dir.join(self.name()), &pcm, channels, rate, 16);
    }
}

/// The product of all, or what shows each length at both common rates, and each rate at the lengths
/// that are hardest.
fn cases() -> Vec<Case> {
    let full = std::env::var("SEGUE_EXACT").is_ok_and(|v| v == "full");
    let mut cases = Vec::new();
    for rate in RATES {
        for channels in [1, 2, 6] {
            for frames in LENGTHS {
                let common = [44_100, 48_000].contains(&rate) && (channels == 2 || frames == 961);
                let hard = [1, 24_001].contains(&frames) && channels == 2;
                if full || common || hard {
                    cases.push(Case {
                        frames,
                        rate,
                        channels,
                    });
                }
            }
        }
    }
    cases
}

/// Ingests the cases; each with its track.
async fn published(dir: &Path, cases: &[Case]) -> Vec<(Case, Arc<Track>)> {
    for name in ["music", "store", "work"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    cases.iter().for_each(|case| case.write(&dir.join("music")));
    let store = Arc::new(storage::Directory::open(dir.join("store")).unwrap());
    let heard = Mutex::new(HashMap::new());
    let report = ingest(
        Config::new(store, dir.join("work")),
        vec![dir.join("music")],
        |event| {
            if let Event::Published { track, .. } = event {
                let name = track.source.file_name.clone();
                heard.lock().unwrap().insert(name, track);
            }
        },
        CancellationToken::new(),
    )
    .await
    .unwrap();
    assert_eq!(report.published, cases.len(), "{:?}", report.failures);
    let heard = heard.into_inner().unwrap();
    cases
        .iter()
        .map(|case| (*case, heard[&case.name()].clone()))
        .collect()
}

/// Files that one ffmpeg decodes: few enough for its open files, many enough that starting it
/// costs nothing.
const BATCH: usize = 48;

/// Decodes the first channel of each file at its own rate.
fn decode_all(ffmpeg: &Path, files: &[PathBuf], dir: &Path) -> Vec<Vec<f32>> {
    let mut decoded = Vec::new();
    for batch in files.chunks(BATCH) {
        let mut command = Command::new(ffmpeg);
        command.args(["-v", "error", "-xerror", "-nostdin", "-y"]);
        for file in batch {
            command.arg("-i").arg(file);
        }
        let out = |n: usize| dir.join(format!("{n}.f32"));
        for n in 0..batch.len() {
            command.args(["-map", &format!("{n}:a:0"), "-af", "pan=mono|c0=c0"]);
            command.args(["-f", "f32le"]).arg(out(n));
        }
        let output = command.output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && words.is_empty(), "{words}");
        decoded.extend((0..batch.len()).map(|n| {
            let bytes = fs::read(out(n)).unwrap();
            let samples = bytes.chunks_exact(4);
            samples
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                .collect::<Vec<_>>()
        }));
    }
    decoded
}

/// Samples at the end that a decoder adds which takes a stream to end with its last frame: ffmpeg
/// does for AAC in fragments, whatever edit list, sample duration and iTunSMPB tell it. Opus has no
/// such rest, since its priming is chosen to leave none.
fn rest(rendition: &Rendition) -> u64 {
    let frame = match rendition.codec {
        Codec::AacLc => 1_024,
        Codec::HeAac => 2_048,
        Codec::Opus | Codec::Flac => return 0,
    };
    let sound = rendition.priming.0 + rendition.valid.0;
    sound.next_multiple_of(frame) - sound
}

/// What is wrong with one decoded rendition.
fn faults(case: Case, rendition: &Rendition, decoded: &[f32]) -> Vec<String> {
    let mut faults = Vec::new();
    let due = (case.frames * u64::from(rendition.sample_rate)).div_ceil(u64::from(case.rate));
    if rendition.valid.0 != due {
        faults.push(format!("claims {} samples of {due}", rendition.valid.0));
    }
    let length = decoded.len() as u64;
    if length != due && length != due + rest(rendition) {
        faults.push(format!("decodes to {length} samples of {due}"));
    }
    // The sound repeats itself nearly within shorter stretches.
    if due >= 9_600 {
        let source = sound::music(due, 1, rendition.sample_rate);
        let (lag, score) = sound::offset(&source, decoded);
        if lag != 0 || score < 0.9 {
            faults.push(format!("lags by {lag}, likeness {score:.3}"));
        }
    }
    faults
}

#[tokio::test(flavor = "multi_thread")]
async fn every_length_rate_and_layout_comes_back_to_the_sample() {
    let Some(ffmpeg) = sound::ffmpegs().into_iter().find(|f| sound::knows_edits(f)) else {
        sound::skip("ffmpeg-9");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let tracks = published(dir.path(), &cases()).await;
    let jobs: Vec<(Case, &Rendition, PathBuf)> = tracks
        .iter()
        .flat_map(|(case, track)| {
            let folder = dir
                .path()
                .join(format!("store/tracks/{}/{}", track.id, track.revision));
            let place = move |r: &Rendition| folder.join(format!("{}.mp4", r.id));
            track.renditions.iter().map(move |r| (*case, r, place(r)))
        })
        .collect();
    let files: Vec<PathBuf> = jobs.iter().map(|(_, _, path)| path.clone()).collect();
    let decoded = decode_all(&ffmpeg, &files, dir.path());
    let wrong: Vec<String> = jobs
        .iter()
        .zip(&decoded)
        .flat_map(|((case, rendition, _), decoded)| {
            let faults = faults(*case, rendition, decoded);
            faults
                .into_iter()
                .map(|fault| format!("{case:?} {}: {fault}", rendition.id))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let exact = jobs
        .iter()
        .zip(&decoded)
        .filter(|((_, r, _), d)| d.len() as u64 == r.valid.0)
        .count();
    println!(
        "{} sources, {} renditions in place; {exact} of exact length in ffmpeg, the others with the \
         rest of their last AAC frame",
        tracks.len(),
        jobs.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_sound_at_all_is_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["music", "store", "work"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    sound::wav(&dir.path().join("music/none.wav"), &[], 2, 44_100, 16);
    let store = Arc::new(storage::Directory::open(dir.path().join("store")).unwrap());
    let config = Config::new(store, dir.path().join("work"));
    let music = vec![dir.path().join("music")];
    let report = ingest(config, music, |_| {}, CancellationToken::new())
        .await
        .unwrap();
    assert_eq!((report.published, report.failed), (0, 1));
    let reason = report.failures[0].error.to_string();
    assert!(reason.contains("no sound"), "{reason}");
}
