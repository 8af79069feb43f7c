//! Scalars as few digits, each of which is one look into a table of a point's multiples.
//!
//! A table has, for each window `w`, the first [`MULTIPLES`] multiples of `2^(7w)` times the point:
//! then a product is a sum of [`WINDOWS`] entries, without doublings. The digits and so the time
//! depend on the scalar, which is why this is for verification alone, where all is public.

use crate::limbs::Limbs;

/// Bits of a digit.
const WIDTH: usize = 7;
/// Digits of a scalar.
pub(crate) const WINDOWS: usize = 256usize.div_ceil(WIDTH);
/// Entries of a window: of multiples below zero there are the opposites.
pub(crate) const MULTIPLES: usize = 1 << (WIDTH - 1);

/// What a digit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Digit {
    /// Nothing is to be added.
    Zero,
    /// The entry with this index (of the multiple that is one more) is to be added.
    Add(usize),
    /// It is to be subtracted.
    Subtract(usize),
}

/// The digits of a scalar below `2^256`, lowest window first.
pub(crate) fn digits(scalar: &Limbs) -> impl Iterator<Item = Digit> {
    let mut carry = 0;
    (0..WINDOWS).map(move |window| {
        let (limb, shift) = (window * WIDTH / 64, window * WIDTH % 64);
        let next = scalar.get(limb + 1).copied().unwrap_or(0);
        let wide = u128::from(scalar[limb]) | u128::from(next) << 64;
        let digit = ((wide >> shift) as usize & ((1 << WIDTH) - 1)) + carry;
        // What is above half a window is a multiple below zero, and one more of the next window.
        carry = usize::from(digit > MULTIPLES);
        let (digit, sign): (_, fn(usize) -> Digit) = if carry == 1 {
            ((1 << WIDTH) - digit, Digit::Subtract)
        } else {
            (digit, Digit::Add)
        };
        digit.checked_sub(1).map_or(Digit::Zero, sign)
    })
}

/// `1 / z` for each of `values`, none of which is zero, with one division for all (Montgomery's
/// trick).
pub(crate) fn inverses<E: Copy>(
    values: &[E],
    one: E,
    times: impl Fn(&E, &E) -> E,
    inverted: impl Fn(&E) -> E,
) -> Vec<E> {
    let mut product = one;
    let mut inverses: Vec<E> = Vec::with_capacity(values.len());
    for value in values {
        inverses.push(product);
        product = times(&product, value);
    }
    let mut inverse = inverted(&product);
    for (out, value) in inverses.iter_mut().zip(values).rev() {
        *out = times(&inverse, out);
        inverse = times(&inverse, value);
    }
    inverses
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Digits weighed by their windows are the scalar, modulo 2^64 and for the highest window.
        #[test]
        fn digits_add_up_to_the_scalar(scalar: Limbs) {
            let mut sum = [0i128; 5];
            for (window, digit) in digits(&scalar).enumerate() {
                let value = match digit {
                    Digit::Zero => 0,
                    Digit::Add(at) => at as i128 + 1,
                    Digit::Subtract(at) => -(at as i128 + 1),
                };
                prop_assert!((-63..=64).contains(&value));
                let (limb, shift) = (window * WIDTH / 64, window * WIDTH % 64);
                sum[limb] += value << shift;
            }
            let mut carry = 0;
            for (limb, expected) in sum.iter().zip(scalar.iter().chain([&0])) {
                let limb = limb + carry;
                prop_assert_eq!(limb as u64, *expected);
                carry = limb >> 64;
            }
            prop_assert_eq!(carry, 0);
        }
    }
}
