//! Where segments are cut: the 3.84 s grid that all renditions of a track share.
//!
//! Cuts are instants of the presentation. Each rendition starts a segment with the frame that is
//! nearest to a cut, counting its own priming, so renditions of one codec cut at exactly the same
//! instants and codecs among themselves within a frame.

/// One step of the grid is 1.92 s: 48/25 s, a whole number of frames for every codec at 48 kHz
/// (96 Opus, 90 AAC-LC, 45 HE-AAC, 20 FLAC blocks of 4,608).
const STEP: (u128, u128) = (48, 25);

/// A last segment shorter than half a second is merged into the one before it.
const SHORTEST_LAST_MS: u128 = 500;

/// Length of a track in the only unit that all its renditions share: samples of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SourceLength {
    /// Valid samples a channel.
    pub samples: u64,
    /// Samples per second.
    pub rate: u32,
}

impl SourceLength {
    /// The same length in samples at `rate`, rounded up: what a resampler has to produce for all
    /// of the source's sound to be inside.
    pub fn at(self, rate: u32) -> u64 {
        let scaled = u128::from(self.samples) * u128::from(rate);
        scaled.div_ceil(u128::from(self.rate)) as u64
    }
}

/// Steps of the grid before segment `k`: the first two segments are one step long so that sound
/// starts on few bytes, all others two (3.84 s).
fn steps_before(segment: u64) -> u128 {
    let k = u128::from(segment);
    if k <= 2 { k } else { 2 * (k - 1) }
}

/// The grid as one rendition sees it.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// Ticks per second: the rendition's sample rate.
    pub rate: u32,
    /// Ticks per frame.
    pub frame: u32,
    /// Ticks of priming before the presentation's start.
    pub priming: u64,
}

impl Grid {
    /// Index of the first frame of segment `segment` (from 0).
    pub fn first_frame(&self, segment: u64) -> u64 {
        if segment == 0 {
            return 0;
        }
        let (num, den) = STEP;
        let ticks =
            steps_before(segment) * num * u128::from(self.rate) + den * u128::from(self.priming);
        let frame = den * u128::from(self.frame);
        ((ticks + frame / 2) / frame) as u64
    }

    /// Whether a track of that length is cut before segment `segment`, or ends in the one before.
    /// Depends on the source alone, so all renditions decide alike.
    pub fn has_segment(segment: u64, length: SourceLength) -> bool {
        if segment == 0 {
            return true;
        }
        let (num, den) = STEP;
        let rate = u128::from(length.rate);
        let end = u128::from(length.samples) * den * 1000;
        let cut = steps_before(segment) * num * rate * 1000;
        end >= cut + SHORTEST_LAST_MS * rate * den
    }
}

/// Samples in a FLAC block at `rate`: the grid's step is a whole number of blocks, so that a cut
/// falls between two. Blocks last 96 ms in the 48 kHz family and 80 ms in the 44.1 kHz family,
/// unless that is more than the format's streamable subset allows (RFC 9639 §7: 4,608 samples up
/// to 48 kHz, 16,384 above).
pub fn flac_block(rate: u32) -> u32 {
    match rate {
        44_100 | 88_200 | 176_400 => 3_528 * (rate / 44_100),
        48_000 | 96_000 => 4_608 * (rate / 48_000),
        192_000 => 9_216,
        _ => other_flac_block(rate),
    }
}

/// The largest block of at most 4,608 samples that divides the step, or 4,096 where the step is
/// no whole number of samples or has no useful divisor.
fn other_flac_block(rate: u32) -> u32 {
    const FALLBACK: u32 = 4_096;
    if !rate.is_multiple_of(25) {
        return FALLBACK;
    }
    let step = rate / 25 * 48;
    (1_024..=4_608)
        .rev()
        .find(|&block| step.is_multiple_of(block))
        .unwrap_or(FALLBACK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_cut_within_a_frame_of_each_other() {
        let grids = [
            Grid {
                rate: 48_000,
                frame: 960,
                priming: 312,
            },
            Grid {
                rate: 48_000,
                frame: 960,
                priming: 1_271,
            },
            Grid {
                rate: 48_000,
                frame: 1_024,
                priming: 2_112,
            },
            Grid {
                rate: 48_000,
                frame: 2_048,
                priming: 4_160,
            },
            Grid {
                rate: 48_000,
                frame: 4_608,
                priming: 0,
            },
            Grid {
                rate: 44_100,
                frame: 3_528,
                priming: 0,
            },
        ];
        for segment in 1..200 {
            let at = steps_before(segment) as f64 * 1.92;
            for grid in grids {
                let ticks = grid.first_frame(segment) * u64::from(grid.frame);
                let cut = (ticks as f64 - grid.priming as f64) / f64::from(grid.rate);
                let half = f64::from(grid.frame) / f64::from(grid.rate) / 2.0;
                assert!(
                    (cut - at).abs() <= half + 1e-9,
                    "{grid:?} {segment}: {cut} not {at}"
                );
            }
        }
    }

    #[test]
    fn first_two_segments_are_half_as_long() {
        let grid = Grid {
            rate: 48_000,
            frame: 960,
            priming: 0,
        };
        let cuts: Vec<_> = (0..6).map(|k| grid.first_frame(k)).collect();
        assert_eq!(cuts, [0, 96, 192, 384, 576, 768]);
    }

    #[test]
    fn a_short_rest_joins_the_segment_before() {
        let length = |samples| SourceLength {
            samples,
            rate: 48_000,
        };
        assert!(!Grid::has_segment(1, length(92_160 + 23_999)));
        assert!(Grid::has_segment(1, length(92_160 + 24_000)));
        assert!(Grid::has_segment(0, length(1)));
    }

    #[test]
    fn flac_blocks_divide_the_grid() {
        for rate in [
            8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 88_200, 96_000, 176_400, 192_000,
        ] {
            let step = rate / 25 * 48;
            assert_eq!(step % flac_block(rate), 0, "{rate}");
            assert!(flac_block(rate) <= if rate <= 48_000 { 4_608 } else { 16_384 });
        }
        assert_eq!(flac_block(44_101), 4_096);
    }
}
