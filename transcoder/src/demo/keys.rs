//! Struck and blown instruments: electric piano, vibraphone, flute, bells.

use std::f32::consts::TAU;

use super::filter::{Fade, Phase, Pole};
use super::score::Dice;

/// A tine piano by two pairs of phase-modulated sines: a round body and a short metallic tine.
pub(super) fn electric_piano(hz: f32, seconds: f32, velocity: f32, rate: f32) -> Vec<f32> {
    let release = 0.25;
    let frames = ((seconds + release) * rate) as usize;
    let (mut body, mut modulator, mut tine) = (Phase(0.0), Phase(0.0), Phase(0.0));
    let (mut warm, mut metal) = (Fade::new(3.5, rate), Fade::new(11.0, rate));
    let mut ring = Fade::new(1.0 / (1.1 + 260.0 / hz), rate);
    let mut out = Vec::with_capacity(frames);
    for n in 0..frames {
        let t = n as f32 / rate;
        let index = velocity * (0.35 + 1.4 * warm.next());
        let bright = velocity * velocity * 0.22 * metal.next();
        let m = modulator.sine(hz / rate) * index;
        let b = (TAU * body.step(hz / rate) + m).sin();
        let tine = tine.sine(hz * 14.0 / rate) * bright * (1.0 - hz / 2_000.0).max(0.0);
        let level = ring.next() * (t * 400.0).min(1.0) * damp(t, seconds, release);
        out.push((b + tine) * level * (0.3 + 0.7 * velocity) * 0.5);
    }
    out
}

/// A vibraphone bar: the fundamental, the fourth and tenth partials, and a slow motor tremolo.
pub(super) fn vibraphone(hz: f32, seconds: f32, velocity: f32, rate: f32) -> Vec<f32> {
    let release = 0.6;
    let frames = ((seconds + release) * rate) as usize;
    let mut partials = [Phase(0.0), Phase(0.0), Phase(0.0)];
    let mut fades = [1.1, 4.0, 18.0].map(|speed| Fade::new(speed, rate));
    let mut motor = Phase(0.0);
    let mut out = Vec::with_capacity(frames);
    for n in 0..frames {
        let t = n as f32 / rate;
        let first = partials[0].sine(hz / rate) * fades[0].next();
        let fourth = partials[1].sine(hz * 3.98 / rate) * 0.28 * fades[1].next();
        let tenth = partials[2].sine(hz * 9.1 / rate) * 0.10 * velocity * fades[2].next();
        let motor = 1.0 + 0.16 * motor.sine(4.6 / rate);
        let level = (t * 900.0).min(1.0) * motor * damp(t, seconds, release);
        out.push((first + fourth + tenth) * level * velocity * 0.5);
    }
    out
}

/// A flute: soft attack, breath, vibrato that grows, upper partials with strength.
pub(super) fn flute(hz: f32, seconds: f32, velocity: f32, rate: f32, dice: &mut Dice) -> Vec<f32> {
    let release = 0.12;
    let frames = ((seconds + release) * rate) as usize;
    let mut phase = Phase(0.0);
    let (mut breath, mut breath_low) = (Pole::default(), Pole::default());
    let mut fades = [30.0, 22.0, 28.0].map(|speed| Fade::new(speed, rate));
    let mut wave = Phase(0.0);
    let mut out = Vec::with_capacity(frames);
    for n in 0..frames {
        let t = n as f32 / rate;
        let vibrato = (t * 1.8 - 0.3).clamp(0.0, 1.0);
        let wave = vibrato * wave.sine(5.1 / rate);
        let bend = 1.0 + 0.0045 * wave - 0.012 * fades[0].next();
        let p = TAU * phase.step(hz * bend / rate);
        let swell = 1.0 + 0.12 * wave;
        let tone = p.sin() + 0.30 * velocity * (2.0 * p).sin() + 0.12 * velocity * (3.0 * p).sin();
        let noise = dice.roll();
        let air = breath.run(noise, 0.55) - breath_low.run(noise, 0.93);
        let air = air * (0.035 + 0.10 * fades[1].next());
        let attack = 1.0 - fades[2].next();
        let level = attack * swell * damp(t, seconds, release);
        out.push((tone + air) * level * velocity * 0.36);
    }
    out
}

/// A small bell of inharmonic partials.
pub(super) fn bell(hz: f32, seconds: f32, velocity: f32, rate: f32) -> Vec<f32> {
    const PARTIALS: [(f32, f32, f32); 5] = [
        (1.0, 1.0, 0.9),
        (2.0, 0.5, 1.6),
        (2.76, 0.35, 2.6),
        (5.4, 0.22, 5.5),
        (8.9, 0.1, 9.0),
    ];
    let frames = ((seconds + 1.6) * rate) as usize;
    let mut phases = [Phase(0.0); 5];
    let mut fades = PARTIALS.map(|(_, _, speed)| Fade::new(speed, rate));
    let mut out = Vec::with_capacity(frames);
    for n in 0..frames {
        let t = n as f32 / rate;
        let mut sum = 0.0;
        for (n, (ratio, level, _)) in PARTIALS.iter().enumerate() {
            sum += phases[n].sine(hz * ratio / rate) * level * fades[n].next();
        }
        let end = ((seconds + 1.6 - t) * 4.0).clamp(0.0, 1.0);
        out.push(sum * velocity * 0.26 * (t * 1_500.0).min(1.0) * end);
    }
    out
}

/// 1 while the key is down, then a quick fade.
fn damp(t: f32, seconds: f32, release: f32) -> f32 {
    if t < seconds {
        1.0
    } else {
        (1.0 - (t - seconds) / release).max(0.0).powi(2)
    }
}
