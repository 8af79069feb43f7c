//! What one worker counts, and what is shown while it runs.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{
    client::{Failure, Got},
    histogram::Histogram,
};

/// Counts of one worker; merged at the end, so that workers share nothing hot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) cache: BTreeMap<String, u64>,
    pub(crate) latency: Histogram,
    pub(crate) first_byte: Histogram,
    pub(crate) listening: Heard,
}

/// What listeners noticed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) tracks: u64,
    pub(crate) startup: Histogram,
    pub(crate) rebuffers: u64,
    pub(crate) stalled: Duration,
    /// Seconds of sound, by the media's clock.
    pub(crate) played_s: f64,
}

/// Totals so far, for the progress line.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) requests: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) errors: AtomicU64,
}

impl Tally {
    /// Counts a request's outcome. `waited` is the time before it could even be sent.
    pub(crate) fn count(&mut self, outcome: &Result<Got, Failure>, waited: Duration, live: &Live) {
        self.requests += 1;
        live.requests.fetch_add(1, Ordering::Relaxed);
        match outcome {
            Ok(got) => {
                self.bytes += got.length;
                live.bytes.fetch_add(got.length, Ordering::Relaxed);
                self.latency.record(waited + got.total);
                self.first_byte.record(waited + got.first_byte);
                if let Some(cache) = &got.cache {
                    *self.cache.entry(cache.clone()).or_default() += 1;
                }
            }
            Err(failure) => {
                live.errors.fetch_add(1, Ordering::Relaxed);
                *self.errors.entry(failure.kind()).or_default() += 1;
            }
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        for (mine, theirs) in [
            (&mut self.errors, &other.errors),
            (&mut self.cache, &other.cache),
        ] {
            for (kind, count) in theirs {
                *mine.entry(kind.clone()).or_default() += count;
            }
        }
        self.latency.merge(&other.latency);
        self.first_byte.merge(&other.first_byte);
        let (mine, theirs) = (&mut self.listening, &other.listening);
        mine.tracks += theirs.tracks;
        mine.startup.merge(&theirs.startup);
        mine.rebuffers += theirs.rebuffers;
        mine.stalled += theirs.stalled;
        mine.played_s += theirs.played_s;
    }
}
