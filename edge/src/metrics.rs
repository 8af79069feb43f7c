//! Counters, gauges and histograms of an edge, and their Prometheus text.
//!
//! Every label has a fixed set of values, so the number of series is known at compile time. All
//! updates are relaxed atomics.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;

use crate::{
    exchange::{CacheStats, Outcome, Protocol},
    upstream::stats as upstream,
};

/// Protocols in the order of their index.
const PROTOCOLS: [Protocol; 3] = [Protocol::H1, Protocol::H2, Protocol::H3];

/// Outcomes in the order of their index.
const OUTCOMES: [Outcome; 8] = [
    Outcome::Hit,
    Outcome::Stale,
    Outcome::Revalidated,
    Outcome::Miss,
    Outcome::Collapsed,
    Outcome::Bypass,
    Outcome::Refused,
    Outcome::Failed,
];

/// Upper bounds of the histograms' buckets in microseconds.
const BUCKETS_US: [u64; 16] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 5_000_000, 30_000_000,
];

/// Why a connection or request ended by our decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The handshake failed or took too long.
    Handshake,
    /// The request's head took too long.
    Header,
    /// Nothing was asked for too long.
    Idle,
    /// The client took or sent too little for too long.
    Stall,
    /// A limit of size or count.
    Limit,
    /// The client broke the protocol.
    Protocol,
    /// Too many connections, in all or from one client.
    Connections,
    /// Still open at the drain's deadline.
    Drain,
}

impl Cut {
    /// All, in the order of their index.
    const ALL: [Self; 8] = [
        Self::Handshake,
        Self::Header,
        Self::Idle,
        Self::Stall,
        Self::Limit,
        Self::Protocol,
        Self::Connections,
        Self::Drain,
    ];

    /// Label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Header => "header",
            Self::Idle => "idle",
            Self::Stall => "stall",
            Self::Limit => "limit",
            Self::Protocol => "protocol",
            Self::Connections => "connections",
            Self::Drain => "drain",
        }
    }
}

/// Times in buckets.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// Observations at or under each bound, and above all of them; not cumulative.
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
    /// Sum in microseconds.
    sum_us: AtomicU64,
}

