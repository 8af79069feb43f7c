//! Real encoders in, exact sound out: every input format, its length, its place, its faults.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use transcoder::source::{Error, Format, Limits, Source};

use crate::sound;

/// Whether a program can be run; says so if not.
fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let found = command.status().is_ok();
    if !found {
        eprintln!("skipped: no {program} found");
    }
    found
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {stderr}");
}

fn ffmpeg(input: &Path, args: &[&str], output: &Path) {
    let head = ["-v", "error", "-y", "-i", input.to_str().unwrap()];
    run(
        "ffmpeg",
        &[&head, args, &[output.to_str().unwrap()]].concat(),
    );
}

fn wav(path: &Path, rate: u32, channels: usize, bits: u32, samples: &[i32]) {
    sound::wav(path, samples, channels as u16, rate, bits as u16);
}

/// Music as integers of so many bits, interleaved.
fn integers(frames: u64, channels: usize, rate: u32, bits: u32) -> Vec<i32> {
    sound::integers(&sound::music(frames, channels, rate), bits)
}

/// Everything that comes out of a file.
#[derive(Debug)]
struct Sound {
    format: Format,
    /// Interleaved.
    float: Vec<f32>,
    /// Interleaved, where every block had it.
    exact: Option<Vec<i32>>,
}

impl Sound {
    fn frames(&self) -> usize {
        self.float.len() / self.format.block_channels()
    }
}

fn decode(path: &Path) -> Result<Sound, Error> {
    let mut source = Source::open(path, &Limits::default())?;
    let format = source.format().clone();
    let (mut float, mut exact) = (Vec::new(), Vec::new());
    while let Some(block) = source.next()? {
        assert_eq!(block.samples.len(), format.block_channels());
        for frame in 0..block.frames() {
            float.extend(block.samples.iter().map(|plane| plane[frame]));
            exact.extend(block.exact.iter().flatten().map(|plane| plane[frame]));
        }
    }
    let exact = format.exact_depth().map(|_| exact);
    Ok(Sound {
        format,
        float,
        exact,
    })
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source.wav");
    (dir, source)
}

