//! Channel layouts and the mix of more than two channels down to stereo.
//!
//! Coefficients follow ITU-R BS.775-3 annex 4: centre and surrounds at −3 dB, a rear centre at
//! −3 dB split to both sides, LFE left out. Each row is then scaled by one common factor so that
//! no input within ±1 can give an output beyond ±1 (for 5.1: −7.66 dB), so that the mix never clips and
//! the balance between channels stays. Loudness is measured after the mix, so that players undo the
//! level by gain.

use std::f32::consts::FRAC_1_SQRT_2;

/// Where a channel is meant to be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// Front left.
    Left,
    /// Front right.
    Right,
    /// Front centre (and the only channel of a mono file).
    Centre,
    /// Low-frequency effects.
    Lfe,
    /// Any speaker left behind or beside the listener.
    SurroundLeft,
    /// Any speaker right behind or beside the listener.
    SurroundRight,
    /// Behind the listener.
    RearCentre,
}

use Speaker::{Centre, Left, Lfe, RearCentre, Right, SurroundLeft, SurroundRight};

/// The layout that WAVE gives to that many channels without a mask. Empty above eight.
pub(crate) fn wave_order(channels: usize) -> &'static [Speaker] {
    match channels {
        1 => &[Centre],
        2 => &[Left, Right],
        3 => &[Left, Right, Centre],
        4 => &[Left, Right, SurroundLeft, SurroundRight],
        5 => &[Left, Right, Centre, SurroundLeft, SurroundRight],
        6 => &[Left, Right, Centre, Lfe, SurroundLeft, SurroundRight],
        7 => &[
            Left,
            Right,
            Centre,
            Lfe,
            RearCentre,
            SurroundLeft,
            SurroundRight,
        ],
        8 => &[
            Left,
            Right,
            Centre,
            Lfe,
            SurroundLeft,
            SurroundRight,
            SurroundLeft,
            SurroundRight,
        ],
        _ => &[],
    }
}

/// The layout of Vorbis and of Opus mapping family 1 (RFC 7845 section 5.1.1.2).
pub(crate) fn vorbis_order(channels: usize) -> &'static [Speaker] {
    match channels {
        3 => &[Left, Centre, Right],
        5 => &[Left, Centre, Right, SurroundLeft, SurroundRight],
        6 => &[Left, Centre, Right, SurroundLeft, SurroundRight, Lfe],
        7 => &[
            Left,
            Centre,
            Right,
            SurroundLeft,
            SurroundRight,
            RearCentre,
            Lfe,
        ],
        8 => &[
            Left,
            Centre,
            Right,
            SurroundLeft,
            SurroundRight,
            SurroundLeft,
            SurroundRight,
            Lfe,
        ],
        _ => wave_order(channels),
    }
}

/// A mix to stereo, as one pair of coefficients a channel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Downmix {
    left: Vec<f32>,
    right: Vec<f32>,
}

impl Downmix {
    /// The mix for that layout; `None` for one or two channels, which stay as they are.
    pub(crate) fn new(layout: &[Speaker]) -> Option<Downmix> {
        if layout.len() <= 2 {
            return None;
        }
        let (left, right): (Vec<f32>, Vec<f32>) = layout.iter().map(|s| coefficients(*s)).unzip();
        let loudest = left.iter().sum::<f32>().max(right.iter().sum());
        let scale = if loudest > 0.0 { 1.0 / loudest } else { 0.0 };
        let scaled = |row: Vec<f32>| row.into_iter().map(|c| c * scale).collect();
        Some(Downmix {
            left: scaled(left),
            right: scaled(right),
        })
    }

    /// Mixes `[channel][frame]` to stereo. Channels beyond the layout are ignored.
    pub(crate) fn apply(&self, planes: &[Vec<f32>]) -> Vec<Vec<f32>> {
        vec![mix(&self.left, planes), mix(&self.right, planes)]
    }
}

fn mix(row: &[f32], planes: &[Vec<f32>]) -> Vec<f32> {
    let mut out = vec![0.0; planes.first().map_or(0, Vec::len)];
    for (coefficient, plane) in row.iter().zip(planes).filter(|(c, _)| **c != 0.0) {
        for (to, from) in out.iter_mut().zip(plane) {
            *to += coefficient * from;
        }
    }
    out
}

/// What a channel adds to left and right, before scaling.
fn coefficients(speaker: Speaker) -> (f32, f32) {
    match speaker {
        Left => (1.0, 0.0),
        Right => (0.0, 1.0),
        Centre => (FRAC_1_SQRT_2, FRAC_1_SQRT_2),
        Lfe => (0.0, 0.0),
        SurroundLeft => (FRAC_1_SQRT_2, 0.0),
        SurroundRight => (0.0, FRAC_1_SQRT_2),
        RearCentre => (0.5, 0.5),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn full_scale_on_every_channel_stays_within_full_scale() {
        for channels in 3..=8 {
            for layout in [wave_order(channels), vorbis_order(channels)] {
                assert_eq!(layout.len(), channels);
                let out = Downmix::new(layout)
                    .unwrap()
                    .apply(&vec![vec![1.0; 2]; channels]);
                assert!(
                    out.concat().iter().all(|s| (0.99..=1.000_001).contains(s)),
                    "{out:?}"
                );
            }
        }
    }

    #[test]
    fn five_one_keeps_the_balance_of_bs775_and_drops_the_lfe() {
        let one = |n: usize| {
            let planes: Vec<_> = (0..6).map(|c| vec![f32::from(u8::from(c == n))]).collect();
            let out = Downmix::new(wave_order(6)).unwrap().apply(&planes);
            (out[0][0], out[1][0])
        };
        let full = 1.0 / (1.0 + 2.0 * FRAC_1_SQRT_2);
        let close = |(l, r): (f32, f32), (el, er): (f32, f32)| {
            assert!((l - el * full).abs() < 1e-6 && (r - er * full).abs() < 1e-6);
        };
        close(one(0), (1.0, 0.0));
        close(one(2), (FRAC_1_SQRT_2, FRAC_1_SQRT_2));
        close(one(3), (0.0, 0.0));
        close(one(4), (FRAC_1_SQRT_2, 0.0));
    }
}
