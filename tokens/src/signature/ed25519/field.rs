//! Integers modulo `p = 2^255 − 19`, for verification alone: the time that it takes depends on the
//! numbers, all of which are public.

use crate::signature::{
    limbs::{Limbs, add, at_least, multiply_add, subtract},
    multiples::Field,
};

/// The prime.
const P: Limbs = [u64::MAX - 18, u64::MAX, u64::MAX, u64::MAX >> 1];

/// `2^256 mod p`: what a carry out of 256 bits is worth.
const FOLD: u64 = 38;

/// An integer modulo `p`, as any number below `2^256` that leaves the same rest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element(Limbs);

impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        self.reduced() == other.reduced()
    }
}

impl Element {
    pub(super) const ZERO: Self = Self([0; 4]);
    /// `d` of the curve, −121665 / 121666 (RFC 8032 §5.1).
    pub(super) const D: Self = Self([
        0x75eb_4dca_1359_78a3,
        0x0070_0a4d_4141_d8ab,
        0x8cc7_4079_7779_e898,
        0x5203_6cee_2b6f_fe73,
    ]);
    /// `√−1`, the even one (RFC 8032 §5.1.3).
    pub(super) const ROOT_OF_MINUS_ONE: Self = Self([
        0xc4ee_1b27_4a0e_a0b0,
        0x2f43_1806_ad2f_e478,
        0x2b4d_0099_3dfb_d7a7,
        0x2b83_2480_4fc1_df0b,
    ]);

    /// `None` where the number isn't below `p`.
    pub(super) fn new(limbs: Limbs) -> Option<Self> {
        (!at_least(&limbs, &P)).then_some(Self(limbs))
    }

    /// The number below `p`.
    pub(super) fn reduced(&self) -> Limbs {
        let mut limbs = self.0;
        // 2^256 is 2p + 38.
        while at_least(&limbs, &P) {
            limbs = subtract(&limbs, &P).0;
        }
        limbs
    }

    /// `self²`.
    #[inline]
    pub(super) fn squared(&self) -> Self {
        self.times(self)
    }

    /// `self^(2^times)`.
    fn squared_times(&self, times: u32) -> Self {
        (0..times).fold(*self, |power, _| power.squared())
    }

    /// `self + other`.
    #[inline]
    pub(super) fn plus(&self, other: &Self) -> Self {
        let (sum, over) = add(&self.0, &other.0);
        let (sum, again) = add(&sum, &[if over { FOLD } else { 0 }, 0, 0, 0]);
        Self::folded(sum, again)
    }

    /// `self − other`.
    #[inline]
    pub(super) fn minus(&self, other: &Self) -> Self {
        let (difference, under) = subtract(&self.0, &other.0);
        let (mut difference, again) =
            subtract(&difference, &[if under { FOLD } else { 0 }, 0, 0, 0]);
        if again {
            // It wrapped to just below 2^256.
            difference[0] -= FOLD;
        }
        Self(difference)
    }

    /// `−self`.
    pub(super) fn negated(&self) -> Self {
        Self::ZERO.minus(self)
    }

    /// `self^((p − 5) / 8)`, from which a square root is made (RFC 8032 §5.1.3).
    pub(super) fn to_p58(self) -> Self {
        self.to_2_250_minus_1().0.squared_times(2).times(&self)
    }

    /// `self^(2^250 − 1)` and `self^11`.
    fn to_2_250_minus_1(self) -> (Self, Self) {
        let two = self.squared();
        let nine = two.squared_times(2).times(&self);
        let eleven = nine.times(&two);
        let ones5 = eleven.squared().times(&nine);
        let ones10 = ones5.squared_times(5).times(&ones5);
        let ones20 = ones10.squared_times(10).times(&ones10);
        let ones40 = ones20.squared_times(20).times(&ones20);
        let ones50 = ones40.squared_times(10).times(&ones10);
        let ones100 = ones50.squared_times(50).times(&ones50);
        let ones200 = ones100.squared_times(100).times(&ones100);
        (ones200.squared_times(50).times(&ones50), eleven)
    }

