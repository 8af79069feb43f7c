//! From notes to a mastered recording: layers, a desk with sends, and the last gain stage.

use ebur128::{EbuR128, Mode};

use super::score::{Dice, Note};
use super::sound::Stereo;
use super::space::{echo, reverb};
use super::theory::hz;

/// Highest sample of a finished recording: −1 dBFS.
const CEILING: f32 = 0.891;

/// A piece being mixed.
pub(super) struct Studio {
    rate: u32,
    beat_s: f64,
    frames: usize,
    mix: Stereo,
    hall: Stereo,
    dice: Dice,
}

/// One instrument's sound before it is mixed.
pub(super) struct Layer {
    /// What was played so far.
    pub(super) sound: Stereo,
    beat_s: f64,
    dice: Dice,
}

/// Where a layer sits in the mix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    /// Linear gain.
    pub(super) gain: f32,
    /// Part that goes to the hall.
    pub(super) hall: f32,
    /// Part that goes to the echo.
    pub(super) echo: f32,
    /// Beats between echoes.
    pub(super) echo_beats: f64,
}

impl Seat {
    /// A seat without echo.
    pub(super) const fn dry(gain: f32, hall: f32) -> Seat {
        Seat {
            gain,
            hall,
            echo: 0.0,
            echo_beats: 0.75,
        }
    }
}

impl Studio {
    /// Room for so many beats and a tail in seconds.
    pub(super) fn new(rate: u32, bpm: f64, beats: f64, tail_s: f64, seed: u64) -> Studio {
        let beat_s = 60.0 / bpm;
        let frames = ((beats * beat_s + tail_s) * f64::from(rate)) as usize;
        let silence = || Stereo::new(rate, frames);
        let (mix, hall) = (silence(), silence());
        Studio {
            rate,
            beat_s,
            frames,
            mix,
            hall,
            dice: Dice::new(seed),
        }
    }

    /// An empty layer.
    pub(super) fn layer(&mut self) -> Layer {
        let seed = (self.dice.roll().to_bits()) as u64 + 7;
        let sound = Stereo::new(self.rate, self.frames);
        Layer {
            sound,
            beat_s: self.beat_s,
            dice: Dice::new(seed),
        }
    }

    /// Mixes a layer in.
    pub(super) fn mix(&mut self, layer: Layer, seat: Seat) {
        self.mix.add(&layer.sound, seat.gain);
        self.hall.add(&layer.sound, seat.gain * seat.hall);
        if seat.echo > 0.0 {
            let seconds = (seat.echo_beats * self.beat_s) as f32;
            echo(
                &layer.sound,
                seat.gain * seat.echo,
                seconds,
                0.45,
                &mut self.mix,
            );
            echo(
                &layer.sound,
                seat.gain * seat.echo * seat.hall,
                seconds,
                0.45,
                &mut self.hall,
            );
        }
    }

    /// Adds the hall and masters to a loudness in LUFS.
    pub(super) fn finish(mut self, hall_s: f32, dark: f32, lufs: f64) -> Stereo {
        reverb(&self.hall, hall_s, dark, &mut self.mix);
        drop(self.hall);
        master(&mut self.mix, self.rate, lufs);
        self.mix
    }
}

impl Layer {
    /// Plays notes with a mono voice of (Hz, seconds, velocity). `pan` is the middle of the
    /// instrument, `spread` how far its low and high notes lie from it.
    pub(super) fn play(
        &mut self,
        notes: &[Note],
        pan: f32,
        spread: f32,
        mut voice: impl FnMut(f32, f32, f32, &mut Dice) -> Vec<f32>,
    ) {
        for note in notes {
            let at = self.frame(note.at);
            let seconds = (note.len * self.beat_s) as f32;
            let sound = voice(hz(note.pitch), seconds, note.velocity, &mut self.dice);
            let place = pan + spread * ((note.pitch - 64.0) / 24.0).clamp(-1.0, 1.0);
            self.sound.add_mono(at, &sound, place.clamp(-1.0, 1.0));
        }
    }

