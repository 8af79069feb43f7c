//! Sample-rate conversion with no offset and an exact length.
//!
//! A synchronous FFT resampler at 64-bit precision (linear phase, −6 dB at 0.988 of the lower
//! Nyquist frequency for 44.1 kHz, images and aliases below −130 dB), wrapped so that its delay
//! and its block size can't be seen from outside.

use rubato::audioadapter_buffers::direct::SequentialSliceOfVecs;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

/// Shortest FFT block on either side, in frames: sets the width of the transition band.
const MIN_BLOCK: usize = 1024;

/// Frames that `frames` frames at `from_hz` become at `to_hz`: `ceil(frames · to / from)`, so that
/// the output never ends before the input does.
pub fn resampled_len(frames: u64, from_hz: u32, to_hz: u32) -> u64 {
    let scaled = u128::from(frames) * u128::from(to_hz);
    u64::try_from(scaled.div_ceil(u128::from(from_hz.max(1)))).unwrap_or(u64::MAX)
}

/// A streaming resampler: output frame 0 is at the instant of input frame 0, and the total is
/// exactly [`resampled_len`]. Memory is bounded by a few FFT blocks and what one push brings.
pub struct Resampler {
    from_hz: u32,
    to_hz: u32,
    channels: usize,
    engine: Option<Engine>,
    /// Input frames taken.
    taken: u64,
    /// Output frames returned.
    given: u64,
}

/// The FFT resampler with its block of input.
struct Engine {
    fft: Fft<f64>,
    /// `[channel][frame]`, up to a block.
    input: Vec<Vec<f64>>,
    output: Vec<Vec<f64>>,
    block: usize,
    /// Output frames at the start that are still the engine's delay.
    delay: usize,
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resampler")
            .field("from_hz", &self.from_hz)
            .field("to_hz", &self.to_hz)
            .field("channels", &self.channels)
            .field("taken", &self.taken)
            .field("given", &self.given)
            .finish_non_exhaustive()
    }
}

impl Resampler {
    /// A resampler of 1 or more channels. Equal rates pass samples through untouched.
    pub fn new(from_hz: u32, to_hz: u32, channels: usize) -> Resampler {
        let (from_hz, to_hz) = (from_hz.max(1), to_hz.max(1));
        let engine = (from_hz != to_hz).then(|| Engine::new(from_hz, to_hz, channels));
        Resampler {
            from_hz,
            to_hz,
            channels,
            engine,
            taken: 0,
            given: 0,
        }
    }

    /// Takes `[channel][frame]`, returns what is ready, `[channel][frame]` (possibly empty).
    pub fn push(&mut self, input: &[&[f32]]) -> Vec<Vec<f32>> {
        let frames = input.first().map_or(0, |plane| plane.len());
        self.taken += frames as u64;
        let mut out = vec![Vec::new(); self.channels];
        match &mut self.engine {
            None => out = input.iter().map(|plane| plane.to_vec()).collect(),
            Some(engine) => engine.push(input, &mut out),
        }
        self.given += out.first().map_or(0, Vec::len) as u64;
        out
    }

    /// Returns the rest.
    pub fn finish(mut self) -> Vec<Vec<f32>> {
        let total = resampled_len(self.taken, self.from_hz, self.to_hz);
        let left = total.saturating_sub(self.given) as usize;
        let mut out = vec![Vec::new(); self.channels];
        if let Some(engine) = &mut self.engine {
            while out.first().is_some_and(|plane| plane.len() < left) {
                engine.flush(&mut out);
            }
        }
        out.iter_mut().for_each(|plane| plane.truncate(left));
        out
    }
}

impl Engine {
    fn new(from_hz: u32, to_hz: u32, channels: usize) -> Engine {
        let common = gcd(from_hz, to_hz);
        let (from, to) = ((from_hz / common) as usize, (to_hz / common) as usize);
        // An even number of the smallest blocks makes half a block, which is the delay, whole.
        let blocks = MIN_BLOCK.div_ceil(from.min(to)).next_multiple_of(2);
        let fft = Fft::new_custom(
            from_hz as usize,
            to_hz as usize,
            blocks * from,
            1,
            channels,
            WindowFunction::BlackmanHarris2,
            FixedSync::Both,
        )
        .expect("rates and block are not 0");
        let (block, delay) = (fft.input_frames_next(), fft.output_delay());
        let output = vec![vec![0.0; fft.output_frames_next()]; channels];
        let input = vec![Vec::with_capacity(block); channels];
        Engine {
            fft,
            input,
            output,
            block,
            delay,
        }
    }

    fn push(&mut self, input: &[&[f32]], out: &mut [Vec<f32>]) {
        let frames = input.first().map_or(0, |plane| plane.len());
        let mut at = 0;
        while at < frames {
            let room = self.block - self.input.first().map_or(0, Vec::len);
            let end = frames.min(at + room);
            for (to, from) in self.input.iter_mut().zip(input) {
                to.extend(from[at..end].iter().map(|s| f64::from(*s)));
            }
            at = end;
            if end - at + self.input.first().map_or(0, Vec::len) == self.block {
                self.process(out);
            }
        }
    }

    /// Ends the block with silence.
    fn flush(&mut self, out: &mut [Vec<f32>]) {
        self.input
            .iter_mut()
            .for_each(|plane| plane.resize(self.block, 0.0));
        self.process(out);
    }

