//! Counters, gauges and histograms of an edge, and their Prometheus text.
//!
//! Every label has a fixed set of values, so the number of series is known at compile time (the
//! upstreams' names, of a configuration, apart). All updates are relaxed atomics, and what every
//! request counts is spread over shards, one cache line never shared by two busy threads.

mod process;
mod text;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;

pub(crate) use process::resident_bytes;
pub use text::{Family, Kind, Text};

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

/// Copies of what every request counts; threads beyond this many share.
const SHARDS: usize = 16;

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

    /// Adds these observations to a family's.
    pub(crate) fn write(&self, family: &mut Family<'_>, labels: &[(&str, &str)]) {
        write_sum(std::iter::once(self), family, labels);
    }
}

/// Adds the observations of several histograms, taken together, to a family's.
fn write_sum<'a>(
    histograms: impl Iterator<Item = &'a Histogram>,
    family: &mut Family<'_>,
    labels: &[(&str, &str)],
) {
    let mut counts = [0; BUCKETS_US.len() + 1];
    let mut sum_us = 0;
    for histogram in histograms {
        for (sum, bucket) in counts.iter_mut().zip(&histogram.buckets) {
            *sum += bucket.load(Relaxed);
        }
        sum_us += histogram.sum_us.load(Relaxed);
    }
    let bounds = BUCKETS_US.map(|us| us as f64 / 1e6);
    family.histogram(labels, &bounds, &counts, sum_us as f64 / 1e6);
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

/// What every request counts, of some threads.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    protocols: [PerProtocol; 3],
}

/// All counters of an edge but the cache's own.
#[derive(Debug)]
pub struct Metrics {
    shards: [Shard; SHARDS],
    started: SystemTime,
    /// Access records dropped since the log could not keep up.
    pub(crate) log_dropped: AtomicU64,
    /// Spans dropped since the collector could not keep up or was not there.
    pub(crate) spans_dropped: AtomicU64,
    /// Spans that the collector took.
    pub(crate) spans_sent: AtomicU64,
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
    /// Configurations that took effect after the first, or were refused.
    reloads: Reloads,
    /// End of the certificate's validity, Unix seconds; 0 where there is none.
    pub(crate) certificate_expiry_s: AtomicI64,
}

/// What came of configurations after the first.
#[derive(Debug)]
struct Reloads {
    applied: AtomicU64,
    refused: AtomicU64,
    /// Whether the last one took effect; true before there was any.
    last_applied: AtomicU64,
    /// When the configuration in force took effect, Unix seconds.
    in_force_since_s: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        let started = SystemTime::now();
        Self {
            shards: Default::default(),
            started,
            log_dropped: AtomicU64::new(0),
            spans_dropped: AtomicU64::new(0),
            spans_sent: AtomicU64::new(0),
            upstream_connections: AtomicU64::new(0),
            upstream_requests: AtomicU64::new(0),
            upstream_failures: AtomicU64::new(0),
            upstream_retries: AtomicU64::new(0),
            upstreams: ArcSwapOption::empty(),
            reloads: Reloads {
                applied: AtomicU64::new(0),
                refused: AtomicU64::new(0),
                last_applied: AtomicU64::new(1),
                in_force_since_s: AtomicU64::new(unix_s(started)),
            },
            certificate_expiry_s: AtomicI64::new(0),
        }
    }
}

fn unix_s(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// Index of a protocol.
fn index(protocol: Protocol) -> usize {
    match protocol {
        Protocol::H1 => 0,
        Protocol::H2 => 1,
        Protocol::H3 => 2,
    }
}

/// The calling thread's shard.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: usize = NEXT.fetch_add(1, Relaxed) % SHARDS;
    }
    MINE.with(|mine| *mine)
}

/// A value of a protocol, read off its counts in one shard; the shards' values are added up.
type Value = fn(&PerProtocol) -> i64;

