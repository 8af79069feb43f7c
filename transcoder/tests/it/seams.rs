//! Where one piece of sound ends and another begins: switches between the rungs of a codec, and the
//! tracks of an album that run into each other.

use std::{fs, ops::Range, path::Path};

use transcoder::{
    Recipe,
    cmaf::{Packaged, SourceLength},
    encode::{Input, Pcm, Rendition},
    recipe::{Rung, Settings},
};

use crate::sound;

const RATE: u32 = 48_000;

/// Two channels of sound that never repeats, as loud at every instant as music.
fn programme(frames: u64) -> Vec<f32> {
    sound::music(frames, 2, RATE)
}

fn encode(rung: &Rung, pcm: &[f32]) -> Packaged<Vec<u8>> {
    encode_after(&[], rung, pcm)
}

/// Encodes a track of which the encoder hears the end of the one before first.
fn encode_after(before: &[f32], rung: &Rung, pcm: &[f32]) -> Packaged<Vec<u8>> {
    let samples = pcm.len() as u64 / 2;
    let input = Input {
        rate: RATE,
        channels: 2,
        depth: 16,
        length_hint: Some(samples),
        preroll: before.len() as u64 / 2,
    };
    let mut rendition = Rendition::new(rung, input, Vec::new()).unwrap();
    for run in [before, pcm].concat().chunks(32_768) {
        rendition.push(&Pcm::Resampled(run.into())).unwrap();
    }
    let length = SourceLength {
        samples,
        rate: RATE,
    };
    rendition.finish(length).unwrap()
}

fn file(packaged: &Packaged<Vec<u8>>) -> Vec<u8> {
    [packaged.head.as_slice(), &packaged.spool].concat()
}

fn decode(ffmpeg: &Path, dir: &Path, bytes: &[u8]) -> Vec<f32> {
    let path = dir.join("x.mp4");
    fs::write(&path, bytes).unwrap();
    sound::decode(ffmpeg, &path, None)
}

/// Mean power of the difference within a range of samples.
fn error(source: &[f32], decoded: &[f32], range: Range<usize>) -> f64 {
    let len = range.len().max(1) as f64;
    let pairs = source[range.clone()].iter().zip(&decoded[range]);
    pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / len
}

/// An ffmpeg that obeys edit lists.
fn ffmpeg() -> Option<std::path::PathBuf> {
    let found = sound::ffmpegs().into_iter().find(|f| sound::knows_edits(f));
    if found.is_none() {
        sound::skip("ffmpeg-9");
    }
    found
}

/// 10 ms.
const BLOCK: usize = 480;

/// Errors of the blocks from 10 ms before a cut to 50 ms behind it.
fn around(source: &[f32], decoded: &[f32], cut: usize) -> Vec<f64> {
    let first = cut / BLOCK - 1;
    (first..first + 6)
        .map(|n| error(source, decoded, n * BLOCK..(n + 1) * BLOCK))
        .collect()
}

/// A stream of one codec whose segments come from the rungs `chosen`.
fn splice(packaged: &[Packaged<Vec<u8>>], chosen: &[usize]) -> Vec<u8> {
    let first = &packaged[0];
    let mut spliced = first.head[..first.init.len as usize].to_vec();
    for (n, &pick) in chosen.iter().enumerate() {
        let one = &packaged[pick];
        let bytes = one.segments[n].bytes;
        let at = (bytes.start - one.head.len() as u64) as usize;
        spliced.extend_from_slice(&one.spool[at..at + bytes.len as usize]);
    }
    spliced
}

/// The rungs of the codecs that have several.
fn families() -> Vec<Vec<Rung>> {
    let rungs = Recipe::default().rungs;
    let (opus, rest): (Vec<_>, Vec<_>) = rungs
        .into_iter()
        .partition(|r| matches!(r.settings, Settings::Opus(_)));
    let lc = rest
        .into_iter()
        .filter(|r| r.codec() == manifests::Codec::AacLc)
        .collect();
    let mut all: Vec<Vec<Rung>> = vec![opus, lc];
    all.retain(|rungs| rungs.len() > 1);
    all
}

