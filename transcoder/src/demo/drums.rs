//! Drums, from noise and falling sines.

use super::filter::{Filter, Phase, warp};
use super::score::Dice;

/// A bass drum; `tight` 0 (soft) to 1 (club).
pub(super) fn kick(velocity: f32, tight: f32, rate: f32) -> Vec<f32> {
    let frames = ((0.22 + 0.14 * (1.0 - tight)) * rate) as usize;
    let mut phase = Phase(0.0);
    let mut out = Vec::with_capacity(frames);
    for n in 0..frames {
        let t = n as f32 / rate;
        let hz = 46.0 + (70.0 + 110.0 * tight) * (-t * 38.0).exp();
        let body = phase.sine(hz / rate) * (-t * (11.0 + 2.0 * tight)).exp();
        let click = 0.25 * tight * (-t * 900.0).exp();
        let end = ((frames - n) as f32 / (0.01 * rate)).min(1.0);
        out.push((1.6 * (body + click)).tanh() * velocity * 0.75 * end);
    }
    out
}

/// A snare; `brush` 1 is a brush, 0 a stick.
pub(super) fn snare(velocity: f32, brush: f32, rate: f32, dice: &mut Dice) -> Vec<f32> {
    let frames = (0.3 * rate) as usize;
    let (mut tone, mut filter) = (Phase(0.0), Filter::default());
    let g = warp(2_600.0 - 700.0 * brush, rate);
    let mut out = Vec::with_capacity(frames);
    for n in 0..frames {
        let t = n as f32 / rate;
        let noise = filter.run_with(dice.roll(), g, 1.3);
        let attack = (t * (60.0 + 2_000.0 * (1.0 - brush))).min(1.0);
        let wires = (noise.band + 0.4 * noise.high) * (-t * (15.0 + 5.0 * brush)).exp() * attack;
        let skin = tone.sine((175.0 + 60.0 * (-t * 60.0).exp()) / rate) * (-t * 24.0).exp();
        let end = ((frames - n) as f32 / (0.02 * rate)).min(1.0);
        out.push((0.6 * wires + (0.55 - 0.42 * brush) * skin) * velocity * 0.6 * end);
    }
    out
}

/// A hi-hat that rings for so long.
pub(super) fn hat(velocity: f32, seconds: f32, rate: f32, dice: &mut Dice) -> Vec<f32> {
    let frames = (seconds * 3.0 * rate) as usize;
    let mut filter = Filter::default();
    let g = warp(7_600.0, rate);
    let mut out = Vec::with_capacity(frames);
    for n in 0..frames {
        let t = n as f32 / rate;
        let s = filter.run_with(dice.roll(), g, 0.9).high * (-t * 2.4 / seconds).exp();
        let end = ((frames - n) as f32 / (0.01 * rate)).min(1.0);
        out.push(s * (t * 2_000.0).min(1.0) * velocity * 0.22 * end);
    }
    out
}

/// A hand clap: three flams and a tail.
pub(super) fn clap(velocity: f32, rate: f32, dice: &mut Dice) -> Vec<f32> {
    let frames = (0.28 * rate) as usize;
    let mut filter = Filter::default();
    let g = warp(1_500.0, rate);
    let mut out = Vec::with_capacity(frames);
    for n in 0..frames {
        let t = n as f32 / rate;
        let flam = [0.0, 0.011, 0.023].iter().filter(|f| t >= **f);
        let level: f32 = flam.map(|f| (-(t - f) * 190.0).exp()).sum::<f32>()
            + if t > 0.028 {
                0.55 * (-(t - 0.028) * 19.0).exp()
            } else {
                0.0
            };
        let end = ((frames - n) as f32 / (0.02 * rate)).min(1.0);
        out.push(filter.run_with(dice.roll(), g, 0.7).band * level * velocity * 0.55 * end);
    }
    out
}

/// A riser of noise over so many seconds.
pub(super) fn riser(seconds: f32, velocity: f32, rate: f32, dice: &mut Dice) -> Vec<f32> {
    let frames = (seconds * rate) as usize;
    let mut filter = Filter::default();
    let mut g = 0.0;
    let mut out = Vec::with_capacity(frames);
    for n in 0..frames {
        let part = n as f32 / frames as f32;
        if n % 32 == 0 {
            g = warp(300.0 * 28f32.powf(part), rate);
        }
        let end = ((frames - n) as f32 / (0.03 * rate)).min(1.0);
        out.push(filter.run_with(dice.roll(), g, 0.6).band * part.powi(2) * velocity * 0.3 * end);
    }
    out
}
