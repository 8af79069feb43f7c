//! EBU R128 loudness, loudness range and true peak, of a track and of an album.

use ebur128::{EbuR128, Mode};
use manifests::R128;

/// Measures one track. Feed it every [`Block`](crate::source::Block), in order.
///
/// A mono track is measured as one channel, as by `ffmpeg` and ReplayGain tools, although two
/// loudspeakers play it 3 dB louder.
pub struct Meter {
    /// `None` for a rate or channel count that can't be measured.
    meter: Option<EbuR128>,
}

/// What a finished meter leaves behind for the album's figures: some 0.3 kB a second of sound.
pub struct State {
    meter: Option<EbuR128>,
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
        let mode = Mode::I | Mode::LRA | Mode::TRUE_PEAK;
        Meter {
            meter: EbuR128::new(channels as u32, sample_rate, mode).ok(),
        }
    }

    /// Takes `[channel][frame]`.
    pub fn push(&mut self, samples: &[&[f32]]) {
        if let Some(meter) = &mut self.meter
            && meter.add_frames_planar_f32(samples).is_err()
        {
            self.meter = None;
        }
    }

    /// The track's figures, and the state to combine into the album's.
    pub fn finish(self) -> (R128, State) {
        let state = State { meter: self.meter };
        (album([&state]), state)
    }
}

/// The figures of tracks heard as one programme, in any order.
pub fn album<'a>(tracks: impl IntoIterator<Item = &'a State>) -> R128 {
    let meters: Vec<&EbuR128> = tracks
        .into_iter()
        .filter_map(|t| t.meter.as_ref())
        .collect();
    let integrated = EbuR128::loudness_global_multiple(meters.iter().copied()).ok();
    let range = EbuR128::loudness_range_multiple(meters.iter().copied()).ok();
    let integrated_lufs = integrated.filter(|lufs| lufs.is_finite());
    let peak = meters
        .iter()
        .map(|meter| true_peak(meter))
        .fold(0.0, f64::max);
    R128 {
        integrated_lufs,
        // Without gated loudness there is no range either, though it would read 0.
        range_lu: range.filter(|lu| lu.is_finite() && integrated_lufs.is_some()),
        true_peak_dbtp: (peak > 0.0).then(|| 20.0 * peak.log10()),
    }
}

/// Highest true peak of any channel, linear.
fn true_peak(meter: &EbuR128) -> f64 {
    (0..meter.channels())
        .filter_map(|c| meter.true_peak(c).ok())
        .fold(0.0, f64::max)
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
