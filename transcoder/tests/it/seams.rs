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
    let samples = pcm.len() as u64 / 2;
    let input = Input {
        rate: RATE,
        channels: 2,
        depth: 16,
        length_hint: Some(samples),
    };
    let mut rendition = Rendition::new(rung, input, Vec::new()).unwrap();
    for run in pcm.chunks(32_768) {
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

/// Priming is silence, not the end of the track before: an error of the usual size is what is left at a
/// seam, so that a track's revision need not depend on its neighbours.
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
            let mut heard = Vec::new();
            for part in [&pcm[..cut * 2], &pcm[cut * 2..]] {
                let packaged = encode(&rung, part);
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