impl Histogram {
    pub(crate) fn observe(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    pub(crate) fn write(&self, out: &mut String, name: &str, labels: &str) {
        let mut count = 0;
        for (bound, bucket) in BUCKETS_US.iter().zip(&self.buckets) {
            count += bucket.load(Relaxed);
            line(
                out,
                &format!("{name}_bucket"),
                &format!("{labels},le=\"{}\"", *bound as f64 / 1e6),
                count,
            );
        }
        count += self.buckets[BUCKETS_US.len()].load(Relaxed);
        line(
            out,
            &format!("{name}_bucket"),
            &format!("{labels},le=\"+Inf\""),
            count,
        );
        let sum = self.sum_us.load(Relaxed) as f64 / 1e6;
        let _ = writeln!(out, "{name}_sum{{{labels}}} {sum}");
        line(out, &format!("{name}_count"), labels, count);
    }
}

/// Counts of one protocol.
#[derive(Debug, Default)]
struct PerProtocol {
    /// By outcome.
    outcomes: [AtomicU64; OUTCOMES.len()],
    /// By class, 1xx to 5xx.
    statuses: [AtomicU64; 5],
    /// Body bytes sent.
    bytes: AtomicU64,
    /// Responses the client left before their end, or that we cut off.
    aborted: AtomicU64,
    /// Open connections.
    connections: AtomicI64,
    /// Connections since start.
    connections_total: AtomicU64,
    /// Requests under way.
    in_flight: AtomicI64,
    /// Head received to response head handed to the transport.
    first_byte: Histogram,
    /// Head received to last body byte handed to the transport.
    duration: Histogram,
    /// Ended by our decision.
    cuts: [AtomicU64; Cut::ALL.len()],
}

/// All counters of an edge but the cache's own.
#[derive(Debug, Default)]
pub struct Metrics {
    protocols: [PerProtocol; 3],
    /// Access records dropped since the log could not keep up.
    pub(crate) log_dropped: AtomicU64,
    /// Connections opened to upstreams.
    pub(crate) upstream_connections: AtomicU64,
    /// Requests sent to upstreams.
    pub(crate) upstream_requests: AtomicU64,
    /// Requests to upstreams that got no response head.
    pub(crate) upstream_failures: AtomicU64,
    /// Requests sent again since a kept connection had gone stale.
    pub(crate) upstream_retries: AtomicU64,
    /// Each upstream's own, by configured name.
    upstreams: ArcSwapOption<Vec<Arc<upstream::Stats>>>,
}

/// Index of a protocol.
fn index(protocol: Protocol) -> usize {
    match protocol {
        Protocol::H1 => 0,
        Protocol::H2 => 1,
        Protocol::H3 => 2,
    }
}

/// A metric's name, and how to read it off a protocol's counts.
type Series = (&'static str, fn(&PerProtocol) -> u64);

impl Metrics {
    fn of(&self, protocol: Protocol) -> &PerProtocol {
        &self.protocols[index(protocol)]
    }

    /// A request's head is complete.
    pub(crate) fn request_began(&self, protocol: Protocol) {
        self.of(protocol).in_flight.fetch_add(1, Relaxed);
    }

    /// The response's head is on its way.
    pub(crate) fn first_byte(&self, protocol: Protocol, time: Duration) {
        self.of(protocol).first_byte.observe(time);
    }

    /// A request is over; `status` 0 where no response was made.
    pub(crate) fn request_ended(&self, protocol: Protocol, end: &Ended) {
        let of = self.of(protocol);
        of.in_flight.fetch_sub(1, Relaxed);
        let outcome = OUTCOMES
            .iter()
            .position(|o| *o == end.outcome)
            .unwrap_or(OUTCOMES.len() - 1);
        of.outcomes[outcome].fetch_add(1, Relaxed);
        if (100..600).contains(&end.status) {
            of.statuses[usize::from(end.status / 100 - 1)].fetch_add(1, Relaxed);
        }
        of.bytes.fetch_add(end.bytes, Relaxed);
        if !end.complete {
            of.aborted.fetch_add(1, Relaxed);
        }
        of.duration.observe(end.time);
    }

    /// A connection was accepted; call [`Metrics::connection_closed`] once for each.
    pub(crate) fn connection_opened(&self, protocol: Protocol) {
        self.of(protocol).connections.fetch_add(1, Relaxed);
        self.of(protocol).connections_total.fetch_add(1, Relaxed);
    }

    /// A connection is gone.
    pub(crate) fn connection_closed(&self, protocol: Protocol) {
        self.of(protocol).connections.fetch_sub(1, Relaxed);
    }

    /// Something ended by our decision.
    pub(crate) fn cut(&self, protocol: Protocol, why: Cut) {
        self.of(protocol).cuts[why as usize].fetch_add(1, Relaxed);
    }

    /// Everything as Prometheus text (exposition format 0.0.4).
    pub fn render(&self, cache: &CacheStats, ready: bool) -> String {
        let mut out = String::with_capacity(32 << 10);
        self.render_requests(&mut out);
        self.render_connections(&mut out);
        for (name, histogram) in [
            (
                "segue_edge_first_byte_seconds",
                (|p| &p.first_byte) as fn(&PerProtocol) -> &Histogram,
            ),
            ("segue_edge_request_seconds", |p| &p.duration),
        ] {
            kind(&mut out, name, "histogram");
            for (protocol, of) in PROTOCOLS.iter().zip(&self.protocols) {
                histogram(of).write(
                    &mut out,
                    name,
                    &format!("protocol=\"{}\"", protocol.as_str()),
                );
            }
        }
        self.render_upstream(&mut out);
        render_cache(&mut out, cache);
        kind(&mut out, "segue_edge_ready", "gauge");
        line(&mut out, "segue_edge_ready", "", u64::from(ready));
        out
    }

    fn render_requests(&self, out: &mut String) {
        kind(out, "segue_edge_requests_total", "counter");
        for (protocol, of) in PROTOCOLS.iter().zip(&self.protocols) {
            for (outcome, count) in OUTCOMES.iter().zip(&of.outcomes) {
                let labels = format!(
                    "protocol=\"{}\",outcome=\"{}\"",
                    protocol.as_str(),
                    outcome.as_str()
                );
                line(
                    out,
                    "segue_edge_requests_total",
                    &labels,
                    count.load(Relaxed),
                );
            }
        }
        kind(out, "segue_edge_responses_total", "counter");
        for (protocol, of) in PROTOCOLS.iter().zip(&self.protocols) {
            for (class, count) in of.statuses.iter().enumerate() {
                let labels = format!(
                    "protocol=\"{}\",status=\"{}xx\"",
                    protocol.as_str(),
                    class + 1
                );
                line(
                    out,
                    "segue_edge_responses_total",
                    &labels,
                    count.load(Relaxed),
                );
            }
        }
        let counters: [Series; 2] = [
            ("segue_edge_sent_bytes_total", |p| p.bytes.load(Relaxed)),
            ("segue_edge_aborted_total", |p| p.aborted.load(Relaxed)),
        ];
        self.each(out, "counter", &counters);
    }

    fn render_connections(&self, out: &mut String) {
        let gauges: [Series; 2] = [
            ("segue_edge_connections", |p| {
                p.connections.load(Relaxed).max(0).unsigned_abs()
            }),
            ("segue_edge_requests_in_flight", |p| {
                p.in_flight.load(Relaxed).max(0).unsigned_abs()
            }),
        ];
        self.each(out, "gauge", &gauges);
        self.each(
            out,
            "counter",
            &[("segue_edge_connections_total", |p| {
                p.connections_total.load(Relaxed)
            })],
        );
        kind(out, "segue_edge_cut_total", "counter");
        for (protocol, of) in PROTOCOLS.iter().zip(&self.protocols) {
            for (why, count) in Cut::ALL.iter().zip(&of.cuts) {
                let labels = format!(
                    "protocol=\"{}\",reason=\"{}\"",
                    protocol.as_str(),
                    why.as_str()
                );
                line(out, "segue_edge_cut_total", &labels, count.load(Relaxed));
            }
        }
    }

    /// One value a protocol.
    fn each(&self, out: &mut String, type_: &str, values: &[Series]) {
        for (name, value) in values {
            kind(out, name, type_);
            for (protocol, of) in PROTOCOLS.iter().zip(&self.protocols) {
                line(
                    out,
                    name,
                    &format!("protocol=\"{}\"", protocol.as_str()),
                    value(of),
                );
            }
        }
    }

    fn render_upstream(&self, out: &mut String) {
        for (name, value) in [
            ("segue_edge_log_dropped_total", &self.log_dropped),
            (
                "segue_edge_upstream_connections_total",
                &self.upstream_connections,
            ),
            (
                "segue_edge_upstream_requests_total",
                &self.upstream_requests,
            ),
            (
                "segue_edge_upstream_failures_total",
                &self.upstream_failures,
            ),
            ("segue_edge_upstream_retries_total", &self.upstream_retries),
        ] {
            kind(out, name, "counter");
            line(out, name, "", value.load(Relaxed));
        }
        if let Some(upstreams) = self.upstreams.load().as_ref() {
            upstream::render(out, upstreams);
        }
    }

    /// Shows these upstreams from now on.
    pub(crate) fn set_upstreams(&self, upstreams: Vec<Arc<upstream::Stats>>) {
        self.upstreams.store(Some(Arc::new(upstreams)));
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    /// What the cache did.
    pub outcome: Outcome,
    /// Status code; 0 where no response was made.
    pub status: u16,
    /// Body bytes handed to the transport.
    pub bytes: u64,
    /// Whether the whole response was handed to the transport.
    pub complete: bool,
    /// Since the head was complete.
    pub time: Duration,
}

/// The cache's own counters.
fn render_cache(out: &mut String, cache: &CacheStats) {
    for (name, type_, value) in [
        ("segue_edge_memory_bytes", "gauge", cache.memory_bytes),
        ("segue_edge_memory_entries", "gauge", cache.memory_entries),
        ("segue_edge_memory_hits_total", "counter", cache.memory_hits),
        ("segue_edge_disk_hits_total", "counter", cache.disk_hits),
        ("segue_edge_lookup_misses_total", "counter", cache.misses),
        ("segue_edge_evictions_total", "counter", cache.evictions),
        ("segue_edge_disk_writes_total", "counter", cache.disk_writes),
        (
            "segue_edge_disk_corrupt_total",
            "counter",
            cache.disk_corrupt,
        ),
        (
            "segue_edge_disk_dropped_total",
            "counter",
            cache.disk_dropped,
        ),
        ("segue_edge_disk_faults_total", "counter", cache.disk_faults),
        ("segue_edge_disk_failed", "gauge", cache.disk_failed),
        (
            "segue_edge_prefetch_bytes_total",
            "counter",
            cache.prefetch_bytes,
        ),
        (
            "segue_edge_prefetch_useful_bytes_total",
            "counter",
            cache.prefetch_useful_bytes,
        ),
        (
            "segue_edge_prefetch_wasted_bytes_total",
            "counter",
            cache.prefetch_wasted_bytes,
        ),
        ("segue_edge_fills", "gauge", cache.fills),
        ("segue_edge_fills_total", "counter", cache.fills_total),
        (
            "segue_edge_collapsed_total",
            "counter",
            cache.collapsed_total,
        ),
        (
            "segue_edge_upstream_bytes_total",
            "counter",
            cache.upstream_bytes,
        ),
    ] {
        kind(out, name, type_);
        line(out, name, "", value);
    }
}

/// The `# TYPE` line.
pub(crate) fn kind(out: &mut String, name: &str, type_: &str) {
    let _ = writeln!(out, "# TYPE {name} {type_}");
}

/// One sample.
pub(crate) fn line(out: &mut String, name: &str, labels: &str, value: u64) {
    let _ = match labels {
        "" => writeln!(out, "{name} {value}"),
        labels => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_appear_with_their_labels() {
        let metrics = Metrics::default();
        metrics.request_began(Protocol::H3);
        let end = Ended {
            outcome: Outcome::Hit,
            status: 206,
            bytes: 65536,
            complete: true,
            time: Duration::from_micros(300),
        };
        metrics.request_ended(Protocol::H3, &end);
        let text = metrics.render(&CacheStats::default(), true);
        for line in [
            "segue_edge_requests_total{protocol=\"h3\",outcome=\"hit\"} 1",
            "segue_edge_responses_total{protocol=\"h3\",status=\"2xx\"} 1",
            "segue_edge_sent_bytes_total{protocol=\"h3\"} 65536",
            "segue_edge_requests_in_flight{protocol=\"h3\"} 0",
            "segue_edge_request_seconds_bucket{protocol=\"h3\",le=\"0.00025\"} 0",
            "segue_edge_request_seconds_bucket{protocol=\"h3\",le=\"0.0005\"} 1",
            "segue_edge_request_seconds_count{protocol=\"h3\"} 1",
            "segue_edge_ready 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} missing in\n{text}");
        }
    }
}