    fn process(&mut self, out: &mut [Vec<f32>]) {
        let channels = self.input.len();
        let frames = self.output.first().map_or(0, Vec::len);
        let input = SequentialSliceOfVecs::new(&self.input, channels, self.block)
            .expect("the block is full");
        let mut output = SequentialSliceOfVecs::new_mut(&mut self.output, channels, frames)
            .expect("the output holds a block");
        self.fft
            .process_into_buffer(&input, &mut output, None)
            .expect("both buffers hold a block");
        let skip = self.delay.min(frames);
        self.delay -= skip;
        for (to, from) in out.iter_mut().zip(&self.output) {
            to.extend(from[skip..].iter().map(|s| *s as f32));
        }
        self.input.iter_mut().for_each(Vec::clear);
    }
}

pub(crate) fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [u32; 9] = [
        8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 88_200, 96_000, 192_000,
    ];

    fn run(input: &[f32], from: u32, piece: usize) -> Vec<f32> {
        let mut resampler = Resampler::new(from, 48_000, 1);
        let mut out = Vec::new();
        for part in input.chunks(piece) {
            out.extend(resampler.push(&[part]).concat());
        }
        out.extend(resampler.finish().concat());
        out
    }

    fn sine(hz: f64, rate: u32, frames: usize) -> Vec<f64> {
        let step = std::f64::consts::TAU * hz / f64::from(rate);
        (0..frames).map(|n| 0.5 * (n as f64 * step).sin()).collect()
    }

    /// Level of the difference against the ideal sine, in dB below it, away from the ends.
    fn snr(hz: f64, from: u32) -> f64 {
        let input: Vec<f32> = sine(hz, from, from as usize)
            .iter()
            .map(|s| *s as f32)
            .collect();
        let out = run(&input, from, 4096);
        let ideal = sine(hz, 48_000, out.len());
        let middle = 8_000..40_000;
        let power = |x: &mut dyn Iterator<Item = f64>| x.map(|s| s * s).sum::<f64>();
        let noise = power(&mut middle.clone().map(|n| f64::from(out[n]) - ideal[n]));
        10.0 * (power(&mut middle.map(|n| ideal[n])) / noise).log10()
    }

    #[test]
    fn length_is_exact_whatever_the_pieces() {
        for from in RATES {
            for frames in [0, 1, 2, 147, 1000, 5001] {
                let input = vec![0.25; frames];
                for piece in [1, 160, 4096] {
                    let out = run(&input, from, piece);
                    let want = resampled_len(frames as u64, from, 48_000);
                    assert_eq!(out.len() as u64, want, "{frames} at {from} in {piece}s");
                }
            }
        }
    }

    #[test]
    fn pieces_do_not_change_a_bit() {
        let input: Vec<f32> = sine(997.0, 44_100, 10_000)
            .iter()
            .map(|s| *s as f32)
            .collect();
        assert_eq!(run(&input, 44_100, 1), run(&input, 44_100, 10_000));
    }

    #[test]
    fn sines_come_out_where_and_as_they_should() {
        for from in RATES {
            for part in [0.01, 0.1, 0.25, 0.4] {
                let hz = part * f64::from(from.min(48_000));
                let db = snr(hz, from);
                // A float input sample carries about 150 dB itself.
                assert!(db > 130.0, "{hz} Hz at {from}: {db:.1} dB");
            }
        }
        assert!(snr(20_000.0, 44_100) > 130.0, "flat to 20 kHz");
    }

    /// A sine that glides from 20 Hz to `to` Hz within a second, at the instants of `rate`.
    fn sweep(to: f64, rate: u32) -> Vec<f64> {
        let phase = |t: f64| std::f64::consts::TAU * (20.0 * t + (to - 20.0) * t * t / 2.0);
        (0..rate)
            .map(|n| 0.5 * phase(f64::from(n) / f64::from(rate)).sin())
            .collect()
    }

    #[test]
    fn sweeps_keep_130_db_and_the_passband_is_flat_to_20_khz() {
        for from in RATES {
            let top = (f64::from(from.min(48_000)) * 0.455).min(20_000.0);
            let input: Vec<f32> = sweep(top, from).iter().map(|s| *s as f32).collect();
            let out = run(&input, from, 5_000);
            let ideal = sweep(top, 48_000);
            // Away from the ends, where the sweep itself begins and breaks off.
            let middle = 4_000..44_000;
            let noise: f64 = middle
                .clone()
                .map(|n| (f64::from(out[n]) - ideal[n]).powi(2))
                .sum();
            let power: f64 = middle.map(|n| ideal[n] * ideal[n]).sum();
            let db = 10.0 * (power / noise).log10();
            assert!(db > 130.0, "{from} Hz to {top} Hz: {db:.1} dB");
        }
    }

    #[test]
    fn a_click_stays_where_it_is() {
        let mut input = vec![0.0; 9_600];
        input[4_800] = 1.0;
        let out = run(&input, 96_000, 1000);
        let peak = (0..out.len()).max_by(|a, b| out[*a].total_cmp(&out[*b]));
        assert_eq!(peak, Some(2_400));
    }

    #[test]
    fn tones_above_the_new_nyquist_are_gone() {
        let input: Vec<f32> = sine(30_000.0, 96_000, 96_000)
            .iter()
            .map(|s| *s as f32)
            .collect();
        let out = run(&input, 96_000, 4096);
        let loudest = out[4_000..44_000]
            .iter()
            .fold(0.0f32, |a, s| a.max(s.abs()));
        assert!(loudest < 1e-6, "{loudest}");
    }
}
