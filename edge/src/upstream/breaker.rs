//! When an upstream is left alone: a circuit breaker as a state machine without clock or dice.
//!
//! Closed, it counts faults in a row and the share of failures in a sliding window. Open, it refuses
//! until a time. Half open, it lets single probes through; enough good ones close it, one bad one
//! opens it for longer.

use std::time::{Duration, Instant};

use super::config::Breaker as Settings;

/// Parts of the window that age together.
const BUCKETS: usize = 10;

/// How one exchange with an upstream ended, as far as the upstream's health is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A response that speaks for the upstream.
    Good,
    /// No response, or one cut short.
    Fault,
    /// 502, 503 or 504: an answer, but no service. Counts in the window only, since an upstream
    /// that says so of one resource may serve all others.
    Unserved,
    /// Given up by us before it told anything.
    Unknown,
}

/// The right to make one exchange; [`Breaker::record`] takes it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Admitted by a closed breaker.
    Pass,
    /// Admitted to find out whether the upstream is back; of the given trip.
    Probe(u32),
}

/// What the breaker does, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// Lets everything through.
    Closed,
    /// Lets probes through.
    HalfOpen,
    /// Lets nothing through.
    Open,
}

#[derive(Debug)]
enum State {
    Closed {
        /// Faults since the last good exchange.
        streak: u32,
        /// When the first of them came.
        since: Option<Instant>,
        window: Window,
    },
    Open {
        until: Instant,
    },
    HalfOpen {
        /// Probes under way.
        probes: u32,
        good: u32,
    },
}

/// One upstream's breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    settings: Settings,
    state: State,
    /// Openings since it was last closed.
    trips: u32,
}

impl Breaker {
    pub(super) fn new(settings: Settings) -> Self {
        let state = State::Closed {
            streak: 0,
            since: None,
            window: Window::new(settings.window),
        };
        Self {
            settings,
            state,
            trips: 0,
        }
    }

    pub(super) fn position(&self) -> Position {
        match self.state {
            State::Closed { .. } => Position::Closed,
            State::HalfOpen { .. } => Position::HalfOpen,
            State::Open { .. } => Position::Open,
        }
    }

    /// Whether [`Breaker::admit`] would let an exchange through.
    pub(super) fn would_admit(&self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until } => now >= until,
            State::HalfOpen { probes, .. } => probes < self.settings.probes,
        }
    }

    /// Lets an exchange through, or not.
    pub(super) fn admit(&mut self, now: Instant) -> Option<Admission> {
        if !self.would_admit(now) {
            return None;
        }
        match &mut self.state {
            State::Closed { .. } => Some(Admission::Pass),
            State::Open { .. } => {
                self.state = State::HalfOpen { probes: 1, good: 0 };
                Some(Admission::Probe(self.trips))
            }
            State::HalfOpen { probes, .. } => {
                *probes += 1;
                Some(Admission::Probe(self.trips))
            }
        }
    }

    /// Takes an exchange's end into account. `dice` spreads the end of an opening, so that edges
    /// don't probe in step.
    pub(super) fn record(
        &mut self,
        admission: Admission,
        verdict: Verdict,
        now: Instant,
        dice: u64,
    ) {
        match (&mut self.state, admission) {
            (
                State::Closed {
                    streak,
                    since,
                    window,
                },
                Admission::Pass,
            ) => {
                match verdict {
                    Verdict::Unknown => return,
                    Verdict::Unserved => {}
                    Verdict::Good => (*streak, *since) = (0, None),
                    Verdict::Fault => {
                        *streak += 1;
                        since.get_or_insert(now);
                    }
                }
                let failed = verdict != Verdict::Good;
                let (total, failures) = window.add(failed, now);
                let too_many = total >= self.settings.min_requests
                    && failures * 100 >= total * self.settings.error_rate;
                let too_long = *streak >= self.settings.failures
                    && since.is_some_and(|since| {
                        now.saturating_duration_since(since) >= self.settings.failing_for
                    });
                if failed && (too_many || too_long) {
                    self.open(now, dice);
                }
            }
            (State::HalfOpen { probes, good }, Admission::Probe(trip)) if trip == self.trips => {
                *probes = probes.saturating_sub(1);
                match verdict {
                    Verdict::Unknown => {}
                    Verdict::Fault | Verdict::Unserved => self.open(now, dice),
                    Verdict::Good => {
                        *good += 1;
                        if *good >= self.settings.successes {
                            *self = Self::new(self.settings.clone());
                        }
                    }
                }
            }
            // An exchange from before the breaker moved says nothing about now.
            _ => {}
        }
    }

    /// Opens for the base time, doubled for every opening in a row, ± 20 %.
    fn open(&mut self, now: Instant, dice: u64) {
        let doubled = self.settings.open * 2_u32.saturating_pow(self.trips.min(16));
        let time = doubled.min(self.settings.open_max);
        let spread = 80 + u32::try_from(dice % 41).unwrap_or(0);
        self.trips = self.trips.saturating_add(1);
        self.state = State::Open {
            until: now + time * spread / 100,
        };
    }
}

