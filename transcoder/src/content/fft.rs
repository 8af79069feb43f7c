//! A fast Fourier transform of a fixed power of two: enough to look at spectra.

/// Twiddles and bit reversal of one size.
pub(super) struct Fft {
    cos: Vec<f32>,
    sin: Vec<f32>,
    reversed: Vec<usize>,
}

impl Fft {
    /// For `size` samples, a power of two.
    pub(super) fn new(size: usize) -> Fft {
        let bits = size.trailing_zeros();
        let angle = |k: usize| -std::f64::consts::TAU * k as f64 / size as f64;
        Fft {
            cos: (0..size / 2).map(|k| angle(k).cos() as f32).collect(),
            sin: (0..size / 2).map(|k| angle(k).sin() as f32).collect(),
            reversed: (0..size)
                .map(|n| n.reverse_bits() >> (usize::BITS - bits))
                .collect(),
        }
    }

    /// Transforms in place (Cooley and Tukey, decimation in time, radix 2). Both slices have the size.
    pub(super) fn run(&self, re: &mut [f32], im: &mut [f32]) {
        for (n, &m) in self.reversed.iter().enumerate() {
            if n < m {
                re.swap(n, m);
                im.swap(n, m);
            }
        }
        let size = self.reversed.len();
        let mut half = 1;
        while half < size {
            let stride = size / (2 * half);
            for (re, im) in re
                .chunks_exact_mut(2 * half)
                .zip(im.chunks_exact_mut(2 * half))
            {
                let ((re, re2), (im, im2)) = (re.split_at_mut(half), im.split_at_mut(half));
                for k in 0..half {
                    let (c, s) = (self.cos[k * stride], self.sin[k * stride]);
                    let (a, b) = (re2[k] * c - im2[k] * s, re2[k] * s + im2[k] * c);
                    (re2[k], im2[k]) = (re[k] - a, im[k] - b);
                    (re[k], im[k]) = (re[k] + a, im[k] + b);
                }
            }
            half *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transform_equals_its_definition() {
        let size = 64;
        let wave = |seed: f64| (0..size).map(move |n| (seed * f64::from(n * n % 37)).sin());
        let (x, y): (Vec<f64>, Vec<f64>) = (wave(0.7).collect(), wave(1.9).collect());
        let mut re: Vec<f32> = x.iter().map(|v| *v as f32).collect();
        let mut im: Vec<f32> = y.iter().map(|v| *v as f32).collect();
        Fft::new(size as usize).run(&mut re, &mut im);
        for k in 0..size {
            let (mut a, mut b) = (0.0, 0.0);
            for n in 0..size {
                let turn = std::f64::consts::TAU * f64::from(k * n) / f64::from(size);
                let (s, c) = turn.sin_cos();
                a += x[n as usize] * c + y[n as usize] * s;
                b += y[n as usize] * c - x[n as usize] * s;
            }
            let near =
                (f64::from(re[k as usize]) - a).abs() + (f64::from(im[k as usize]) - b).abs();
            assert!(near < 1e-4, "{k}: {near}");
        }
    }
}
