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
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    let found = { found }.status().is_ok();
    if !found {
        eprintln!("skipped: no {program} found");
    }
    found
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {stderr}");
}

fn ffmpeg(input: &Path, args: &[&str], output: &Path) {
    let head = ["-v", "error", "-y", "-i", input.to_str().unwrap()];
    run("ffmpeg", &[&head, args, &[output.to_str().unwrap()]].concat());
}

/// A WAV file of 16, 24 or 32 bits, written by hand.
fn wav(path: &Path, rate: u32, channels: usize, bits: u32, samples: &[i32]) {
    let bytes = bits as usize / 8;
    let data: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()[..bytes].to_vec()).collect();
    let align = (channels * bytes) as u16;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    file.extend((channels as u16).to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend((rate * u32::from(align)).to_le_bytes());
    file.extend(align.to_le_bytes());
    file.extend((bits as u16).to_le_bytes());
    file.extend(b"data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    fs::write(path, file).unwrap();
}

/// Noise as integers of so many bits, interleaved.
fn integers(frames: u64, channels: usize, rate: u32, bits: u32) -> Vec<i32> {
    let full = f64::from(1u32 << (bits - 1));
    let noise = sound::noise(frames, channels, rate);
    noise.iter().map(|s| (f64::from(*s) * full) as i32).collect()
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
    Ok(Sound { format, float, exact })
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
            assert_eq!((sound.format.sample_rate, sound.format.channels), (rate, channels as u32));
            assert_eq!(sound.frames() as u64, frames, "{what}");
            let full = (1u32 << (bits - 1)) as f32;
            let close = sound.float.iter().zip(&pcm).all(|(a, b)| *a == *b as f32 / full);
            assert!(close, "{what}: floats differ");
            if let Some(exact) = &sound.exact {
                let shift = sound.format.exact_depth().unwrap() - bits;
                assert!(exact.iter().zip(&pcm).all(|(a, b)| *a == b << shift), "{what}");
            }
        }
    }
}

#[test]
fn every_rate_from_8_to_192_khz_is_read() {
    let (_dir, source) = scratch();
    for rate in [8_000, 11_025, 16_000, 22_050, 32_000, 88_200, 176_400, 192_000] {
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
    let pcm: Vec<i32> = integers(5_000, 1, 44_100, 16).iter().map(|s| s >> 8 << 8).collect();
    wav(&source, 44_100, 1, 16, &pcm);
    let file = dir.path().join("file.wav");
    ffmpeg(&source, &["-c:a", "pcm_u8"], &file);
    let sound = decode(&file).unwrap();
    assert_eq!(sound.format.exact_depth(), Some(8));
    assert!(sound.exact.unwrap().iter().zip(&pcm).all(|(a, b)| *a == b >> 8));
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
            run("lame", &["--quiet", "-b", "192", i.to_str().unwrap(), o.to_str().unwrap()]);
        },
    },
    Lossy {
        name: "LAME VBR",
        program: "lame",
        extension: "mp3",
        encode: |i, o| {
            run("lame", &["--quiet", "-V2", i.to_str().unwrap(), o.to_str().unwrap()]);
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
            ffmpeg(i, &[&["-c:a", "aac", "-b:a", "192k"][..], &frag].concat(), o);
        },
    },
    Lossy {
        name: "oggenc",
        program: "oggenc",
        extension: "ogg",
        encode: |i, o| {
            run("oggenc", &["-Q", "-q6", i.to_str().unwrap(), "-o", o.to_str().unwrap()]);
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
            run("opusenc", &["--quiet", "--bitrate", "192", i.to_str().unwrap(), o.to_str().unwrap()]);
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
        for (rate, channels, frames) in
            [(48_000, 2, 100_003), (48_000, 1, 48_000), (44_100, 2, 70_001), (48_000, 2, 1)]
        {
            let is_opus = lossy.name.contains("opus");
            if is_opus && rate != 48_000 {
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
                let (offset, likeness) = sound::offset(&ideal, &sound.float, channels, 80);
                assert_eq!(offset, 0, "{what}: likeness {likeness}");
                assert!(likeness > 0.95, "{what}: likeness {likeness}");
            }
        }
    }
}
