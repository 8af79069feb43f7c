//! Synthetic sound, files of it, decoding by ffmpeg, and comparison.

use std::{
    f32::consts::TAU,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Interleaved music-like sound: gliding harmonics over a breath of noise, so that it correlates
/// with itself at one place only and every codec carries it well.
pub(crate) fn music(samples: u64, channels: usize, rate: u32) -> Vec<f32> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut pcm = Vec::with_capacity(samples as usize * channels);
    for n in 0..samples {
        let t = n as f32 / rate as f32;
        let phase = TAU * (110.0 * t + 24.0 * (1.3 * t).sin());
        let tone: f32 = (1..12).map(|h| (phase * h as f32).sin() / h as f32).sum();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let breath = (state >> 40) as f32 / (1 << 23) as f32 - 1.0;
        let pulse = 0.6 + 0.4 * (TAU * 3.1 * t).sin();
        for c in 0..channels {
            pcm.push((0.25 * tone * pulse + 0.01 * breath) * if c == 0 { 1.0 } else { 0.8 });
        }
    }
    pcm
}

/// Interleaved integers of `bits` bits.
pub(crate) fn integers(pcm: &[f32], bits: u32) -> Vec<i32> {
    let scale = ((1_u32 << (bits - 1)) - 1) as f32;
    pcm.iter().map(|s| (s * scale) as i32).collect()
}

/// Writes a WAV file of 16 or 24 bits.
pub(crate) fn wav(path: &Path, pcm: &[i32], channels: u16, rate: u32, bits: u16) {
    let width = u32::from(bits / 8);
    let data: Vec<u8> = pcm
        .iter()
        .flat_map(|s| s.to_le_bytes().into_iter().take(width as usize))
        .collect();
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend((rate * u32::from(channels) * width).to_le_bytes());
    file.extend((channels * width as u16).to_le_bytes());
    file.extend(bits.to_le_bytes());
    file.extend(b"data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    fs::write(path, file).unwrap();
}

/// The same, as the track of that number on an album.
pub(crate) fn album_wav(path: &Path, pcm: &[i32], channels: u16, rate: u32, place: (&str, u32)) {
    wav(path, pcm, channels, rate, 16);
    let plain = fs::read(path).unwrap();
    let mut info = b"INFO".to_vec();
    for (id, text) in [(b"IPRD", place.0), (b"ITRK", &place.1.to_string())] {
        let mut text = text.as_bytes().to_vec();
        text.push(0);
        info.extend(id);
        info.extend((text.len() as u32).to_le_bytes());
        text.resize(text.len().next_multiple_of(2), 0);
        info.extend(text);
    }
    let mut file = b"RIFF".to_vec();
    file.extend((plain.len() as u32 + info.len() as u32).to_le_bytes());
    // Before the sound, so that it is there where the sound is cut off.
    file.extend(b"WAVELIST");
    file.extend((info.len() as u32).to_le_bytes());
    file.extend(info);
    file.extend(&plain[12..]);
    fs::write(path, file).unwrap();
}

/// ffmpegs to test against: the one on the path, and ffmpeg 9 on the path or among the tools that
/// `make tools` links into the checkout.
pub(crate) fn ffmpegs() -> Vec<PathBuf> {
    let linked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/ffmpeg-9");
    let nine = ["ffmpeg-9".into(), linked];
    let runs = |path: &PathBuf| Command::new(path).arg("-version").output().is_ok();
    let mut found = vec![PathBuf::from("ffmpeg")];
    found.retain(runs);
    found.extend(nine.into_iter().find(runs));
    if found.is_empty() {
        skip("ffmpeg");
    }
    found
}

/// Says that a test can't run for want of a program, or fails where all have to be there.
pub(crate) fn skip(program: &str) {
    let required = std::env::var("SEGUE_REQUIRE_TOOLS").is_ok_and(|v| v == "1");
    assert!(!required, "missing: {program}");
    eprintln!("skipped: no {program} found");
}

/// Whether that ffmpeg obeys edit lists of AAC in fragmented files (6.0 and later).
pub(crate) fn knows_edits(ffmpeg: &Path) -> bool {
    let version = Command::new(ffmpeg)
        .arg("-version")
        .output()
        .unwrap()
        .stdout;
    let text = String::from_utf8_lossy(&version);
    let major = text
        .split_whitespace()
        .nth(2)
        .and_then(|v| v.split('.').next()?.parse::<u32>().ok());
    major.is_none_or(|major| major >= 6)
}

fn run(ffmpeg: &Path, file: &Path, args: &[&str]) -> Vec<u8> {
    let output = Command::new(ffmpeg)
        .args(["-v", "error", "-xerror", "-i"])
        .arg(file)
        .args(args)
        .arg("-")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stderr.is_empty(),
        "{}: {stderr}",
        file.display()
    );
    output.stdout
}

/// Decodes the first channel at the file's own rate, or at another.
pub(crate) fn decode(ffmpeg: &Path, file: &Path, rate: Option<u32>) -> Vec<f32> {
    let rate = rate.map(|r| r.to_string());
    let mut args = vec!["-af", "pan=mono|c0=c0"];
    if let Some(rate) = &rate {
        args.extend(["-ar", rate]);
    }
    args.extend(["-f", "f32le"]);
    let bytes = run(ffmpeg, file, &args);
    bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect()
}

/// Decodes to interleaved 32-bit integers, left-aligned.
pub(crate) fn decode_exact(ffmpeg: &Path, file: &Path) -> Vec<i32> {
    let bytes = run(ffmpeg, file, &["-f", "s32le"]);
    bytes
        .chunks_exact(4)
        .map(|b| i32::from_le_bytes(b.try_into().unwrap()))
        .collect()
}

/// The first of `channels` interleaved channels.
pub(crate) fn first_channel(pcm: &[f32], channels: usize) -> Vec<f32> {
    pcm.chunks_exact(channels).map(|frame| frame[0]).collect()
}

/// Lag in samples by which `decoded` is late against `source`, at most 64 either way, and the
/// normalised correlation there.
pub(crate) fn offset(source: &[f32], decoded: &[f32]) -> (i64, f64) {
    let len = source.len().min(decoded.len()).min(20_000) as i64;
    let score = |lag: i64| {
        let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
        for n in 0..len {
            let m = n + lag;
            if (0..decoded.len() as i64).contains(&m) {
                let (x, y) = (
                    f64::from(source[n as usize]),
                    f64::from(decoded[m as usize]),
                );
                ab += x * y;
                aa += x * x;
                bb += y * y;
            }
        }
        ab / (aa * bb).sqrt().max(1e-12)
    };
    (-64..=64)
        .map(|lag| (lag, score(lag)))
        .max_by(|x, y| x.1.total_cmp(&y.1))
        .unwrap()
}
