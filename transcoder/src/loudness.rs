//! EBU R128 loudness, loudness range and true peak, of a track and of an album.

use manifests::R128;

/// Measures one track. Feed it every [`Block`](crate::source::Block), in order.
pub struct Meter {
    _private: (),
}

/// What a finished meter leaves behind for the album's figures.
pub struct State {
    _private: (),
}

impl Meter {
    /// A meter for that rate in Hz and 1 or 2 channels.
    pub fn new(sample_rate: u32, channels: usize) -> Meter {
        let _ = (sample_rate, channels);
        Meter { _private: () }
    }

    /// Takes `[channel][frame]`.
    pub fn push(&mut self, samples: &[&[f32]]) {
        let _ = samples;
    }

    /// The track's figures, and the state to combine into the album's.
    pub fn finish(self) -> (R128, State) {
        (R128::default(), State { _private: () })
    }
}

/// The figures of tracks heard as one programme.
pub fn album<'a>(tracks: impl IntoIterator<Item = &'a State>) -> R128 {
    let _ = tracks.into_iter().count();
    R128::default()
}