#[test]
fn a_stream_spliced_at_random_rungs_has_no_glitch_at_a_switch() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let dir = tempfile::tempdir().unwrap();
    let pcm = programme(48_000 * 40);
    let source = sound::first_channel(&pcm, 2);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for rungs in families() {
        let packaged: Vec<_> = rungs.iter().map(|rung| encode(rung, &pcm)).collect();
        let whole: Vec<_> = packaged
            .iter()
            .map(|p| decode(&ffmpeg, dir.path(), &file(p)))
            .collect();
        let segments = &packaged[0].segments;
        let chosen: Vec<usize> = segments
            .iter()
            .map(|_| {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (random >> 33) as usize % rungs.len()
            })
            .collect();
        let heard = decode(&ffmpeg, dir.path(), &splice(&packaged, &chosen));
        assert_eq!(heard.len(), whole[0].len(), "{}", rungs[0].id);
        let mut switches = 0;
        for n in (1..chosen.len()).filter(|&n| chosen[n] != chosen[n - 1]) {
            let cut = (segments[n].start.0 - packaged[0].description.priming) as usize;
            let (from, to) = (chosen[n - 1], chosen[n]);
            let [before, after] = [from, to].map(|pick| around(&source, &whole[pick], cut));
            let worst = around(&source, &heard, cut)
                .iter()
                .zip(before.iter().zip(&after))
                .map(|(e, (a, b))| e / a.max(*b).max(1e-9))
                .fold(0.0, f64::max);
            let what = format!("{} to {}", rungs[from].id, rungs[to].id);
            println!("{what}: {worst:.2} of the greater error of both without a switch");
            assert!(worst < 2.0, "{what}: {worst:.2}");
            switches += 1;
        }
        assert!(switches > 2, "{}", rungs[0].id);
    }
}

#[test]
fn tracks_that_run_into_each_other_have_no_click_between_them() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let dir = tempfile::tempdir().unwrap();
    let frames = 48_000 * 10;
    let pcm = programme(frames);
    let source = sound::first_channel(&pcm, 2);
    for rung in Recipe::default().rungs {
        if matches!(rung.settings, Settings::Flac { .. }) {
            continue;
        }
        let whole = decode(&ffmpeg, dir.path(), &file(&encode(&rung, &pcm)));
        let usual = error(&source, &whole, 48_000..frames as usize - 48_000);
        for cut in [48_000 * 5 + 123, 48_000 * 4, 48_000 * 6 + 961] {
            let (first, second) = pcm.split_at(cut * 2);
            for before in [&[], preroll(first)] {
                let mut heard = Vec::new();
                for packaged in [encode(&rung, first), encode_after(before, &rung, second)] {
                    let mut decoded = decode(&ffmpeg, dir.path(), &file(&packaged));
                    decoded.truncate(packaged.description.valid as usize);
                    heard.extend(decoded);
                }
                assert_eq!(heard.len() as u64, frames);
                let most = |decoded: &[f32]| {
                    around(&source, decoded, cut)
                        .into_iter()
                        .fold(usual, f64::max)
                };
                let worst = most(&heard) / most(&whole);
                // Band replication is led astray for 10 ms by the end of the sound.
                let limit = if rung.id == "aac-64" { 8.0 } else { 4.0 };
                println!("{}: {worst:.2} of the error without a seam", rung.id);
                assert!(worst < limit, "{} at {cut}: {worst:.2}", rung.id);
            }
        }
    }
}

/// The last 50 ms, as an ingest takes them.
fn preroll(pcm: &[f32]) -> &[f32] {
    &pcm[pcm.len() - 2 * RATE as usize / 20..]
}

/// What is above most of the music: the power of the second difference.
fn treble(samples: &[f32]) -> f64 {
    let bends = samples
        .windows(3)
        .map(|w| f64::from(w[0] - 2.0 * w[1] + w[2]));
    bends.map(|bend| bend.powi(2)).sum()
}

