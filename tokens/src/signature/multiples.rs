//! Tables of a point's multiples, with which a product is a sum of points.
//!
//! A table has, for each window `w` of seven bits of a scalar, the first 64 multiples of `2^(7w)` times
//! the point: then a product takes an addition a window and no doubling. Which entries, and so the
//! time, depends on the scalar.

use crypto_bigint::U256;

use super::limbs::{Limbs, limbs};

/// Bits of a digit.
const WIDTH: usize = 7;
/// Digits of a scalar.
const WINDOWS: usize = 256usize.div_ceil(WIDTH);
/// Entries of a window: of multiples below zero there are the opposites.
const MULTIPLES: usize = 1 << (WIDTH - 1);

/// What coordinates are made of.
pub(super) trait Field: Copy {
    const ONE: Self;
    /// `self · other`.
    fn times(&self, other: &Self) -> Self;
    /// `1 / self`.
    fn inverted(&self) -> Self;
}

/// A point in coordinates that need no division to be added to.
pub(super) trait Sum: Copy {
    type Field: Field;
    /// A point in the form that is added.
    type Entry;

    /// What its coordinates are to be divided by, in some power.
    fn divisor(&self) -> Self::Field;
    /// The point as an entry; `inverse` is `1 / divisor`.
    fn entry(&self, inverse: &Self::Field) -> Self::Entry;
    /// Adds an entry.
    fn add(&mut self, entry: &Self::Entry);
    /// Adds the opposite of an entry.
    fn subtract(&mut self, entry: &Self::Entry);
    /// Twice the point.
    fn doubled(&self) -> Self;
}

/// The multiples of one point.
pub(super) struct Table<S: Sum>(Box<[S::Entry]>);

impl<S: Sum> Table<S> {
    /// Those of a point of a large prime order, so that none of them is at infinity.
    pub(super) fn new(point: S) -> Self {
        let mut multiples = Vec::with_capacity(WINDOWS * MULTIPLES);
        let mut last = point;
        for _ in 0..WINDOWS {
            let by = last.entry(&last.divisor().inverted());
            let mut next = last;
            for _ in 0..MULTIPLES {
                multiples.push(next);
                last = next;
                next.add(&by);
            }
            // 64 times it, and twice that.
            last = last.doubled();
        }
        let divisors: Vec<S::Field> = multiples.iter().map(Sum::divisor).collect();
        let entries = multiples.iter().zip(inverses(&divisors));
        Self(entries.map(|(sum, inverse)| sum.entry(&inverse)).collect())
    }

    /// Adds `scalar` times the point.
    pub(super) fn add_to(&self, sum: &mut S, scalar: &U256) {
        for (digit, entries) in digits(&limbs(scalar)).zip(self.0.chunks_exact(MULTIPLES)) {
            match digit {
                Digit::Zero => {}
                Digit::Add(at) => sum.add(&entries[at]),
                Digit::Subtract(at) => sum.subtract(&entries[at]),
            }
        }
    }
}

/// What a digit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digit {
    /// Nothing is to be added.
    Zero,
    /// The entry with this index (of the multiple that is one more) is to be added.
    Add(usize),
    /// It is to be subtracted.
    Subtract(usize),
}

/// The digits of a scalar below `2^256`, lowest window first.
fn digits(scalar: &Limbs) -> impl Iterator<Item = Digit> {
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

/// `1 / value` for each of `values`, none of which is zero, with one division for all (Montgomery's
/// trick).
fn inverses<F: Field>(values: &[F]) -> Vec<F> {
    let mut product = F::ONE;
    let mut inverses = Vec::with_capacity(values.len());
    for value in values {
        inverses.push(product);
        product = product.times(value);
    }
    let mut inverse = product.inverted();
    for (out, value) in inverses.iter_mut().zip(values).rev() {
        *out = inverse.times(out);
        inverse = inverse.times(value);
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
