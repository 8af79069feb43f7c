//! EBU R128 loudness, loudness range and true peak, of a track and of an album.

mod peak;
mod weighting;

use std::collections::VecDeque;

use manifests::R128;
use serde::{Deserialize, Serialize};

use self::{peak::TruePeak, weighting::Weighting};

/// The absolute gate in LUFS (BS.1770-5, annex 1).
const ABSOLUTE_GATE: f64 = -70.0;
/// The relative gate of loudness in LU (BS.1770-5, annex 1).
const LOUDNESS_GATE: f64 = -10.0;
/// The relative gate of the loudness range in LU (EBU Tech 3342).
const RANGE_GATE: f64 = -20.0;
/// Steps of 100 ms in a gating block of 400 ms.
const BLOCK: usize = 4;
/// Steps in a short-term block of 3 s, and between two of them.
const SHORT: usize = 30;
const SHORT_HOP: u64 = 10;

/// Measures one track. Feed it every [`Block`](crate::source::Block), in order.
///
/// A mono track is measured as one channel, as by `ffmpeg` and ReplayGain tools, although two
/// loudspeakers play it 3 dB louder.
pub struct Meter {
    weighting: Weighting,
    peak: TruePeak,
    /// Energy of the step under way, summed.
    energy: f64,
    /// Of the last steps that are full, at most [`SHORT`].
    last: VecDeque<f64>,
    /// Samples in 100 ms.
    step: usize,
    /// Samples until the step under way is full.
    missing: usize,
    /// Steps that are full.
    steps: u64,
    state: State,
}

/// What a finished meter leaves behind for the album's figures: some 90 bytes a second of sound.
/// Energies are of blocks above the absolute gate; others count for nothing.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// Of blocks of 400 ms, one each 100 ms.
    blocks: Vec<f64>,
    /// Of blocks of 3 s, one each second.
    shorts: Vec<f64>,
    /// Highest true peak of any channel, linear.
    peak: f64,
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl Meter {
    /// A meter for that rate in Hz and 1 or 2 channels.
    pub fn new(sample_rate: u32, channels: usize) -> Meter {
        let step = ((sample_rate as usize + 5) / 10).max(1);
        Meter {
            weighting: Weighting::new(sample_rate),
            peak: TruePeak::new(sample_rate, channels),
            energy: 0.0,
            last: VecDeque::with_capacity(SHORT + 1),
            step,
            missing: step,
            steps: 0,
            state: State::default(),
        }
    }

    /// Takes `[channel][frame]`.
    pub fn push(&mut self, samples: &[&[f32]]) {
        self.peak.push(samples);
        let frames = samples.first().map_or(0, |plane| plane.len());
        let mut from = 0;
        while from < frames {
            let to = frames.min(from + self.missing);
            self.energy += match samples {
                [one] => self.weighting.energy([&one[from..to]]),
                [left, right, ..] => self.weighting.energy([&left[from..to], &right[from..to]]),
                [] => 0.0,
            };
            self.missing -= to - from;
            if self.missing == 0 {
                self.missing = self.step;
                self.steps += 1;
                self.note();
            }
            from = to;
        }
    }

    /// Notes the blocks that end with the step just filled.
    fn note(&mut self) {
        if self.last.len() == SHORT {
            self.last.pop_front();
        }
        self.last.push_back(std::mem::take(&mut self.energy));
        let gate = energy(ABSOLUTE_GATE);
        let heard = |steps: usize| {
            let sum: f64 = self.last.iter().rev().take(steps).sum();
            Some(sum / (steps * self.step) as f64).filter(|e| *e >= gate && e.is_finite())
        };
        let full = self.last.len();
        if full >= BLOCK {
            self.state.blocks.extend(heard(BLOCK));
        }
        if full == SHORT && (self.steps - SHORT as u64).is_multiple_of(SHORT_HOP) {
            self.state.shorts.extend(heard(SHORT));
        }
    }

    /// The track's figures, and the state to combine into the album's.
    pub fn finish(self) -> (R128, State) {
        let peak = self.peak.get();
        let state = State { peak, ..self.state };
        (album([&state]), state)
    }
}

/// The figures of tracks heard as one programme, in any order.
pub fn album<'a>(tracks: impl IntoIterator<Item = &'a State>) -> R128 {
    let tracks: Vec<&State> = tracks.into_iter().collect();
    let all = |energies: fn(&State) -> &[f64]| -> Vec<f64> {
        tracks.iter().flat_map(|t| energies(t)).copied().collect()
    };
    let integrated_lufs = mean(&gated(all(|t| &t.blocks), LOUDNESS_GATE)).map(lufs);
    let range = range(gated(all(|t| &t.shorts), RANGE_GATE));
    let peak = tracks.iter().map(|t| t.peak).fold(0.0, f64::max);
    R128 {
        integrated_lufs,
        // Without gated loudness there is no range either, though it would read 0.
        range_lu: integrated_lufs.map(|_| range),
        true_peak_dbtp: (peak > 0.0).then(|| 20.0 * peak.log10()),
    }
}

/// The energies within `relative` LU of their mean, or above it.
fn gated(mut energies: Vec<f64>, relative: f64) -> Vec<f64> {
    let Some(mean) = mean(&energies) else {
        return Vec::new();
    };
    let gate = mean * 10_f64.powf(relative / 10.0);
    energies.retain(|energy| *energy >= gate);
    energies
}

fn mean(energies: &[f64]) -> Option<f64> {
    (!energies.is_empty()).then(|| energies.iter().sum::<f64>() / energies.len() as f64)
}

