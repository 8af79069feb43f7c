//! Plucked strings (Karplus and Strong, with the tuning and pick position of Jaffe and Smith),
//! and a bowed section.

use super::filter::{Fade, Filter, Phase, Pole, warp};
use super::score::Dice;

/// How a plucked instrument is built.
#[derive(Clone, Copy, Debug)]
pub(super) struct Build {
    /// Seconds for a middle C to fade by 60 dB.
    pub(super) sustain: f32,
    /// 0 (felt) to 1 (wire).
    pub(super) brightness: f32,
    /// Where it is plucked, as a part of the string.
    pub(super) pick: f32,
    /// Resonances of its body: frequency in Hz, strength.
    pub(super) body: &'static [(f32, f32)],
}

/// Nylon-strung guitar.
pub(super) const GUITAR: Build = Build {
    sustain: 4.0,
    brightness: 0.42,
    pick: 0.17,
    body: &[(102.0, 0.5), (204.0, 0.45), (410.0, 0.25)],
};

/// Harp.
pub(super) const HARP: Build = Build {
    sustain: 5.5,
    brightness: 0.34,
    pick: 0.38,
    body: &[(150.0, 0.25), (330.0, 0.2)],
};

/// Wire-strung psaltery, bright and short of body.
pub(super) const PSALTERY: Build = Build {
    sustain: 4.5,
    brightness: 0.68,
    pick: 0.11,
    body: &[(520.0, 0.2)],
};

/// A plucked string.
pub(super) fn pluck(
    build: &Build,
    hz: f32,
    seconds: f32,
    velocity: f32,
    rate: f32,
    dice: &mut Dice,
) -> Vec<f32> {
    let release = 0.35;
    let frames = ((seconds + release) * rate) as usize;
    // The loop: delay line, weighted mean of two samples, all-pass for what is left.
    let stretch = 0.5 + 0.46 * build.brightness;
    let period = rate / hz - (1.0 - stretch);
    let mut length = period.floor() as usize;
    let mut fraction = period - length as f32;
    if fraction < 0.1 {
        length -= 1;
        fraction += 1.0;
    }
    let all_pass = (1.0 - fraction) / (1.0 + fraction);
    let mut line = excite(build, length.max(2), velocity, rate, dice);
    let fade_s = build.sustain * (262.0 / hz).powf(0.45);
    let loss = 10f32.powf(-3.0 / (hz * fade_s));
    let release_loss = 10f32.powf(-3.0 / (hz * 0.25));
    let (mut last, mut ap_in, mut ap_out) = (0.0f32, 0.0f32, 0.0f32);
    let mut at = 0;
    let mut bodies = vec![Filter::default(); build.body.len()];
    let warped: Vec<f32> = build.body.iter().map(|(f, _)| warp(*f, rate)).collect();
    let mut out = Vec::with_capacity(frames);
    for n in 0..frames {
        let sample = line[at];
        let keep = if (n as f32) < seconds * rate {
            loss
        } else {
            release_loss
        };
        let smooth = keep * (stretch * sample + (1.0 - stretch) * last);
        last = sample;
        ap_out = all_pass * (smooth - ap_out) + ap_in;
        ap_in = smooth;
        line[at] = ap_out;
        at = if at + 1 == line.len() { 0 } else { at + 1 };
        let mut body = sample;
        for ((filter, g), (_, strength)) in bodies.iter_mut().zip(&warped).zip(build.body) {
            body += filter.run_with(sample, *g, 0.2).band * strength;
        }
        let end = ((frames - n) as f32 / (0.02 * rate)).min(1.0);
        out.push(body * velocity * 0.55 * end);
    }
    out
}

/// A period of noise, darker when soft, combed by the place of the pluck.
fn excite(build: &Build, length: usize, velocity: f32, rate: f32, dice: &mut Dice) -> Vec<f32> {
    let mut pole = Pole::default();
    let dark = (1.0 - build.brightness * (0.45 + 0.55 * velocity)) * 0.9;
    let keep = dark.powf(44_100.0 / rate);
    let noise: Vec<f32> = (0..length).map(|_| pole.run(dice.roll(), keep)).collect();
    let pick = ((length as f32 * build.pick) as usize).max(1);
    let combed: Vec<f32> = (0..length)
        .map(|n| noise[n] - 0.8 * noise[(n + length - pick) % length])
        .collect();
    let mean = combed.iter().sum::<f32>() / length as f32;
    let power = combed.iter().map(|s| (s - mean).powi(2)).sum::<f32>() / length as f32;
    combed
        .iter()
        .map(|s| (s - mean) * 0.32 / power.sqrt().max(1e-6))
        .collect()
}

/// A small bowed section: saws a little apart behind a filter that follows the bow.
pub(super) fn bowed(hz: f32, seconds: f32, velocity: f32, rate: f32, dice: &mut Dice) -> Vec<f32> {
    let release = 0.5;
    let frames = ((seconds + release) * rate) as usize;
    let mut voices: Vec<(Phase, f32)> = (0..3)
        .map(|n| {
            (
                Phase(dice.roll() * 0.5 + 0.5),
                1.0 + (n as f32 - 1.0) * 0.0022,
            )
        })
        .collect();
    let mut filter = Filter::default();
    let mut wave = Phase(dice.roll() * 0.5 + 0.5);
    let mut swell = Fade::new(5.5, rate);
    let mut g = 0.0;
    let mut out = Vec::with_capacity(frames);
    for n in 0..frames {
        let t = n as f32 / rate;
        let attack = 1.0 - swell.next();
        let tail = if t < seconds {
            0.0
        } else {
            (1.0 - (t - seconds) / release).max(0.0).powi(2)
        };
        let level = if t < seconds { attack } else { tail };
        let vibrato = 1.0 + 0.0028 * wave.sine(5.4 / rate) * (t * 1.5).min(1.0);
        if n % 16 == 0 {
            g = warp((hz * (2.0 + 3.5 * velocity * level)).min(7_000.0), rate);
        }
        let raw: f32 = voices
            .iter_mut()
            .map(|(p, d)| p.saw(hz * *d * vibrato / rate))
            .sum();
        out.push(filter.run_with(raw * 0.33, g, 1.2).low * level * velocity * 0.5);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_in_tune() {
        for build in [GUITAR, HARP, PSALTERY] {
            for hz in [82.41, 196.0, 440.0, 987.77] {
                let rate = 44_100.0;
                let sound = pluck(&build, hz, 1.0, 0.7, rate, &mut Dice::new(3));
                let cents = 1200.0 * (measure(&sound[4_410..], hz, rate) / hz).log2();
                assert!(cents.abs() < 4.0, "{hz} Hz is {cents:.1} cents off");
            }
        }
    }

    /// The frequency near `hz` at which the sound is strongest.
    fn measure(sound: &[f32], hz: f32, rate: f32) -> f32 {
        let sound = &sound[..16_384];
        let power = |f: f32| {
            let (mut re, mut im) = (0.0f64, 0.0f64);
            for (n, s) in sound.iter().enumerate() {
                let window = (std::f64::consts::PI * n as f64 / 16_384.0).sin().powi(2);
                let angle = std::f64::consts::TAU * f64::from(f) * n as f64 / f64::from(rate);
                re += f64::from(*s) * window * angle.cos();
                im += f64::from(*s) * window * angle.sin();
            }
            re * re + im * im
        };
        (-60..=60)
            .map(|cents| hz * (cents as f32 / 1200.0).exp2())
            .max_by(|a, b| power(*a).total_cmp(&power(*b)))
            .unwrap_or(0.0)
    }
}
