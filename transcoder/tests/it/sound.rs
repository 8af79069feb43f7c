//! Synthetic sound, decoding by ffmpeg, and comparison.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Interleaved noise-like sound with level changes: correlation with it has one sharp peak.
pub(crate) fn noise(samples: u64, channels: usize, rate: u32) -> Vec<f32> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut low = vec![0.0_f32; channels];
    let mut pcm = Vec::with_capacity(samples as usize * channels);
    for n in 0..samples {
        let swell = 0.4 + 0.35 * (n as f32 * 9.7 / rate as f32).sin();
        for (c, low) in low.iter_mut().enumerate() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let white = (state >> 40) as f32 / (1 << 23) as f32 - 1.0;
            *low += 0.25 * (white - *low);
            pcm.push(*low * swell * if c == 0 { 1.0 } else { 0.8 });
        }
    }
    pcm
}

/// ffmpegs to test against: the one on the path and a newer one named by `SEGUE_FFMPEG9`.
pub(crate) fn ffmpegs() -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("ffmpeg")];
    found.extend(std::env::var_os("SEGUE_FFMPEG9").map(PathBuf::from));
    found.retain(|path| Command::new(path).arg("-version").output().is_ok());
    if found.is_empty() {
        eprintln!("skipped: no ffmpeg found");
    }
    found
}

/// Decodes to interleaved floats at the rendition's own rate and channel count.
pub(crate) fn decode(ffmpeg: &Path, file: &Path, args: &[&str]) -> Vec<f32> {
    let output = Command::new(ffmpeg)
        .args(["-v", "error", "-xerror"])
        .args(args)
        .arg("-i")
        .arg(file)
        .args(["-f", "f32le", "-c:a", "pcm_f32le", "-"])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stderr.is_empty(),
        "{}: {stderr}",
        file.display()
    );
    output
        .stdout
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect()
}

/// Lag in samples by which `decoded` is late against `source` (first channels), and the
/// normalised correlation there.
pub(crate) fn offset(source: &[f32], decoded: &[f32], channels: usize, reach: i64) -> (i64, f64) {
    let first = |pcm: &[f32]| {
        pcm.chunks_exact(channels)
            .map(|f| f64::from(f[0]))
            .collect::<Vec<_>>()
    };
    let (a, b) = (first(source), first(decoded));
    let len = a.len().min(b.len()).min(24_000) as i64;
    let score = |lag: i64| {
        let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
        for n in 0..len {
            let m = n + lag;
            if (0..b.len() as i64).contains(&m) {
                let (x, y) = (a[n as usize], b[m as usize]);
                ab += x * y;
                aa += x * x;
                bb += y * y;
            }
        }
        ab / (aa * bb).sqrt().max(1e-12)
    };
    (-reach..=reach)
        .map(|lag| (lag, score(lag)))
        .max_by(|x, y| x.1.total_cmp(&y.1))
        .unwrap()
}
