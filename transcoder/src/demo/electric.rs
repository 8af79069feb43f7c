//! Synthesisers: pads, basses, arpeggios, leads.

use std::f32::consts::TAU;

use super::filter::{Fade, Filter, Phase, warp};
use super::score::Dice;

/// A wide pad: saws spread over the stereo field behind a slowly moving filter. Left and right.
pub(super) fn pad(
    hz: f32,
    seconds: f32,
    velocity: f32,
    rate: f32,
    dice: &mut Dice,
) -> (Vec<f32>, Vec<f32>) {
    let (attack, release) = (0.7, 1.6);
    let frames = ((seconds + release) * rate) as usize;
    const SPREAD: [f32; 5] = [-1.0, -0.45, 0.0, 0.5, 1.0];
    let mut saws: Vec<Phase> = SPREAD
        .iter()
        .map(|_| Phase(dice.roll() * 0.5 + 0.5))
        .collect();
    let (mut lf, mut rf) = (Filter::default(), Filter::default());
    let drift = dice.roll() * 3.0;
    let mut g = 0.0;
    let (mut left, mut right) = (Vec::with_capacity(frames), Vec::with_capacity(frames));
    for n in 0..frames {
        let t = n as f32 / rate;
        if n % 32 == 0 {
            let sweep = 1.0 + 0.35 * (TAU * 0.11 * t + drift).sin();
            g = warp((350.0 + hz * 1.6) * sweep * (0.6 + velocity), rate);
        }
        let (mut l, mut r) = (0.0, 0.0);
        for (saw, place) in saws.iter_mut().zip(SPREAD) {
            let s = saw.saw(hz * (1.0 + 0.0034 * place) / rate);
            l += s * (1.0 - 0.75 * place);
            r += s * (1.0 + 0.75 * place);
        }
        let level = (t / attack).min(1.0).powi(2) * fall(t, seconds, release) * velocity * 0.09;
        left.push(lf.run_with(l, g, 1.25).low * level);
        right.push(rf.run_with(r, g, 1.25).low * level);
    }
    (left, right)
}

/// A bass: saw and sub-octave sine behind a filter that closes.
pub(super) fn bass(hz: f32, seconds: f32, velocity: f32, rate: f32) -> Vec<f32> {
    let release = 0.06;
    let frames = ((seconds + release) * rate) as usize;
    let (mut saw, mut sub) = (Phase(0.3), Phase(0.0));
    let mut fade = Fade::new(5.0, rate);
    let mut filter = Filter::default();
    let mut g = 0.0;
    let mut out = Vec::with_capacity(frames);
    for n in 0..frames {
        let t = n as f32 / rate;
        if n % 16 == 0 {
            g = warp(120.0 + hz + 1_400.0 * velocity * (-t * 9.0).exp(), rate);
        }
        let raw = 0.6 * saw.saw(hz / rate) + 0.75 * sub.sine(hz / rate);
        let level = (t * 300.0).min(1.0) * fall(t, seconds, release) * (0.75 + 0.25 * fade.next());
        out.push((filter.run_with(raw, g, 0.9).low * 1.3).tanh() * level * velocity * 0.5);
    }
    out
}

/// A round, upright-like bass: a few sines and a soft thump.
pub(super) fn round_bass(hz: f32, seconds: f32, velocity: f32, rate: f32) -> Vec<f32> {
    let release = 0.12;
    let frames = ((seconds + release) * rate) as usize;
    let mut phase = Phase(0.0);
    let mut fades = [40.0, 4.0, 9.0, 0.9].map(|speed| Fade::new(speed, rate));
    let mut out = Vec::with_capacity(frames);
    for n in 0..frames {
        let t = n as f32 / rate;
        let p = TAU * phase.step(hz * (1.0 + 0.02 * fades[0].next()) / rate);
        let tone = p.sin()
            + 0.38 * fades[1].next() * (2.0 * p).sin()
            + 0.16 * fades[2].next() * (3.0 * p).sin();
        let level = (t * 220.0).min(1.0) * fades[3].next() * fall(t, seconds, release);
        out.push((tone * 1.15).tanh() * level * velocity * 0.55);
    }
    out
}

/// A short resonant pluck for arpeggios. `open` 0…1 sets how far the filter opens.
pub(super) fn blip(hz: f32, seconds: f32, velocity: f32, open: f32, rate: f32) -> Vec<f32> {
    let release = 0.18;
    let frames = ((seconds + release) * rate) as usize;
    let (mut a, mut b) = (Phase(0.0), Phase(0.5));
    let mut fade = Fade::new(4.5, rate);
    let mut filter = Filter::default();
    let mut g = 0.0;
    let mut out = Vec::with_capacity(frames);
    for n in 0..frames {
        let t = n as f32 / rate;
        if n % 16 == 0 {
            let top = 400.0 + hz * (0.8 + 9.0 * open * velocity * (-t * 12.0).exp());
            g = warp(top.min(12_000.0), rate);
        }
        let raw = 0.5 * a.saw(hz * 1.002 / rate) + 0.4 * b.pulse(hz * 0.998 / rate, 0.36);
        let level = (t * 600.0).min(1.0) * fade.next() * fall(t, seconds, release);
        out.push(filter.run_with(raw, g, 0.45).low * level * velocity * 0.42);
    }
    out
}

/// A singing lead with vibrato, gliding from the pitch before.
pub(super) fn lead(from: f32, hz: f32, seconds: f32, velocity: f32, rate: f32) -> Vec<f32> {
    let release = 0.22;
    let frames = ((seconds + release) * rate) as usize;
    let (mut a, mut b) = (Phase(0.0), Phase(0.37));
    let mut filter = Filter::default();
    let (mut g, mut glide) = (0.0, 1.0);
    let mut wave = Phase(0.0);
    let mut out = Vec::with_capacity(frames);
    for n in 0..frames {
        let t = n as f32 / rate;
        let vibrato = 1.0 + 0.006 * wave.sine(5.3 / rate) * (t * 1.6 - 0.25).clamp(0.0, 1.0);
        let f = hz * glide * vibrato / rate;
        if n % 16 == 0 {
            glide = (from / hz).powf((-t * 24.0).exp());
            g = warp((hz * (2.4 + 2.6 * velocity)).min(9_000.0), rate);
        }
        let raw = 0.5 * a.saw(f * 1.0015) + 0.5 * b.pulse(f * 0.9985, 0.46);
        let level = (t * 60.0).min(1.0) * fall(t, seconds, release);
        out.push(filter.run_with(raw, g, 0.9).low * level * velocity * 0.36);
    }
    out
}

fn fall(t: f32, seconds: f32, release: f32) -> f32 {
    if t < seconds {
        1.0
    } else {
        (1.0 - (t - seconds) / release).max(0.0).powi(2)
    }
}
