//! Numbers of 256 bits as four limbs of 64, least first.

use crypto_bigint::U256;

/// Least limb first.
pub(super) type Limbs = [u64; 4];

/// The limbs of a number.
pub(super) fn limbs(n: &U256) -> Limbs {
    let bytes = n.to_le_bytes();
    let bytes: &[u8] = bytes.as_ref();
    let mut limbs = [0; 4];
    for (limb, bytes) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
        *limb = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
    }
    limbs
}

/// Whether `a ≥ b`.
pub(super) fn at_least(a: &Limbs, b: &Limbs) -> bool {
    !subtract(a, b).1
}

/// `a + b` and whether it passes 256 bits.
#[inline]
pub(super) fn add(a: &Limbs, b: &Limbs) -> (Limbs, bool) {
    let (mut sum, mut carry) = ([0; 4], false);
    for (out, (&a, &b)) in sum.iter_mut().zip(a.iter().zip(b)) {
        (*out, carry) = add_limb(a, b, carry);
    }
    (sum, carry)
}

/// `a − b` and whether it is below zero, in which case it is `2^256` more.
#[inline]
pub(super) fn subtract(a: &Limbs, b: &Limbs) -> (Limbs, bool) {
    let (mut difference, mut borrow) = ([0; 4], false);
    for (out, (&a, &b)) in difference.iter_mut().zip(a.iter().zip(b)) {
        let (first, under) = a.overflowing_sub(b);
        let (second, again) = first.overflowing_sub(u64::from(borrow));
        (*out, borrow) = (second, under || again);
    }
    (difference, borrow)
}

/// `a + b + carry`, and whether it passes 64 bits.
#[inline]
pub(super) fn add_limb(a: u64, b: u64, carry: bool) -> (u64, bool) {
    let (first, over) = a.overflowing_add(b);
    let (second, again) = first.overflowing_add(u64::from(carry));
    (second, over || again)
}

/// `a · b + c + d`, which fits 128 bits, as its lower and upper half.
#[inline]
pub(super) fn multiply_add(a: u64, b: u64, c: u64, d: u64) -> (u64, u64) {
    let wide = u128::from(a) * u128::from(b) + u128::from(c) + u128::from(d);
    (wide as u64, (wide >> 64) as u64)
}
