//! True peak: the highest value between and at the samples (BS.1770-5, annex 2).
//!
//! Interpolating every sample costs as much as decoding it. But what a filter can make of samples is
//! bounded by the highest of them times the sum of its coefficients: where that stays below the peak
//! so far, nothing is interpolated. The figure is the same.

use std::{array, f64::consts::PI};

/// Coefficients at the interpolated rate: a windowed sinc, the one of libebur128.
const COEFFICIENTS: usize = 48;

/// Rate in Hz from which on half of the interpolated samples do, and from which on none are needed.
const HALF: u32 = 96_000;
const NONE: u32 = 192_000;

/// Samples that are judged together, 3 ms at 44.1 kHz: the fewer, the more often they are quiet.
const BLOCK: usize = 128;

/// Interpolated samples computed side by side.
const LANES: usize = 8;

/// The highest true peak of all channels.
pub(super) struct TruePeak {
    scanner: Scanner,
    /// Of each channel, what the next sample's filter needs of those before it.
    history: Vec<Vec<f32>>,
    peak: f32,
}

enum Scanner {
    Four(Phases<12, 3>),
    Two(Phases<24, 1>),
    /// The samples lie close enough.
    Samples,
}

impl TruePeak {
    /// For that rate in Hz and so many channels.
    pub(super) fn new(rate: u32, channels: usize) -> TruePeak {
        let (scanner, needed) = match rate {
            ..HALF => (Scanner::Four(Phases::new()), 11),
            HALF..NONE => (Scanner::Two(Phases::new()), 23),
            _ => (Scanner::Samples, 0),
        };
        TruePeak {
            scanner,
            history: vec![vec![0.0; needed]; channels],
            peak: 0.0,
        }
    }

    /// Takes `[channel][frame]`.
    pub(super) fn push(&mut self, samples: &[&[f32]]) {
        for (plane, history) in samples.iter().zip(&mut self.history) {
            let needed = history.len();
            for block in plane.chunks(BLOCK) {
                history.extend_from_slice(block);
                self.peak = match &self.scanner {
                    Scanner::Four(phases) => phases.scan(history, self.peak),
                    Scanner::Two(phases) => phases.scan(history, self.peak),
                    Scanner::Samples => highest(history).max(self.peak),
                };
                history.drain(..history.len() - needed);
            }
        }
    }

    /// The peak, linear.
    pub(super) fn get(&self) -> f64 {
        self.peak.into()
    }
}

/// The filter's parts for the samples between two of the source's.
struct Phases<const TAPS: usize, const BETWEEN: usize> {
    /// Oldest sample first.
    taps: [[f32; TAPS]; BETWEEN],
    /// How far above the samples a sample between them can be.
    gain: f32,
}

impl<const TAPS: usize, const BETWEEN: usize> Phases<TAPS, BETWEEN> {
    fn new() -> Self {
        let factor = BETWEEN + 1;
        let coefficient = |j: usize| {
            let phase = 2.0 * PI * j as f64 / COEFFICIENTS as f64;
            let window = 0.5 * (1.0 - phase.cos());
            let x = (j as f64 - COEFFICIENTS as f64 / 2.0) * PI / factor as f64;
            if x == 0.0 { 1.0 } else { window * x.sin() / x }
        };
        // Phase 0 has a sample of the source in its middle and zeros elsewhere.
        let taps: [[f32; TAPS]; BETWEEN] = array::from_fn(|phase| {
            array::from_fn(|k| coefficient((TAPS - 1 - k) * factor + phase + 1) as f32)
        });
        let sums = taps.iter().map(|t| t.iter().map(|c| c.abs()).sum::<f32>());
        // A little more, for what rounding adds.
        let gain = sums.fold(1.0, f32::max) * 1.0001;
        Self { taps, gain }
    }

