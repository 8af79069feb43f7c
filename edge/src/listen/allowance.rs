//! What a client may spend on things that ask for nothing: a bucket that time and useful work fill.

use std::time::Instant;

/// Requests that a client may cancel each second, beyond those of [`Limits::resets`].
///
/// [`Limits::resets`]: crate::config::Limits::resets
pub(crate) const RESETS_PER_SECOND: u32 = 20;

/// A bucket of tokens.
#[derive(Debug)]
pub(crate) struct Allowance {
    left: f64,
    most: f64,
    per_second: f64,
    since: Instant,
}

impl Allowance {
    /// A full bucket of `most` that gains `per_second`.
    pub(crate) fn new(most: u32, per_second: u32, now: Instant) -> Self {
        Self {
            left: most.into(),
            most: most.into(),
            per_second: per_second.into(),
            since: now,
        }
    }

    /// Useful work was done.
    pub(crate) fn earn(&mut self, amount: f64) {
        self.left = (self.left + amount).min(self.most);
    }

    /// Spends; false where there is too little. The clock is asked only when the bucket runs dry.
    pub(crate) fn spend(&mut self, amount: f64, now: impl FnOnce() -> Instant) -> bool {
        if self.left < amount {
            let now = now();
            let passed = now.saturating_duration_since(self.since).as_secs_f64();
            self.since = now;
            self.earn(passed * self.per_second);
        }
        if self.left < amount {
            return false;
        }
        self.left -= amount;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_and_work_fill_it() {
        let begun = Instant::now();
        let mut allowance = Allowance::new(10, 2, begun);
        let spend = |allowance: &mut Allowance, after_s: u64| {
            let now = begun + Duration::from_secs(after_s);
            (0..1_000)
                .take_while(|_| allowance.spend(1.0, || now))
                .count()
        };
        assert_eq!(spend(&mut allowance, 0), 10);
        assert_eq!(spend(&mut allowance, 3), 6);
        allowance.earn(4.0);
        assert_eq!(spend(&mut allowance, 3), 4);
        assert_eq!(spend(&mut allowance, 1_000), 10);
    }
}