impl Metrics {
    fn of(&self, protocol: Protocol) -> &PerProtocol {
        &self.shards[shard()].protocols[index(protocol)]
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

    /// A new configuration took effect, or was refused.
    pub(crate) fn reloaded(&self, applied: bool) {
        let reloads = &self.reloads;
        reloads.last_applied.store(u64::from(applied), Relaxed);
        if applied {
            reloads.applied.fetch_add(1, Relaxed);
            let now = unix_s(SystemTime::now());
            reloads.in_force_since_s.store(now, Relaxed);
        } else {
            reloads.refused.fetch_add(1, Relaxed);
        }
    }

    /// Everything as Prometheus text (exposition format 0.0.4); `more` adds families of others.
    /// Reads files of `/proc`: not for an async task's own thread where there are many descriptors.
    pub fn render(&self, cache: &CacheStats, ready: bool, more: impl FnOnce(&mut Text)) -> String {
        let mut out = Text::default();
        out.family("segue_build_info", Kind::Gauge, "The running version.")
            .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        out.single(
            "segue_edge_ready",
            Kind::Gauge,
            "1 while new requests are welcome, 0 from the drain's beginning.",
            u64::from(ready),
        );
        self.render_requests(&mut out);
        self.render_connections(&mut out);
        self.render_times(&mut out);
        self.render_singles(&mut out);
        self.render_reloads(&mut out);
        render_cache(&mut out, cache);
        more(&mut out);
        process::render(&mut out, self.started);
        out.finish()
    }

    /// A protocol's value over all shards; never below 0, which a gauge read between two shards'
    /// updates could be.
    fn sum(&self, protocol: usize, value: impl Fn(&PerProtocol) -> i64) -> i64 {
        let shards = self.shards.iter();
        shards
            .map(|shard| value(&shard.protocols[protocol]))
            .sum::<i64>()
            .max(0)
    }

    /// One value a protocol.
    fn each(&self, out: &mut Text, name: &str, kind: Kind, help: &str, value: Value) {
        let mut family = out.family(name, kind, help);
        for (i, protocol) in PROTOCOLS.iter().enumerate() {
            family.sample(&[("protocol", protocol.as_str())], self.sum(i, value));
        }
    }

    fn render_requests(&self, out: &mut Text) {
        let mut family = out.family(
            "segue_edge_requests_total",
            Kind::Counter,
            "Requests ended, by what the cache did.",
        );
        for (i, protocol) in PROTOCOLS.iter().enumerate() {
            for (o, outcome) in OUTCOMES.iter().enumerate() {
                let labels = [
                    ("protocol", protocol.as_str()),
                    ("outcome", outcome.as_str()),
                ];
                family.sample(&labels, self.sum(i, |p| read(&p.outcomes[o])));
            }
        }
        let mut family = out.family(
            "segue_edge_responses_total",
            Kind::Counter,
            "Responses made, by class of status.",
        );
        for (i, protocol) in PROTOCOLS.iter().enumerate() {
            for (class, name) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().enumerate() {
                let labels = [("protocol", protocol.as_str()), ("status", name)];
                family.sample(&labels, self.sum(i, |p| read(&p.statuses[class])));
            }
        }
        self.each(
            out,
            "segue_edge_sent_bytes_total",
            Kind::Counter,
            "Body bytes handed to the transport.",
            |p| read(&p.bytes),
        );
        self.each(
            out,
            "segue_edge_aborted_total",
            Kind::Counter,
            "Responses that did not reach their end.",
            |p| read(&p.aborted),
        );
    }

    fn render_connections(&self, out: &mut Text) {
        self.each(
            out,
            "segue_edge_connections",
            Kind::Gauge,
            "Open client connections.",
            |p| p.connections.load(Relaxed),
        );
        self.each(
            out,
            "segue_edge_requests_in_flight",
            Kind::Gauge,
            "Requests under way.",
            |p| p.in_flight.load(Relaxed),
        );
        self.each(
            out,
            "segue_edge_connections_total",
            Kind::Counter,
            "Client connections accepted.",
            |p| read(&p.connections_total),
        );
        let mut family = out.family(
            "segue_edge_cut_total",
            Kind::Counter,
            "Connections and requests ended by a limit, by which.",
        );
        for (i, protocol) in PROTOCOLS.iter().enumerate() {
            for (c, why) in Cut::ALL.iter().enumerate() {
                let labels = [("protocol", protocol.as_str()), ("reason", why.as_str())];
                family.sample(&labels, self.sum(i, |p| read(&p.cuts[c])));
            }
        }
    }

    fn render_times(&self, out: &mut Text) {
        for (name, help, histogram) in [
            (
                "segue_edge_first_byte_seconds",
                "From the request's head to the response's head handed to the transport.",
                (|p| &p.first_byte) as fn(&PerProtocol) -> &Histogram,
            ),
            (
                "segue_edge_request_seconds",
                "From the request's head to the response's last byte handed to the transport.",
                |p| &p.duration,
            ),
        ] {
            let mut family = out.family(name, Kind::Histogram, help);
            for (i, protocol) in PROTOCOLS.iter().enumerate() {
                let of_shards = self.shards.iter().map(|s| histogram(&s.protocols[i]));
                write_sum(of_shards, &mut family, &[("protocol", protocol.as_str())]);
            }
        }
    }

    fn render_singles(&self, out: &mut Text) {
        for (name, help, value) in [
            (
                "segue_edge_log_dropped_total",
                "Access records dropped since the log could not keep up.",
                &self.log_dropped,
            ),
            (
                "segue_edge_spans_dropped_total",
                "Trace spans dropped since the collector could not keep up or did not answer.",
                &self.spans_dropped,
            ),
            (
                "segue_edge_spans_sent_total",
                "Trace spans that the collector took.",
                &self.spans_sent,
            ),
            (
                "segue_edge_upstream_connections_total",
                "Connections opened to upstreams.",
                &self.upstream_connections,
            ),
            (
                "segue_edge_upstream_requests_total",
                "Requests sent to upstreams.",
                &self.upstream_requests,
            ),
            (
                "segue_edge_upstream_failures_total",
                "Requests to upstreams that got no response head.",
                &self.upstream_failures,
            ),
            (
                "segue_edge_upstream_retries_total",
                "Requests sent again since a kept connection had gone stale.",
                &self.upstream_retries,
            ),
        ] {
            out.single(name, Kind::Counter, help, value.load(Relaxed));
        }
        if let Some(upstreams) = self.upstreams.load().as_ref() {
            upstream::render(out, upstreams);
        }
    }

    /// The counts of the upstream shown under a name.
    pub(crate) fn upstream(&self, name: &str) -> Option<Arc<upstream::Stats>> {
        let shown = self.upstreams.load_full()?;
        shown.iter().find(|stats| stats.name() == name).cloned()
    }

    /// Shows these upstreams from now on.
    pub(crate) fn set_upstreams(&self, upstreams: Vec<Arc<upstream::Stats>>) {
        self.upstreams.store(Some(Arc::new(upstreams)));
    }

    fn render_reloads(&self, out: &mut Text) {
        let reloads = &self.reloads;
        let mut family = out.family(
            "segue_edge_config_reloads_total",
            Kind::Counter,
            "Configurations after the first, by what came of them.",
        );
        family.sample(&[("result", "applied")], reloads.applied.load(Relaxed));
        family.sample(&[("result", "refused")], reloads.refused.load(Relaxed));
        out.single(
            "segue_edge_config_last_reload_applied",
            Kind::Gauge,
            "1 if the last reload took effect, 0 if it was refused and the old configuration goes on.",
            reloads.last_applied.load(Relaxed),
        );
        out.single(
            "segue_edge_config_in_force_since_seconds",
            Kind::Gauge,
            "When the configuration in force took effect, Unix time.",
            reloads.in_force_since_s.load(Relaxed),
        );
        let expiry = self.certificate_expiry_s.load(Relaxed);
        if expiry != 0 {
            out.single(
                "segue_edge_certificate_expiry_seconds",
                Kind::Gauge,
                "End of the TLS certificate's validity, Unix time.",
                expiry,
            );
        }
    }
}

/// A counter's value.
fn read(counter: &AtomicU64) -> i64 {
    i64::try_from(counter.load(Relaxed)).unwrap_or(i64::MAX)
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
fn render_cache(out: &mut Text, cache: &CacheStats) {
    let mut family = out.family(
        "segue_edge_tier_hits_total",
        Kind::Counter,
        "Slices and records found, by the tier that had them.",
    );
    family.sample(&[("tier", "memory")], cache.memory_hits);
    family.sample(&[("tier", "disk")], cache.disk_hits);
    for (name, kind, help, value) in [
        (
            "segue_edge_lookup_misses_total",
            Kind::Counter,
            "Slices and records that no tier had.",
            cache.misses,
        ),
        (
            "segue_edge_memory_bytes",
            Kind::Gauge,
            "Bytes held in the memory tier.",
            cache.memory_bytes,
        ),
        (
            "segue_edge_memory_entries",
            Kind::Gauge,
            "Slices and records in the memory tier.",
            cache.memory_entries,
        ),
        (
            "segue_edge_evictions_total",
            Kind::Counter,
            "Entries evicted from memory.",
            cache.evictions,
        ),
        (
            "segue_edge_disk_writes_total",
            Kind::Counter,
            "Entries handed to the disk tier.",
            cache.disk_writes,
        ),
        (
            "segue_edge_disk_corrupt_total",
            Kind::Counter,
            "Disk entries refused: damaged, foreign or of another version.",
            cache.disk_corrupt,
        ),
        (
            "segue_edge_disk_dropped_total",
            Kind::Counter,
            "Entries meant for the disk tier that were not written.",
            cache.disk_dropped,
        ),
        (
            "segue_edge_disk_faults_total",
            Kind::Counter,
            "Reads and writes of the disk tier that failed or took too long.",
            cache.disk_faults,
        ),
        (
            "segue_edge_disk_failed",
            Kind::Gauge,
            "1 while the disk tier is given up on and memory works alone.",
            cache.disk_failed,
        ),
        (
            "segue_edge_prefetch_bytes_total",
            Kind::Counter,
            "Bytes fetched before anybody asked for them.",
            cache.prefetch_bytes,
        ),
        (
            "segue_edge_prefetch_useful_bytes_total",
            Kind::Counter,
            "Prefetched bytes that somebody then asked for.",
            cache.prefetch_useful_bytes,
        ),
        (
            "segue_edge_prefetch_wasted_bytes_total",
            Kind::Counter,
            "Prefetched bytes that were evicted before anybody asked for them.",
            cache.prefetch_wasted_bytes,
        ),
        (
            "segue_edge_fills",
            Kind::Gauge,
            "Fetches under way.",
            cache.fills,
        ),
        (
            "segue_edge_fills_total",
            Kind::Counter,
            "Fetches begun.",
            cache.fills_total,
        ),
        (
            "segue_edge_collapsed_total",
            Kind::Counter,
            "Requests that joined another's fetch.",
            cache.collapsed_total,
        ),
        (
            "segue_edge_upstream_bytes_total",
            Kind::Counter,
            "Body bytes received from upstreams.",
            cache.upstream_bytes,
        ),
    ] {
        out.single(name, kind, help, value);
    }
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
        let text = metrics.render(&CacheStats::default(), true, |_| {});
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
