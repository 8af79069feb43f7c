//! Rooms and echoes.

use super::filter::Pole;
use super::sound::Stereo;

/// Lengths of the reverb's lines in seconds, mutually inharmonic.
const LINES_S: [f32; 8] = [
    0.029_7, 0.037_1, 0.041_1, 0.043_7, 0.053_9, 0.061_3, 0.067_9, 0.079_3,
];

/// Adds the reverberation of `send` to `out`, by a feedback delay network: `seconds` to fade by
/// 60 dB, `dark` 0…1 for how much faster the treble fades.
pub(super) fn reverb(send: &Stereo, seconds: f32, dark: f32, out: &mut Stereo) {
    let rate = send.rate;
    let mut lines: Vec<Vec<f32>> = LINES_S
        .iter()
        .map(|s| vec![0.0; (s * rate) as usize | 1])
        .collect();
    let gains = LINES_S.map(|s| 10f32.powf(-3.0 * s / seconds));
    let mut poles = [Pole::default(); 8];
    let mut at = [0usize; 8];
    // A short pre-delay, different left and right.
    let mut early = [
        vec![0.0; (0.017 * rate) as usize],
        vec![0.0; (0.023 * rate) as usize],
    ];
    for n in 0..send.frames() {
        let (el, er) = (n % early[0].len(), n % early[1].len());
        let l = std::mem::replace(&mut early[0][el], send.left[n]);
        let r = std::mem::replace(&mut early[1][er], send.right[n]);
        let mut taps = [0.0; 8];
        for i in 0..8 {
            taps[i] = poles[i].run(lines[i][at[i]], dark * 0.75) * gains[i];
        }
        let mixed = hadamard(taps);
        for i in 0..8 {
            let input = if i % 2 == 0 { l } else { r };
            lines[i][at[i]] = mixed[i] + input * 0.35;
            at[i] = if at[i] + 1 == lines[i].len() {
                0
            } else {
                at[i] + 1
            };
        }
        out.left[n] += taps[0] + taps[2] - taps[4] + taps[6];
        out.right[n] += taps[1] - taps[3] + taps[5] + taps[7];
    }
}

fn hadamard(x: [f32; 8]) -> [f32; 8] {
    let mut x = x;
    for half in [1, 2, 4] {
        let mut next = x;
        for i in 0..8 {
            next[i] = if i & half == 0 {
                x[i] + x[i | half]
            } else {
                x[i & !half] - x[i]
            };
        }
        x = next;
    }
    x.map(|s| s * 0.353_553_4)
}

/// Adds an echo of `send` to `out` that goes from side to side, each time weaker by `feedback` and
/// darker.
pub(super) fn echo(send: &Stereo, gain: f32, seconds: f32, feedback: f32, out: &mut Stereo) {
    let len = ((seconds * send.rate) as usize).max(1);
    let mut lines = [vec![0.0; len], vec![0.0; len]];
    let mut poles = [Pole::default(); 2];
    for n in 0..send.frames() {
        let at = n % len;
        let (l, r) = (lines[0][at], lines[1][at]);
        let mono = 0.5 * gain * (send.left[n] + send.right[n]);
        lines[0][at] = poles[0].run(mono + feedback * r, 0.45);
        lines[1][at] = poles[1].run(feedback * l, 0.45);
        out.left[n] += l;
        out.right[n] += r;
    }
}
