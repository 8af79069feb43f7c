//! How many extra attempts there may be: a token bucket that requests fill and retries and hedges
//! empty, so that a failing upstream is never asked much more than a healthy one.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// What one extra attempt costs, in hundredths.
const COST: u32 = 100;

/// The bucket. Of `n` requests at most `percent × n / 100 + burst` get an extra attempt.
#[derive(Debug)]
pub(super) struct Budget {
    /// Hundredths of an attempt.
    level: AtomicU32,
    /// Hundredths that one request brings: the percentage.
    percent: u32,
    /// Hundredths it holds at most.
    capacity: u32,
}

impl Budget {
    /// A full bucket that grows by `percent` of an attempt a request and holds `burst` attempts.
    pub(super) fn new(percent: u32, burst: u32) -> Self {
        let capacity = burst.saturating_mul(COST);
        let level = AtomicU32::new(if percent == 0 { 0 } else { capacity });
        Self {
            level,
            percent,
            capacity,
        }
    }

    /// A request came.
    pub(super) fn deposit(&self) {
        // In good times the bucket is full, and this is one load.
        if self.level.load(Relaxed) < self.capacity {
            let _ = self.level.fetch_update(Relaxed, Relaxed, |level| {
                Some(level.saturating_add(self.percent).min(self.capacity))
            });
        }
    }

    /// An attempt that was paid for was not made.
    pub(super) fn refund(&self) {
        let _ = self.level.fetch_update(Relaxed, Relaxed, |level| {
            Some(level.saturating_add(COST).min(self.capacity))
        });
    }

    /// Whether one more attempt may be made; if so, it is paid for.
    pub(super) fn withdraw(&self) -> bool {
        self.level
            .fetch_update(Relaxed, Relaxed, |level| level.checked_sub(COST))
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_attempts_are_a_share_of_requests() {
        let budget = Budget::new(10, 10);
        let (mut requests, mut extra) = (0, 0);
        for _ in 0..10_000 {
            requests += 1;
            budget.deposit();
            // Everything fails, and everyone would like three more attempts.
            extra += (0..3).filter(|_| budget.withdraw()).count();
        }
        assert!(extra <= requests / 10 + 10, "{extra} of {requests}");
        assert!(extra >= requests / 10, "{extra} of {requests}");
    }

    #[test]
    fn a_calm_time_saves_up_no_more_than_a_burst() {
        let budget = Budget::new(10, 3);
        for _ in 0..1000 {
            budget.deposit();
        }
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 3);
    }

    #[test]
    fn none_is_none() {
        let budget = Budget::new(0, 10);
        budget.deposit();
        assert!(!budget.withdraw());
    }
}
