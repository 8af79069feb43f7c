//! Integers modulo P-256's prime, `p = 2^256 − 2^224 + 2^192 + 2^96 − 1` (SP 800-186 §3.2.1.3), for
//! verification alone: the time that it takes depends on the numbers, all of which are public.

use crate::signature::{
    limbs::{Limbs, add, add_limb, at_least, multiply_add, subtract},
    multiples::Field,
};

/// The prime.
const P: Limbs = [u64::MAX, 0xffff_ffff, 0, 0xffff_ffff_0000_0001];

/// `2^512 mod p`.
const R2: Element = Element([3, 0xffff_fffb_ffff_ffff, u64::MAX - 1, 0x4_ffff_fffd]);

/// Coordinates of the base point (SP 800-186 §3.2.1.3).
pub(super) const BASE_X: Element = Element([
    0x79e7_30d4_18a9_143c,
    0x75ba_95fc_5fed_b601,
    0x79fb_732b_7762_2510,
    0x1890_5f76_a537_55c6,
]);
pub(super) const BASE_Y: Element = Element([
    0xddf2_5357_ce95_560a,
    0x8b4a_b8e4_ba19_e45c,
    0xd2e8_8688_dd21_f325,
    0x8571_ff18_2588_5d85,
]);

/// An integer below `p`, as its product with `2^256` (Montgomery's form).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element(Limbs);

impl Element {
    pub(super) const ZERO: Self = Self([0; 4]);

    /// `None` where the number isn't below `p`.
    pub(super) fn new(limbs: Limbs) -> Option<Self> {
        (!at_least(&limbs, &P)).then(|| Self(limbs).times(&R2))
    }

    /// `self²`.
    #[inline]
    pub(super) fn squared(&self) -> Self {
        self.times(self)
    }

    /// `self + other`.
    #[inline]
    pub(super) fn plus(&self, other: &Self) -> Self {
        let (sum, carry) = add(&self.0, &other.0);
        Self::reduced(sum, carry)
    }

    /// `self − other`.
    #[inline]
    pub(super) fn minus(&self, other: &Self) -> Self {
        let (difference, borrow) = subtract(&self.0, &other.0);
        Self(if borrow {
            add(&difference, &P).0
        } else {
            difference
        })
    }

    /// `−self`.
    pub(super) fn negated(&self) -> Self {
        Self::ZERO.minus(self)
    }

    /// What `limbs`, and `2^256` where there is `over`, is modulo `p`; less than `2p`.
    #[inline]
    fn reduced(limbs: Limbs, over: bool) -> Self {
        let (less, borrow) = subtract(&limbs, &P);
        Self(if over || !borrow { less } else { limbs })
    }
}

impl Field for Element {
    const ONE: Self = Self([1, 0xffff_ffff_0000_0000, u64::MAX, 0xffff_fffe]);

    #[inline]
    fn times(&self, other: &Self) -> Self {
        let (a, b) = (&self.0, &other.0);
        let mut t = [0; 5];
        // One limb of `other` at a time; then as much of `p` that the least limb becomes zero and
        // can be dropped. That is `t[0]` times, since `p` ends in 64 ones, and the limbs of `p` but
        // the highest need no multiplication.
        for &digit in b {
            let mut carry = 0;
            for (limb, &factor) in t.iter_mut().zip(a) {
                (*limb, carry) = multiply_add(factor, digit, *limb, carry);
            }
            let (high, over) = add_limb(t[4], carry, false);
            let m = t[0];
            let (t1, c) = add_limb(t[1], m << 32, false);
            let (t2, c) = add_limb(t[2], m >> 32, c);
            let (low, up) = multiply_add(m, P[3], 0, 0);
            let (t3, c) = add_limb(t[3], low, c);
            let (t4, c) = add_limb(high, up, c);
            t = [t1, t2, t3, t4, u64::from(over) + u64::from(c)];
        }
        Self::reduced([t[0], t[1], t[2], t[3]], t[4] != 0)
    }

    /// And zero for zero: `self^(p − 2)` (Fermat).
    fn inverted(&self) -> Self {
        let exponent = [P[0] - 2, P[1], P[2], P[3]];
        let mut power = Self::ONE;
        for bit in (0..256).rev() {
            power = power.squared();
            if exponent[bit / 64] >> (bit % 64) & 1 == 1 {
                power = power.times(self);
            }
        }
        power
    }
}

#[cfg(test)]
mod tests {
    use crypto_bigint::{NonZero, U256};
    use proptest::prelude::*;

    use super::*;

    fn number(limbs: Limbs) -> U256 {
        U256::from_le_slice(&limbs.map(u64::to_le_bytes).concat())
    }

    /// Numbers at which carries run through, as well as any others.
    fn limb() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            prop::sample::select(vec![
                0,
                1,
                2,
                u64::MAX,
                u64::MAX - 1,
                P[3],
                P[3] - 1,
                P[1],
                P[1] + 1
            ]),
        ]
    }

    fn below_p() -> impl Strategy<Value = Limbs> {
        prop::array::uniform4(limb()).prop_filter("below p", |n| !at_least(n, &P))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn arithmetic_is_that_of_an_independent_implementation(a in below_p(), b in below_p()) {
            let modulus = NonZero::new(number(P)).unwrap();
            let (x, y) = (Element::new(a).unwrap(), Element::new(b).unwrap());
            let (a, b) = (number(a), number(b));
            let element = |n: U256| Element::new(crate::signature::limbs::limbs(&n)).unwrap();
            prop_assert_eq!(x.times(&y), element(a.mul_mod(&b, &modulus)));
            prop_assert_eq!(x.squared(), element(a.mul_mod(&a, &modulus)));
            prop_assert_eq!(x.plus(&y), element(a.add_mod(&b, &modulus)));
            prop_assert_eq!(x.minus(&y), element(a.sub_mod(&b, &modulus)));
            prop_assert_eq!(x.negated(), element(U256::ZERO.sub_mod(&a, &modulus)));
            prop_assert_eq!(x.minus(&x), Element::ZERO);
        }

        #[test]
        fn what_is_not_below_the_prime_is_no_element(n in 0u64..100) {
            let over = number(P).wrapping_add(&U256::from(n));
            prop_assert_eq!(Element::new(crate::signature::limbs::limbs(&over)), None);
        }
    }

    #[test]
    fn a_number_times_its_inverse_is_one() {
        for limbs in [
            [1, 0, 0, 0],
            [7, 0, 9, 1 << 63],
            [P[0] - 1, P[1], P[2], P[3]],
        ] {
            let element = Element::new(limbs).unwrap();
            assert_eq!(element.times(&element.inverted()), Element::ONE);
        }
        assert_eq!(Element::ZERO.inverted(), Element::ZERO);
    }
}
