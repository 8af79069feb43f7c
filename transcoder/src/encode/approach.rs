//! What an encoder hears before the first sample of sound: as much as lies between its own delay and
//! the priming. Silence, but for the pre-roll's last samples where there is one.

/// The way of a lossy encoder to the first sample of sound. Counts in samples of one channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Approach {
    /// Silence to begin with.
    pub(super) silence: u64,
    /// Samples of the pre-roll that are still to come and for which there is no room.
    surplus: u64,
    preroll: u64,
}

impl Approach {
    /// Of `room` samples, before which what is pushed has `preroll` samples that are no sound of the
    /// track.
    pub(super) fn new(room: u64, preroll: u64) -> Approach {
        Approach {
            silence: room.saturating_sub(preroll),
            surplus: preroll.saturating_sub(room),
            preroll,
        }
    }

    /// What is left of a run of interleaved samples where the surplus is taken off.
    pub(super) fn admit<'a, T>(&mut self, pcm: &'a [T], channels: usize) -> &'a [T] {
        let frames = (pcm.len() / channels) as u64;
        let off = self.surplus.min(frames);
        self.surplus -= off;
        &pcm[off as usize * channels..]
    }

    /// Samples of the track among those pushed.
    pub(super) fn sound(&self, pushed: u64) -> u64 {
        pushed.saturating_sub(self.preroll)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pre_roll_fills_the_room_from_its_end() {
        let none = Approach::new(5, 0);
        assert_eq!((none.silence, none.sound(7)), (5, 7));
        let short = Approach::new(5, 3);
        assert_eq!((short.silence, short.sound(7)), (2, 4));
        let mut long = Approach::new(2, 5);
        assert_eq!(long.silence, 0);
        let heard: Vec<i32> = [&[0, 0, 1, 1][..], &[2, 2, 3, 3], &[4, 4, 5, 5]]
            .iter()
            .flat_map(|run| long.admit(run, 2).to_vec())
            .collect();
        assert_eq!(heard, [3, 3, 4, 4, 5, 5]);
        assert_eq!(long.sound(6), 1);
    }
}
