//! Signatures by keys that are known beforehand.
//!
//! A verifier meets few keys and many tokens, so each key gets a table of its multiples. How long
//! verification takes depends on what is verified, all of which is public: nothing here may touch a
//! secret. Signing is AWS-LC's, and so are hashes.

pub(crate) mod ed25519;
mod limbs;
mod multiples;
pub(crate) mod p256;
