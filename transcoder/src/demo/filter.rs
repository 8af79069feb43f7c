//! Small filters and oscillators.

use std::f32::consts::{PI, TAU};

/// A topology-preserving state-variable filter (12 dB/octave).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filter {
    a: f32,
    b: f32,
}

/// What comes out of a [`Filter`] at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bands {
    pub(super) low: f32,
    pub(super) band: f32,
    pub(super) high: f32,
}

impl Filter {
    /// Filters one sample; `g` is the cutoff by [`warp`], `damping` is 1/q (1.4 is flat).
    pub(super) fn run_with(&mut self, input: f32, g: f32, damping: f32) -> Bands {
        let high = (input - (damping + g) * self.a - self.b) / (1.0 + g * (damping + g));
        let band = self.a + g * high;
        let low = self.b + g * band;
        self.a = band + g * high;
        self.b = low + g * band;
        Bands { low, band, high }
    }
}

/// `tan(π f / rate)` for [`Filter::run_with`].
pub(super) fn warp(cutoff: f32, rate: f32) -> f32 {
    (PI * (cutoff / rate).min(0.45)).tan()
}

/// A one-pole low-pass.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pole(f32);

impl Pole {
    /// Filters one sample; `keep` near 1 is dark.
    pub(super) fn run(&mut self, input: f32, keep: f32) -> f32 {
        self.0 = input + keep * (self.0 - input);
        self.0
    }
}

/// An exponential fade, sample by sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fade {
    level: f32,
    keep: f32,
}

impl Fade {
    /// A fade from 1 that loses `speed` nepers a second.
    pub(super) fn new(speed: f32, rate: f32) -> Fade {
        Fade {
            level: 1.0,
            keep: (-speed / rate).exp(),
        }
    }

    /// The level now; the next call gives the one after.
    pub(super) fn next(&mut self) -> f32 {
        let level = self.level;
        self.level *= self.keep;
        level
    }
}

/// A phase in turns, 0…1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phase(pub(super) f32);

impl Phase {
    /// Moves on by `step` turns and returns the phase before.
    pub(super) fn step(&mut self, step: f32) -> f32 {
        let now = self.0;
        self.0 += step;
        if self.0 >= 1.0 {
            self.0 -= self.0.floor();
        }
        now
    }

    /// The next sample of a sine.
    pub(super) fn sine(&mut self, step: f32) -> f32 {
        (TAU * self.step(step)).sin()
    }

    /// The next sample of a saw without audible aliases (two-point polynomial step).
    pub(super) fn saw(&mut self, step: f32) -> f32 {
        let t = self.step(step);
        2.0 * t - 1.0 - corner(t, step)
    }

    /// The next sample of a square of that width.
    pub(super) fn pulse(&mut self, step: f32, width: f32) -> f32 {
        let t = self.step(step);
        let other = (t + 1.0 - width).fract();
        let level = if t < width { 1.0 } else { -1.0 };
        level + corner(t, step) - corner(other, step)
    }
}

fn corner(t: f32, step: f32) -> f32 {
    if t < step {
        let x = t / step;
        x + x - x * x - 1.0
    } else if t > 1.0 - step {
        let x = (t - 1.0) / step;
        x * x + x + x + 1.0
    } else {
        0.0
    }
}
