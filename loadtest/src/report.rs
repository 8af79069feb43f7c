//! What a run found, for people and for programs.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;

use crate::{histogram::Histogram, stats::Tally};

/// What a run found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// HTTP version spoken.
    pub protocol: &'static str,
    /// Seconds from the first request to the last answer.
    pub seconds: f64,
    /// Requests made, failed ones included.
    pub requests: u64,
    /// Failed requests, by kind.
    pub errors: BTreeMap<String, u64>,
    /// Body bytes received.
    pub bytes: u64,
    /// Good answers a second.
    pub requests_per_s: f64,
    /// Body bytes a second.
    pub bytes_per_s: f64,
    /// From the time a request was due to the end of its body; good answers only.
    pub latency_ms: Latency,
    /// From the time a request was due to the head of its answer; good answers only.
    pub first_byte_ms: Latency,
    /// Answers by the outcome in their Cache-Status field.
    pub cache: BTreeMap<String, u64>,
    /// In player mode, what listeners noticed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listening: Option<Listening>,
}

/// A distribution of times, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Latency {
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Highest.
    pub max: f64,
}

/// What listeners noticed.
#[derive(Clone, Debug, Serialize)]
pub struct Listening {
    /// Listeners.
    pub listeners: usize,
    /// Tracks begun.
    pub tracks: u64,
    /// From wanting to hear a track to having its first sound.
    pub startup_ms: Latency,
    /// Times that sound stopped for want of data.
    pub rebuffers: u64,
    /// Seconds without sound in those.
    pub stalled_s: f64,
    /// Seconds of sound heard.
    pub played_s: f64,
}

impl Latency {
    fn of(histogram: &Histogram) -> Self {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        Self {
            mean: ms(histogram.mean()),
            p50: ms(histogram.quantile(0.5)),
            p90: ms(histogram.quantile(0.9)),
            p99: ms(histogram.quantile(0.99)),
            p999: ms(histogram.quantile(0.999)),
            max: ms(histogram.max()),
        }
    }
}

impl Report {
    pub(crate) fn new(
        protocol: &'static str,
        listeners: Option<usize>,
        tally: &Tally,
        took: Duration,
    ) -> Self {
        let seconds = took.as_secs_f64().max(1e-6);
        let heard = &tally.listening;
        Self {
            protocol,
            seconds,
            requests: tally.requests,
            errors: tally.errors.clone(),
            bytes: tally.bytes,
            requests_per_s: tally.latency.count() as f64 / seconds,
            bytes_per_s: tally.bytes as f64 / seconds,
            latency_ms: Latency::of(&tally.latency),
            first_byte_ms: Latency::of(&tally.first_byte),
            cache: tally.cache.clone(),
            listening: listeners.map(|listeners| Listening {
                listeners,
                tracks: heard.tracks,
                startup_ms: Latency::of(&heard.startup),
                rebuffers: heard.rebuffers,
                stalled_s: heard.stalled.as_secs_f64(),
                played_s: heard.played_s,
            }),
        }
    }

    /// Requests that failed.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            protocol,
            seconds,
            requests,
            ..
        } = self;
        writeln!(
            f,
            "{protocol}: {requests} requests in {seconds:.1} s, {} failed",
            self.failed()
        )?;
        for (kind, count) in &self.errors {
            writeln!(f, "  {kind:<24} {count}")?;
        }
        let (rate, volume) = (self.requests_per_s, self.bytes_per_s / 1e6);
        writeln!(
            f,
            "throughput   {rate:.0} requests/s   {volume:.1} MB/s   {:.2} Gbit/s",
            volume / 125.0
        )?;
        writeln!(
            f,
            "{:12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "ms", "mean", "p50", "p90", "p99", "p99.9", "max"
        )?;
        line(f, "latency", &self.latency_ms)?;
        line(f, "first byte", &self.first_byte_ms)?;
        if let Some(heard) = &self.listening {
            line(f, "startup", &heard.startup_ms)?;
            writeln!(
                f,
                "{} listeners heard {:.1} s of {} tracks; {} rebuffers, {:.2} s without sound",
                heard.listeners, heard.played_s, heard.tracks, heard.rebuffers, heard.stalled_s
            )?;
        }
        for (outcome, count) in &self.cache {
            writeln!(f, "cache {outcome:<18} {count}")?;
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, l: &Latency) -> fmt::Result {
    let Latency {
        mean,
        p50,
        p90,
        p99,
        p999,
        max,
    } = l;
    writeln!(
        f,
        "{name:12} {mean:>9.3} {p50:>9.3} {p90:>9.3} {p99:>9.3} {p999:>9.3} {max:>9.3}"
    )
}
