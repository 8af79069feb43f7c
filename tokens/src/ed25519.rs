//! Ed25519 by keys that are known beforehand (RFC 8032 §5.1.7).
//!
//! A verifier meets few keys and many tokens, so each key gets a table of its multiples: `s·B − k·A`
//! is then two walks through tables instead of a double-and-add over 253 bits, which takes two
//! thirds of the time.

use std::sync::OnceLock;

use aws_lc_rs::digest;
use curve25519_dalek::{
    constants::ED25519_BASEPOINT_TABLE,
    edwards::{CompressedEdwardsY, EdwardsBasepointTable, EdwardsPoint},
    scalar::Scalar,
    traits::BasepointTable as _,
};

/// A public key.
pub(crate) struct PublicKey {
    bytes: [u8; 32],
    /// `−A`.
    negated: EdwardsPoint,
    /// Its multiples, 30 KiB; making them takes as long as some thirty signatures, hence at first use.
    table: OnceLock<Box<EdwardsBasepointTable>>,
}

impl PublicKey {
    /// `None` where the bytes are no point of the curve, not its only encoding, or a point of small
    /// order, for which one signature fits many messages.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let bytes = <[u8; 32]>::try_from(bytes).ok()?;
        let point = CompressedEdwardsY(bytes).decompress()?;
        let sound = point.compress().0 == bytes && !point.is_small_order();
        sound.then(|| Self {
            bytes,
            negated: -point,
            table: OnceLock::new(),
        })
    }

    /// Whether `signature` is this key's over `message`. Takes time that depends on its arguments
    /// in no way that matters: all of them are public.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let Some((r, s)) = signature.split_at_checked(32) else {
            return false;
        };
        let Ok(s) = <[u8; 32]>::try_from(s) else {
            return false;
        };
        // An `s` above the group's order would be a second signature for the same message.
        let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(s)) else {
            return false;
        };
        let Some(k) = self.challenge(r, message) else {
            return false;
        };
        let table = self
            .table
            .get_or_init(|| Box::new(EdwardsBasepointTable::create(&self.negated)));
        let expected = ED25519_BASEPOINT_TABLE.mul_base(&s) + table.mul_base(&k);
        // Compared as bytes: then no second encoding of `R` passes.
        expected.compress().0 == r
    }

    /// `k`, the hash of commitment, key and message.
    fn challenge(&self, r: &[u8], message: &[u8]) -> Option<Scalar> {
        let mut hash = digest::Context::new(&digest::SHA512);
        for part in [r, &self.bytes, message] {
            hash.update(part);
        }
        let hash = <[u8; 64]>::try_from(hash.finish().as_ref()).ok()?;
        Some(Scalar::from_bytes_mod_order_wide(&hash))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
    use proptest::prelude::*;

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