    /// Plays notes with a stereo voice.
    pub(super) fn play_wide(
        &mut self,
        notes: &[Note],
        mut voice: impl FnMut(f32, f32, f32, &mut Dice) -> (Vec<f32>, Vec<f32>),
    ) {
        for note in notes {
            let at = self.frame(note.at);
            let seconds = (note.len * self.beat_s) as f32;
            let (left, right) = voice(hz(note.pitch), seconds, note.velocity, &mut self.dice);
            self.sound.add_mono(at, &left, -0.9);
            self.sound.add_mono(at, &right, 0.9);
        }
    }

    /// Lowers the layer after each of those beats, back up within `beats`: a bass drum making room.
    pub(super) fn duck(&mut self, hits: &[Note], depth: f32, beats: f64) {
        let len = (beats * self.beat_s * f64::from(self.sound.rate)) as usize;
        for hit in hits {
            let at = self.frame(hit.at);
            for n in 0..len.min(self.sound.frames().saturating_sub(at)) {
                let back = (n as f32 / len as f32).powf(1.4);
                let gain = 1.0 - depth * (1.0 - back);
                self.sound.left[at + n] *= gain;
                self.sound.right[at + n] *= gain;
            }
        }
    }

    fn frame(&self, beat: f64) -> usize {
        (beat * self.beat_s * f64::from(self.sound.rate)) as usize
    }
}

/// Takes out what is below hearing, sets the loudness, and limits peaks to [`CEILING`].
fn master(sound: &mut Stereo, rate: u32, lufs: f64) {
    let mut low = (
        super::filter::Pole::default(),
        super::filter::Pole::default(),
    );
    let keep = (-std::f32::consts::TAU * 22.0 / rate as f32).exp();
    sound.each(|l, r, _| (l - low.0.run(l, keep), r - low.1.run(r, keep)));
    let measured = loudness(sound, rate)
        .filter(|lufs| lufs.is_finite())
        .unwrap_or(lufs);
    let gain = 10f64.powf((lufs - measured) / 20.0) as f32;
    sound.each(|l, r, _| (l * gain, r * gain));
    limit(sound, (0.004 * rate as f32) as usize);
}

/// Integrated loudness in LUFS.
fn loudness(sound: &Stereo, rate: u32) -> Option<f64> {
    let mut meter = EbuR128::new(2, rate, Mode::I).ok()?;
    meter
        .add_frames_planar_f32(&[&sound.left, &sound.right])
        .ok()?;
    meter.loudness_global().ok()
}

/// A look-ahead limiter: the gain is the mean, over a window, of the lowest gain that any frame
/// within the window needs, so that it never comes too late and never jumps.
fn limit(sound: &mut Stereo, window: usize) {
    let needed: Vec<f32> = sound
        .left
        .iter()
        .zip(&sound.right)
        .map(|(l, r)| (CEILING / l.abs().max(r.abs()).max(1e-9)).min(1.0))
        .collect();
    let lowest = sliding_minimum(&needed, window);
    let half = window / 2;
    let mut sum = 0.0f64;
    let at = |n: usize| f64::from(lowest[n.min(lowest.len() - 1)]);
    (0..half).for_each(|n| sum += at(n));
    (0..=half).for_each(|_| sum += at(0));
    for n in 0..needed.len() {
        let gain = (sum / (2 * half + 1) as f64) as f32;
        sound.left[n] *= gain;
        sound.right[n] *= gain;
        sum += at(n + half) - at(n.saturating_sub(half + 1));
    }
    // The running sum may be a rounding error short.
    sound.each(|l, r, _| (l.clamp(-CEILING, CEILING), r.clamp(-CEILING, CEILING)));
}

/// The least of `reach` values either side of each.
fn sliding_minimum(values: &[f32], reach: usize) -> Vec<f32> {
    let mut queue: std::collections::VecDeque<usize> = Default::default();
    let mut out = Vec::with_capacity(values.len());
    for n in 0..values.len() + reach {
        if let Some(value) = values.get(n) {
            while queue.back().is_some_and(|last| values[*last] >= *value) {
                queue.pop_back();
            }
            queue.push_back(n);
        }
        if n >= reach {
            let centre = n - reach;
            while queue.front().is_some_and(|first| *first + reach < centre) {
                queue.pop_front();
            }
            out.push(queue.front().map_or(1.0, |first| values[*first]));
        }
    }
    out
}
