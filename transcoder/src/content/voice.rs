//! Tells speech from music by what only speech has together: pauses between words, syllables that
//! come and go within a second, and voiced sound beside hisses.

use super::spectrum::INAUDIBLE;

/// Short frames a second, over which power, zero crossings and pitch are taken.
pub(super) const FRAMES_PER_S: usize = 50;

/// What was heard so far.
pub(super) struct Voice {
    rate: u32,
    /// Power of each frame of the second under way.
    second: Vec<f32>,
    /// Share of frames below half of the second's mean amplitude, summed over seconds.
    low: f32,
    seconds: usize,
    loudest: f32,
    powers: Histogram,
    voiced: usize,
    hissing: usize,
    active: usize,
}

/// Frames by power, in steps of 3 dB down from full scale.
#[derive(Default)]
struct Histogram([usize; 32]);

impl Histogram {
    fn step(power: f32) -> usize {
        let db = -10.0 * power.max(1e-12).log10();
        ((db / 3.0).max(0.0) as usize).min(31)
    }

    fn add(&mut self, power: f32) {
        self.0[Self::step(power)] += 1;
    }

    /// Share of frames at least `db` below `power`.
    fn below(&self, power: f32, db: f32) -> f32 {
        let all: usize = self.0.iter().sum();
        let from = Self::step(power) + (db / 3.0) as usize;
        let quiet: usize = self.0.iter().skip(from).sum();
        quiet as f32 / all.max(1) as f32
    }
}

/// Least share of frames 30 dB below the loudest: pauses.
const PAUSES: f32 = 0.08;

/// Least mean share of frames below half of their second's mean amplitude (Saunders 1996; Scheirer
/// and Slaney 1997 have music near 0.1 to 0.25, speech above 0.35).
const LOW_FRAMES: f32 = 0.3;

/// Least shares of the active frames that have a pitch of a voice, and that hiss.
const VOICED: f32 = 0.3;
const HISSING: f32 = 0.03;

/// Zero crossings a second of a hiss.
const HISS_HZ: f32 = 5_000.0;

/// Normalised autocorrelation of a frame with a pitch.
const PITCHED: f32 = 0.6;

/// Least length to judge by.
const LEAST_SECONDS: usize = 5;

impl Voice {
    /// For sound of that rate in Hz.
    pub(super) fn new(rate: u32) -> Voice {
        Voice {
            rate,
            second: Vec::with_capacity(FRAMES_PER_S),
            low: 0.0,
            seconds: 0,
            loudest: 0.0,
            powers: Histogram::default(),
            voiced: 0,
            hissing: 0,
            active: 0,
        }
    }

    /// Takes a frame of a fiftieth of a second.
    pub(super) fn frame(&mut self, frame: &[f32]) {
        if frame.is_empty() {
            return;
        }
        let power = frame.iter().map(|s| s * s).sum::<f32>() / frame.len() as f32;
        self.loudest = self.loudest.max(power);
        self.powers.add(power);
        // 30 dB below what has been the loudest so far.
        if power > self.loudest * 1e-3 && power > INAUDIBLE {
            self.active += 1;
            let hiss = crossings(frame) as f32 * FRAMES_PER_S as f32 > HISS_HZ;
            self.hissing += usize::from(hiss);
            self.voiced += usize::from(!hiss && pitched(frame, self.rate));
        }
        self.second.push(power);
        if self.second.len() == FRAMES_PER_S {
            self.end_second();
        }
    }

    fn end_second(&mut self) {
        let amplitude = |power: &f32| power.sqrt();
        let mean = self.second.iter().map(amplitude).sum::<f32>() / FRAMES_PER_S as f32;
        if mean > 1e-4 {
            let low = self.second.iter().filter(|p| p.sqrt() < mean / 2.0);
            self.low += low.count() as f32 / FRAMES_PER_S as f32;
            self.seconds += 1;
        }
        self.second.clear();
    }

    /// Whether it was speech.
    pub(super) fn speaks(&self) -> bool {
        let share = |n: usize| n as f32 / self.active.max(1) as f32;
        self.seconds >= LEAST_SECONDS
            && self.low / self.seconds as f32 > LOW_FRAMES
            && self.powers.below(self.loudest, 30.0) > PAUSES
            && share(self.voiced) > VOICED
            && share(self.hissing) > HISSING
    }
}

fn crossings(frame: &[f32]) -> usize {
    frame
        .windows(2)
        .filter(|pair| (pair[0] < 0.0) != (pair[1] < 0.0))
        .count()
}

/// Whether the frame repeats itself at a period of 80 to 400 Hz. Looked at with about 8,000 samples
/// a second: a pitch needs no more.
fn pitched(frame: &[f32], rate: u32) -> bool {
    let fold = (rate as usize / 8_000).max(1);
    let low: Vec<f32> = frame
        .chunks_exact(fold)
        .map(|run| run.iter().sum::<f32>())
        .collect();
    let slow = rate as usize / fold;
    let (shortest, longest) = (slow / 400, (slow / 80).min(low.len() * 3 / 4));
    (shortest..=longest).any(|lag| {
        let (mut ab, mut aa, mut bb) = (0.0, 1e-12, 1e-12);
        for (a, b) in low.iter().zip(&low[lag..]) {
            ab += a * b;
            aa += a * a;
            bb += b * b;
        }
        ab * ab > PITCHED * PITCHED * aa * bb && ab > 0.0
    })
}