/// Exchanges and failures of the recent past.
#[derive(Debug)]
struct Window {
    bucket: Duration,
    began: Option<Instant>,
    /// Number of the bucket that was last added to, counted from `began`.
    at: u128,
    counts: [(u32, u32); BUCKETS],
}

impl Window {
    fn new(length: Duration) -> Self {
        Self {
            bucket: (length / BUCKETS as u32).max(Duration::from_millis(1)),
            began: None,
            at: 0,
            counts: [(0, 0); BUCKETS],
        }
    }

    /// Adds one exchange; all exchanges and failures in the window.
    fn add(&mut self, failed: bool, now: Instant) -> (u32, u32) {
        let began = *self.began.get_or_insert(now);
        let at = now.saturating_duration_since(began).as_nanos() / self.bucket.as_nanos();
        for passed in 1..=at.saturating_sub(self.at).min(BUCKETS as u128) {
            self.counts[((self.at + passed) % BUCKETS as u128) as usize] = (0, 0);
        }
        self.at = self.at.max(at);
        let bucket = &mut self.counts[(self.at % BUCKETS as u128) as usize];
        bucket.0 = bucket.0.saturating_add(1);
        bucket.1 = bucket.1.saturating_add(u32::from(failed));
        self.counts.iter().fold((0, 0), |(total, bad), (t, b)| {
            (u32::saturating_add(total, *t), u32::saturating_add(bad, *b))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// No spread: 100 % of the time.
    const MIDDLE: u64 = 20;

    fn settings() -> Settings {
        Settings {
            failures: 3,
            failing_for: Duration::ZERO,
            error_rate: 50,
            min_requests: 10,
            window: Duration::from_secs(10),
            open: Duration::from_secs(1),
            open_max: Duration::from_secs(4),
            probes: 1,
            successes: 2,
        }
    }

    /// A breaker with a clock of its own.
    struct Lab {
        breaker: Breaker,
        now: Instant,
    }

    impl Lab {
        fn new() -> Self {
            Self {
                breaker: Breaker::new(settings()),
                now: Instant::now(),
            }
        }

        fn later(&mut self, ms: u64) -> &mut Self {
            self.now += Duration::from_millis(ms);
            self
        }

        /// Makes one exchange; whether it was let through.
        fn exchange(&mut self, verdict: Verdict) -> bool {
            match self.breaker.admit(self.now) {
                Some(admission) => {
                    self.breaker.record(admission, verdict, self.now, MIDDLE);
                    true
                }
                None => false,
            }
        }
    }

    #[test]
    fn faults_in_a_row_open_it_and_good_probes_close_it() {
        let mut lab = Lab::new();
        for _ in 0..2 {
            assert!(lab.exchange(Verdict::Fault));
        }
        assert!(lab.exchange(Verdict::Good));
        for _ in 0..3 {
            assert!(lab.exchange(Verdict::Fault));
        }
        assert_eq!(lab.breaker.position(), Position::Open);
        assert!(!lab.later(999).exchange(Verdict::Good));
        assert!(lab.later(1).exchange(Verdict::Good));
        assert_eq!(lab.breaker.position(), Position::HalfOpen);
        assert!(lab.exchange(Verdict::Good));
        assert_eq!(lab.breaker.position(), Position::Closed);
        // What was counted before the opening is forgotten.
        assert!(lab.exchange(Verdict::Fault));
        assert_eq!(lab.breaker.position(), Position::Closed);
    }

    #[test]
    fn a_burst_of_faults_is_not_enough_where_time_is_asked_for() {
        let mut lab = Lab::new();
        lab.breaker.settings.failing_for = Duration::from_millis(500);
        lab.breaker.settings.min_requests = 1000;
        for _ in 0..8 {
            assert!(lab.exchange(Verdict::Fault));
        }
        lab.later(400).exchange(Verdict::Good);
        for _ in 0..2 {
            assert!(lab.later(400).exchange(Verdict::Fault));
        }
        assert_eq!(lab.breaker.position(), Position::Closed, "two are too few");
        lab.exchange(Verdict::Fault);
        lab.later(100).exchange(Verdict::Fault);
        assert_eq!(lab.breaker.position(), Position::Open);
    }

    #[test]
    fn half_open_lets_one_probe_through_at_a_time() {
        let mut lab = Lab::new();
        for _ in 0..3 {
            lab.exchange(Verdict::Fault);
        }
        lab.later(1000);
        let probe = lab.breaker.admit(lab.now).unwrap();
        assert!(matches!(probe, Admission::Probe(_)));
        assert_eq!(lab.breaker.admit(lab.now), None);
        // One that was given up frees its place and proves nothing.
        lab.breaker.record(probe, Verdict::Unknown, lab.now, MIDDLE);
        assert_eq!(lab.breaker.position(), Position::HalfOpen);
        assert!(lab.breaker.admit(lab.now).is_some());
    }

    #[test]
    fn openings_in_a_row_grow_to_a_limit_and_spread() {
        let mut lab = Lab::new();
        for _ in 0..3 {
            lab.exchange(Verdict::Fault);
        }
        for seconds in [1, 2, 4, 4] {
            assert!(!lab.later(seconds * 1000 - 1).exchange(Verdict::Fault));
            assert!(lab.later(1).exchange(Verdict::Fault), "{seconds}");
        }
        let mut ends = std::collections::HashSet::new();
        for dice in 0..41 {
            let mut breaker = Breaker::new(settings());
            let now = Instant::now();
            breaker.open(now, dice);
            let State::Open { until } = breaker.state else {
                panic!("{breaker:?}")
            };
            let ms = (until - now).as_millis();
            assert!((800..=1200).contains(&ms), "{ms}");
            ends.insert(ms);
        }
        assert!(ends.len() > 30);
    }

    #[test]
    fn a_share_of_failures_opens_it_and_old_ones_are_forgotten() {
        let mut lab = Lab::new();
        // Unserved answers never add up to a streak, and too few requests to a rate.
        for _ in 0..9 {
            assert!(lab.exchange(Verdict::Unserved));
        }
        lab.later(11_000);
        for n in 0..20 {
            let verdict = if n % 5 >= 3 {
                Verdict::Unserved
            } else {
                Verdict::Good
            };
            assert!(lab.later(100).exchange(verdict));
        }
        assert_eq!(lab.breaker.position(), Position::Closed, "40 % is bearable");
        for _ in 0..4 {
            lab.exchange(Verdict::Unserved);
        }
        assert_eq!(lab.breaker.position(), Position::Open, "12 of 24 is not");
    }

    #[test]
    fn results_from_before_it_moved_change_nothing() {
        let mut lab = Lab::new();
        let early = lab.breaker.admit(lab.now).unwrap();
        for _ in 0..3 {
            lab.exchange(Verdict::Fault);
        }
        lab.later(1000);
        let first = lab.breaker.admit(lab.now).unwrap();
        lab.breaker.record(early, Verdict::Fault, lab.now, MIDDLE);
        assert_eq!(lab.breaker.position(), Position::HalfOpen);
        lab.breaker.record(first, Verdict::Fault, lab.now, MIDDLE);
        lab.later(2000);
        let second = lab.breaker.admit(lab.now).unwrap();
        lab.breaker.record(first, Verdict::Fault, lab.now, MIDDLE);
        assert_eq!(lab.breaker.position(), Position::HalfOpen);
        lab.breaker.record(second, Verdict::Good, lab.now, MIDDLE);
        assert!(lab.exchange(Verdict::Good));
        assert_eq!(lab.breaker.position(), Position::Closed);
    }
}
