//! A keyset with the verdicts reached by it: what an edge asks at every request.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{
    keyset::Keyset,
    limits::{VERDICT_SHARDS, VERDICTS},
    reject::Reject,
    verify::{Request, Verified, authenticate},
};

/// Verifies tokens and remembers those that were sound, so that a token's signature is checked
/// once and its rules at every request. To change keys or revocations make a new one: verdicts of
/// one keyset never outlive it.
pub struct Verifier {
    keyset: Arc<Keyset>,
    shards: [Mutex<Generations>; VERDICT_SHARDS],
    hasher: RandomState,
}

/// Sound tokens by their text. When the young generation is full it becomes the old one, and what
/// was in the old one is forgotten: at most twice [`VERDICTS`] a shard.
#[derive(Default)]
struct Generations {
    young: HashMap<Box<str>, Arc<Verified>>,
    old: HashMap<Box<str>, Arc<Verified>>,
}

impl Verifier {
    /// Trusts the keys of `keyset`.
    pub fn new(keyset: impl Into<Arc<Keyset>>) -> Self {
        Self {
            keyset: keyset.into(),
            shards: Default::default(),
            hasher: RandomState::new(),
        }
    }

    /// The keys it trusts.
    pub fn keyset(&self) -> &Arc<Keyset> {
        &self.keyset
    }

    /// Verifies a token for one request: as [`crate::verify`], but cheap for tokens seen lately.
    ///
    /// # Errors
    /// Why the request is refused.
    pub fn verify(&self, token: &str, request: &Request<'_>) -> Result<Arc<Verified>, Reject> {
        let shard = &self.shards[self.shard(token)];
        let known = shard.lock().get(token);
        if let Some(verified) = known {
            verified.check(request)?;
            return Ok(verified);
        }
        let verified = Arc::new(authenticate(&self.keyset, token, request.now_unix_s)?);
        // Kept even where it doesn't open this request: its signature has been paid for.
        shard.lock().put(token.into(), verified.clone());
        verified.check(request)?;
        Ok(verified)
    }

    fn shard(&self, token: &str) -> usize {
        usize::try_from(self.hasher.hash_one(token) % VERDICT_SHARDS as u64).unwrap_or(0)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is remembered is kept by the tokens themselves.
        f.debug_struct("Verifier")
            .field("keyset", &self.keyset)
            .finish_non_exhaustive()
    }
}

impl Generations {
    fn get(&mut self, token: &str) -> Option<Arc<Verified>> {
        if let Some(verified) = self.young.get(token) {
            return Some(verified.clone());
        }
        let (token, verified) = self.old.remove_entry(token)?;
        self.put(token, verified.clone());
        Some(verified)
    }

    fn put(&mut self, token: Box<str>, verified: Arc<Verified>) {
        if self.young.len() >= VERDICTS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(token, verified);
    }
}
