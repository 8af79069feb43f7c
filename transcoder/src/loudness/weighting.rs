//! K-weighting (BS.1770-5, annex 1): a shelf for the head and a high pass, and the energy behind both.

use std::f64::consts::PI;

/// Two sections of second order in a row, in transposed direct form II.
#[derive(Clone, Debug)]
pub(super) struct Weighting {
    /// The shelf's numerator, then its denominator without the leading 1.
    shelf: ([f64; 3], [f64; 2]),
    /// The high pass's denominator without the leading 1; its numerator is 1, −2, 1.
    pass: [f64; 2],
    /// What is kept of the samples before: of the shelf, of the high pass, for each channel.
    kept: [[f64; 2]; 4],
}

impl Weighting {
    /// For that rate in Hz. The coefficients that the recommendation prints for 48 kHz come from these
    /// analogue prototypes, as in libebur128.
    pub(super) fn new(rate: u32) -> Weighting {
        let (q, gain) = (0.707_175_236_955_419_6, 3.999_843_853_973_347);
        let k = (PI * 1_681.974_450_955_533 / f64::from(rate)).tan();
        let high = 10_f64.powf(gain / 20.0);
        let band = high.powf(0.499_666_774_154_541_6);
        let norm = 1.0 + k / q + k * k;
        let shelf = (
            [
                (high + band * k / q + k * k) / norm,
                2.0 * (k * k - high) / norm,
                (high - band * k / q + k * k) / norm,
            ],
            [2.0 * (k * k - 1.0) / norm, (1.0 - k / q + k * k) / norm],
        );
        let q = 0.500_327_037_323_877_3;
        let k = (PI * 38.135_470_876_024_44 / f64::from(rate)).tan();
        let norm = 1.0 + k / q + k * k;
        Weighting {
            shelf,
            pass: [2.0 * (k * k - 1.0) / norm, (1.0 - k / q + k * k) / norm],
            kept: [[0.0; 2]; 4],
        }
    }

    /// The sum of squares of what comes out, all channels together.
    pub(super) fn energy<const C: usize>(&mut self, planes: [&[f32]; C]) -> f64 {
        let frames = planes.iter().map(|plane| plane.len()).min().unwrap_or(0);
        let ([b0, b1, b2], [a1, a2]) = self.shelf;
        let [c1, c2] = self.pass;
        let mut kept: [[f64; C]; 4] = self
            .kept
            .map(|channels| std::array::from_fn(|c| channels[c]));
        let mut sums = [0.0; C];
        let mut channels = planes.map(|plane| plane.iter());
        for _ in 0..frames {
            for (c, channel) in channels.iter_mut().enumerate() {
                let x = f64::from(channel.next().copied().unwrap_or_default());
                let y = b0 * x + kept[0][c];
                kept[0][c] = b1 * x - a1 * y + kept[1][c];
                kept[1][c] = b2 * x - a2 * y;
                let z = y + kept[2][c];
                kept[2][c] = kept[3][c] - 2.0 * y - c1 * z;
                kept[3][c] = y - c2 * z;
                sums[c] += z * z;
            }
        }
        for (to, from) in self.kept.iter_mut().zip(kept) {
            for (to, from) in to.iter_mut().zip(from) {
                // Silence dies away into numbers with which processors are slow.
                *to = if from.abs() < f64::MIN_POSITIVE {
                    0.0
                } else {
                    from
                };
            }
        }
        sums.iter().sum()
    }
}
