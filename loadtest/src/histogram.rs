//! Latencies in buckets of constant relative width.

use std::time::Duration;

/// Buckets in each doubling: values are kept to 1/256, better than half a per cent.
const STEPS: u64 = 256;
/// Doublings above the first [`STEPS`] microseconds: up to 2^32 µs, more than an hour.
const DOUBLINGS: u64 = 24;

/// A histogram of durations from 1 µs to over an hour. Takes 50 KiB whatever it counts.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum_us: u64,
    max_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; (STEPS * (DOUBLINGS + 1)) as usize],
            count: 0,
            sum_us: 0,
            max_us: 0,
        }
    }
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&mut self, value: Duration) {
        let us = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(us)] += 1;
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(us);
        self.max_us = self.max_us.max(us);
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &Self) {
        self.counts
            .iter_mut()
            .zip(&other.counts)
            .for_each(|(a, b)| *a += b);
        self.count += other.count;
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        self.max_us = self.max_us.max(other.max_us);
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The duration that a share of all, 0 to 1, don't exceed; zero where nothing was counted.
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(upper(bucket as u64).min(self.max_us));
            }
        }
        self.max()
    }

    /// The longest duration, exact.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.max_us)
    }

    /// The mean.
    pub fn mean(&self) -> Duration {
        Duration::from_micros(self.sum_us.checked_div(self.count).unwrap_or(0))
    }
}

fn bucket(us: u64) -> usize {
    // Below 2 × STEPS each microsecond has a bucket; above, each doubling has STEPS.
    let doubling =
        u64::from(us.checked_ilog2().unwrap_or(0)).saturating_sub(u64::from(STEPS.ilog2()));
    let doubling = doubling.min(DOUBLINGS - 1);
    let step = (us >> doubling).min(2 * STEPS - 1);
    (doubling * STEPS + step) as usize
}

/// The largest value of a bucket.
fn upper(bucket: u64) -> u64 {
    let doubling = (bucket / STEPS).saturating_sub(1);
    let step = bucket - doubling * STEPS;
    ((step + 1) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Histogram, bucket, upper};

    #[test]
    fn buckets_hold_their_values() {
        for us in (0..5000).chain([65_535, 65_536, 1_000_000, 123_456_789, 4_294_967_295]) {
            let top = upper(bucket(us) as u64);
            assert!(top >= us && top - us <= us / 256, "{us} -> {top}");
        }
        bucket(u64::MAX);
    }

    #[test]
    fn quantiles_of_an_even_spread() {
        let mut histogram = Histogram::default();
        for ms in 1..=1000 {
            histogram.record(Duration::from_millis(ms));
        }
        for (share, ms) in [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0), (0.999, 999.0)] {
            let found = histogram.quantile(share).as_secs_f64() * 1e3;
            assert!((found / ms - 1.0).abs() < 0.005, "{share}: {found}");
        }
        assert_eq!(histogram.max(), Duration::from_millis(1000));
        assert_eq!(histogram.quantile(1.0), Duration::from_millis(1000));
        assert_eq!(Histogram::default().quantile(0.99), Duration::ZERO);
        let mut sum = histogram.clone();
        sum.merge(&histogram);
        assert_eq!((sum.count(), sum.mean()), (2000, histogram.mean()));
    }
}
