//! How far up a recording's audible spectrum reaches.

use std::{f32::consts::TAU, sync::Arc};

use rustfft::{Fft, FftPlanner, num_complex::Complex};

/// Frames of a spectrum: 93 ms at 44.1 kHz.
const WINDOW: usize = 4_096;

/// Bands that a spectrum is looked at in: 345 Hz each at 44.1 kHz.
const BANDS: usize = 64;

/// Spectra a second.
const SPECTRA_PER_S: u32 = 10;

/// Mean power in a band, against a sine of full scale, below which nothing is heard: with full scale
/// at 110 dB SPL this is 10 dB SPL, the threshold of hearing where it is lowest. The noise of 16 bits
/// with dither lies below.
pub(super) const INAUDIBLE: f32 = 1e-10;

/// A band counts where it is heard in at least one of so many spectra, and at least twice: a click
/// fills all bands.
const RARELY: usize = 200;

/// In how many spectra each band was heard.
pub(super) struct Spectrum {
    fft: Arc<dyn Fft<f32>>,
    scratch: Vec<Complex<f32>>,
    window: Vec<f32>,
    /// The window under way, the first channel as the real part, the second as the imaginary one;
    /// frames between two windows are passed over.
    frames: Vec<Complex<f32>>,
    pass_over: usize,
    hop: usize,
    heard: [usize; BANDS],
    spectra: usize,
}

impl Spectrum {
    /// For sound of that rate in Hz.
    pub(super) fn new(rate: u32) -> Spectrum {
        let hann = |n: usize| {
            let phase = TAU * n as f32 / WINDOW as f32;
            0.5 - 0.5 * phase.cos()
        };
        let fft = FftPlanner::new().plan_fft_forward(WINDOW);
        Spectrum {
            scratch: vec![Complex::default(); fft.get_inplace_scratch_len()],
            fft,
            window: (0..WINDOW).map(hann).collect(),
            frames: Vec::with_capacity(WINDOW),
            pass_over: 0,
            hop: ((rate / SPECTRA_PER_S) as usize).max(WINDOW),
            heard: [0; BANDS],
            spectra: 0,
        }
    }

    /// Takes `[channel][frame]` of one or two channels.
    pub(super) fn push(&mut self, samples: &[&[f32]]) {
        let frames = samples.first().map_or(0, |plane| plane.len());
        let mut at = 0;
        while at < frames {
            let skip = self.pass_over.min(frames - at);
            self.pass_over -= skip;
            at += skip;
            let take = (WINDOW - self.frames.len()).min(frames - at);
            let first = &samples[0][at..at + take];
            match samples.get(1) {
                Some(second) => {
                    let pairs = first.iter().zip(&second[at..at + take]);
                    self.frames.extend(pairs.map(|(l, r)| Complex::new(*l, *r)));
                }
                None => self.frames.extend(first.iter().map(Complex::from)),
            }
            at += take;
            if self.frames.len() == WINDOW {
                self.look();
                self.pass_over = self.hop - WINDOW;
            }
        }
    }

    /// Adds the spectrum of the window. Both channels go through one transform: the powers at a
    /// frequency and at its negative add up to twice the channels' together.
    fn look(&mut self) {
        self.frames.resize(WINDOW, Complex::default());
        for (frame, weight) in self.frames.iter_mut().zip(&self.window) {
            *frame *= weight;
        }
        self.fft
            .process_with_scratch(&mut self.frames, &mut self.scratch);
        let power = |bin: usize| self.frames[bin].norm_sqr();
        // A sine of full scale has a peak of WINDOW / 4 in this window, 1.5 bins wide in power.
        let full = (WINDOW as f32 / 4.0).powi(2) * 1.5;
        let width = WINDOW / 2 / BANDS;
        for (band, heard) in self.heard.iter_mut().enumerate() {
            let bins = band * width..(band + 1) * width;
            let sum: f32 = bins
                .map(|bin| power(bin) + power((WINDOW - bin) % WINDOW))
                .sum();
            *heard += usize::from(sum / 2.0 > full * INAUDIBLE);
        }
        self.spectra += 1;
        self.frames.clear();
    }

    /// The upper edge in Hz of the highest band that is heard, at that rate.
    pub(super) fn edge(&mut self, rate: u32) -> Option<u32> {
        // Where sound breaks off, the break itself fills the spectrum: a rest counts where there is
        // nothing else.
        if self.spectra == 0 {
            self.look();
        }
        let often = (self.spectra / RARELY).max(2).min(self.spectra.max(1));
        let top = self.heard.iter().rposition(|heard| *heard >= often)?;
        Some((u64::from(rate) * (top as u64 + 1) / 2 / BANDS as u64) as u32)
    }
}