    /// The highest of `peak`, the samples and the ones between them. `samples` begins with the
    /// `TAPS - 1` that were scanned already.
    fn scan(&self, samples: &[f32], peak: f32) -> f32 {
        let highest = highest(samples);
        let mut peak = peak.max(highest);
        if highest * self.gain <= peak {
            return peak;
        }
        let outputs = samples.len() + 1 - TAPS;
        for taps in &self.taps {
            for at in (0..outputs).step_by(LANES) {
                let mut sums = [0.0; LANES];
                for (k, tap) in taps.iter().enumerate() {
                    let from = &samples[at + k..];
                    match from.first_chunk::<LANES>() {
                        Some(from) => add(&mut sums, from, *tap),
                        // The last ones; what is missing is not asked for.
                        None => add(&mut sums, from, *tap),
                    }
                }
                let asked = LANES.min(outputs - at);
                peak = peak.max(self::highest(&sums[..asked]));
            }
        }
        peak
    }
}

fn add(sums: &mut [f32; LANES], samples: &[f32], tap: f32) {
    for (sum, sample) in sums.iter_mut().zip(samples) {
        *sum += sample * tap;
    }
}

/// The highest magnitude. Values that are no numbers count for nothing.
fn highest(samples: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (chunks, rest) = samples.as_chunks::<LANES>();
    let raise = |lane: &mut f32, sample: &f32| {
        let height = sample.abs();
        // Not `max`, which takes three instructions where this takes one.
        *lane = if height > *lane { height } else { *lane };
    };
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(l, s)| raise(l, s));
    }
    lanes.iter_mut().zip(rest).for_each(|(l, s)| raise(l, s));
    lanes.into_iter().fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use ebur128::{EbuR128, Mode};
    use proptest::prelude::*;

    use super::*;

    fn theirs(rate: u32, planes: &[&[f32]]) -> f64 {
        let mut meter = EbuR128::new(planes.len() as u32, rate, Mode::TRUE_PEAK).unwrap();
        meter.add_frames_planar_f32(planes).unwrap();
        let peaks = (0..planes.len() as u32).map(|c| meter.true_peak(c).unwrap());
        peaks.fold(0.0, f64::max)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Bursts of noise and tones between rests, in pieces of any length.
        #[test]
        fn the_peak_is_the_one_of_an_independent_meter(
            rate in prop::sample::select(vec![8_000, 44_100, 48_000, 88_200, 96_000, 176_400, 192_000]),
            bursts in prop::collection::vec((0.0f32..1.0, 1usize..400, 0.01f32..3.0), 1..12),
            piece in 1usize..500,
        ) {
            let mut left = Vec::new();
            for (level, len, step) in bursts {
                left.extend((0..len).map(|n| level * (n as f32 * step).sin()));
            }
            let right: Vec<f32> = left.iter().rev().map(|s| s * 0.9).collect();
            let mut ours = TruePeak::new(rate, 2);
            for (l, r) in left.chunks(piece).zip(right.chunks(piece)) {
                ours.push(&[l, r]);
            }
            let theirs = theirs(rate, &[&left, &right]);
            prop_assert!((ours.get() - theirs).abs() < 1e-5, "{} and {theirs}", ours.get());
        }
    }

    #[test]
    fn a_sine_that_is_sampled_beside_its_crests_has_them_all_the_same() {
        // A quarter of the rate, an eighth of a turn late: every sample is 3 dB below the crest.
        let sine: Vec<f32> = (0..4_800)
            .map(|n| (PI / 2.0 * f64::from(n) + PI / 4.0).sin() as f32)
            .collect();
        let mut peak = TruePeak::new(48_000, 1);
        peak.push(&[&sine]);
        assert!((peak.get() - 1.0).abs() < 0.02, "{}", peak.get());
        let mut samples = TruePeak::new(192_000, 1);
        samples.push(&[&sine]);
        assert!((samples.get() - 0.5_f64.sqrt()).abs() < 1e-6);
    }
}
