//! A run of decoded sound with all the channels of the file, before trimming and downmix.

/// Planar sound, `[channel][frame]`; every channel has the same length.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunk {
    /// Nominally −1…1.
    pub(super) float: Vec<Vec<f32>>,
    /// The file's own integers, right-aligned. As long as `float`, where present.
    pub(super) exact: Option<Vec<Vec<i32>>>,
}

impl Chunk {
    /// A chunk of a lossy (or float) codec.
    pub(super) fn float(float: Vec<Vec<f32>>) -> Chunk {
        Chunk { float, exact: None }
    }

    /// A chunk from interleaved samples.
    pub(super) fn from_interleaved(samples: &[f32], channels: usize) -> Chunk {
        let plane = |c: usize| samples.iter().skip(c).step_by(channels).copied().collect();
        Chunk::float((0..channels).map(plane).collect())
    }

    /// A chunk of silence shaped like the codec's other chunks.
    pub(super) fn silence(channels: usize, frames: usize, exact: bool) -> Chunk {
        Chunk {
            float: vec![vec![0.0; frames]; channels],
            exact: exact.then(|| vec![vec![0; frames]; channels]),
        }
    }

    /// Frames (samples per channel).
    pub(super) fn frames(&self) -> usize {
        self.float.first().map_or(0, Vec::len)
    }

    /// Drops everything after the first `frames`.
    pub(super) fn truncate(&mut self, frames: usize) {
        self.float
            .iter_mut()
            .for_each(|plane| plane.truncate(frames));
        for plane in self.exact.iter_mut().flatten() {
            plane.truncate(frames);
        }
    }

    /// Takes the first `frames` away and returns them.
    pub(super) fn take_front(&mut self, frames: usize) -> Chunk {
        let frames = frames.min(self.frames());
        Chunk {
            float: self
                .float
                .iter_mut()
                .map(|plane| front(plane, frames))
                .collect(),
            exact: self.exact.as_mut().map(|planes| {
                planes
                    .iter_mut()
                    .map(|plane| front(plane, frames))
                    .collect()
            }),
        }
    }

    /// Adds another chunk of the same shape at the end.
    pub(super) fn append(&mut self, mut other: Chunk) {
        if self.float.is_empty() {
            *self = other;
            return;
        }
        for (to, from) in self.float.iter_mut().zip(&mut other.float) {
            to.append(from);
        }
        if let (Some(to), Some(from)) = (&mut self.exact, &mut other.exact) {
            to.iter_mut()
                .zip(from)
                .for_each(|(to, from)| to.append(from));
        }
    }
}

/// Splits the first `n` items off a vector and returns them.
fn front<T>(plane: &mut Vec<T>, n: usize) -> Vec<T> {
    let rest = plane.split_off(n.min(plane.len()));
    std::mem::replace(plane, rest)
}
