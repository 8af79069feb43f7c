//! What takes memory beside the memory tier, and so is taken from what the tier may hold: the
//! configured memory is what all of it takes together.
//!
//! Whoever holds much says so with a [`Claim`]; what nobody says is measured, where the process is
//! the edge alone (`governor.rs`).

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering::Relaxed},
};

/// The part of the configured memory that stays the tier's whatever else is claimed.
const AT_LEAST: u64 = 4;

/// Bytes held outside the memory tier.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    claimed: AtomicI64,
    /// What is held beyond the claims, by measurement; less than nothing where they are too high.
    unclaimed: AtomicI64,
}

/// Bytes held until dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    ledger: Arc<Ledger>,
    bytes: u64,
}

impl Ledger {
    /// Notes that so many bytes are held.
    pub(crate) fn claim(self: &Arc<Self>, bytes: u64) -> Claim {
        let mut claim = Claim {
            ledger: self.clone(),
            bytes: 0,
        };
        claim.set(bytes);
        claim
    }

    /// Notes what is held beyond the claims.
    pub(crate) fn measured(&self, unclaimed: i64) {
        self.unclaimed.store(unclaimed, Relaxed);
    }

    /// Bytes that the memory tier may take of `configured` ones.
    pub(crate) fn left_of(&self, configured: u64) -> u64 {
        let outside = self.claimed.load(Relaxed) + self.unclaimed.load(Relaxed);
        let outside = u64::try_from(outside).unwrap_or(0);
        configured
            .saturating_sub(outside)
            .max(configured / AT_LEAST)
    }
}

impl Claim {
    /// Holds so many bytes from now on.
    pub(crate) fn set(&mut self, bytes: u64) {
        let change = i64::try_from(bytes).unwrap_or(i64::MAX / 4)
            - i64::try_from(self.bytes).unwrap_or(i64::MAX / 4);
        if change != 0 {
            self.ledger.claimed.fetch_add(change, Relaxed);
            self.bytes = bytes;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_claimed_is_taken_from_the_tier_but_for_a_quarter() {
        let ledger = Arc::new(Ledger::default());
        assert_eq!(ledger.left_of(1000), 1000);
        let mut claim = ledger.claim(300);
        let other = ledger.claim(100);
        assert_eq!(ledger.left_of(1000), 600);
        claim.set(50);
        assert_eq!(ledger.left_of(1000), 850);
        ledger.measured(200);
        assert_eq!(ledger.left_of(1000), 650);
        ledger.measured(-1000);
        assert_eq!(ledger.left_of(1000), 1000);
        ledger.measured(5000);
        assert_eq!(ledger.left_of(1000), 250);
        drop((claim, other));
        ledger.measured(0);
        assert_eq!(ledger.left_of(1000), 1000);
    }
}
