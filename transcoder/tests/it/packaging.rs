//! Encoders and files: length, place and structure of every rendition.

use std::{fs, path::Path};

use transcoder::{
    Recipe,
    cmaf::{Packaged, SourceLength},
    encode::{Input, Pcm, Rendition},
    inspect,
    recipe::{Rung, Settings},
};

use crate::sound;

/// Sound at 48 kHz, 16 bits for FLAC.
struct Take {
    samples: u64,
    channels: usize,
    pcm: Vec<f32>,
}

impl Take {
    fn new(samples: u64, channels: usize) -> Take {
        Take {
            samples,
            channels,
            pcm: sound::music(samples, channels, 48_000),
        }
    }
}

/// Encodes one rung, writes the file and checks its structure.
#[track_caller]
fn package(rung: &Rung, take: &Take, path: &Path) -> Packaged<Vec<u8>> {
    let Take {
        samples,
        channels,
        ref pcm,
    } = *take;
    let input = Input {
        rate: 48_000,
        channels,
        depth: 16,
        length_hint: Some(samples),
        preroll: 0,
    };
    let mut rendition = Rendition::new(rung, input, Vec::new()).unwrap();
    for chunk in pcm.chunks(4_000 * channels) {
        rendition
            .push(&match rung.settings {
                Settings::Flac { .. } => Pcm::Native(sound::integers(chunk, 16).into()),
                _ => Pcm::Resampled(chunk.into()),
            })
            .unwrap();
    }
    let packaged = rendition
        .finish(SourceLength {
            samples,
            rate: 48_000,
        })
        .unwrap();
    let file = [packaged.head.as_slice(), &packaged.spool].concat();
    assert_eq!(file.len() as u64, packaged.bytes);
    fs::write(path, &file).unwrap();

    let mut seen = inspect::inspect(&file);
    seen.check_ours();
    assert!(
        seen.problems.is_empty(),
        "{} of {samples} samples:\n{seen}",
        rung.id
    );
    assert_eq!(seen.edits, [(Some(packaged.description.priming), samples)]);
    let told: Vec<_> = packaged
        .segments
        .iter()
        .map(|s| (s.start.0, s.duration.0, s.bytes.len))
        .collect();
    let held: Vec<_> = seen
        .fragments
        .iter()
        .map(|f| (f.start, f.duration, f.bytes))
        .collect();
    assert_eq!(told, held);
    packaged
}

const LENGTHS: [u64; 11] = [
    1, 959, 960, 961, 1_023, 1_024, 1_025, 48_000, 100_003, 184_320, 552_960,
];

#[test]
fn every_length_is_sound_in_structure() {
    let dir = tempfile::tempdir().unwrap();
    for channels in [1, 2] {
        for samples in LENGTHS {
            let take = Take::new(samples, channels);
            for rung in Recipe::default().rungs {
                package(&rung, &take, &dir.path().join("x.mp4"));
            }
        }
    }
}

#[test]
fn ffmpeg_decodes_every_length_in_place() {
    let dir = tempfile::tempdir().unwrap();
    for ffmpeg in sound::ffmpegs() {
        for (samples, channels) in [
            (1, 2),
            (961, 1),
            (1_024, 2),
            (48_000, 1),
            (100_003, 2),
            (552_960, 2),
        ] {
            let take = Take::new(samples, channels);
            for rung in Recipe::default().rungs {
                let path = dir.path().join(format!("{}.mp4", rung.id));
                let packaged = package(&rung, &take, &path);
                in_place(&ffmpeg, &rung, &take, &packaged, &path);
            }
        }
    }
}

/// Decoded length and offset.
#[track_caller]
fn in_place(ffmpeg: &Path, rung: &Rung, take: &Take, packaged: &Packaged<Vec<u8>>, path: &Path) {
    let is_aac = rung.id.starts_with("aac");
    let is_he = rung.id == "aac-64";
    let mut decoded = sound::decode(ffmpeg, path, None);
    if is_he && !sound::knows_edits(ffmpeg) {
        // Keeps the priming.
        decoded.drain(..packaged.description.priming as usize);
    }
    let what = format!(
        "{} of {} samples, {} ch",
        rung.id, take.samples, take.channels
    );
    // ffmpeg knows no end of AAC but that of its last frame.
    let padding = match (is_aac, is_he) {
        (true, true) => 0..2_048,
        (true, false) => 0..1_024,
        _ => 0..1,
    };
    let beyond = decoded.len() as i64 - take.samples as i64;
    assert!(padding.contains(&beyond), "{what}: {beyond:+} samples");
    if take.samples >= 48_000 {
        let (lag, score) = sound::offset(&sound::first_channel(&take.pcm, take.channels), &decoded);
        assert!(
            lag == 0 && score > 0.9,
            "{what}: lag {lag}, correlation {score:.4}"
        );
    }
}

#[test]
fn flac_is_bit_exact() {
    let dir = tempfile::tempdir().unwrap();
    let rung = Recipe::default().rungs.pop().unwrap();
    for ffmpeg in sound::ffmpegs() {
        let take = Take::new(100_003, 2);
        let path = dir.path().join("flac.mp4");
        package(&rung, &take, &path);
        let expected: Vec<_> = sound::integers(&take.pcm, 16)
            .iter()
            .map(|s| s << 16)
            .collect();
        assert!(sound::decode_exact(&ffmpeg, &path) == expected);
    }
}

