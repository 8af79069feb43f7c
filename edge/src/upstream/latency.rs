//! Recent first-byte latencies of one upstream, and their 95th percentile: what a hedge waits for.

use std::time::Duration;

/// Buckets, four to a doubling, from 1 µs to more than an hour.
const BUCKETS: usize = 128;

/// Observations until anything is said.
const ENOUGH: u32 = 64;

/// At so many observations all count half, so that the past fades.
const FADE_AT: u32 = 512;

/// Observations between two readings of the percentile.
const REFRESH: u32 = 16;

/// A histogram that forgets. 520 bytes.
#[derive(Debug)]
pub(super) struct Latency {
    counts: [u32; BUCKETS],
    total: u32,
    since_reading: u32,
    p95: Option<Duration>,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            total: 0,
            since_reading: 0,
            p95: None,
        }
    }
}

impl Latency {
    /// Takes one observation in. An attempt that was given up counts with the time it had lasted.
    pub(super) fn observe(&mut self, time: Duration) {
        self.counts[bucket(time)] += 1;
        self.total += 1;
        self.since_reading += 1;
        if self.total >= FADE_AT {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().sum();
        }
        if self.total >= ENOUGH && (self.p95.is_none() || self.since_reading >= REFRESH) {
            self.since_reading = 0;
            self.p95 = Some(self.percentile(95));
        }
    }

    /// The 95th percentile, at most a quarter too high; none before 64 observations.
    pub(super) fn p95(&self) -> Option<Duration> {
        self.p95
    }

    fn percentile(&self, percent: u32) -> Duration {
        let rank = (self.total * percent).div_ceil(100);
        let mut seen = 0;
        for (n, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper(n);
            }
        }
        upper(BUCKETS - 1)
    }
}

/// Number of the bucket that holds a time.
fn bucket(time: Duration) -> usize {
    let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(4);
    let doubling = us.ilog2();
    let quarter = (us >> (doubling - 2)) & 3;
    (((doubling - 2) * 4) as usize + quarter as usize).min(BUCKETS - 1)
}

/// What lies above a bucket.
fn upper(n: usize) -> Duration {
    let quarter = n as u64 % 4;
    Duration::from_micros((5 + quarter) << (n / 4))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn buckets_hold_what_lies_below_their_upper_end() {
        for us in (4..100_000).step_by(7) {
            let time = Duration::from_micros(us);
            let top = upper(bucket(time));
            assert!(
                time < top && top <= time * 5 / 4 + Duration::from_micros(1),
                "{us}"
            );
        }
    }

    #[test]
    fn the_percentile_is_near_and_comes_late() {
        let mut latency = Latency::default();
        for n in 0..63 {
            latency.observe(MS * (n % 20 + 1));
        }
        assert_eq!(latency.p95(), None);
        for n in 63..400 {
            latency.observe(MS * (n % 20 + 1));
        }
        let p95 = latency.p95().unwrap();
        assert!((MS * 19..=MS * 24).contains(&p95), "{p95:?}");
    }

    #[test]
    fn the_past_fades() {
        let mut latency = Latency::default();
        for _ in 0..2000 {
            latency.observe(MS * 200);
        }
        for _ in 0..4000 {
            latency.observe(MS * 2);
        }
        assert!(latency.p95().unwrap() < MS * 4, "{:?}", latency.p95());
    }
}