    /// `limbs`, and `2^256` where there is `over`; the limbs are small then.
    #[inline]
    fn folded(mut limbs: Limbs, over: bool) -> Self {
        if over {
            limbs[0] += FOLD;
        }
        Self(limbs)
    }
}

impl Field for Element {
    const ONE: Self = Self([1, 0, 0, 0]);

    #[inline]
    fn times(&self, other: &Self) -> Self {
        let (a, b) = (&self.0, &other.0);
        let mut product = [0u64; 8];
        for (i, &digit) in b.iter().enumerate() {
            let mut carry = 0;
            for (j, &factor) in a.iter().enumerate() {
                (product[i + j], carry) = multiply_add(factor, digit, product[i + j], carry);
            }
            product[i + 4] = carry;
        }
        let mut low = [0; 4];
        let mut carry = 0;
        for (i, out) in low.iter_mut().enumerate() {
            (*out, carry) = multiply_add(product[i + 4], FOLD, product[i], carry);
        }
        // At most 38 times 38: a second carry leaves next to nothing.
        let (low, over) = add(&low, &[carry * FOLD, 0, 0, 0]);
        Self::folded(low, over)
    }

    /// And zero for zero: `self^(p − 2)` (Fermat).
    fn inverted(&self) -> Self {
        let (power, eleventh) = self.to_2_250_minus_1();
        power.squared_times(5).times(&eleventh)
    }
}

#[cfg(test)]
mod tests {
    use crypto_bigint::{NonZero, U256};
    use proptest::prelude::*;

    use super::*;
    use crate::signature::limbs::limbs;

    fn number(limbs: Limbs) -> U256 {
        U256::from_le_slice(&limbs.map(u64::to_le_bytes).concat())
    }

    /// Numbers at which carries run through, as well as any others.
    fn limb() -> impl Strategy<Value = u64> {
        let odd = [
            0,
            1,
            18,
            19,
            37,
            38,
            u64::MAX,
            u64::MAX - 18,
            u64::MAX - 37,
            P[3],
        ];
        prop_oneof![any::<u64>(), prop::sample::select(odd.to_vec())]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn arithmetic_is_that_of_an_independent_implementation(
            a in prop::array::uniform4(limb()),
            b in prop::array::uniform4(limb()),
        ) {
            let modulus = NonZero::new(number(P)).unwrap();
            let (x, y) = (Element(a), Element(b));
            let (a, b) = (number(a).rem_vartime(&modulus), number(b).rem_vartime(&modulus));
            prop_assert_eq!(x.reduced(), limbs(&a));
            prop_assert_eq!(x.times(&y).reduced(), limbs(&a.mul_mod(&b, &modulus)));
            prop_assert_eq!(x.squared().reduced(), limbs(&a.mul_mod(&a, &modulus)));
            prop_assert_eq!(x.plus(&y).reduced(), limbs(&a.add_mod(&b, &modulus)));
            prop_assert_eq!(x.minus(&y).reduced(), limbs(&a.sub_mod(&b, &modulus)));
            prop_assert_eq!(x.negated().reduced(), limbs(&U256::ZERO.sub_mod(&a, &modulus)));
        }

        #[test]
        fn a_number_times_its_inverse_is_one(a in prop::array::uniform4(limb())) {
            let x = Element(a);
            prop_assume!(x != Element::ZERO);
            prop_assert_eq!(x.times(&x.inverted()), Element::ONE);
        }
    }

    #[test]
    fn constants_are_what_they_are_said_to_be() {
        let small = |n: u64| Element([n, 0, 0, 0]);
        assert_eq!(Element::D.times(&small(121_666)), small(121_665).negated());
        assert_eq!(Element::ROOT_OF_MINUS_ONE.squared(), Element::ONE.negated());
        assert_eq!(Element::ZERO.inverted(), Element::ZERO);
        assert!(Element::new(P).is_none());
    }
}