#[test]
fn lossless_files_come_out_bit_for_bit() {
    if !has("ffmpeg") {
        return;
    }
    // Extension, encoder arguments, bits, codec by name.
    let cases: [(&str, &[&str], u32, &str); 13] = [
        ("wav", &["-c:a", "pcm_s16le"], 16, "pcm_s16le"),
        ("wav", &["-c:a", "pcm_s24le"], 24, "pcm_s24le"),
        ("wav", &["-c:a", "pcm_s32le"], 24, "pcm_s32le"),
        ("wav", &["-c:a", "pcm_f32le"], 24, "pcm_f32le"),
        ("aiff", &["-c:a", "pcm_s16be"], 16, "pcm_s16be"),
        ("aiff", &["-c:a", "pcm_s24be"], 24, "pcm_s24be"),
        ("flac", &["-c:a", "flac"], 16, "flac"),
        ("flac", &["-c:a", "flac", "-sample_fmt", "s32"], 24, "flac"),
        ("m4a", &["-c:a", "alac"], 16, "alac"),
        ("m4a", &["-c:a", "alac", "-sample_fmt", "s32p"], 24, "alac"),
        ("caf", &["-c:a", "alac"], 16, "alac"),
        ("oga", &["-c:a", "flac"], 16, "flac"),
        ("mkv", &["-c:a", "flac"], 16, "flac"),
    ];
    let (dir, source) = scratch();
    for (extension, args, bits, codec) in cases {
        for (rate, channels, frames) in [(44_100, 2, 30_011), (48_000, 1, 9_999), (96_000, 2, 1)] {
            let pcm = integers(frames, channels, rate, bits);
            wav(&source, rate, channels, bits, &pcm);
            let file = dir.path().join(format!("file.{extension}"));
            ffmpeg(&source, args, &file);
            let what = format!("{extension} {args:?} {rate} Hz, {channels} ch, {frames}");
            let sound = decode(&file).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(sound.format.codec, codec, "{what}");
            assert_eq!(
                (sound.format.sample_rate, sound.format.channels),
                (rate, channels as u32)
            );
            assert_eq!(sound.frames() as u64, frames, "{what}");
            let full = (1u32 << (bits - 1)) as f32;
            let close = sound
                .float
                .iter()
                .zip(&pcm)
                .all(|(a, b)| *a == *b as f32 / full);
            assert!(close, "{what}: floats differ");
            if let Some(exact) = &sound.exact {
                let shift = sound.format.exact_depth().unwrap() - bits;
                assert!(
                    exact.iter().zip(&pcm).all(|(a, b)| *a == b << shift),
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn every_rate_from_8_to_192_khz_is_read() {
    let (_dir, source) = scratch();
    for rate in [
        8_000, 11_025, 16_000, 22_050, 32_000, 88_200, 176_400, 192_000,
    ] {
        let pcm = integers(500, 2, rate, 16);
        wav(&source, rate, 2, 16, &pcm);
        let sound = decode(&source).unwrap();
        assert_eq!(sound.format.sample_rate, rate);
        assert_eq!(sound.exact.unwrap(), pcm);
    }
}

#[test]
fn eight_bit_sound_is_exact() {
    if !has("ffmpeg") {
        return;
    }
    let (dir, source) = scratch();
    let pcm: Vec<i32> = integers(5_000, 1, 44_100, 16)
        .iter()
        .map(|s| s >> 8 << 8)
        .collect();
    wav(&source, 44_100, 1, 16, &pcm);
    let file = dir.path().join("file.wav");
    ffmpeg(&source, &["-c:a", "pcm_u8"], &file);
    let sound = decode(&file).unwrap();
    assert_eq!(sound.format.exact_depth(), Some(8));
    assert!(
        sound
            .exact
            .unwrap()
            .iter()
            .zip(&pcm)
            .all(|(a, b)| *a == b >> 8)
    );
}

/// An encoder under test: the file it makes from `source.wav`, and the lowest correlation.
struct Lossy {
    name: &'static str,
    program: &'static str,
    extension: &'static str,
    encode: fn(&Path, &Path),
}

const LOSSY: [Lossy; 9] = [
    Lossy {
        name: "LAME",
        program: "lame",
        extension: "mp3",
        encode: |i, o| {
            run(
                "lame",
                &[
                    "--quiet",
                    "-b",
                    "192",
                    i.to_str().unwrap(),
                    o.to_str().unwrap(),
                ],
            );
        },
    },
    Lossy {
        name: "LAME VBR",
        program: "lame",
        extension: "mp3",
        encode: |i, o| {
            run(
                "lame",
                &["--quiet", "-V2", i.to_str().unwrap(), o.to_str().unwrap()],
            );
        },
    },
    Lossy {
        name: "ffmpeg's libmp3lame",
        program: "ffmpeg",
        extension: "mp3",
        encode: |i, o| ffmpeg(i, &["-c:a", "libmp3lame", "-b:a", "192k"], o),
    },
    Lossy {
        name: "ffmpeg's AAC",
        program: "ffmpeg",
        extension: "m4a",
        encode: |i, o| ffmpeg(i, &["-c:a", "aac", "-b:a", "192k"], o),
    },
    Lossy {
        name: "ffmpeg's AAC, fragmented",
        program: "ffmpeg",
        extension: "mp4",
        encode: |i, o| {
            let frag = ["-movflags", "frag_keyframe+empty_moov+delay_moov"];
            ffmpeg(
                i,
                &[&["-c:a", "aac", "-b:a", "192k"][..], &frag].concat(),
                o,
            );
        },
    },
    Lossy {
        name: "oggenc",
        program: "oggenc",
        extension: "ogg",
        encode: |i, o| {
            run(
                "oggenc",
                &["-Q", "-q6", i.to_str().unwrap(), "-o", o.to_str().unwrap()],
            );
        },
    },
    Lossy {
        name: "ffmpeg's libvorbis",
        program: "ffmpeg",
        extension: "ogg",
        encode: |i, o| ffmpeg(i, &["-c:a", "libvorbis", "-q:a", "6"], o),
    },
    Lossy {
        name: "opusenc",
        program: "opusenc",
        extension: "opus",
        encode: |i, o| {
            run(
                "opusenc",
                &[
                    "--quiet",
                    "--bitrate",
                    "192",
                    i.to_str().unwrap(),
                    o.to_str().unwrap(),
                ],
            );
        },
    },
    Lossy {
        name: "ffmpeg's libopus in MP4",
        program: "ffmpeg",
        extension: "mp4",
        encode: |i, o| ffmpeg(i, &["-c:a", "libopus", "-b:a", "192k"], o),
    },
];

#[test]
fn lossy_files_have_the_sources_length_and_place() {
    let (dir, source) = scratch();
    for lossy in LOSSY.iter().filter(|lossy| has(lossy.program)) {
        for (rate, channels, frames) in [
            (48_000, 2, 100_003),
            (48_000, 1, 48_000),
            (44_100, 2, 70_001),
            (48_000, 2, 1),
        ] {
            // ffmpeg writes a LAME tag without padding for less than a frame.
            let tagged = !(lossy.name.contains("libmp3lame") && frames == 1);
            let takes_rate = rate == 48_000 || !lossy.name.contains("opus");
            if !tagged || !takes_rate {
                continue;
            }
            let pcm = integers(frames, channels, rate, 16);
            wav(&source, rate, channels, 16, &pcm);
            let file = dir.path().join(format!("file.{}", lossy.extension));
            (lossy.encode)(&source, &file);
            let what = format!("{} {rate} Hz, {channels} ch, {frames}", lossy.name);
            let sound = decode(&file).unwrap_or_else(|e| panic!("{what}: {e}"));
            println!("{what}: {} frames {:?}", sound.frames(), sound.format);
            assert_eq!(sound.frames() as u64, frames, "{what}");
            if frames > 1 {
                let ideal: Vec<f32> = pcm.iter().map(|s| *s as f32 / 32_768.0).collect();
                let (offset, likeness) = sound::offset(
                    &sound::first_channel(&ideal, channels),
                    &sound::first_channel(&sound.float, channels),
                );
                assert_eq!(offset, 0, "{what}: likeness {likeness}");
                assert!(likeness > 0.95, "{what}: likeness {likeness}");
            }
        }
    }
}

/// Six or eight channels, each with a tone of its own that fades in and out.
fn surround(path: &Path, channels: usize) -> Vec<f64> {
    let tones: Vec<f64> = (0..channels).map(|c| 300.0 + 170.0 * c as f64).collect();
    let rate = 48_000;
    let mut pcm = Vec::new();
    for n in 0..rate {
        for tone in &tones {
            let s = (std::f64::consts::TAU * tone * f64::from(n) / f64::from(rate)).sin();
            pcm.push((s * 0.4 * 32_768.0) as i32);
        }
    }
    wav(path, rate as u32, channels, 16, &pcm);
    tones
}

/// Amplitude of a tone in the middle of one channel.
fn amplitude(sound: &Sound, channel: usize, hz: f64) -> f64 {
    let rate = f64::from(sound.format.sample_rate);
    let plane = sound
        .float
        .iter()
        .skip(channel)
        .step_by(2)
        .map(|s| f64::from(*s));
    let middle: Vec<f64> = plane.skip(9_600).take(24_000).collect();
    let (mut re, mut im) = (0.0, 0.0);
    for (n, s) in middle.iter().enumerate() {
        let angle = std::f64::consts::TAU * hz * n as f64 / rate;
        re += s * angle.cos();
        im += s * angle.sin();
    }
    2.0 * (re * re + im * im).sqrt() / middle.len() as f64
}

#[test]
fn surround_of_every_codec_is_mixed_down_alike() {
    if !has("ffmpeg") {
        return;
    }
    let (dir, source) = scratch();
    let cases: [(usize, &str, &[&str]); 9] = [
        (6, "wav", &["-c:a", "pcm_s24le"]),
        (6, "flac", &["-c:a", "flac"]),
        (6, "m4a", &["-c:a", "alac"]),
        (6, "m4a", &["-c:a", "aac", "-b:a", "448k"]),
        (6, "ogg", &["-c:a", "libvorbis", "-q:a", "7"]),
        (
            6,
            "opus",
            &["-c:a", "libopus", "-b:a", "448k", "-mapping_family", "1"],
        ),
        (8, "flac", &["-c:a", "flac"]),
        (8, "ogg", &["-c:a", "libvorbis", "-q:a", "7"]),
        (
            8,
            "opus",
            &["-c:a", "libopus", "-b:a", "512k", "-mapping_family", "1"],
        ),
    ];
    for (channels, extension, args) in cases {
        let tones = surround(&source, channels);
        let layout = if channels == 6 { "5.1" } else { "7.1" };
        let file = dir.path().join(format!("file.{extension}"));
        let filter = format!("channelmap=channel_layout={layout}");
        ffmpeg(
            &source,
            &[&["-af", filter.as_str()][..], args].concat(),
            &file,
        );
        let what = format!("{layout} {extension} {args:?}");
        let sound = match decode(&file) {
            Err(Error::Unsupported { .. }) if cfg!(not(feature = "fdk-aac")) => continue,
            sound => sound.unwrap_or_else(|e| panic!("{what}: {e}")),
        };
        assert_eq!(sound.format.channels, channels as u32, "{what}");
        assert_eq!(sound.exact, None, "{what}");
        // Left, right, centre, LFE, then surrounds left and right in turn.
        let half = std::f64::consts::FRAC_1_SQRT_2;
        let full = 0.4 / (1.0 + half + half * ((channels - 4) / 2) as f64);
        for (c, tone) in tones.iter().enumerate() {
            let (left, right) = match c {
                0 => (1.0, 0.0),
                1 => (0.0, 1.0),
                2 => (half, half),
                3 => continue,
                c if c % 2 == 0 => (half, 0.0),
                _ => (0.0, half),
            };
            for (side, ideal) in [left, right].into_iter().enumerate() {
                let found = amplitude(&sound, side, *tone) / full;
                let close = (found - ideal).abs() < 0.06;
                assert!(
                    close,
                    "{what}: channel {c} side {side}: {found:.3}, not {ideal:.3}"
                );
            }
        }
    }
}

#[test]
fn what_is_not_sound_is_refused_with_a_reason() {
    let (dir, source) = scratch();
    let path = dir.path().join("file.mp3");
    let expect = |bytes: &[u8], fits: fn(&Error) -> bool| {
        fs::write(&path, bytes).unwrap();
        let error = decode(&path).map(|s| s.frames()).unwrap_err();
        assert!(fits(&error), "{error:?}");
    };
    expect(b"", |e| matches!(e, Error::ZeroBytes));
    expect(b"To be or not to be", |e| matches!(e, Error::NotAudio));
    expect(&[0; 100_000], |e| matches!(e, Error::NotAudio));
    // Random bytes hold many a sync word.
    let mut state = 88_172_645_463_325_252_u64;
    let random: Vec<u8> = (0..2_000_000)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect();
    expect(&random, |e| matches!(e, Error::NotAudio));
    expect(b"wvpk and so on, many bytes of it", |e| {
        matches!(e, Error::Unsupported { .. })
    });

    wav(&source, 44_100, 2, 16, &[]);
    expect(&fs::read(&source).unwrap(), |e| matches!(e, Error::Empty));
    // Absurd headers: channels, rate, width.
    wav(&source, 44_100, 2, 16, &[1; 2_000]);
    let good = fs::read(&source).unwrap();
    for (at, bytes) in [
        (22, &[0, 0][..]),
        (22, &[0xff, 0xff]),
        (24, &[1, 0, 0, 0]),
        (24, &[0xff; 4]),
    ] {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        expect(&bad, |e| {
            matches!(e, Error::AbsurdHeader { .. } | Error::Damaged { .. })
        });
    }
    let mut bad = good.clone();
    bad[34] = 77;
    expect(&bad, |e| {
        matches!(e, Error::Damaged { .. } | Error::Unsupported { .. })
    });
    expect(&good[..30], |e| !matches!(e, Error::Io(_)));
    expect(b"\0\0\0\x20ftypM4A \0\0\0\0M4A isom\0\0\0\0\0\0\0\0", |e| {
        matches!(e, Error::Damaged { .. })
    });
    expect(b"OggS", |e| matches!(e, Error::CutOff { .. }));
    let directory = decode(dir.path()).unwrap_err();
    assert!(matches!(directory, Error::Io(_)));
}

#[test]
fn truncated_files_are_never_half_a_track() {
    if !has("ffmpeg") {
        return;
    }
    let (dir, source) = scratch();
    let pcm = integers(48_000 * 4, 2, 48_000, 16);
    wav(&source, 48_000, 2, 16, &pcm);
    let cases: [(&str, &[&str]); 9] = [
        ("wav", &["-c:a", "pcm_s16le"]),
        ("aiff", &["-c:a", "pcm_s16be"]),
        ("flac", &["-c:a", "flac"]),
        ("m4a", &["-c:a", "alac", "-movflags", "+faststart"]),
        ("m4a", &["-c:a", "aac", "-movflags", "+faststart"]),
        ("m4a", &["-c:a", "aac"]),
        ("mp3", &["-c:a", "libmp3lame"]),
        ("ogg", &["-c:a", "libvorbis"]),
        ("opus", &["-c:a", "libopus"]),
    ];
    for (extension, args) in cases {
        let file = dir.path().join(format!("file.{extension}"));
        ffmpeg(&source, args, &file);
        let whole = fs::read(&file).unwrap();
        for percent in [30, 60, 97] {
            fs::write(&file, &whole[..whole.len() * percent / 100]).unwrap();
            let what = format!("{extension} {args:?} cut to {percent} %");
            let error = decode(&file).map(|s| s.frames()).expect_err(&what);
            let fits = matches!(
                error,
                Error::Truncated { .. } | Error::CutOff { .. } | Error::Damaged { .. }
            );
            assert!(fits, "{what}: {error:?}");
        }
        // What follows the end, on the other hand, is nobody's business.
        let garbage = [whole.as_slice(), &[0x55; 1000]].concat();
        fs::write(&file, garbage).unwrap();
        let sound = decode(&file).unwrap_or_else(|e| panic!("{extension} with a tail: {e}"));
        assert_eq!(sound.frames(), 48_000 * 4, "{extension} with a tail");
    }
}

#[test]
fn damaged_bytes_never_panic() {
    if !has("ffmpeg") {
        return;
    }
    let (dir, source) = scratch();
    wav(&source, 44_100, 2, 16, &integers(30_000, 2, 44_100, 16));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for extension in [
        "wav", "aiff", "flac", "m4a", "mp3", "ogg", "opus", "mka", "caf",
    ] {
        let file = dir.path().join(format!("file.{extension}"));
        ffmpeg(&source, &[], &file);
        let whole = fs::read(&file).unwrap();
        for round in 0..40 {
            let mut bad = whole.clone();
            // Headers first, then anywhere.
            let reach = if round % 2 == 0 {
                600.min(bad.len())
            } else {
                bad.len()
            };
            for _ in 0..=round % 5 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let at = (state >> 16) as usize % reach;
                bad[at] = state as u8;
            }
            fs::write(&file, bad).unwrap();
            if let Err(error) = decode(&file) {
                assert!(
                    !error.to_string().contains("gave up"),
                    "{extension}: {error}"
                );
            }
        }
    }
}

#[test]
fn names_do_not_matter_and_tags_are_passed_over() {
    if !has("lame") || !has("ffmpeg") {
        return;
    }
    let (dir, source) = scratch();
    wav(&source, 44_100, 2, 16, &integers(44_100, 2, 44_100, 16));
    let mp3 = dir.path().join("song.wav");
    let (input, output) = (source.to_str().unwrap(), mp3.to_str().unwrap());
    run(
        "lame",
        &[
            "--quiet",
            "--tt",
            "Title",
            "--add-id3v2",
            "--id3v2-utf16",
            input,
            output,
        ],
    );
    // A second ID3v2 tag in front, zeroes after it, an ID3v1 tag at the end.
    let mut file = b"ID3\x04\0\0\0\0\0\x10".to_vec();
    file.extend([0; 16]);
    file.extend(fs::read(&mp3).unwrap());
    file.extend(b"TAG");
    file.extend([b' '; 125]);
    fs::write(&mp3, file).unwrap();
    let sound = decode(&mp3).unwrap();
    assert_eq!(
        (sound.format.container.as_str(), sound.frames()),
        ("mp3", 44_100)
    );
    assert!(sound.format.lossy_bitrate.unwrap().abs_diff(128_000) < 12_000);
    let (tags, _) = transcoder::tags::read(&mp3);
    assert_eq!(tags.title, "Title");
}

#[test]
fn real_music_comes_out_as_the_reference_decoder_has_it() {
    let folder = Path::new("/usr/share/games/wesnoth/1.16/data/core/music");
    if !folder.exists() || !has("oggdec") {
        eprintln!("skipped: no wesnoth music found");
        return;
    }
    let (_dir, reference) = scratch();
    // The first shares a page between headers and sound, which some decoders get wrong.
    for name in ["battle-epic.ogg", "breaking_the_chains.ogg"] {
        let file = folder.join(name);
        let (input, output) = (file.to_str().unwrap(), reference.to_str().unwrap());
        run("oggdec", &["-Q", "-o", output, input]);
        let (found, ideal) = (decode(&file).unwrap(), decode(&reference).unwrap());
        assert_eq!(found.frames(), ideal.frames(), "{name}");
        let pairs = found.float.iter().zip(&ideal.float);
        let worst = pairs
            .map(|(a, b)| (a.clamp(-1.0, 1.0) - b).abs())
            .fold(0.0, f32::max);
        assert!(worst < 1e-3, "{name}: {worst}");
    }
}

#[test]
fn tags_and_covers_are_read_from_every_format() {
    if !has("ffmpeg") {
        return;
    }
    let (dir, source) = scratch();
    wav(&source, 44_100, 2, 16, &integers(4_410, 2, 44_100, 16));
    let png = [&b"\x89PNG\r\n\x1a\n"[..], &[0; 64]].concat();
    fs::write(dir.path().join("Cover.PNG"), &png).unwrap();
    let metadata = [
        "-metadata",
        "title=Mønster",
        "-metadata",
        "artist=A",
        "-metadata",
        "album=B",
        "-metadata",
        "album_artist=C",
        "-metadata",
        "track=3/12",
        "-metadata",
        "date=1999-05-04",
        "-metadata",
        "genre=Jazz",
    ];
    for extension in ["mp3", "flac", "m4a", "ogg", "opus", "aiff"] {
        let file = dir.path().join(format!("file.{extension}"));
        let id3 = ["-write_id3v2", "1"];
        let extra: &[&str] = if extension == "aiff" { &id3 } else { &[] };
        ffmpeg(&source, &[&metadata[..], extra].concat(), &file);
        let (tags, cover) = transcoder::tags::read(&file);
        assert_eq!(tags.title, "Mønster", "{extension}");
        assert_eq!(tags.artist.as_deref(), Some("A"), "{extension}");
        assert_eq!(tags.album_artist.as_deref(), Some("C"), "{extension}");
        assert_eq!(tags.track_number, Some(3), "{extension}");
        assert!(
            tags.date.is_some_and(|date| date.starts_with("1999")),
            "{extension}"
        );
        assert_eq!(
            cover.map(|c| (c.mime, c.bytes)),
            Some(("image/png", png.clone()))
        );
    }
    let (tags, _) = transcoder::tags::read(&source);
    assert_eq!(tags.title, "source");
}
