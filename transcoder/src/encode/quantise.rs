//! Floats to integers of fewer bits, with dither where rounding would lose something.
//!
//! A sample that is an integer already stays as it is: sound that was stored with no more bits than
//! are wanted comes through untouched, and silence stays silent. All others get triangular noise of
//! two steps' width, which makes the error independent of the sound.

/// Turns samples, nominally −1…1, into integers. Equal sound gives equal integers: the noise has a
/// seed of its own in each instance.
#[derive(Clone, Debug)]
pub(crate) struct Quantiser {
    scale: f32,
    random: u64,
}

/// Adding and taking off this (1.5 · 2²³) rounds a float of up to 22 bits to the nearest integer,
/// ties to even, in two instructions.
const ROUNDING: f32 = 12_582_912.0;

impl Quantiser {
    /// For integers of `bits` bits, at most 24.
    pub(crate) fn new(bits: u32) -> Quantiser {
        Quantiser {
            scale: (1_u32 << (bits.clamp(1, 24) - 1)) as f32,
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// One sample; what is beyond full scale is clipped.
    #[inline]
    pub(crate) fn sample(&mut self, sample: f32) -> i32 {
        let scaled = sample * self.scale;
        let limit = self.scale - 1.0;
        if scaled.abs() >= 4_194_304.0 {
            // Floats of that size have half a step's resolution at most: nothing to dither.
            return scaled.round_ties_even().clamp(-self.scale, limit) as i32;
        }
        let nearest = (scaled + ROUNDING) - ROUNDING;
        if nearest == scaled {
            return nearest.clamp(-self.scale, limit) as i32;
        }
        let dithered = (scaled + self.noise() + ROUNDING) - ROUNDING;
        dithered.clamp(-self.scale, limit) as i32
    }

    /// Triangular noise in −1…1 (of a step): the difference of two uniform numbers (xorshift64).
    #[inline]
    fn noise(&mut self) -> f32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let (a, b) = (self.random >> 44, self.random >> 20 & 0xf_ffff);
        (a as i32 - b as i32) as f32 / 1_048_576.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_as_it_is() {
        let mut quantiser = Quantiser::new(16);
        for n in -32_768..32_768 {
            assert_eq!(quantiser.sample(n as f32 / 32_768.0), n);
        }
        assert_eq!(quantiser.sample(1.5), 32_767);
        assert_eq!(quantiser.sample(-1.5), -32_768);
        let mut deep = Quantiser::new(24);
        for n in [-8_388_608, -4_194_303, -1, 0, 1, 8_388_607] {
            assert_eq!(deep.sample(n as f32 / 8_388_608.0), n);
        }
    }

    /// Mean of many samples of a level between two steps, and the variance of the error.
    fn statistics(level: f32) -> (f64, f64) {
        let mut quantiser = Quantiser::new(16);
        let n = 200_000;
        let ideal = f64::from(level);
        let values: Vec<f64> = (0..n)
            .map(|_| f64::from(quantiser.sample(level / 32_768.0)))
            .collect();
        let mean = values.iter().sum::<f64>() / f64::from(n);
        let variance = values.iter().map(|v| (v - ideal).powi(2)).sum::<f64>() / f64::from(n);
        (mean, variance)
    }

    #[test]
    fn between_two_steps_the_mean_is_kept_and_the_noise_is_constant() {
        for level in [0.1_f32, 0.25, 0.5, 3.7, -8.4] {
            let (mean, variance) = statistics(level);
            assert!((mean - f64::from(level)).abs() < 0.01, "{level}: {mean}");
            // A twelfth by rounding and two by the dither (Lipshitz, Wannamaker, Vanderkooy 1992).
            assert!((variance - 0.25).abs() < 0.01, "{level}: {variance}");
        }
    }

    #[test]
    fn a_tone_below_one_step_is_still_there() {
        let mut quantiser = Quantiser::new(16);
        let frames = 48_000;
        let step = std::f64::consts::TAU * 1_000.0 / 48_000.0;
        let (mut re, mut im) = (0.0, 0.0);
        for n in 0..frames {
            let (sin, cos) = (f64::from(n) * step).sin_cos();
            let v = f64::from(quantiser.sample((0.4 * sin / 32_768.0) as f32));
            re += v * cos;
            im += v * sin;
        }
        let found = 2.0 * f64::hypot(re, im) / f64::from(frames);
        assert!((found - 0.4).abs() < 0.02, "{found}");
    }
}
