//! Counts of one upstream, and their Prometheus text. The only free label is the upstream's
//! configured name, so that the number of series is that of the configuration.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::breaker::Position;
use crate::{
    exchange::UpstreamFault,
    metrics::{Histogram, Kind, Metrics, Text},
};

/// What may go wrong with an attempt, in the order of its index.
const FAULTS: [&str; 8] = [
    "unavailable",
    "connect",
    "timeout",
    "reset",
    "protocol",
    "request-body",
    "body",
    "status",
];

/// Index of a response cut short.
const BODY: usize = 6;

/// Index of a 502, 503 or 504.
const STATUS: usize = 7;

/// Counts of one upstream.
#[derive(Debug)]
pub(crate) struct Stats {
    name: String,
    /// The edge's sums over all upstreams.
    all: Arc<Metrics>,
    attempts: AtomicU64,
    faults: [AtomicU64; FAULTS.len()],
    connections: AtomicU64,
    in_flight: AtomicI64,
    first_byte: Histogram,
    retries: AtomicU64,
    hedges: AtomicU64,
    hedges_won: AtomicU64,
    opened: AtomicU64,
    breaker: AtomicU8,
    up: AtomicU8,
}

impl Stats {
    /// Counts under a name.
    pub(super) fn new(name: &str, all: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            all,
            attempts: AtomicU64::default(),
            faults: Default::default(),
            connections: AtomicU64::default(),
            in_flight: AtomicI64::default(),
            first_byte: Histogram::default(),
            retries: AtomicU64::default(),
            hedges: AtomicU64::default(),
            hedges_won: AtomicU64::default(),
            opened: AtomicU64::default(),
            breaker: AtomicU8::default(),
            up: AtomicU8::new(1),
        })
    }

    /// The upstream begins anew: what is known of its state is forgotten, its counts go on.
    pub(super) fn anew(&self) {
        self.breaker.store(0, Relaxed);
        self.up.store(1, Relaxed);
    }

    /// The upstream's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// An attempt begins; [`Stats::ended`] ends it.
    pub(super) fn began(&self) {
        self.attempts.fetch_add(1, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// An attempt is over, body included.
    pub(super) fn ended(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    pub(super) fn head(&self, time: Duration) {
        self.first_byte.observe(time);
    }

    pub(super) fn failed(&self, fault: UpstreamFault) {
        let index = match fault {
            UpstreamFault::Unavailable | UpstreamFault::Loop => 0,
            UpstreamFault::Connect => 1,
            UpstreamFault::Timeout => 2,
            UpstreamFault::Reset => 3,
            UpstreamFault::Protocol => 4,
            UpstreamFault::RequestBody => 5,
        };
        self.faults[index].fetch_add(1, Relaxed);
    }

    pub(super) fn body_broke(&self) {
        self.faults[BODY].fetch_add(1, Relaxed);
    }

    pub(super) fn unserved(&self) {
        self.faults[STATUS].fetch_add(1, Relaxed);
    }

    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Relaxed);
        self.all.upstream_connections.fetch_add(1, Relaxed);
    }

    /// An attempt that follows a failed one.
    pub(super) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
        self.all.upstream_retries.fetch_add(1, Relaxed);
    }

    /// A second attempt beside a slow one.
    pub(super) fn hedged(&self) {
        self.hedges.fetch_add(1, Relaxed);
    }

    /// A hedge that answered first.
    pub(super) fn hedge_won(&self) {
        self.hedges_won.fetch_add(1, Relaxed);
    }

    pub(super) fn breaker_is(&self, position: Position) {
        let code = match position {
            Position::Closed => 0,
            Position::HalfOpen => 1,
            Position::Open => 2,
        };
        if self.breaker.swap(code, Relaxed) != code && position == Position::Open {
            self.opened.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn health_is(&self, up: bool) {
        self.up.store(u8::from(up), Relaxed);
    }
}

/// A metric's name, kind and help, and how to read it off an upstream's counts.
type Series = (&'static str, Kind, &'static str, fn(&Stats) -> u64);

/// One value each.
const SERIES: [Series; 9] = [
    (
        "segue_edge_upstream_attempts_total",
        Kind::Counter,
        "Requests sent, retries and hedges included.",
        |s| s.attempts.load(Relaxed),
    ),
    (
        "segue_edge_upstream_in_flight",
        Kind::Gauge,
        "Attempts under way.",
        |s| s.in_flight.load(Relaxed).max(0).unsigned_abs(),
    ),
    (
        "segue_edge_upstream_opened_total",
        Kind::Counter,
        "Connections opened.",
        |s| s.connections.load(Relaxed),
    ),
    (
        "segue_edge_upstream_retried_total",
        Kind::Counter,
        "Attempts that followed a failed one.",
        |s| s.retries.load(Relaxed),
    ),
    (
        "segue_edge_upstream_hedged_total",
        Kind::Counter,
        "Second attempts beside a slow one.",
        |s| s.hedges.load(Relaxed),
    ),
    (
        "segue_edge_upstream_hedges_won_total",
        Kind::Counter,
        "Second attempts that answered first.",
        |s| s.hedges_won.load(Relaxed),
    ),
    (
        "segue_edge_upstream_breaker",
        Kind::Gauge,
        "The circuit breaker: 0 closed, 1 half open, 2 open.",
        |s| u64::from(s.breaker.load(Relaxed)),
    ),
    (
        "segue_edge_upstream_breaker_opened_total",
        Kind::Counter,
        "Times the circuit breaker opened.",
        |s| s.opened.load(Relaxed),
    ),
    (
        "segue_edge_upstream_up",
        Kind::Gauge,
        "1 while active checks succeed, or there are none.",
        |s| u64::from(s.up.load(Relaxed)),
    ),
];

/// All upstreams as Prometheus text.
pub(crate) fn render(out: &mut Text, all: &[Arc<Stats>]) {
    for (name, kind, help, value) in &SERIES {
        let mut family = out.family(name, *kind, help);
        for stats in all {
            family.sample(&[("upstream", &stats.name)], value(stats));
        }
    }
    let mut family = out.family(
        "segue_edge_upstream_faults_total",
        Kind::Counter,
        "Attempts that failed, by how.",
    );
    for stats in all {
        for (fault, count) in FAULTS.iter().zip(&stats.faults) {
            let labels = [("upstream", stats.name.as_str()), ("fault", fault)];
            family.sample(&labels, count.load(Relaxed));
        }
    }
    let mut family = out.family(
        "segue_edge_upstream_first_byte_seconds",
        Kind::Histogram,
        "From an attempt's beginning to the response's head.",
    );
    for stats in all {
        let labels = [("upstream", stats.name.as_str())];
        stats.first_byte.write(&mut family, &labels);
    }
}
