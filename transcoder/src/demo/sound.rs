//! Stereo buffers and how notes get into them.

/// A stereo buffer at a sample rate.
#[derive(Clone, Debug)]
pub(super) struct Stereo {
    /// Samples per second.
    pub(super) rate: f32,
    /// Left channel.
    pub(super) left: Vec<f32>,
    /// Right channel.
    pub(super) right: Vec<f32>,
}

impl Stereo {
    /// Silence.
    pub(super) fn new(rate: u32, frames: usize) -> Stereo {
        Stereo {
            rate: rate as f32,
            left: vec![0.0; frames],
            right: vec![0.0; frames],
        }
    }

    /// Frames.
    pub(super) fn frames(&self) -> usize {
        self.left.len()
    }

    /// Adds mono sound from a frame on, `pan` −1…1 at constant power.
    pub(super) fn add_mono(&mut self, at: usize, sound: &[f32], pan: f32) {
        let angle = (pan + 1.0) * std::f32::consts::FRAC_PI_4;
        let (right, left) = (angle.sin() * 1.414, angle.cos() * 1.414);
        let room = self.frames().saturating_sub(at);
        for (n, s) in sound.iter().take(room).enumerate() {
            self.left[at + n] += s * left;
            self.right[at + n] += s * right;
        }
    }

    /// Adds another buffer.
    pub(super) fn add(&mut self, other: &Stereo, gain: f32) {
        for (to, from) in self.left.iter_mut().zip(&other.left) {
            *to += from * gain;
        }
        for (to, from) in self.right.iter_mut().zip(&other.right) {
            *to += from * gain;
        }
    }

    /// Runs every frame through a function of its time in seconds.
    pub(super) fn each(&mut self, mut f: impl FnMut(f32, f32, f32) -> (f32, f32)) {
        let step = 1.0 / self.rate;
        for (n, (l, r)) in self.left.iter_mut().zip(&mut self.right).enumerate() {
            (*l, *r) = f(*l, *r, n as f32 * step);
        }
    }
}