/// How the seams of a rung sound.
#[derive(Clone, Copy, Debug)]
struct Seams {
    /// Power of the error in the 10 ms behind each, all together.
    noise: f64,
    /// The same behind the worst of them, as a multiple of that in the unbroken recording, where the
    /// codec's usual error is the least that counts.
    worst: f64,
    /// Most treble in the 10 ms around a seam, in dB above the source's: a click is treble that the
    /// source has not.
    click_db: f64,
}

/// The seams of a recording that is cut in many places, each on its own: without a pre-roll and with
/// one. And the noise in the same places of the unbroken recording.
fn seams(ffmpeg: &Path, rung: &Rung, pcm: &[f32]) -> ([Seams; 2], f64) {
    let dir = tempfile::tempdir().unwrap();
    let heard = |packaged: &Packaged<Vec<u8>>| decode(ffmpeg, dir.path(), &file(packaged));
    let source = sound::first_channel(pcm, 2);
    let whole = heard(&encode(rung, pcm));
    let usual = error(&source, &whole, 48_000..source.len() - 48_000);
    let none = Seams {
        noise: 0.0,
        worst: 0.0,
        click_db: f64::MIN,
    };
    let (mut found, mut unbroken) = ([none; 2], 0.0);
    for n in 0..16 {
        // By the length of what follows Opus chooses how much it has before it.
        let (cut, length) = (96_000 + n * 23_321 + n * n * 13, 24_000 + n * 60);
        let there = error(&source[cut..], &whole[cut..], 0..BLOCK);
        unbroken += there;
        let first = &pcm[(cut - 48_000) * 2..cut * 2];
        let second = &pcm[cut * 2..(cut + length) * 2];
        let end = heard(&encode(rung, first));
        for (seams, before) in found.iter_mut().zip([&[], preroll(first)]) {
            let start = heard(&encode_after(before, rung, second));
            let here = error(&source[cut..], &start, 0..BLOCK);
            seams.noise += here;
            seams.worst = seams.worst.max(here / there.max(usual));
            let half = BLOCK / 2;
            let seam = [&end[48_000 - half..48_000], &start[..half]].concat();
            let due = treble(&source[cut - half..cut + half]);
            let above = 10.0 * (treble(&seam) / due).log10();
            seams.click_db = seams.click_db.max(above);
        }
    }
    (found, unbroken)
}

#[test]
fn a_pre_roll_takes_the_click_out_of_the_seam_and_adds_no_noise() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let pcm = programme(48_000 * 11);
    for rungs in [
        &["opus-32", "opus-64", "opus-96", "opus-160"][..],
        &["aac-64", "aac-128", "aac-256"],
    ] {
        let mut clicks = [f64::MIN; 2];
        let all = Recipe::default().rungs;
        for rung in all.iter().filter(|rung| rungs.contains(&rung.id.as_str())) {
            let ([without, with], unbroken) = seams(&ffmpeg, rung, &pcm);
            let error = with.noise / unbroken;
            println!(
                "{}: behind the seams {:.2} of the error of the unbroken recording, with a pre-roll \
                 {error:.2}; at the worst {:.2} and {:.2}; treble {:.1} and {:.1} dB",
                rung.id,
                without.noise / unbroken,
                without.worst,
                with.worst,
                without.click_db,
                with.click_db
            );
            // As in an unbroken recording; of Opus a single seam may differ much.
            let (most, worst) = match rung.settings {
                Settings::Opus(_) => (1.5, 4.0),
                _ => (1.1, 2.0),
            };
            assert!(error < most && with.worst < worst, "{}: {with:?}", rung.id);
            clicks[0] = clicks[0].max(without.click_db);
            clicks[1] = clicks[1].max(with.click_db);
        }
        println!("most treble at a seam: {clicks:.1?} dB above the source's");
        assert!(clicks[1] < clicks[0] - 0.5, "{rungs:?}: {clicks:?}");
    }
}
