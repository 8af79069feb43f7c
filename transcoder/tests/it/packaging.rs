//! Encoders and files: length, place and structure of every rendition.

use std::{fs, path::Path};

use transcoder::{
    cmaf::SourceLength,
    encode::{Input, Pcm, Rendition},
    recipe::{Recipe, Rung, Settings},
};

use crate::sound;

/// Encodes one rung of the standard ladder from interleaved sound at 48 kHz.
fn package(
    rung: &Rung,
    pcm: &[f32],
    channels: usize,
    rate: u32,
    path: &Path,
) -> transcoder::cmaf::Packaged<Vec<u8>> {
    let samples = (pcm.len() / channels) as u64;
    let input = Input {
        rate,
        channels,
        depth: 16,
        length_hint: Some(samples),
    };
    let mut rendition = Rendition::new(rung, input, Vec::new()).unwrap();
    for chunk in pcm.chunks(4_000 * channels) {
        let pcm = match rung.settings {
            Settings::Flac { .. } => {
                Pcm::Native(chunk.iter().map(|s| (s * 32_767.0) as i32).collect())
            }
            _ => Pcm::Resampled(chunk.into()),
        };
        rendition.push(&pcm).unwrap();
    }
    let packaged = rendition.finish(SourceLength { samples, rate }).unwrap();
    let file = [packaged.head.as_slice(), &packaged.spool].concat();
    assert_eq!(file.len() as u64, packaged.bytes);
    fs::write(path, file).unwrap();
    packaged
}

#[test]
fn explore() {
    let dir = tempfile::tempdir().unwrap();
    for channels in [1, 2] {
        for samples in [1_u64, 960, 1025, 48_000, 100_003, 480_000] {
            let pcm = sound::noise(samples, channels, 48_000);
            for rung in Recipe::default().rungs {
                let path = dir.path().join(format!("{}.mp4", rung.id));
                let p = package(&rung, &pcm, channels, 48_000, &path);
                for ffmpeg in sound::ffmpegs() {
                    let decoded = sound::decode(&ffmpeg, &path, &[]);
                    let got = decoded.len() / channels;
                    let (lag, score) = sound::offset(&pcm, &decoded, channels, 1200);
                    println!(
                        "{ch} {samples} {:10} {} priming {} got {got} ({:+}) lag {lag} score {score:.4} avg {} segs {}",
                        rung.id,
                        ffmpeg.display().to_string().len(),
                        p.description.priming,
                        got as i64 - samples as i64,
                        p.average.0,
                        p.segments.len(),
                        ch = channels
                    );
                }
            }
        }
    }
}