/// From the 10th to the 95th percentile in LU (EBU Tech 3342); 0 of nothing.
fn range(mut energies: Vec<f64>) -> f64 {
    energies.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let last = energies.len().checked_sub(1)?;
        energies.get((last as f64 * part + 0.5) as usize)
    };
    match (at(0.1), at(0.95)) {
        (Some(low), Some(high)) => lufs(*high) - lufs(*low),
        _ => 0.0,
    }
}

/// Loudness of a mean square over the channels (BS.1770-5, annex 1).
fn lufs(energy: f64) -> f64 {
    10.0 * energy.log10() - 0.691
}

fn energy(lufs: f64) -> f64 {
    10_f64.powf((lufs + 0.691) / 10.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Seconds of a sine in both channels, peak in dBFS.
    fn tone(seconds: usize, dbfs: f64) -> (R128, State) {
        let amplitude = 10f64.powf(dbfs / 20.0);
        let step = std::f64::consts::TAU * 1000.0 / 48_000.0;
        let sine: Vec<f32> = (0..seconds * 48_000)
            .map(|n| (amplitude * (n as f64 * step).sin()) as f32)
            .collect();
        let mut meter = Meter::new(48_000, 2);
        sine.chunks(1000).for_each(|part| meter.push(&[part, part]));
        meter.finish()
    }

    #[test]
    fn the_reference_tones_of_tech_3341_read_as_they_should() {
        // EBU Tech 3341 table 1, cases 1 and 2: a stereo 1 kHz sine at −23 and −33 dBFS.
        for level in [-23.0, -33.0] {
            let (r128, _) = tone(20, level);
            assert!(
                (r128.integrated_lufs.unwrap() - level).abs() < 0.1,
                "{r128:?}"
            );
            assert!(
                (r128.true_peak_dbtp.unwrap() - level).abs() < 0.2,
                "{r128:?}"
            );
            assert!(r128.range_lu.unwrap() < 0.1);
        }
    }

    #[test]
    fn an_album_is_gated_as_one_programme() {
        let (_, loud) = tone(20, -20.0);
        let (_, quiet) = tone(20, -40.0);
        let both = album([&loud, &quiet]);
        // The quiet track is more than 10 LU below the rest and falls to the gate.
        assert!(
            (both.integrated_lufs.unwrap() + 20.0).abs() < 0.2,
            "{both:?}"
        );
        assert!((both.true_peak_dbtp.unwrap() + 20.0).abs() < 0.2);
        // Tech 3342 table 1, case 1: 20 s at −20 and 20 s at −30 give 10 LU.
        let (_, low) = tone(20, -30.0);
        assert!((album([&loud, &low]).range_lu.unwrap() - 10.0).abs() < 1.0);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

        /// Blocks have the energies that libebur128's have, whatever the rate, the sound and its cuts.
        #[test]
        fn like_another_meter(
            rate in proptest::sample::select(vec![8_000_u32, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000]),
            channels in 1..=2_usize,
            seed: u32,
            cuts in proptest::collection::vec(1..9_000_usize, 1..20),
        ) {
            let mut random = seed | 1;
            let mut level = 0.5_f32;
            let planes: Vec<Vec<f32>> = (0..channels)
                .map(|_| {
                    (0..rate as usize * 4)
                        .map(|n| {
                            random ^= random << 13;
                            random ^= random >> 17;
                            random ^= random << 5;
                            if n % 5_000 == 0 {
                                level = (random % 1_000) as f32 / 1_000.0;
                            }
                            level * (random as f32 / u32::MAX as f32 - 0.5)
                        })
                        .collect()
                })
                .collect();
            let mut meter = Meter::new(rate, channels);
            let mut theirs =
                ebur128::EbuR128::new(channels as u32, rate, ebur128::Mode::S).unwrap();
            let (mut from, frames) = (0, planes[0].len());
            for length in cuts.iter().cycle() {
                let to = frames.min(from + length);
                let part: Vec<&[f32]> = planes.iter().map(|plane| &plane[from..to]).collect();
                meter.push(&part);
                from = to;
                if from == frames {
                    break;
                }
            }
            let (mut blocks, mut shorts) = (Vec::new(), Vec::new());
            let step = (rate as usize + 5) / 10;
            for (n, from) in (0..frames).step_by(step).enumerate() {
                if from + step > frames {
                    break;
                }
                let part: Vec<&[f32]> =
                    planes.iter().map(|plane| &plane[from..from + step]).collect();
                theirs.add_frames_planar_f32(&part).unwrap();
                if n >= 3 {
                    blocks.push(theirs.loudness_momentary().unwrap());
                }
                if n >= 29 && (n - 29) % 10 == 0 {
                    shorts.push(theirs.loudness_shortterm().unwrap());
                }
            }
            let state = meter.finish().1;
            for (ours, theirs) in [(&state.blocks, blocks), (&state.shorts, shorts)] {
                let theirs: Vec<f64> = theirs.into_iter().filter(|l| *l >= -70.0).collect();
                assert_eq!(ours.len(), theirs.len());
                for (ours, theirs) in ours.iter().zip(theirs) {
                    assert!((lufs(*ours) - theirs).abs() < 1e-9, "{} {theirs}", lufs(*ours));
                }
            }
        }
    }

    #[test]
    fn silence_and_clicks_have_no_loudness() {
        let silence = Meter::new(48_000, 1).finish().0;
        assert_eq!(silence, R128::default());
        let mut meter = Meter::new(44_100, 2);
        meter.push(&[&[0.0, 0.5, 0.0], &[0.0; 3]]);
        let click = meter.finish().0;
        assert_eq!((click.integrated_lufs, click.range_lu), (None, None));
        assert!(click.true_peak_dbtp.unwrap() >= -6.1);
    }
}
