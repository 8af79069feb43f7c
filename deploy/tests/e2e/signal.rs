//! A deterministic sound that tells exactly when it is heard: dense, inharmonic, band-limited, and
//! defined at every instant, so that it can be written down at any sample rate.

use std::f64::consts::TAU;

/// Faint tones above all partials, where the sample rate has room: without them the sound would rightly
/// be taken for narrow-band, and get a smaller ladder. Too faint to matter to any comparison.
const AIR_HZ: [f64; 5] = [9_137.0, 12_343.0, 15_401.0, 17_923.0, 19_867.0];

/// Amplitude of each against the sound's mean.
const AIR: f64 = 0.004;

/// Length of the fixtures in seconds: three segments, a whole number of frames in no codec.
pub(crate) const SECONDS: f64 = 6.3721;

/// Sine waves a channel.
const PARTIALS: usize = 96;

/// Frames in [`SECONDS`] at a sample rate.
pub(crate) fn frames(rate: u32) -> usize {
    (SECONDS * f64::from(rate)).round() as usize
}

/// `frames` samples of the left (0) or right (1) voice at `rate`, with content up to `band` Hz.
///
/// The same arguments but another rate give the same sound: sample `i` is the voice at `i / rate`.
pub(crate) fn voice(channel: usize, rate: u32, frames: usize, band: f64) -> Vec<f32> {
    let mut random = Random(0x5e67_0e00 + channel as u64);
    let mut sum = vec![0.0_f64; frames];
    for _ in 0..PARTIALS {
        let hz = 80.0 + random.unit() * (band - 80.0);
        let phase = random.unit() * TAU;
        let gain = (80.0 / hz).sqrt();
        add_sine(&mut sum, hz / f64::from(rate), phase, gain);
    }
    let loudness = rms(&sum).max(1e-9);
    for hz in AIR_HZ.into_iter().filter(|hz| *hz < f64::from(rate) * 0.45) {
        add_sine(&mut sum, hz / f64::from(rate), 0.0, AIR * loudness);
    }
    sum.iter().map(|s| (s * 0.10 / loudness) as f32).collect()
}

/// Adds a sine of `cycles` a sample, by a rotating phasor instead of a sine a sample.
fn add_sine(sum: &mut [f64], cycles: f64, phase: f64, gain: f64) {
    let (step_sin, step_cos) = (TAU * cycles).sin_cos();
    let (mut sin, mut cos) = phase.sin_cos();
    for sample in sum {
        *sample += gain * sin;
        (sin, cos) = (
            sin * step_cos + cos * step_sin,
            cos * step_cos - sin * step_sin,
        );
    }
}

/// Highest frequency of [`voice`] that a sample rate carries comfortably, at most 7 kHz.
pub(crate) fn band(rate: u32) -> f64 {
    (f64::from(rate) * 0.4).min(7000.0)
}

fn rms(samples: &[f64]) -> f64 {
    (samples.iter().map(|s| s * s).sum::<f64>() / samples.len().max(1) as f64).sqrt()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    /// Uniform in 0..1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