#[test]
fn bit_rates_of_a_codec_share_their_init_segment_and_cuts() {
    let dir = tempfile::tempdir().unwrap();
    let take = Take::new(552_960 + 77, 2);
    let packaged: Vec<_> = Recipe::default()
        .rungs
        .iter()
        .map(|rung| {
            (
                rung.codec(),
                package(rung, &take, &dir.path().join("x.mp4")),
            )
        })
        .collect();
    for (codec, one) in &packaged {
        for (_, other) in packaged.iter().filter(|(c, _)| c == codec) {
            let init = |p: &Packaged<_>| p.head[..p.init.len as usize].to_vec();
            assert_eq!(init(one), init(other));
            let cuts = |p: &Packaged<_>| {
                p.segments
                    .iter()
                    .map(|s| (s.start, s.duration))
                    .collect::<Vec<_>>()
            };
            assert_eq!(cuts(one), cuts(other));
        }
    }
    // All codecs have the same segments, each cut within half an HE-AAC frame of the grid.
    for (_, p) in &packaged {
        assert_eq!(p.segments.len(), packaged[0].1.segments.len());
        for (segment, expected_s) in p
            .segments
            .iter()
            .zip([0.0, 1.92, 3.84, 7.68, 11.52])
            .skip(1)
        {
            let at =
                (segment.start.0 - p.description.priming) as f64 / f64::from(p.description.rate);
            assert!(
                (at - expected_s).abs() <= 1_024.0 / 48_000.0,
                "{at} not {expected_s}"
            );
        }
    }
}

#[test]
fn opus_has_no_padding_and_aac_the_priming_that_players_assume() {
    let dir = tempfile::tempdir().unwrap();
    let take = Take::new(100_003, 2);
    for rung in Recipe::default().rungs {
        let p = package(&rung, &take, &dir.path().join("x.mp4")).description;
        match rung.id.as_str() {
            "flac" => assert_eq!(p.priming, 0),
            "aac-64" => assert_eq!(p.priming, 4_160),
            id if id.starts_with("aac") => assert_eq!(p.priming, 2_112),
            _ => {
                assert!((312..312 + 960).contains(&p.priming));
                assert_eq!((p.priming + p.valid) % 960, 0);
            }
        }
    }
}

#[test]
fn a_length_hint_that_was_wrong_costs_padding_but_no_sound() {
    let dir = tempfile::tempdir().unwrap();
    let rung = Recipe::default().rungs.remove(2);
    let pcm = sound::music(50_000, 1, 48_000);
    let input = Input {
        rate: 48_000,
        channels: 1,
        depth: 16,
        length_hint: Some(49_999),
        preroll: 0,
    };
    let mut rendition = Rendition::new(&rung, input, Vec::new()).unwrap();
    rendition.push(&Pcm::Resampled(pcm.clone().into())).unwrap();
    let packaged = rendition
        .finish(SourceLength {
            samples: 50_000,
            rate: 48_000,
        })
        .unwrap();
    let path = dir.path().join("opus.mp4");
    fs::write(&path, [packaged.head.as_slice(), &packaged.spool].concat()).unwrap();
    let mut seen = inspect::inspect(&fs::read(&path).unwrap());
    seen.check_ours();
    assert!(seen.problems.is_empty(), "{seen}");
    for ffmpeg in sound::ffmpegs() {
        let decoded = sound::decode(&ffmpeg, &path, None);
        assert!((50_000..50_960).contains(&decoded.len()));
        assert_eq!(sound::offset(&pcm, &decoded).0, 0);
    }
}

#[test]
fn what_is_wrong_with_a_foreign_file_is_told() {
    let Some(ffmpeg) = sound::ffmpegs().into_iter().last() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let wav = dir.path().join("source.wav");
    let pcm = sound::integers(&sound::music(48_000 * 9 + 700, 2, 48_000), 16);
    sound::wav(&wav, &pcm, 2, 48_000, 16);
    let check = |codec: &str, expected: &[&str]| {
        let out = dir.path().join(format!("{codec}.mp4"));
        let made = std::process::Command::new(&ffmpeg)
            .args(["-v", "error", "-y", "-i"])
            .arg(&wav)
            .args([
                "-c:a",
                codec,
                "-movflags",
                "cmaf",
                "-frag_duration",
                "3000000",
            ])
            .arg(&out)
            .status()
            .unwrap();
        assert!(made.success());
        let seen = inspect::inspect(&fs::read(&out).unwrap());
        for words in expected {
            let told = seen.problems.iter().any(|p| p.contains(words));
            assert!(told, "{codec}: `{words}` is not among {:#?}", seen.problems);
        }
    };
    check("libopus", &["no roll group", "pre-skip says 312"]);
    check("aac", &["no roll group", "no `sidx`"]);

    // A cut-off file, and one that is no MP4.
    let whole = fs::read(dir.path().join("aac.mp4")).unwrap();
    let cut = inspect::inspect(&whole[..whole.len() - 10]);
    assert!(cut.problems.iter().any(|p| p.contains("cut off")), "{cut}");
    assert!(!inspect::inspect(b"OggS and so on").problems.is_empty());
}
